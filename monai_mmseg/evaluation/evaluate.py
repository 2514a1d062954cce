# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The one evaluator of the project: predicted label volumes against labels, in each file's own grid."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.borrowed import borrowed_text, has_true_label
from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.data.label_sets import check_class_order
from monai_mmseg.evaluation.files import check_same_grid, find_prediction, read_label_volume
from monai_mmseg.evaluation.score import MethodInfo, Score
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.metrics.paper_dice import paper_dice as dice_of_paper
from monai_mmseg.metrics.segmentation import segmentation_scores
from monai_mmseg.names import first_names
from monai_mmseg.transforms.geometry import find_slice_axis
from monai_mmseg.unannotated import UNANNOTATED

logger = logging.getLogger(__name__)

#: Measure of a table to the field of :class:`~monai_mmseg.metrics.ClassScore`.
LABEL_MEASURES = {
    "dice": "dice",
    "hausdorff95": "hausdorff95",
    "hausdorff": "hausdorff",
    "surface_distance": "surface_distance",
    "predicted_volume": "volume_pred_ml",
    "true_volume": "volume_label_ml",
}


def score_volume(
    prediction: NDArray[np.integer[Any]],
    label: NDArray[np.integer[Any]],
    *,
    labels: Mapping[int, str],
    spacing: Sequence[float],
    method: str = "",
    modality: str = "",
    subject: str = "",
    person: str = "",
    penalty: float | None = None,
    unknown: Sequence[bool] | None = None,
) -> list[Score]:
    """Scores of one subject, one for each foreground class.

    Use it where volumes are in memory; :func:`evaluate_predictions` reads files.

    Args:
        prediction: integer class map, shape ``(X, Y, Z)``.
        label: integer class map, same shape; where it is 255 nobody annotated, and nothing counts, in neither map
            (unless ``labels`` has a class 255).
        labels: value to name; background 0 is left out.
        spacing: voxel size in mm.
        method: goes into the scores, as the two below; an empty modality is left out of the case.
        modality: see there.
        subject: see there.
        person: whose visit the subject is, if it is one.
        penalty: distance in mm for a missed or spurious organ; ``None`` means the diagonal of this volume.
        unknown: for each value from 0 whether it is a class that the label does not show: it has no score.

    Returns:
        One score per foreground class, sorted by value: Dice, distances and both volumes.

    Raises:
        ValueError: the shapes differ or ``labels`` has no foreground class.

    Examples:
        >>> label = np.zeros((4, 4, 2), dtype=int)
        >>> label[1:3, 1:3] = 1
        >>> half = label.copy()
        >>> half[:, 2] = 0
        >>> (score,) = score_volume(half, label, labels={1: "LV"}, spacing=(2, 2, 8))
        >>> score.case["class"], round(score.values["dice"], 3), score.values["hausdorff"]
        ('LV', 0.667, 2.0)
        >>> score.values["predicted_volume"], score.values["true_volume"]  # 4 and 8 voxels of 0.032 ml
        (0.128, 0.256)
    """
    foreground = {value: name for value, name in sorted(_shown(labels, unknown).items()) if value != 0}
    if not foreground:
        raise ValueError(f"labels must name at least one foreground class, got {dict(labels)}.")
    prediction, label = annotated(prediction, label, labels)
    scores = []
    for found in segmentation_scores(prediction, label, foreground, spacing, penalty=penalty):
        values = {name: float(getattr(found, field)) for name, field in LABEL_MEASURES.items()}
        flag = next((name for name in ("missed", "spurious", "empty") if getattr(found, name)), "")
        case = {**({"modality": modality} if modality else {}), "class": found.name}
        scores.append(Score(method, subject, case, values, flag, person))
    return scores


def _shown(labels: Mapping[int, str], unknown: Sequence[bool] | None) -> dict[int, str]:
    """Classes that a label shows."""
    return {value: name for value, name in labels.items() if unknown is None or not unknown[value]}


