# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A datalist as raw data sets of nnU-Net."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.data import MetaTensor

from monai_mmseg.data.datalist import Datalist, group_by_subject, label_problem, read_datalist, read_raw
from monai_mmseg.data.visits import person_of
from monai_mmseg.files import write_json, write_nifti, write_text
from monai_mmseg.names import names_of_one_file, safe_name
from monai_mmseg.outputs import ASK, new_files, spare_originals
from monai_mmseg.transforms.image_files import VolumeError, image_ending
from monai_mmseg.transforms.read_volume import (
    check_image_values,
    check_label_values,
    check_same_grid,
    read_one_volume,
)
from monai_mmseg.unannotated import UNANNOTATED

logger = logging.getLogger(__name__)

FORMS = ("channels", "mixed", "each")
_ENDING = ".nii.gz"
_FOLDERS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs")
_SPLITS = "splits_final.json"


class UnfitCases(ValueError):
    """Cases that nnU-Net cannot take; the message lists them."""

    says_all = True


class NnunetDataset(NamedTuple):
    """What was written for nnU-Net."""

    folder: Path
    channels: tuple[str, ...]
    training: int  # cases
    test: int
    folds: int
    left_out: tuple[str, ...]  # one sentence for each


class _Case(NamedTuple):
    """One case of nnU-Net before it is written."""

    name: str
    images: dict[str, str]  # modality to file, in the order of the channels
    labels: dict[str, str]
    section: str
    item: Mapping[str, Any]  # one of its items


