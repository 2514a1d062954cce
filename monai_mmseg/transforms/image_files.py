# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which files are images, and who reads them: the one door, looked at before a library opens a file."""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zlib
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
from monai.data.image_reader import ImageReader, ITKReader, PILReader

from monai_mmseg.transforms.image_parts import other_of_pair
from monai_mmseg.transforms.image_readers import HEAD_BYTES, MetaImageReader, NiftiReader, NrrdReader
from monai_mmseg.transforms.nifti_header import (
    DEFLATE_LIMIT,
    HEADER_BYTES,
    affine_problem,
    header_doubts,
    header_problem,
    read_header,
)

NIFTI_ENDINGS = (".nii.gz", ".nii")
VOLUME_ENDINGS = (*NIFTI_ENDINGS, ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
IMAGE_ENDINGS = (*VOLUME_ENDINGS, ".dcm", *PICTURE_ENDINGS, ".tif", ".tiff")
"""Endings of the images that are read; folders of DICOM files and DICOM files without an ending are, too."""

_STRANGERS = (  # how other files begin, and what they are
    (rb"version https://git-lfs", "a Git LFS pointer, not the image; `git lfs pull` fetches it"),
    (rb"(\.\./)*(\.git|/)/?annex/objects/", "a git-annex pointer, not the image; `git annex get` fetches it"),
    (rb"\s*<(!doctype|html|head|\?xml)", "a web page; the download has failed"),
    (rb"\x80[\x02-\x05]", "a Python pickle, which is never opened"),
    (rb"PK\x03\x04", "a zip archive, not an image; unpack it"),
    (rb"7z\xbc\xaf\x27\x1c|Rar!|\xfd7zXZ\x00|BZh|\x28\xb5\x2f\xfd", "an archive, not an image; unpack it"),
    (rb"\x93NUMPY", "a NumPy array, which has no affine; write it as NIfTI"),
)
_MAGIC = {
    ".png": rb"\x89PNG\r\n",
    ".jpg": rb"\xff\xd8\xff",
    ".jpeg": rb"\xff\xd8\xff",
    ".bmp": rb"BM",
    ".tif": rb"II[*+]\x00|MM\x00[*+]",
    ".tiff": rb"II[*+]\x00|MM\x00[*+]",
    ".nrrd": rb"NRRD000\d",
    ".nhdr": rb"NRRD000\d",
    ".mha": rb"(?s).*?NDims\s*=\s*\d",
    ".mhd": rb"(?s).*?NDims\s*=\s*\d",
}
_GEOMETRY = {  # lines of headers in text that place the voxels
    ".mha": rb"(?im)^\s*(TransformMatrix|Rotation|Orientation|Offset|Position|Origin|Element(?:Spacing|Size))\s*=(.*)$",
    ".nrrd": rb"(?im)^(space directions|space origin|spacings):(.*)$",
}
_GEOMETRY |= {".mhd": _GEOMETRY[".mha"], ".nhdr": _GEOMETRY[".nrrd"]}


class VolumeError(ValueError):
    """A volume that cannot be used; the message starts with its path."""


@lru_cache(maxsize=10_000)
def warn_once(message: str) -> None:
    """Warn, once a process: files are read again every epoch.

    Python's own memory of what it has told is lost wherever a library changes the filters of warnings for a while.

    Args:
        message: with the path.
    """
    warnings.warn(message, stacklevel=2)


def image_ending(path: str | Path) -> str:
    """Ending of an image that is read, in small letters; empty for any other name.

    Args:
        path: any path.

    Returns:
        The ending.

    Examples:
        >>> image_ending("s01/lge.NII.GZ"), image_ending("s01.a.mha"), image_ending("a.npy")
        ('.nii.gz', '.mha', '')
    """
    name = Path(path).name.lower()
    return next((end for end in IMAGE_ENDINGS if name.endswith(end) and len(name) > len(end)), "")


def check_image_file(path: str | Path) -> type[ImageReader]:
    """Refuse what is no image before any library opens it, whatever its name says.

    Use it wherever a file that came with the data is read as an image: MONAI and the libraries below it choose by the
    name alone, and some of what they choose executes what it reads.

    Args:
        path: a file, or a folder of DICOM files.

    Returns:
        The kind of MONAI's readers that is meant for it; DICOM is read by
        :func:`~monai_mmseg.transforms.dicom_series.read_dicom_series`.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if it is no image that is read here; the message says what it is instead.

    Warns:
        UserWarning: if the header of a NIfTI file contradicts itself; once for a file.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.nii.gz").write_text("version https://git-lfs.github.com/spec/v1")
        ...     check_image_file(f"{folder}/a.nii.gz")
        Traceback (most recent call last):
        monai_mmseg.transforms.image_files.VolumeError: ...a.nii.gz: cannot be read as an image (it is a Git LFS ...
    """
    if not str(path):  # pathlib takes it for the working folder, and what lies there is somebody else
        raise FileNotFoundError(
            "image must be a path, got an empty one, as MONAI Label gives it for an id that it does not know."
        )
    where = Path(path)
    if not os.path.exists(where):
        lost = os.path.islink(where)
        raise FileNotFoundError(f"{path}: {'a link that leads nowhere' if lost else 'no such file'}.")
    if where.is_dir():
        return _check_folder(where)
    if not where.is_file():
        raise VolumeError(f"{path}: neither a file nor a folder.")
    try:
        head, size = _head(where, HEAD_BYTES), where.stat().st_size
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not size:
        raise VolumeError(f"{path}: cannot be read as an image (it is empty, 0 bytes).")
    ending = image_ending(where)
    if not ending and not _is_dicom(head) and not _is_pointer(head):
        known = " ".join(IMAGE_ENDINGS)
        raise VolumeError(f"{path}: is not read as an image; wanted are {known} or a folder of DICOM files.")
    if problem := _problem(where, ending, head, size):
        affine = problem.startswith("the affine")
        raise VolumeError(f"{path}: {problem}." if affine else f"{path}: cannot be read as an image (it {problem}).")
    if ending in NIFTI_ENDINGS or (ending in (".hdr", ".img") and read_header(_pair_header(where)) is not None):
        return NiftiReader
    if ending in (".mha", ".mhd"):
        return MetaImageReader
    if ending in (".nrrd", ".nhdr"):
        return NrrdReader
    return PILReader if ending in PICTURE_ENDINGS else ITKReader


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _check_folder(folder: Path) -> type[ImageReader]:
    try:
        files = [one for one in sorted(folder.iterdir()) if one.is_file()]
        if any(is_dicom_file(one) for one in files):
            return ITKReader
    except OSError as error:
        raise VolumeError(f"{folder}: cannot be read ({error.strerror or error}).") from error
    raise VolumeError(f"{folder}: none of the {len(files)} files in this folder is a DICOM file.")


def is_dicom_file(path: str | Path) -> bool:
    """Whether a file is DICOM by its first bytes, whatever its name.

    Args:
        path: the file.

    Returns:
        The answer.

    Raises:
        OSError: if it cannot be opened.
    """
    return _is_dicom(_head(Path(path), 132))


def is_lost_file(path: str | Path) -> bool:
    """Whether a file without a usual ending has lost its content: empty, zeros, or a pointer of Git LFS or git-annex.

    Args:
        path: the file.

    Returns:
        The answer.

    Raises:
        OSError: if it cannot be opened.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("IM0001", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     is_lost_file(f"{folder}/IM0001"), is_lost_file(f"{folder}/notes.txt")
        (True, False)
    """
    where = Path(path)
    if re.fullmatch(r"\.[a-z]\w*", where.suffix, re.IGNORECASE) and where.suffix.lower() != ".ima":
        return False  # of another kind; UIDs as names end with .123
    if not where.is_file():
        return where.is_symlink()
    head = _head(where, 256)
    return not head.strip(b"\0") or _is_pointer(head)


def _is_pointer(head: bytes) -> bool:
    return any(re.match(begin, head) for begin, _ in _STRANGERS[:2])


def _is_dicom(head: bytes) -> bool:
    # files of old scanners lack the preamble and begin with their first group
    return head[128:132] == b"DICM" or head[:2] in (b"\x02\x00", b"\x08\x00")


def _problem(path: Path, ending: str, head: bytes, size: int) -> str | None:
    """What is wrong with a file of an ending that is read, or with one of none that is DICOM."""
    if stranger := _stranger(head):
        return stranger
    if ending in NIFTI_ENDINGS:
        return _nifti_problem(path, ending, head, size)
    if ending in (".hdr", ".img"):
        return _pair_problem(path)
    if ending in ("", ".dcm"):
        return None if _is_dicom(head) else f"is no DICOM file: it begins with {head[:12]!r}"
    if not re.match(_MAGIC[ending], head):
        return f"is no {ending} file, whatever its name says: it begins with {head[:12]!r}"
    if ending in _GEOMETRY:
        return _cut_short(head, ending, size) or _text_problem(head, _GEOMETRY[ending])
    return None


def _stranger(head: bytes) -> str | None:
    found = next((what for begin, what in _STRANGERS if re.match(begin, head, re.IGNORECASE)), None)
    return f"is {found}" if found else None


def _nifti_problem(path: Path, ending: str, head: bytes, size: int) -> str | None:
    packed = head[:2] == b"\x1f\x8b"
    if packed and ending == ".nii":
        return "is compressed; name it .nii.gz"
    if not packed and ending == ".nii.gz":
        if read_header(head) is not None:
            return "is not compressed; name it .nii"
        return f"is no gzip file, whatever its name says: it begins with {head[:12]!r}"
    if packed:
        try:
            with gzip.open(path) as file:
                head = file.read(HEADER_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            return f"is a broken gzip file, maybe a part of a download ({error})"
        if stranger := _stranger(head):
            return f"{stranger} (compressed)"
    return _header_problem(path, head, size, packed=packed)


def _header_problem(path: Path, head: bytes, size: int, *, packed: bool, pair: bool = False) -> str | None:
    if problem := header_problem(head, size, packed=packed, pair=pair):
        return problem
    if doubts := header_doubts(head):
        warn_once(f"{path}: {' '.join(doubts)}")
    return None


def _pair_problem(path: Path) -> str | None:
    """A header and its voxels in two files: NIfTI, or Analyze, which tells nothing about the affine."""
    other = other_of_pair(path)
    if not other.is_file():
        return f"is one of two files, but {other} is not there"
    head = _pair_header(path)
    if read_header(head) is not None:
        return _header_problem(path, head, other.stat().st_size, packed=False, pair=True)
    for order in ("<", ">"):
        if len(head) >= 348 and np.frombuffer(head, f"{order}i4", 1)[0] == 348:
            sizes = np.frombuffer(head, f"{order}f4", 3, offset=80)  # ITK takes 1 for what it cannot use
            problem = affine_problem(np.diag(np.abs(sizes)))
            return f"the affine cannot be inverted: its voxel sizes are {sizes.tolist()}" if problem else None
    return f"has a header that is neither NIfTI nor Analyze: it begins with {head[:12]!r}"


def _pair_header(path: Path) -> bytes:
    return _head(path if path.suffix.lower() == ".hdr" else other_of_pair(path), HEADER_BYTES)


def _text_problem(head: bytes, lines: bytes) -> str | None:
    """ITK takes zeros for numbers that it cannot use."""
    for match in re.finditer(lines, re.split(rb"\r?\n\r?\n|ElementDataFile", head, maxsplit=1)[0]):
        words = re.findall(rb"[^\s(),]+", match[2])
        # an axis of components has no direction, one of three axes has
        spare = b"" if re.search(rb"(?im)^dimension:\s*3\b", head) else b"none"
        if wrong := [word.decode("latin-1") for word in words if word != spare and not _is_number(word)]:
            name = match[1].decode("latin-1")
            return f"the affine cannot be inverted: {name} holds {', '.join(map(repr, wrong[:3]))}"
    return None


def _cut_short(head: bytes, ending: str, size: int) -> str | None:
    """Voxels in the same file, far more than it can hold: memory for them would be asked for."""
    lines = {".mha": rb"(?m)^\s*DimSize\s*=([\s\d]*)$", ".nrrd": rb"(?m)^sizes:([\s\d]*)$"}
    found = re.search(lines[ending], head) if ending in lines else None
    voxels = prod(int(word) for word in found[1].split()) if found else 0
    if voxels > size * DEFLATE_LIMIT:
        return f"is cut short: its header tells of {voxels} voxels, {size} bytes are there"
    return None


def _is_number(word: bytes) -> bool:
    return re.fullmatch(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word) is not None
