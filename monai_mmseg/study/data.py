# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The datalist of each setting and fold: every method reads the same file, so none sees more than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_mmseg import phantom
from monai_mmseg.bundle.naming import check_prediction_names
from monai_mmseg.data.annotations import select_labelled_subjects, without_label
from monai_mmseg.data.borrowed import without_borrowed
from monai_mmseg.data.datalist import Datalist, read_datalist, stored_item
from monai_mmseg.data.leaks import find_leaks
from monai_mmseg.data.visits import person_of
from monai_mmseg.files import write_json
from monai_mmseg.study.definition import Setting, Study
from monai_mmseg.study.facts import find_facts
from monai_mmseg.study.methods import StudyError

VALIDATION, TRAINING = 0, 1  # folds of the datalists that are written: bundles watch fold 0
_FILES = ("image", "label")
ALL = "all"  # modalities of a subject, whose labels stay or go together


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
        listed = read_datalist(_phantom(study, setting, out))
    else:
        if setting.phantom:
            raise StudyError(f"{where}the study has no phantom to change.")
        listed = read_datalist(study.datalist)
    if setting.datalist is not None:
        listed = _fitting(setting.datalist, listed, where)
    if not setting.test:
        return listed
    other = _fitting(listed.path.parent / setting.test, listed, where)
    if not other.sections.get("test"):  # the folds would be scored
        raise StudyError(f"{where}{other.path} has no test section that could be scored in the place of the study's.")
    ignore = other.ignore if listed.ignore is None else listed.ignore
    return replace(listed, sections={**listed.sections, "test": other.items("test")}, ignore=ignore)


def target_of(study: Study) -> str | None:
    """The target of all settings, also of those with a datalist of their own; ``None``: of a phantom, which names none.

    Args:
        study: what is compared.
    """
    if study.target is not None or study.datalist is None:
        return study.target
    return find_facts(read_datalist(study.datalist)).target


def _phantom(study: Study, setting: Setting, out: Path) -> Path:
    """Datalist of the phantom. One that no cell has seen must be of these values: an earlier call may have failed."""
    folder = out / "data" / (f"phantom_{setting.name}" if setting.phantom else "phantom")
    seen = (out / "cells" / (setting.name if setting.phantom else "")).is_dir()
    values = {name: one for name, one in {**study.phantom, **setting.phantom}.items() if not name.startswith("_")}
    if seen and (folder / "datalist.json").is_file():
        return folder / "datalist.json"
    make = getattr(phantom, f"make_{values.pop('kind', 'heart')}_phantom")
    try:
        return Path(make(folder, **values))
    except FileExistsError as error:
        raise StudyError(f"{folder} is another phantom, of a call that trained nothing: remove it.") from error


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
        StudyError: as :func:`fold_sections`.
    """
    content: dict[str, Any] = {
        "name": f"{listed.name}_{setting.name}",
        "modalities": listed.modalities,
        "labels": {str(value): name for value, name in listed.labels.items()},
        **({} if listed.ignore is None else {"ignore": listed.ignore}),
        **{
            name: [_stored(item, folder) for item in items]
            for name, items in fold_sections(listed, setting, fold).items()
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    return read_datalist(write_json(folder / "datalist.json", content))


def fold_sections(listed: Datalist, setting: Setting, fold: int) -> dict[str, list[dict[str, Any]]]:
    """Sections of :func:`write_fold`, with absolute paths.

    Args:
        listed: the data.
        setting: how many labels stay.
        fold: number of the fold.

    Returns:
        ``training`` and ``test``.

    Raises:
        StudyError: the folds do not allow it, a subject is on both sides, or a modality or a label is not there.
    """
    training = listed.items("training")
    numbers = sorted({item.get("fold", -1) for item in training})
    if -1 in numbers or len(numbers) < 2:
        what = "training items need a 'fold' from 0, two folds at least" if training else "nobody is left to train"
        remedy = "`mmseg data split` makes them" if training else "the section 'training' is empty"
        if (listed.path.parent / "phantom.json").is_file():
            remedy = "make the phantom with fewer 'test_subjects', or more 'subjects' or 'folds'"
        raise StudyError(f"{listed.path}: {what}: {remedy}.")
    if fold not in numbers:
        raise StudyError(f"{listed.path}: there is no fold {fold}, only {numbers}: give fewer folds.")
    test, watching = listed.sections.get("test", []), fold
    _check_leaks(listed.path, {"training": training, "test": test})
    if not test:
        if len(numbers) < 3:
            raise StudyError(
                f"{listed.path}: without a test section, three folds are needed (one tests, one watches the training); "
                f"there are {len(numbers)}: `mmseg data split --folds 3` or `--test 3`."
            )
        test = [without_borrowed(item) for item in training if item["fold"] == fold]
        training = [item for item in training if item["fold"] != fold]
        watching = numbers[(numbers.index(fold) + 1) % len(numbers)]
    watched = [{**item, "fold": VALIDATION} for item in training if item["fold"] == watching]
    learned = [{**item, "fold": TRAINING} for item in training if item["fold"] != watching]
    for given, amount in setting.labels.items():
        where = f"settings: {setting.name}: "
        modalities = _of_labels(listed, given, where)
        learned = _fewer_labels(learned, modalities, amount, seed=fold, where=where)
        watched = [item if amount or item["modality"] not in modalities else without_label(item) for item in watched]
    try:
        check_prediction_names(test)
    except ValueError as error:
        raise StudyError(str(error)) from error
    return {"training": watched + learned, "test": test}


def check_files(path: Path, sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Check that images and labels are there: those that are tested would be missed when all is trained.

    Args:
        path: of the datalist.
        sections: of :func:`fold_sections`.

    Raises:
        StudyError: some are not.
    """
    named = [Path(item[key]) for items in sections.values() for item in items for key in _FILES if item.get(key)]
    if gone := [one for one in dict.fromkeys(named) if not one.exists()]:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise StudyError(f"{path}: there is no {gone[0]}{more}. `mmseg data check {path}` lists all.")


