# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a reader of a public data set finds, before anything is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from monai.data import MetaTensor

from monai_mmseg.files import read_json

NIFTI = r"(?i:\.nii(?:\.gz)?)"
"""Pattern of the endings of a NIfTI file."""


class Case(NamedTuple):
    """One image of a data set."""

    subject: str  # the person
    modality: str
    image: Path  # a volume, or a folder of DICOM files
    label: Path | None = None  # a volume, or a folder of pictures; None: not annotated
    section: str = "training"
    visit: str | None = None  # of a person who was examined more than once
    fold: int | None = None
    series: tuple[Path, ...] = ()  # DICOM files of the image, where its folder holds others as well
    frame: int | None = None  # of a 4D image; its label is 3D, or 4D with as many frames
    values: Mapping[int, int] | None = None  # label values of this case alone, instead of the data set's
    pairs: Mapping[str, Mapping[int, int]] | None = None  # as in a datalist: slices of the image to another modality's
    meta: Mapping[str, str] | None = None  # what is known of the person


class Step(Protocol):
    """A change of the voxels that belongs to a data set's preparation, such as a crop.

    A frozen dataclass, so that its settings can be written down and another process can do it.
    """

    def __call__(self, image: MetaTensor, label: MetaTensor | None, case: Case) -> tuple[MetaTensor, MetaTensor | None]:
        """Image ``(1, X, Y, Z)`` and label, with the affine of what is left."""


@dataclass(frozen=True)
class Layout:
    """A data set as its files lie there."""

    name: str
    modalities: Sequence[str]
    labels: Mapping[int, str]  # classes of the datalist
    values: Mapping[int, int]  # value in the files to class; any other value is an error
    cases: Sequence[Case]
    reference: str  # where the data and their terms of use are
    licence: str = ""  # name of the licence, or where to read the terms
    citation: str = ""  # what the owners of the data ask to be cited
    target: str | None = None  # key of the datalist
    steps: Sequence[Step] = ()  # done to each image before it is written; without them, volumes stay where they are
    notes: Sequence[str] = ()  # decisions that were taken while reading, one sentence each
    broken: Mapping[str, str] = field(default_factory=dict)  # subject, or one visit's name, to why not


def label_table(classes: Mapping[int, Sequence[int]], background: Sequence[int]) -> dict[int, int]:
    """Value in the files to class, from the other direction.

    Args:
        classes: values of each class.
        background: values that become 0, beside 0 itself.

    Returns:
        The table.

    Examples:
        >>> label_table({1: [205], 2: [420, 421]}, background=[600])
        {0: 0, 600: 0, 205: 1, 420: 2, 421: 2}
    """
    table = dict.fromkeys((0, *background), 0)
    return {**table, **{value: one for one, values in classes.items() for value in values}}


_PACKED = r"\.(zip|7z|rar|tgz|tar(\.\w+)?)$"


def check_folder(folder: str | Path) -> None:
    """Refuse what is no folder.

    Args:
        folder: where to look.

    Raises:
        FileNotFoundError: if there is no such folder, or it is still packed.
    """
    if not Path(folder).is_dir():
        what = "a file; unpack it first" if Path(folder).is_file() else "not there"
        raise FileNotFoundError(f"folder must be where the data set was unpacked, but {folder} is {what}.")


def find_files(folder: str | Path, pattern: str) -> Iterator[tuple[re.Match[str], Path]]:
    """Files anywhere in a folder whose whole name fits; hidden files are passed by, and what an import wrote there.

    Some programs unpack ``a.nii.gz`` to a folder ``a.nii`` with the file in it: folders are no files.

    Args:
        folder: where to look.
        pattern: regular expression.

    Yields:
        Match and path, in the order of the paths.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if two files have one name.
    """
    check_folder(folder)
    found: dict[str, Path] = {}
    for path in files_below(Path(folder)):
        match = re.fullmatch(pattern, path.name)
        if match is None:
            continue
        key = re.sub(NIFTI + "$", "", path.name)
        if key in found:
            raise ValueError(f"{folder} holds {key} twice: {found[key]} and {path}.")
        found[key] = path
        yield match, path


def files_below(folder: Path) -> list[Path]:
    """Files anywhere in a folder, also behind links; hidden ones are passed by, and what an import wrote there.

    Args:
        folder: where to look.

    Returns:
        The paths in their order, also of links that lead nowhere: those are files that are missing.

    Raises:
        OSError: if a folder cannot be read.
    """
    paths = list(_walk(folder))
    written = written_files(paths)
    return [path for path in paths if path not in written]


def _walk(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in above:
        return  # a link back
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__MACOSX")):
            continue
        if path.is_dir():
            yield from _walk(path, (*above, here))
        else:
            yield path


def written_files(paths: Sequence[Path]) -> set[Path]:
    """Outputs of imports, by their records.

    Args:
        paths: any files; those that are no records are passed by.

    Returns:
        Files that an import wrote.
    """
    found: set[Path] = set()
    for path in paths:
        if path.name.endswith("preparation.json"):
            with suppress(OSError, ValueError, LookupError, TypeError):  # somebody else's file
                outputs = read_json(path)["outputs"]
                found |= {path.parent / one["file"] for one in outputs}
    return found


def require(folder: str | Path, cases: Sequence[object], lost: Sequence[object], wanted: str) -> None:
    """Refuse a folder that is not complete, naming all that is missing.

    Args:
        folder: where was looked.
        cases: what was found.
        lost: paths that should be there.
        wanted: an example of the names that are looked for.

    Raises:
        FileNotFoundError: if nothing was found or something is lost.
    """
    if lost:
        shown = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
        raise FileNotFoundError(f"{folder}: {len(lost)} files are missing: {shown}")
    if not cases:
        packed = sorted(path.name for path in Path(folder).glob("*") if re.search(_PACKED, path.name, re.IGNORECASE))
        advice = f" Unpack {', '.join(packed[:3])} first." if packed else ""
        raise FileNotFoundError(
            f"{folder} holds no images of this data set; wanted are files such as {wanted}.{advice}"
        )
