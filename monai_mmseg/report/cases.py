# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Best, median and worst case of an evaluation, as a picture for a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.unannotated import UNANNOTATED
from monai_mmseg.visualize import Case, best_median_worst, overlay_figure, read_for_display
from monai_mmseg.visualize.figure import display_window


def add_cases(
    recorder: RunRecorder,
    items: Iterable[Mapping[str, Any]],
    table: ScoreTable,
    predictions: str | Path,
    labels: Mapping[int, str],
    modality: str,
    *,
    name: str = "overlay",
) -> None:
    """Draw predictions and labels of the best, median and worst subject of one modality.

    Args:
        recorder: of the run folder.
        items: flat items of that modality, ``{"subject", "image", "label", "modality"}``.
        table: scores of the predictions, of this modality only.
        predictions: folder with predicted label volumes.
        labels: value to name, background included.
        modality: which one.
        name: file name of the figure, without ending.
    """
    by_subject = {str(item["subject"]): item for item in items}
    scores = {s: v for s, v in table.per_subject("dice").items() if s in by_subject}
    cases = []
    for rank, subject in best_median_worst(scores).items():
        item = by_subject[subject]
        image = read_for_display(item["image"])
        label = read_for_display(item["label"]).values.round().astype(np.int64)
        if UNANNOTATED not in labels:
            label[label == UNANNOTATED] = 0
        predicted = read_for_display(find_prediction(predictions, item)).values.round().astype(np.int64)
        title = f"{rank}: {subject}, mean Dice {scores[subject]:.2f}"
        window = display_window(image.values, modality)
        cases.append(Case(title, image.values, label, predicted, image.spacing, window))
    recorder.add_figure(
        overlay_figure(cases, labels, title=f"{modality}: prediction and label"),
        name,
        f"Best, median and worst subject in {modality}, chosen by mean Dice over the classes. Solid line: the "
        "prediction; dashed line of the same colour: the label.",
    )