def export_nnunet(
    datalist: str | Path,
    out: str | Path,
    *,
    number: int,
    form: str = "channels",
    name: str | None = None,
    modalities: Sequence[str] | None = None,
    skip_unfit: bool = False,
    link: bool = False,
    overwrite: bool = False,
) -> list[NnunetDataset]:
    """Write a datalist as one or several raw data sets of nnU-Net, version 2.

    Use it to compare with nnU-Net. It takes channels on one grid, all there, and a label for each training case; what
    it cannot take is refused by name. Folds become ``splits_final.json``, which nnU-Net's planning finds; a section
    ``validation`` without folds is its only split. ``cases.csv`` tells subject, visit and modality of each case, for
    :func:`~monai_mmseg.preparation.layouts.nnunet.read_nnunet`.

    Args:
        datalist: JSON file.
        out: folder of nnU-Net's raw data sets (``nnUNet_raw``); ``Dataset<number>_<name>`` is made in it.
        number: of the data set; with ``"each"``, of the first one.
        form: ``"channels"``: modalities of a subject are channels of a case, registered, with one label. ``"mixed"``:
            each image is a case of one channel, of whatever modality. ``"each"``: as mixed, one data set a modality.
        name: of the data set; default is that of the datalist.
        modalities: which, in the order of the channels; default is all.
        skip_unfit: whether to leave out cases that nnU-Net cannot take.
        link: whether NIfTI images are linked to where they are, instead of copied.
        overwrite: whether files that are there already may be replaced.

    Returns:
        What was written, a data set each.

    Raises:
        ValueError: if cases cannot be taken and `skip_unfit` is off, none is left, labels have gaps, a file cannot be
            used, or what the list names would be replaced.
        OSError: if a data set of this number is there already, or it cannot be written.

    Examples:
        >>> import tempfile
        >>> item = {"image": "a.nii.gz", "label": "b.nii.gz", "modality": "ct", "subject": "p1"}
        >>> head = {"name": "liver", "labels": {"0": "background", "1": "liver"}}
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for file in ("a", "b"):
        ...         _ = write_nifti(f"{name}/{file}.nii.gz", np.eye(4, dtype=np.uint8)[..., None], np.eye(4))
        ...     _ = write_json(f"{name}/datalist.json", {**head, "training": [item]})
        ...     (done,) = export_nnunet(f"{name}/datalist.json", f"{name}/nnUNet_raw", number=1)
        >>> done.folder.name, done.channels, done.training
        ('Dataset001_liver', ('CT',), 1)
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {list(FORMS)}, got {form!r}.")
    content = read_datalist(datalist)
    names = list(modalities) if modalities else content.modalities
    sets = _sets(content, names, form, number, name)
    head = {key: text for key, text in read_raw(datalist)[0].items() if key in ("reference", "licence", "description")}
    for title in sets:
        _check_place(Path(out), title, overwrite=overwrite)
    read = [
        item[key] for items in content.sections.values() for item in items for key in ("image", "label") if key in item
    ]
    spare_originals([Path(out) / title for title in sets], [Path(datalist), *map(Path, read)])
    with new_files(out, overwrite=overwrite) as stage:  # all data sets or none
        written = []
        for title, chosen in sets.items():
            cases, unfit = _paired(content, chosen) if form == "channels" else _single(content, chosen, form == "mixed")
            place, values, ignore = stage / title, list(content.labels), content.ignore
            done = [case for case in cases if _fits(place, case, values, unfit, ignore=ignore, link=link)]
            channels = _channels(chosen) if form != "mixed" or len(chosen) == 1 else ["mixed"]
            splits = _splits(content, done, title)
            _write_tables(stage / title, content, channels, done, splits, {"name": name or content.name, **head})
            tested = sum(case.section == "test" for case in done)
            counts = {"training": len(done) - tested, "test": tested, "folds": len(splits)}
            written.append(NnunetDataset(Path(out) / title, tuple(channels), **counts, left_out=tuple(unfit)))
        _check_unfit(content, written, form, skip_unfit=skip_unfit)
        if overwrite:
            for title in sets:
                _remove(Path(out) / title)  # cases that are no longer there would be trained on
    return written


def _check_unfit(content: Datalist, written: Sequence[NnunetDataset], form: str, *, skip_unfit: bool) -> None:
    unfit = [sentence for one in written for sentence in one.left_out]
    if unfit and not skip_unfit:
        hint = "\nOr give --form mixed or each, which take images that are not registered or not all there."
        raise UnfitCases(
            f"{content.path}: nnU-Net cannot take {len(unfit)} cases:{_lines(unfit)}\nLeave them out (--skip-unfit; "
            f"skip_unfit=True in Python).{hint if form == 'channels' else ''}"
        )
    for one in written:
        if not one.training:
            raise UnfitCases(f"{content.path}: no case for training is left for {one.folder.name}:{_lines(unfit)}")


def _sets(content: Datalist, names: Sequence[str], form: str, number: int, name: str | None) -> dict[str, list[str]]:
    """Folders of the data sets, and the modalities in them."""
    if problem := label_problem(content.labels) if content.labels else "labels must be declared":
        raise ValueError(f"{content.path}: {problem}.")
    if "ignore" in content.labels.values():
        raise ValueError(f"{content.path}: a class cannot be called 'ignore', to nnU-Net that means unknown.")
    if unknown := [one for one in names if one not in content.modalities]:
        raise ValueError(f"modalities must be among {content.modalities}, got {unknown}.")
    if not 1 <= number <= 1000 - (len(names) if form == "each" else 1):
        raise ValueError(f"number must be from 1 to 999 for each data set, got {number}.")
    title = re.sub(r"[^\w-]+", "_", name or content.name, flags=re.ASCII).strip("_") or "data"
    if form != "each":
        return {f"Dataset{number:03d}_{title}": list(names)}
    parts = [re.sub(r"[^\w-]+", "_", one, flags=re.ASCII) for one in names]
    return {f"Dataset{number + place:03d}_{title}_{parts[place]}": [one] for place, one in enumerate(names)}


def _channels(modalities: Sequence[str]) -> list[str]:
    """Names of channels: CT has one that nnU-Net knows, and scales by its values, not by each image."""
    return ["CT" if name.lower() == "ct" else name for name in modalities]


def _check_place(out: Path, title: str, *, overwrite: bool) -> None:
    """nnU-Net stops where two data sets have one number."""
    for there in sorted(out.glob(f"{title.partition('_')[0]}_*")):
        if there.name != title:
            raise FileExistsError(f"{there} has this number already; give another one (--number).")
        if not overwrite:
            raise FileExistsError(f"{there} is there already; {ASK}.")


def _paired(content: Datalist, modalities: Sequence[str]) -> tuple[list[_Case], list[str]]:
    """A case for each subject that has all modalities, and why others cannot be."""
    cases, unfit = [], []
    for section, items in content.sections.items():
        first = {item["subject"]: item for item in items[::-1]}
        for group in group_by_subject(items, modalities):
            subject, labels = group["subject"], group["label"]
            if lacking := [name for name in modalities if name not in group["image"]]:
                unfit.append(f"{subject}: has no {', '.join(lacking)}")
            elif section != "test" and not labels:
                unfit.append(f"{subject}: has no label")
            else:
                cases.append(_Case(subject, group["image"], labels, section, first[subject]))
    return cases, unfit


def _single(content: Datalist, modalities: Sequence[str], named: bool) -> tuple[list[_Case], list[str]]:
    """A case for each image, `named` after its modality, too; and why others cannot be."""
    cases, unfit = [], []
    for section, items in content.sections.items():
        for item in items:
            kind, label = item["modality"], item.get("label")
            name = f"{item['subject']}_{kind}" if named else item["subject"]
            if kind not in modalities:
                continue
            if section != "test" and not label:
                unfit.append(f"{name}: has no label")
            else:
                cases.append(_Case(name, {kind: item["image"]}, {kind: label} if label else {}, section, item))
    return cases, unfit


def _fits(
    folder: Path, case: _Case, values: Sequence[int], unfit: list[str], *, ignore: int | None, link: bool
) -> bool:
    """Whether a case could be written; if not, `unfit` gets the reason."""
    try:
        _write_case(folder, case, values, ignore=ignore, link=link)
    except (VolumeError, FileNotFoundError) as error:
        unfit.append(f"{case.name}: {error}")
        return False
    return True


def _write_case(folder: Path, case: _Case, values: Sequence[int], *, ignore: int | None, link: bool) -> None:
    """Files of one case, when all of them were found to fit."""
    images = {name: read_one_volume(path) for name, path in case.images.items()}
    first, grid = next(iter(images.items()))
    for name, image in images.items():
        check_image_values(image)
        if problem := _apart(grid, image):
            raise VolumeError(f"{name} lies on another grid than {first} ({problem})")
    label = None
    for path in dict.fromkeys(case.labels.values()):
        found = read_one_volume(path)
        unknown = case.item.get("unknown")
        check_label_values(found, values, ignore=ignore, unknown=unknown)
        check_same_grid(grid, found)
        if unknown and any(unknown):  # nnU-Net knows no sets of classes: what may be another organ is not annotated
            found[found == 0] = UNANNOTATED
        if label is not None and not np.array_equal(label, found):
            raise VolumeError(f"labels of {' and '.join(case.labels)} differ; keep one of them in the datalist")
        label = found
    part = "Ts" if case.section == "test" else "Tr"
    name = safe_name(case.name, "case")
    for place, (modality, path) in enumerate(case.images.items()):
        _put(folder / f"images{part}" / f"{name}_{place:04d}{_ENDING}", Path(path), images[modality], link=link)
    if label is not None:
        array = label.as_tensor()[0].numpy().astype(np.uint8)
        array[array == UNANNOTATED] = len(values)  # nnU-Net wants the next number
        write_nifti(folder / f"labels{part}" / f"{name}{_ENDING}", array, np.asarray(grid.affine, dtype=np.float64))


def _apart(first: MetaTensor, second: MetaTensor) -> str | None:
    try:
        check_same_grid(first, second)
    except VolumeError as error:
        return str(error).rpartition(": ")[2].rstrip(".")
    return None


def _put(target: Path, source: Path, image: MetaTensor, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if image_ending(source) != _ENDING:
        write_nifti(target, image.as_tensor()[0].numpy(), np.asarray(image.affine, dtype=np.float64))
    elif link:
        os.symlink(source.resolve(), target)
    else:
        shutil.copyfile(source, target)


def _splits(content: Datalist, cases: Sequence[_Case], title: str) -> list[dict[str, list[str]]]:
    """Splits as nnU-Net has them: of the folds, or the section ``validation`` as the only one."""
    training = [case for case in cases if case.section == "training"]
    validation = [case.name for case in cases if case.section == "validation"]
    folds: dict[int, list[str]] = defaultdict(list)
    for case in training:
        if "fold" in case.item:
            folds[case.item["fold"]].append(case.name)
    inside = sum(map(len, folds.values()))
    if inside not in (0, len(training)):
        raise ValueError(f"{content.path}: {len(training) - inside} of {len(training)} training cases have no fold.")
    if folds and validation:
        raise ValueError(f"{content.path}: has folds and a section 'validation'; nnU-Net validates on one of them.")
    names = [case.name for case in training]
    # a split for each fold of the datalist, whatever was left out: fold 1 of all data sets holds out the same subjects
    numbers = sorted({item["fold"] for item in content.items("training") if "fold" in item}) if folds else []
    parts = [folds[number] for number in numbers] if folds else [validation] if validation else []
    found = []
    for number, part in enumerate(parts):
        learned = [name for name in names if name not in part]
        if not (learned and part):  # nnU-Net falls on an empty side
            what = "watch" if learned else "train"
            logger.warning("%s: split %d has no case to %s, and takes those that it has for both.", title, number, what)
        found.append({"train": learned or part, "val": part or learned})
    return found


def _write_tables(
    folder: Path,
    content: Datalist,
    channels: Sequence[str],
    cases: Sequence[_Case],
    splits: Sequence[Mapping[str, Sequence[str]]],
    head: Mapping[str, str],
) -> None:
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{content.path}: two cases would be called {twice[0]!r}; rename a subject.")
    if same := names_of_one_file(names):
        raise ValueError(f"{content.path}: {same[0][0]!r} and {same[0][1]!r} differ in their letter case alone.")
    description = {
        **head,
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {
            "background": 0,
            **{name: value for value, name in content.labels.items() if value},
            **({"ignore": len(content.labels)} if _has_unannotated(content) else {}),
        },
        "numTraining": sum(case.section != "test" for case in cases),
        "file_ending": _ENDING,
    }
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["case", "subject", "visit", "modality"])
    for case in cases:
        kind = next(iter(case.images)) if len(case.images) == 1 else ""
        rows.writerow([case.name, person_of(case.item), case.item.get("visit", ""), kind])
    write_text(folder / "cases.csv", table.getvalue())
    if splits:
        write_text(folder / _SPLITS, json.dumps(splits, indent=1) + "\n")
    write_json(folder / "dataset.json", description)


def _has_unannotated(content: Datalist) -> bool:
    items = [item for items in content.sections.values() for item in items]
    return content.ignore is not None or any(any(item.get("unknown", ())) for item in items)


def _remove(folder: Path) -> None:
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / _SPLITS).unlink(missing_ok=True)


def _lines(reasons: Sequence[str], most: int = 20) -> str:
    more = [f"and {len(reasons) - most} more"] if len(reasons) > most else []
    return "".join(f"\n  - {reason.rstrip('.')}" for reason in [*reasons[:most], *more])