def _stored(item: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return stored_item(item, folder.resolve())


def _check_leaks(path: Path, sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Bundles refuse such data, each in all its cells; baselines and programs do not look."""
    # a label file that two subjects share is for `mmseg data check`
    images = {name: [{**item, "label": None} for item in items] for name, items in sections.items()}
    if found := find_leaks(images):
        raise StudyError(
            f"{path}: {'; '.join(found[:3])}{' ...' if len(found) > 3 else ''}. `mmseg data check` lists all."
        )


def kept_label(listed: Datalist, setting: Setting) -> str:
    """Why a setting takes no label from methods that stack a subject's modalities; an empty text if it does.

    They read one label for each subject, and sequences that were drawn on together have the same file.

    Args:
        listed: the data.
        setting: takes labels away.
    """
    items = listed.items("training")
    for modality in set(setting.labels) & set(listed.modalities):
        files = {str(one["label"]) for one in items if one["modality"] == modality and one.get("label")}
        others = {one["modality"] for one in items if str(one.get("label")) in files} - set(setting.labels)
        if others:
            return (
                f"the labels of {modality} that are taken away are those of {min(others)} too: give the setting "
                f"{{'labels': {{{ALL!r}: ...}}}} in a study's file"
            )
    return ""


def _of_labels(listed: Datalist, given: str, where: str) -> Sequence[str]:
    """Modalities whose labels a setting means."""
    if given in listed.modalities:
        return [given]
    if given == ALL:
        return listed.modalities
    raise StudyError(f"{where}labels of {given!r}: there are {listed.modalities}, and {ALL!r} of a subject together.")


def _fewer_labels(
    items: list[dict[str, Any]], modalities: Sequence[str], amount: float, *, seed: int, where: str
) -> list[dict[str, Any]]:
    """Labels of a share of the persons who have some, or of so many persons."""
    modality = ", ".join(modalities)
    persons = sorted({person_of(one) for one in items if one["modality"] in modalities and one.get("label")})
    share = amount if isinstance(amount, float) else amount / max(1, len(persons))
    if share > 1:
        raise StudyError(
            f"{where}labels of {modality}: {amount} subjects are asked for, {len(persons)} train with labels."
        )
    kept = select_labelled_subjects(persons, share, seed)
    if amount and not kept:
        raise StudyError(
            f"{where}labels of {modality}: {amount:g} of the {len(persons)} subjects that train with labels is none: "
            "give 0, or more."
        )
    return [
        without_label(one) if one["modality"] in modalities and person_of(one) not in kept else one for one in items
    ]
