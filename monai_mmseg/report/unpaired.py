# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What one network for unpaired modalities has learned, as pictures for its run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.evaluation.evaluate import evaluate_predictions
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.report.cases import add_cases
from monai_mmseg.runs.knowledge import read_knowledge
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.visualize import distillation_curve_figure, knowledge_figure

logger = logging.getLogger(__name__)


def evaluate_modalities(
    datalist: str | Path, predictions: str | Path, *, modalities: Sequence[str], **settings: Any
) -> ScoreTable:
    """Scores of every modality in one table.

    Use it where one network has segmented images of several modalities into one folder.

    Args:
        datalist: path of the datalist.
        predictions: folder with the predicted label volumes.
        modalities: which ones; those of which no image of the section has a label are left out.
        **settings: of :func:`~monai_mmseg.evaluation.evaluate_predictions`.

    Returns:
        One score per subject and foreground class.

    Raises:
        ValueError: see :func:`~monai_mmseg.evaluation.evaluate_predictions`.
    """
    items = read_datalist(datalist).items(settings.get("section", "test"))
    labelled = {one["modality"] for one in items if one.get("label")}
    # without any the message says what there is
    names = [name for name in modalities if name in labelled] or modalities
    if bare := sorted({one["modality"] for one in items}.intersection(modalities).difference(names)):
        line = f"Not scored, for no image has a label: {', '.join(bare)}."
        logger.warning("%s", line)
        settings["remarks"] = [*settings.get("remarks", ()), line]
    tables = [evaluate_predictions(datalist, predictions, modality=name, **settings) for name in names]
    return tables[0].join(*tables[1:])


def describe_unpaired(
    recorder: RunRecorder,
    data: Sequence[Mapping[str, Any]],
    table: ScoreTable,
    predictions: str | Path,
    labels: Mapping[int | str, str],
    *,
    knowledge: str | Path | None = None,
) -> None:
    """Write the figures of a network for unpaired modalities into its run folder.

    Best, median and worst case of each modality; and, where the training recorded them, what each modality's images of
    a class are taken for, over training, with the distillation loss on validation data.

    Args:
        recorder: of the run folder.
        data: flat items with labels that were segmented.
        table: their scores.
        predictions: folder with predicted label volumes.
        labels: value to name, background included.
        knowledge: file of a :class:`~monai_mmseg.handlers.ClassConfusionHandler`; ``knowledge.npz`` of the run folder
            if it is not given. It is left out if there is none.
    """
    names = {int(value): name for value, name in labels.items()}
    for modality in table.cases("modality"):
        items = [item for item in data if item["modality"] == modality]
        chosen = table.select(modality=modality)
        add_cases(recorder, items, chosen, predictions, names, modality, name=f"overlay_{modality}")
    path = Path(knowledge) if knowledge is not None else recorder.run_dir / "knowledge.npz"
    if path.is_file():
        _knowledge(recorder, path)


def _knowledge(recorder: RunRecorder, path: Path) -> None:
    history = read_knowledge(path)
    recorder.add_figure(
        knowledge_figure(
            history.epochs.tolist(), history.matrices, history.modalities, history.classes, title="Knowledge"
        ),
        "knowledge",
        "What the pixels of a class (row) are taken for (column), softened, averaged over all validation images of a "
        "modality, and the difference between the modalities.",
    )
    values = history.loss
    if np.isfinite(values).any():
        recorder.add_figure(
            distillation_curve_figure(
                {"this run": (history.epochs.tolist(), values.tolist())}, title="Distillation loss"
            ),
            "distillation",
            "Distillation loss on validation data over training: how far the modalities are apart.",
        )
