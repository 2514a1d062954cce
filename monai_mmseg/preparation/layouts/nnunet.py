# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Raw data sets of nnU-Net: ``dataset.json``, one file a channel, one label a case."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_mmseg.files import read_json
from monai_mmseg.preparation.layouts.case_names import CaseName, case_namer
from monai_mmseg.preparation.layouts.described import (
    channel_modalities,
    classes_of,
    in_brief,
    read_description,
    refuse_twice,
)
from monai_mmseg.preparation.layouts.layout import Case, Layout, require
from monai_mmseg.preparation.layouts.msd import declared_names
from monai_mmseg.transforms.image_files import VOLUME_ENDINGS
from monai_mmseg.transforms.read_volume import read_volume
from monai_mmseg.unannotated import UNANNOTATED

IGNORE = ("background", "unlabelled")


class _Files(NamedTuple):
    """Files of one case."""

    images: dict[int, Path]  # by number of the channel
    label: Path | None
    section: str


def read_nnunet(
    folder: str | Path,
    *,
    labels: str | None = None,
    modalities: Sequence[str] | None = None,
    modality_from: str | None = None,
    case: str | None = None,
    ignore: str | None = None,
    splits: str | None = None,
) -> Layout:
    """Find the cases of a raw data set of nnU-Net, version 2 or 1.

    Channels become modalities of one subject on one grid; they share the label. A data set that mixes images of several
    modalities as one channel is parted by `modality_from`.

    Args:
        folder: holds ``dataset.json``, ``imagesTr``, ``labelsTr`` and maybe ``imagesTs`` and ``labelsTs``; or a folder
            around one such data set.
        labels: classes by value, such as ``"liver=1, tumour=2"``; default is what ``dataset.json`` names. Regions that
            overlap become classes that do not, as nnU-Net writes them.
        modalities: names of the channels in their order; default is what ``dataset.json`` calls them, in small letters.
        modality_from: modality of each case of one channel: ``"ct=^ct_, mr=^mr_"``, regular expressions for the names
            of cases, or a CSV file with the columns case and modality (and maybe subject and visit).
        case: what the names of cases say, such as ``"{subject}_{visit}"``; default is that each is a subject.
        ignore: what becomes of voxels with the ignore label; default is that they count neither in training nor in
            scores. background; or unlabelled, which leaves out each label that has such voxels (files are read for it).
        splits: file with the folds; default is ``splits_final.json`` in the folder, if it is there.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there is no such folder, no ``dataset.json`` in it, or nothing that it describes.
        ValueError: if ``dataset.json`` is not of this form, images are pictures, or a case has no modality or two.

    Examples:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     head = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "liver": 1}}
        ...     _ = Path(name, "dataset.json").write_text(json.dumps(head))
        ...     for file in ("imagesTr/p1_0000.nii.gz", "labelsTr/p1.nii.gz"):
        ...         Path(name, file).parent.mkdir()
        ...         Path(name, file).touch()
        ...     found = read_nnunet(name)
        >>> [(case.subject, case.modality, case.label.name) for case in found.cases], found.labels
        ([('p1', 't1', 'p1.nii.gz')], {0: 'background', 1: 'liver'})
    """
    root = _root(Path(folder))
    where = str(root / "dataset.json")
    content = read_description(root / "dataset.json")
    ending = str(content.get("file_ending", ".nii.gz"))
    if ending.lower() not in VOLUME_ENDINGS:
        raise ValueError(
            f"{where}: 'file_ending' is {ending!r}; read are volumes with an affine ({' '.join(VOLUME_ENDINGS)}), no "
            "pictures and no TIFF files."
        )
    key = "channel_names" if "channel_names" in content else "modality"
    names, decided = channel_modalities(content.get(key), modalities, f"{where}: {key!r}")
    values, ignored, remarks = _labels(content, where, known=labels is not None)
    if ignore is not None and ignore not in IGNORE:
        raise ValueError(f"ignore must be one of {list(IGNORE)}, got {ignore!r}.")
    classes = classes_of(values, labels)

    name_case = case_namer(case, modality_from, root)
    files, broken = _files(root, content, ending)
    whose = {name: name_case(name) for name in files}
    if len(names) > 1 and any(about.modality for about in whose.values()):
        raise ValueError(f"modalities of cases are for data sets of one channel, {where} has {len(names)}: {names}.")
    training = {name: whose[name].subject for name, one in files.items() if one.section == "training"}
    folds, split_notes = _folds(root, splits, training)
    cases: list[Case] = []
    partial: list[str] = []
    for name, one in files.items():
        try:
            _check_files(name, one, names, ending)
            sought = ignored if ignore == "unlabelled" else None
            if one.label is not None and sought is not None and bool((read_volume(one.label) == sought).any()):
                one = one._replace(label=None)
                partial.append(name)
        except (ValueError, FileNotFoundError) as error:
            broken[whose[name].subject] = str(error)
        else:
            cases += _cases(one, whose[name], names, folds.get(name))
    refuse_twice(cases)
    if not broken:
        require(root, cases, [], f"imagesTr/case_0000{ending}")
    if (told := content.get("numTraining", len(training))) != len(training):
        broken["dataset.json"] = f"numTraining is {told}, {len(training)} training cases are there: was all copied?"
    own = any(about.modality for about in whose.values())  # the name of the channel says nothing then
    notes = [*([] if own else decided), *(remarks if labels is None else []), *split_notes]
    if len(names) == 1 and case is None and modality_from is None and (root / "cases.csv").is_file():
        notes.append("each case is a subject; cases.csv says who and what it is: --modality-from cases.csv")
    table = dict(classes.values)
    if ignored is not None:
        table[ignored] = UNANNOTATED if ignore is None else 0
        words = {
            None: f"voxels of the ignore label {ignored} become {UNANNOTATED}: they count nowhere",
            "background": f"the ignore label {ignored} becomes background",
            "unlabelled": f"labels with voxels of the ignore label {ignored} are left out: "
            f"{in_brief(partial) or 'none has any'}",
        }
        notes.append(words[ignore])
    return Layout(
        str(content.get("name") or re.sub(r"^Dataset\d+_", "", root.resolve().name)),
        names if len(names) > 1 else sorted({one.modality for one in cases}) or names,
        *(classes.labels, table, cases),
        reference=str(content.get("reference", "")),
        licence=str(content.get("licence") or content.get("license") or ""),
        notes=notes,
        broken=broken,
    )


