# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The one evaluator of the project: predicted label volumes against labels, in each file's own grid."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.evaluation.files import check_same_grid, find_prediction, read_label_volume
from monai_mmseg.evaluation.rows import ScoreRow
from monai_mmseg.evaluation.table import EvaluationTable, MethodInfo
from monai_mmseg.metrics.segmentation import segmentation_scores

logger = logging.getLogger(__name__)


def score_rows(
    prediction: NDArray[np.integer[Any]],
    label: NDArray[np.integer[Any]],
    *,
    labels: Mapping[int, str],
    spacing: Sequence[float],
    method: str,
    modality: str,
    subject: str,
    penalty: float | None = None,
) -> list[ScoreRow]:
    """Rows of one subject, one for each foreground class.

    Use it where volumes are in memory; :func:`evaluate_predictions` reads files.

    Args:
        prediction: integer class map, shape ``(X, Y, Z)``.
        label: integer class map, same shape.
        labels: value to name; background 0 is left out of the rows.
        spacing: voxel size in mm.
        method: goes into the rows.
        modality: goes into the rows.
        subject: goes into the rows.
        penalty: distance in mm for a missed or spurious organ; ``None`` means the diagonal of this volume.

    Returns:
        One row per foreground class, sorted by value.

    Raises:
        ValueError: the shapes differ or ``labels`` has no foreground class.

    Examples:
        >>> label = np.zeros((4, 4, 2), dtype=int)
        >>> label[1:3, 1:3] = 1
        >>> half = label.copy()
        >>> half[:, 2] = 0
        >>> (row,) = score_rows(
        ...     half, label, labels={1: "LV"}, spacing=(2, 2, 8), method="mine", modality="lge", subject="s01")
        >>> row.name, round(row.dice, 3), row.hausdorff
        ('LV', 0.667, 2.0)
    """
    foreground = {value: labels[value] for value in sorted(labels) if value != 0}
    if not foreground:
        raise ValueError(f"labels must name at least one foreground class, got {dict(labels)}.")
    scores = segmentation_scores(prediction, label, foreground, spacing, penalty=penalty)
    return [
        ScoreRow(
            method,
            modality,
            subject,
            int(score.label),
            score.name,
            float(score.dice),
            float(score.hausdorff),
            float(score.hausdorff95),
            float(score.surface_distance),
            bool(score.missed),
            bool(score.empty),
            bool(score.spurious),
        )
        for score in scores
    ]


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
) -> EvaluationTable:
    """Table of predicted label volumes against the labels of a datalist.

    Use it for every number that is reported: networks, baselines and other people's files are scored by the same code.
    Distances use the spacing of the label's file. An item without a label is left out (there is nothing to compare
    with); a labelled item without a prediction is an error, because leaving out failures flatters a method.

    Args:
        datalist: path of a datalist, or its items with absolute paths.
        predictions: subject to file, or a folder (see :func:`find_prediction`).
        modality: the images that were segmented.
        labels: value to name; ``None`` reads them from the datalist's file.
        section: which list of the datalist, when it is a path.
        method: name of the method in the table.
        subjects: only these; ``None`` means all of the list.
        penalty: distance in mm for a missed or spurious organ; ``None`` means each image's diagonal.
        description: one line about the method for the table's notes.

    Returns:
        One row per subject and foreground class.

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
        >>> [(row.subject, row.name, row.dice) for row in table]
        [('s01', 'LV', 1.0)]
    """
    items, labels = _read(datalist, section, labels)
    chosen = [item for item in items if item.get("modality") == modality]
    if not chosen:
        known = sorted({str(item.get("modality")) for item in items})
        raise ValueError(f"modality must be one of {known}, got {modality!r}.")
    if subjects is not None:
        if unknown := sorted(set(subjects) - {str(item["subject"]) for item in chosen}):
            raise ValueError(f"subjects must have a {modality!r} image in the datalist, got {unknown} too.")
        chosen = [item for item in chosen if str(item["subject"]) in subjects]
    labelled = [item for item in chosen if item.get("label") and item.get("labelled", True)]
    if len(labelled) < len(chosen):
        logger.warning(
            "%d of %d %s images have no label and are left out.", len(chosen) - len(labelled), len(chosen), modality
        )
    if not labelled:
        raise ValueError(f"datalist must hold at least one labelled {modality!r} image to compare with, got none.")

    files = _files(labelled, predictions)
    rows: list[ScoreRow] = []
    for item in labelled:
        subject = str(item["subject"])
        label = read_label_volume(item["label"], labels)
        prediction = read_label_volume(files[subject], labels)
        check_same_grid(prediction, label)
        rows += score_rows(
            prediction.values,
            label.values,
            labels=labels,
            spacing=label.spacing,
            method=method,
            modality=modality,
            subject=subject,
            penalty=penalty,
        )
    return EvaluationTable(rows, {method: MethodInfo(penalty, description)})


def _read(
    datalist: str | Path | Sequence[Mapping[str, Any]], section: str, labels: Mapping[int, str] | None
) -> tuple[list[Mapping[str, Any]], dict[int, str]]:
    if isinstance(datalist, str | Path):
        loaded = read_datalist(datalist)
        return list(loaded.items(section)), dict(labels or loaded.labels)
    if labels is None:
        raise ValueError("labels must be given with a list of items, got None (only a file declares them).")
    return list(datalist), {int(value): str(name) for value, name in labels.items()}


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