def annotated(
    prediction: NDArray[np.integer[Any]], label: NDArray[np.integer[Any]], labels: Mapping[int, str]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Both class maps, background where the label says that nobody annotated; 255 may be a class of its own."""
    if UNANNOTATED in labels or prediction.shape != label.shape or not (left_out := label == UNANNOTATED).any():
        return prediction, label
    return np.where(left_out, 0, prediction), np.where(left_out, 0, label)


def evaluate_predictions(
    datalist: str | Path | Sequence[Mapping[str, Any]],
    predictions: Mapping[str, str | Path] | str | Path,
    *,
    modality: str,
    labels: Mapping[int, str] | None = None,
    section: str = "test",
    method: str = "prediction",
    subjects: Collection[str] | None = None,
    penalty: float | None = None,
    description: str = "",
    paper_dice: str | bool = False,
    stand_ins: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> ScoreTable:
    """Table of predicted label volumes against the labels of a datalist.

    Use it for every number that is reported: networks, baselines and other people's files are scored by the same code.
    Distances use the spacing of the label's file. An item without a label is left out (there is nothing to compare
    with), and so is one whose label is borrowed (``label_source``): agreement of two predictions is no score. Where the
    datalist has ``ignore``, a prediction of that value is background. A
    labelled item without a prediction is an error, because leaving out failures flatters a method.

    Args:
        datalist: path of a datalist, or its items with absolute paths.
        predictions: subject to file, or a folder (see :func:`find_prediction`).
        modality: the images that were segmented.
        labels: value to name; ``None`` reads them from the datalist's file, whose names must have no other value.
        section: which list of the datalist, when it is a path.
        method: name of the method in the table.
        subjects: only these; ``None`` means all of the list.
        penalty: distance in mm for a missed or spurious organ; ``None`` means each image's diagonal.
        description: one line about the method for the table's notes.
        paper_dice: also Dice by the rule of a paper, one of :data:`~monai_mmseg.metrics.PAPER_DICE`.
        stand_ins: where a subject is segmented once, from all its images: modalities of which the first that it has
            stands in for one that it lacks, since its prediction lies on that grid. Which ones is logged and noted.
        remarks: lines about these very predictions for the table's notes.

    Returns:
        One score per subject and foreground class, and one a subject by the paper's rule.

    Raises:
        ValueError: nothing to evaluate, a prediction is missing or lies on another grid, a file is broken, or two
            subjects would share one file.

    Examples:
        >>> import tempfile
        >>> import nibabel as nib
        >>> values = np.zeros((4, 4, 2), dtype=np.uint8)
        >>> values[1:3, 1:3] = 1
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("label", "out"):
        ...         nib.save(nib.Nifti1Image(values, np.eye(4)), f"{folder}/{name}.nii.gz")
        ...     item = {"image": "lge.nii.gz", "label": f"{folder}/label.nii.gz", "modality": "lge", "subject": "s01"}
        ...     table = evaluate_predictions([item], {"s01": f"{folder}/out.nii.gz"}, modality="lge", labels={1: "LV"})
        >>> [(score.subject, score.case["class"], score.values["dice"]) for score in table]
        [('s01', 'LV', 1.0)]
    """
    items, labels = _read(datalist, section, labels)
    chosen = [item for item in items if item.get("modality") == modality]
    others = _standing_in(items, {str(item["subject"]) for item in chosen}, modality, stand_ins)
    chosen += others
    if not chosen:
        known = sorted({str(item.get("modality")) for item in items})
        raise ValueError(f"modality must be one of {known}, got {modality!r}.")
    if subjects is not None:
        if unknown := sorted(set(subjects) - {str(item["subject"]) for item in chosen}):
            raise ValueError(f"subjects must have a {modality!r} image in the datalist, got {unknown} too.")
        chosen = [item for item in chosen if str(item["subject"]) in subjects]
    labelled, left_out = _labelled(chosen, modality)
    remarks = [*remarks, *left_out, *_told_stand_ins([item for item in others if item in labelled], modality)]
    files = _files(labelled, predictions)
    scores: list[Score] = []
    for item in labelled:
        subject, person = str(item["subject"]), str(item.get("person", ""))
        hidden: Sequence[bool] | None = item.get("unknown")
        label = read_label_volume(item["label"], _shown(labels, hidden), ignore=item.get("ignore"))
        prediction = read_label_volume(files[subject], labels, ignore=item.get("ignore"))
        check_same_grid(prediction, label)
        if (ignored := item.get("ignore")) is not None:
            # a mask that was made to be lent may leave voxels out: no class is predicted there
            prediction = prediction._replace(values=np.where(prediction.values == ignored, 0, prediction.values))
        scores += score_volume(
            prediction.values,
            label.values,
            labels=labels,
            spacing=label.spacing,
            method=method,
            modality=modality,
            subject=subject,
            person=person,
            penalty=penalty,
            unknown=hidden,
        )
        if paper_dice:
            axis = find_slice_axis(label.affine, label.values.shape)
            values = sorted({0, *_shown(labels, hidden)})
            both = annotated(prediction.values, label.values, labels)
            first, second = (np.searchsorted(values, np.where(np.isin(one, values), one, 0)) for one in both)
            found = dice_of_paper(first, second, len(values), str(paper_dice), slice_axis=axis)
            if not math.isnan(found):
                scores.append(Score(method, subject, {"modality": modality}, {"paper_dice": found}, person=person))
    return ScoreTable(scores, {method: MethodInfo(penalty, description, remarks=tuple(remarks))})


def _read(
    datalist: str | Path | Sequence[Mapping[str, Any]], section: str, labels: Mapping[int, str] | None
) -> tuple[list[Mapping[str, Any]], dict[int, str]]:
    if isinstance(datalist, str | Path):
        loaded = read_datalist(datalist)
        check_class_order(datalist, loaded.labels, labels or {})
        return list(loaded.items(section)), dict(labels or loaded.labels)
    if labels is None:
        raise ValueError("labels must be given with a list of items, got None (only a file declares them).")
    return list(datalist), {int(value): str(name) for value, name in labels.items()}


def _standing_in(
    items: Sequence[Mapping[str, Any]], seen: set[str], modality: str, stand_ins: Sequence[str]
) -> list[Mapping[str, Any]]:
    """The first image of each subject that has none of the modality."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in stand_ins:
        for item in items:
            if item.get("modality") == name and str(item["subject"]) not in seen:
                found.setdefault(str(item["subject"]), item)
    return list(found.values())