def _cases(files: _Files, about: CaseName, modalities: Sequence[str], fold: int | None) -> list[Case]:
    return [
        Case(
            *(about.subject, about.modality or modality, files.images[number], files.label, files.section),
            *(about.visit, fold if files.section == "training" else None),
        )
        for number, modality in enumerate(modalities)
    ]


def _root(folder: Path) -> Path:
    """The folder of the data set, which may be the only one in a folder of data sets."""
    if not folder.is_dir():
        raise FileNotFoundError(f"folder must be where the data set is, but {folder} is not there.")
    if (folder / "dataset.json").is_file():
        return folder
    found = sorted(one.parent for one in folder.glob("*/dataset.json"))
    if len(found) != 1:
        hint = f"; it holds several data sets, name one: {in_brief([one.name for one in found])}" if found else ""
        raise FileNotFoundError(f"{folder} holds no dataset.json{hint}.")
    return found[0]


def _labels(content: Mapping[str, Any], where: str, *, known: bool) -> tuple[dict[int, str], int | None, list[str]]:
    """Value to name without overlaps, value of voxels that are not annotated, and what was decided.

    Where the classes are `known`, names of overlapping regions do not matter.
    """
    given = content.get("labels")
    if isinstance(given, Mapping) and given and all(isinstance(name, str) for name in given.values()):
        return declared_names(given, f"{where}: 'labels'"), None, []  # as in version 1
    regions: dict[str, list[int]] = {}
    for name, value in given.items() if isinstance(given, Mapping) else ():
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers):
            raise ValueError(f"{where}: 'labels' must give numbers from 0, got {name!r}: {value!r}.")
        regions[str(name)] = numbers
    if regions.get("background") != [0]:
        raise ValueError(f"{where}: 'labels' must map names to numbers with background 0, got {given!r}.")
    if len(regions.get("ignore", [0])) > 1:
        raise ValueError(f"{where}: the label 'ignore' must be one number, got {regions['ignore']}.")
    ignored = regions.pop("ignore", [None])[0]
    names: dict[int, str] = {}
    if all(len(numbers) == 1 for numbers in regions.values()):
        for name, (value,) in regions.items():
            if value in names:
                raise ValueError(f"{where}: 'labels' gives {value} to {names[value]!r} and to {name!r}.")
            names[value] = name
        return names, ignored, []
    # nnU-Net paints one region over the other, each with its number of 'regions_class_order'
    for name, numbers in regions.items():
        names.update(dict.fromkeys(numbers, name))
    kept = {name: [value for value, last in names.items() if last == name] for name in regions}
    several = {name: held for name, held in kept.items() if len(held) > 1}
    if several and not known:
        name, held = next(iter(several.items()))
        raise ValueError(
            f"{where}: the region {name!r} alone holds the values {held}; say what each is, as in "
            '--labels "edema=1, core=2+3".'
        )
    notes = ["regions overlap, classes do not: " + ", ".join(f"{v} {n}" for v, n in _parts(regions, names).items())]
    return _parts(regions, names), ignored, notes


