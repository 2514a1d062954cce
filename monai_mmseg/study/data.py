# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The datalist of each setting and fold: every method reads the same file, so none sees more than another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_mmseg.bundle.datalist import find_datalist
from monai_mmseg.bundle.naming import check_prediction_names
from monai_mmseg.data.annotations import mask_labels, without_label
from monai_mmseg.data.datalist import Datalist, read_datalist, stored_item
from monai_mmseg.data.visits import person_of
from monai_mmseg.files import write_json
from monai_mmseg.study.definition import Setting, Study
from monai_mmseg.study.methods import StudyError

VALIDATION, TRAINING = 0, 1  # folds of the datalists that are written: bundles watch fold 0


def source_data(study: Study, setting: Setting, out: Path) -> Datalist:
    """The study's datalist, or its phantom, which is made where it is not there.

    Args:
        study: what is compared.
        setting: may have a phantom, a datalist or tested images of its own.
        out: folder of the study.

    Raises:
        StudyError: the setting does not fit the study.
    """
    where = f"settings: {setting.name}: "
    if study.datalist is None:
        if setting.datalist is not None:
            raise StudyError(f"{where}a datalist, but the study makes a phantom: give it 'phantom'.")
        folder = out / "data" / (f"phantom_{setting.name}" if setting.phantom else "phantom")
        listed = read_datalist(find_datalist(folder, folder, {**study.phantom, **setting.phantom}))
    else:
        if setting.phantom:
            raise StudyError(f"{where}the study has no phantom to change.")
        listed = read_datalist(study.datalist)
    if setting.datalist is not None:
        listed = _fitting(setting.datalist, listed, where)
    if not setting.test:
        return listed
    other = _fitting(listed.path.parent / setting.test, listed, where)
    return replace(listed, sections={**listed.sections, "test": other.items("test")})


def _fitting(path: Path, listed: Datalist, where: str) -> Datalist:
    """Another datalist, of the same modalities and labels."""
    if not path.is_file():
        raise StudyError(f"{where}there is no {path}.")
    other = read_datalist(path)
    for name in ("modalities", "labels"):
        if (found := getattr(other, name)) != (wanted := getattr(listed, name)):
            raise StudyError(f"{where}{path} has {name} {found}, the study has {wanted}.")
    return other


def write_fold(listed: Datalist, setting: Setting, fold: int, folder: Path) -> Datalist:
    """Write what the methods read: a training section with fold 0 to watch it and 1 to learn from, and a test section.

    Where the datalist has a test section, `fold` watches the training. Where it has none, `fold` is the test section
    and the next fold watches: what is tested has neither trained nor selected a network. Labels that a setting takes
    away are taken from what trains, the same ones for all methods and seeds; from what watches, too, where none is
    left.

    Args:
        listed: the data.
        setting: how many labels stay.
        fold: number of the fold.
        folder: gets ``datalist.json``.

    Returns:
        What was written.

    Raises:
        StudyError: the folds do not allow it, or a modality is not there.
    """
    training = listed.items("training")
    numbers = sorted({item.get("fold", -1) for item in training})
    if -1 in numbers or len(numbers) < 2:
        raise StudyError(
            f"{listed.path}: training items need a 'fold' from 0, two folds at least: `mmseg data split` makes them."
        )
    if fold not in numbers:
        raise StudyError(f"{listed.path}: there is no fold {fold}, only {numbers}: give fewer folds.")
    test, watching = listed.sections.get("test", []), fold
    if not test:
        if len(numbers) < 3:
            raise StudyError(
                f"{listed.path}: without a test section, three folds are needed (one tests, one watches the training); "
                f"there are {len(numbers)}: `mmseg data split --folds 3` or `--test 3`."
            )
        test = [item for item in training if item["fold"] == fold]
        training = [item for item in training if item["fold"] != fold]
        watching = numbers[(numbers.index(fold) + 1) % len(numbers)]
    watched = [{**item, "fold": VALIDATION} for item in training if item["fold"] == watching]
    learned = [{**item, "fold": TRAINING} for item in training if item["fold"] != watching]
    for modality, amount in setting.labels.items():
        if modality not in listed.modalities:
            raise StudyError(f"settings: {setting.name}: labels of {modality!r}: there are {listed.modalities}.")
        learned = _fewer_labels(learned, modality, amount, seed=fold)
        watched = mask_labels(watched, modality, 0.0) if not amount else watched
    try:
        check_prediction_names(test)
    except ValueError as error:
        raise StudyError(str(error)) from error
    sections = {"training": watched + learned, "test": test}
    content: dict[str, Any] = {
        "name": f"{listed.name}_{setting.name}",
        "modalities": listed.modalities,
        "labels": {str(value): name for value, name in listed.labels.items()},
        **({} if listed.ignore is None else {"ignore": listed.ignore}),
        **{name: [_stored(item, folder) for item in items] for name, items in sections.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    return read_datalist(write_json(folder / "datalist.json", content))


def _stored(item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return stored_item(item, folder.resolve())


def _fewer_labels(items: list[dict[str, Any]], modality: str, amount: float, seed: int) -> list[dict[str, Any]]:
    """Labels of a share of the persons, or of so many."""
    of = [item for item in items if item["modality"] == modality]
    if isinstance(amount, float):
        return mask_labels(items, modality, amount, seed)
    labelled = [item for item in of if item.get("label")]
    persons = {person_of(item) for item in labelled}
    if amount > len(persons):
        raise StudyError(f"labels of {modality}: {amount} subjects are asked for, {len(persons)} train with labels.")
    kept = {
        person_of(item)
        for item in mask_labels(labelled, modality, amount / max(1, len(persons)), seed)
        if item.get("label")
    }
    return [
        without_label(item) if item["modality"] == modality and person_of(item) not in kept else item for item in items
    ]