def _told_stand_ins(scored: Sequence[Mapping[str, Any]], modality: str) -> list[str]:
    """A line about the subjects that are scored on the grid of another modality; none without."""
    if not scored:
        return []
    told = first_names((f"{item['subject']} on {item['modality']}" for item in scored), most=3)
    line = f"Without an image of {modality}, scored on the grid of another: {told}."
    logger.warning("%s", line)
    return [line]


def _labelled(chosen: Sequence[Mapping[str, Any]], modality: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Items with a true label, and lines about what is left out, which are logged."""
    labelled, lines = [item for item in chosen if item.get("label") and item.get("labelled", True)], []
    if len(labelled) < len(chosen):
        without = len(chosen) - len(labelled)
        lines.append(f"{without} of {len(chosen)} {modality} images have no label and are left out.")
    if borrowed := borrowed_text(labelled):
        lines.append(f"Borrowed labels of {modality} are no truth and are left out: {borrowed}.")
        labelled = [item for item in labelled if has_true_label(item)]
    for line in lines:
        logger.warning("%s", line)
    if not labelled:
        more = f", but borrowed ones: {borrowed}" if borrowed else ""
        raise ValueError(
            f"datalist must hold at least one labelled {modality!r} image to compare with, got none{more}."
        )
    return labelled, lines


def _files(items: Sequence[Mapping[str, Any]], predictions: Mapping[str, str | Path] | str | Path) -> dict[str, Path]:
    names = [str(item["subject"]) for item in items]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"datalist must hold one image of a modality per subject, got several of {twice}.")
    if isinstance(predictions, Mapping):
        if lacking := [name for name in names if name not in predictions]:
            raise ValueError(f"predictions must hold a file for every labelled subject, got none for {lacking}.")
        files = {name: Path(predictions[name]) for name in names}
    else:
        if not Path(predictions).is_dir():
            raise ValueError(f"predictions must be a folder or a mapping from subject to file, got {predictions}.")
        files = {name: find_prediction(predictions, item) for name, item in zip(names, items, strict=True)}
    owners: dict[Path, str] = {}
    for name, path in files.items():
        if (first := owners.setdefault(path.resolve(), name)) != name:
            raise ValueError(f"predictions must be one file per subject, got {path} for both {first!r} and {name!r}.")
    return files