def _parts(regions: Mapping[str, Sequence[int]], names: Mapping[int, str]) -> dict[int, str]:
    """Names of what is left of regions; a part must not be taken for the whole."""
    return {value: name if len(regions[name]) == 1 else f"{name}_rest" for value, name in sorted(names.items())}


def _files(root: Path, content: Mapping[str, Any], ending: str) -> tuple[dict[str, _Files], dict[str, str]]:
    """Files by name of the case, and names that are not of the form."""
    broken: dict[str, str] = {}
    cases: dict[str, _Files] = {}
    parts = [("training", "imagesTr", "labelsTr"), ("test", "imagesTs", "labelsTs")]
    if isinstance(content.get("dataset"), dict):
        parts = parts[1:]
        for name, one in content["dataset"].items():
            try:
                images = [root / os.path.expandvars(path) for path in one["images"]]
                cases[name] = _Files(dict(enumerate(images)), root / os.path.expandvars(one["label"]), "training")
            except (TypeError, KeyError):
                broken[name] = f"{root / 'dataset.json'}: 'dataset' must give 'images' and 'label', got {one!r}"
    for section, images_in, labels_in in parts:
        labels = {path.name[: -len(ending)]: path for path in _ending(root / labels_in, ending)}
        for path in _ending(root / images_in, ending):
            match = re.fullmatch(r"(.+)_(\d{4})", path.name[: -len(ending)])
            if match is None:
                broken[path.name] = f"{path}: the name has no number of a channel, such as _0000"
                continue
            name = match[1]
            if name in cases and cases[name].section != section:
                broken[name] = f"{path}: there is a case of this name for training, too"
                continue
            case = cases.setdefault(name, _Files({}, labels.get(name), section))
            case.images[int(match[2])] = path
        for name, path in labels.items():
            if name not in cases:
                broken[name] = f"{path}: a label without an image"
    return cases, broken


def _ending(folder: Path, ending: str) -> list[Path]:
    """Files of a folder with this ending, in any letter case."""
    found = [path for path in folder.glob("*") if path.name.lower().endswith(ending.lower())]
    return sorted(path for path in found if not path.name.startswith("."))


def _check_files(name: str, files: _Files, channels: Sequence[str], ending: str) -> None:
    lost = [f"{number:04d} ({channel})" for number, channel in enumerate(channels) if number not in files.images]
    more = [path for number, path in files.images.items() if number >= len(channels)]
    absent = [path for path in (*files.images.values(), files.label) if path is not None and not path.is_file()]
    if more:
        raise ValueError(f"{more[0]}: a channel that dataset.json does not have, it names {list(channels)}.")
    if lost:
        raise ValueError(f"case {name!r} lacks the channel {', '.join(lost)}.")
    if files.section == "training" and files.label is None:
        raise ValueError(f"case {name!r} lacks its label, labelsTr/{name}{ending}.")
    if absent:
        raise FileNotFoundError(f"{absent[0]}: no such file.")


def _folds(root: Path, splits: str | None, training: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """Fold of each case, the one that validates on it, and what was decided; none where they do not part the subjects.

    `training` maps the name of a case to its subject.
    """
    path = root / "splits_final.json" if splits is None else Path(splits)
    if splits is None and not path.is_file():
        return {}, []
    try:
        parts = [list(part["val"]) for part in read_json(path)]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: must be a list of objects with 'train' and 'val', as nnU-Net writes it.") from error
    held = [name for part in parts for name in part]
    fold_of = {name: number for number, part in enumerate(parts) for name in part}
    of_subject: dict[str, set[int]] = {}
    for name, subject in training.items():
        of_subject.setdefault(subject, set()).add(fold_of.get(name, -1))
    parted = [subject for subject, numbers in of_subject.items() if len(numbers) > 1]
    problem = ""
    if lost := [name for name in training if name not in fold_of]:
        problem = f"{in_brief(lost)} would be in no fold"
    elif len(set(held)) < len(held):
        problem = f"{in_brief(sorted({name for name in held if held.count(name) > 1}))} would be in two folds"
    elif parted:
        problem = f"images of {in_brief(parted)} would be in two folds"
    if problem:
        return {}, [f"the folds of {path.name} are left out, since {problem}; `mmseg data split` makes others"]
    return fold_of, [f"{len(parts)} folds are those of {path.name}"]
