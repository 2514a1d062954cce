# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MONAI's readers of volumes, without what they mend or overlook: the affine of the file, and its checksum."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data.image_reader import ITKReader, NibabelReader
from monai.utils import optional_import

HEAD_BYTES = 65536
"""Headers in text (MetaImage, NRRD) are shorter."""


class NiftiReader(NibabelReader):
    """MONAI's reader with the affine of the file: where pixdim contradicts the sform, MONAI makes another one.

    A compressed file is read to its end, where its checksum is: libraries stop at the last voxel, and take a file that
    was damaged on its way for an image.
    """

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Open one file.

        Args:
            data: path, or a list of one.
            **kwargs: for nibabel.

        Returns:
            Image of nibabel.
        """
        (name,) = self.filenames = [data] if isinstance(data, str | os.PathLike) else list(data)
        image: Any = nib.load(name, **kwargs)
        if not str(name).lower().endswith(".gz"):
            return image
        with gzip.open(name) as stream:
            found = type(image).from_file_map({"image": nib.FileHolder(fileobj=stream)})
            array = np.asanyarray(found.dataobj, order="C")
            while stream.read(1 << 20):
                pass
        return type(image)(array, found.affine, found.header)


class MetaImageReader(ITKReader):
    """MONAI's reader for MetaImage: by content, for ITK knows endings in small letters alone, and nothing damaged.

    Of a compressed file whose bytes are damaged, ITK gives an image of what it could unpack.
    """

    def __init__(self) -> None:
        itk, _ = optional_import("itk")
        super().__init__(imageio=itk.MetaImageIO.New())

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Open one file.

        Args:
            data: path, or a list of one.
            **kwargs: for ITK.

        Returns:
            Image of ITK.

        Raises:
            EOFError: if its compressed part ends too early.
        """
        (name,) = [data] if isinstance(data, str | os.PathLike) else list(data)
        _check_packed(Path(name), _META_PACKED, _META_DATA)
        return super().read(data, **kwargs)


class NrrdReader(ITKReader):
    """MONAI's reader for NRRD, and nothing damaged: ITK does not look at the checksum of a compressed file."""

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Open one file; arguments, result and errors as of :class:`MetaImageReader`."""
        (name,) = [data] if isinstance(data, str | os.PathLike) else list(data)
        _check_packed(Path(name), _NRRD_PACKED, _NRRD_DATA)
        return super().read(data, **kwargs)


_META_PACKED, _META_DATA = rb"(?mi)^CompressedData\s*=\s*True", rb"(?m)^ElementDataFile\s*=\s*(.+?)\s*$\n?"
_NRRD_PACKED, _NRRD_DATA = rb"(?mi)^encoding:\s*gz(ip)?\s*$", rb"(?mi)^data ?file:\s*(.+?)\s*$|(?<=\n)\r?\n"


def _check_packed(path: Path, packed_line: bytes, data_line: bytes) -> None:
    """Unpack what a header in text is about, in this file or another one, to its end, where its checksum is."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    found = re.search(data_line, head)
    about = head.partition(b"\n\n")[0]
    if found is None or not re.search(packed_line, about) or re.search(rb"(?mi)^line ?skip:\s*[1-9]", about):
        return
    local = found[1] in (None, b"LOCAL")
    other = path.parent / os.fsdecode(found[1] or b"")
    if not local and not other.is_file():  # ITK says what is missing
        return
    packed = zlib.decompressobj(47)  # zlib or gzip
    with (path if local else other).open("rb") as file:
        file.seek(found.end() if local else 0)
        while (block := file.read(1 << 16)) and not packed.eof:
            packed.decompress(block)
    if not packed.eof:
        raise EOFError(f"{path} ends too early.")
