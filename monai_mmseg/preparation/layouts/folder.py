# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Any folder of volumes whose paths say who and what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from monai_mmseg.data.visits import examination_name
from monai_mmseg.preparation.layouts.described import in_brief, modality_name
from monai_mmseg.preparation.layouts.label_map import LabelMap, read_label_map
from monai_mmseg.preparation.layouts.layout import Case, Layout, files_below
from monai_mmseg.preparation.layouts.path_pattern import path_pattern
from monai_mmseg.preparation.layouts.pictures import natural_order
from monai_mmseg.transforms.image_files import VOLUME_ENDINGS, image_ending


class _Key(NamedTuple):
    """What a path says."""

    subject: str
    visit: str | None
    modality: str | None


def read_folder(
    folder: str | Path,
    *,
    image: Sequence[str],
    label: Sequence[str] | None = None,
    labels: str | None = None,
    modalities: Sequence[str] | None = None,
    test: Sequence[str] | None = None,
) -> Layout:
    """Find images and labels by patterns of their paths.

    Fields of patterns are ``{subject}``, ``{modality}`` and ``{visit}``; ``*`` is any part of a name, ``**/`` any
    folders. A pattern without ``{modality}`` is of one modality, whose name stands in front, as in
    ``ct=images/{subject}.nii.gz``; a label pattern with neither is of all modalities of a subject. Letter case does not
    count.

    Args:
        folder: where the patterns begin.
        image: patterns of images, such as ``"{modality}/{subject}.nii.gz"``.
        label: patterns of labels, such as ``"labels/{modality}/{subject}.nii.gz"``; what fits one is no image.
        labels: classes by value, such as ``"liver=1, spleen=5, spine=41-48"``; needed where there are labels.
        modalities: words that ``{modality}`` can be, in the order wanted; default is what is found.
        test: subjects of the section ``test``, by name or with ``*``; the others are for training.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there is no such folder, or a pattern fits no file in it.
        ValueError: if a pattern cannot be read, two files are the same image, classes are not given, or a subject for
            testing is not there.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for file in ("ct/p1.nii.gz", "mr/p2.nii.gz", "mr/p1.nii.gz"):
        ...         Path(name, file).parent.mkdir(exist_ok=True)
        ...         Path(name, file).touch()
        ...     found = read_folder(name, image=["{modality}/{subject}.nii.gz"], test=["p2"])
        >>> [(case.subject, case.modality, case.section) for case in found.cases]
        [('p1', 'ct', 'training'), ('p1', 'mr', 'training'), ('p2', 'mr', 'test')]
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"folder must be where the data set is, but {folder} is not there.")
    if label and not labels:
        raise ValueError('labels must say what the values are, as in --labels "liver=1, spleen=5, spine=41-48".')
    if labels and not label:
        raise ValueError(
            'label must say where the label files are, since labels are named, as in --label "labels/{subject}.nii.gz".'
        )
    paths = _volumes(root)
    found_labels = _find(root, paths, label or [], modalities, "label")
    taken = set(found_labels.values())
    found = _find(root, [path for path in paths if path not in taken], image, modalities, "image")
    if unnamed := [path for key, path in found.items() if key.modality is None]:
        raise ValueError(
            f"image patterns must have {{modality}} or a name in front, as in ct={image[0]}; {unnamed[0]} has neither."
        )
    names = _modalities(found, modalities)
    of_image, broken = _pair(found, found_labels)
    tested = _tested(sorted({key.subject for key in found}), test or [])
    place = {name: number for number, name in enumerate(names)}
    keys = sorted(found, key=lambda one: (natural_order(Path(one.subject)), one.visit or "", place[str(one.modality)]))
    cases = [
        Case(
            *(key.subject, str(key.modality), root / found[key], root / of_image[key] if key in of_image else None),
            *("test" if key.subject in tested else "training", key.visit),
        )
        for key in keys
    ]
    classes = read_label_map(labels) if labels else LabelMap({}, {0: 0})
    used = {*taken, *found.values()}
    rest = [path for path in paths if path not in used]
    notes = [f"{len(rest)} of {len(paths)} images fit no pattern: {in_brief(rest)}"] if rest else []
    return Layout(
        *(root.resolve().name or "folder", names, classes.labels, classes.values, cases), "", notes=notes, broken=broken
    )


def _volumes(root: Path) -> list[str]:
    """Volumes below a folder, as patterns see them."""
    found = [path for path in files_below(root) if image_ending(path) in VOLUME_ENDINGS]
    return sorted(path.relative_to(root).as_posix() for path in found)


def _find(
    root: Path, paths: Sequence[str], patterns: Sequence[str], modalities: Sequence[str] | None, kind: str
) -> dict[_Key, str]:
    """Files by what their paths say."""
    found: dict[_Key, str] = {}
    visits = set[bool]()
    for entry in patterns:
        fixed = re.match(r"([\w.+-]+)=(?=.)", entry)
        text = entry[fixed.end() :] if fixed else entry
        pattern = path_pattern(text, {"modality": modalities or ()})
        if fixed and "modality" in pattern.groupindex:
            raise ValueError(f"the {kind} pattern {entry!r} names its modality twice, in front and as {{modality}}.")
        fits = [(path, match) for path in paths if (match := pattern.fullmatch(path))]
        if not fits:
            there = f"there are {in_brief(paths)}" if paths else "those that there are have a label's name"
            raise FileNotFoundError(f"{root}: the {kind} pattern {text!r} fits none of {len(paths)} files; {there}.")
        for path, match in fits:
            parts = match.groupdict()
            word = fixed[1] if fixed else parts.get("modality")
            visits.add("visit" in parts)
            name = None if word is None else _word(word, modalities)
            key = _Key(parts["subject"], parts.get("visit"), name)
            if found.setdefault(key, path) != path:
                visit = f", visit {key.visit}" if key.visit else ""
                about = f"subject {key.subject!r}{visit}" + (f", modality {name!r}" if name else "")
                raise ValueError(f"{root}: two {kind}s of {about}: {found[key]} and {path}.")
    if len(visits) > 1:
        raise ValueError(f"{kind} patterns must all have {{visit}} or none, got {list(patterns)}.")
    return found


def _word(word: str, modalities: Sequence[str] | None) -> str:
    """Name of a modality: as it was asked for, whatever its letter case in the path."""
    known = {name.casefold(): name for name in modalities or ()}
    return known.get(word.casefold()) or modality_name(word)


def _modalities(found: Mapping[_Key, str], modalities: Sequence[str] | None) -> list[str]:
    names = sorted({str(key.modality) for key in found})
    if modalities is None:
        return names
    if absent := [name for name in modalities if name not in names]:
        raise ValueError(f"modalities: no image is of {', '.join(absent)}; there are {names}.")
    return [*modalities, *(name for name in names if name not in modalities)]


def _pair(images: Mapping[_Key, str], labels: Mapping[_Key, str]) -> tuple[dict[_Key, str], dict[str, str]]:
    """Label of each image that has one, and subjects, or visits of them, with a label that has no image."""
    of_image: dict[_Key, str] = {}
    broken: dict[str, str] = {}
    if images and labels and (next(iter(images)).visit is None) != (next(iter(labels)).visit is None):
        raise ValueError("image patterns and label patterns must both have {visit}, or neither.")
    for key, path in labels.items():
        fits = [one for one in images if one[:2] == key[:2] and key.modality in (None, one.modality)]
        if not fits:
            broken[examination_name(key.subject, key.visit)] = f"{path}: a label without an image"
        for one in fits:
            if of_image.setdefault(one, path) != path:
                raise ValueError(f"two labels of {images[one]}: {of_image[one]} and {path}.")
    return of_image, broken


def _tested(subjects: Sequence[str], patterns: Sequence[str]) -> set[str]:
    tested = set[str]()
    for pattern in patterns:
        fits = [name for name in subjects if fnmatch(name, pattern)]
        if not fits:
            raise ValueError(f"test: no subject fits {pattern!r}; there are {in_brief(subjects, 5)}.")
        tested.update(fits)
    return tested
