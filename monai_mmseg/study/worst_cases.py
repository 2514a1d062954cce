# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Subjects on which the method of interest fails, with the contours of all methods side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.runs.run_folder import RUN
from monai_mmseg.study.content import Setting, StudyContent
from monai_mmseg.study.sample import Sample, take_sample
from monai_mmseg.visualize import read_for_display
from monai_mmseg.visualize.figure import (
    INK,
    LABEL_STYLE,
    caption,
    contours,
    display_window,
    focus,
    label_legend,
    new_figure,
    panel,
    side_caption,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CASES, METHODS = 2, 5  # of each kind; shown side by side at most


class WorstCase(NamedTuple):
    """A subject that is worth a look."""

    subject: str
    why: str


class Shown(NamedTuple):
    """A subject as it is drawn: one slice, display orientation."""

    title: str
    image: NDArray[np.floating]  # (H, W)
    label: NDArray[np.integer]  # (H, W)
    predictions: Mapping[str, NDArray[np.integer]]  # method to (H, W)
    aspect: float


def worst_cases(sample: Sample, lead: str, count: int = CASES) -> list[WorstCase]:
    """The subjects with the lowest scores of a method, then those where it loses most against the best other one.

    Args:
        sample: of a measure of which more is better.
        lead: the method.
        count: of each kind at most.

    Returns:
        Each subject once.

    Examples:
        >>> sample = Sample("dice", ["s1", "s2"], {"a": np.array([[0.5, 0.8]]), "b": np.array([[0.4, 0.9]])}, {})
        >>> worst_cases(sample, "a", 1)
        [WorstCase(subject='s1', why='lowest Dice of a'), WorstCase(subject='s2', why='most behind b')]
    """
    means = _means(sample)
    own = means.pop(lead)
    lowest = sorted(own, key=lambda subject: own[subject])[:count]
    found = dict.fromkeys(lowest, f"lowest Dice of {lead}")
    if rival := best_rival(sample, lead):
        behind = {s: own[s] - means[rival][s] for s in own if s in means[rival] and s not in found}
        lost = [s for s in sorted(behind, key=lambda s: behind[s]) if behind[s] < 0][:count]
        found |= dict.fromkeys(lost, f"most behind {rival}")
    return [WorstCase(*one) for one in found.items()]


def best_rival(sample: Sample, lead: str) -> str | None:
    """The other method with the highest mean on subjects that both have."""
    means = _means(sample)
    own = means.pop(lead)
    common = {name: [v for s, v in found.items() if s in own] for name, found in means.items()}
    return max((n for n in common if common[n]), key=lambda n: float(np.mean(common[n])), default=None)


def _means(sample: Sample) -> dict[str, dict[str, float]]:
    return {name: sample.means(name) for name in sample.values}


def worst_figure(
    content: StudyContent, setting: Setting, part: str, lead: str
) -> tuple[Figure, list[WorstCase], list[str]] | None:
    """Worst cases of one modality with the predictions of several methods.

    Of each method the first training with a prediction of the subject is shown; the methods are the one of interest,
    its best rival, and the next best.

    Args:
        content: of a study.
        setting: of the data.
        part: a modality.
        lead: method of interest.

    Returns:
        The picture, its cases and what could not be drawn; ``None`` where images or predictions are not found.
    """
    items, labels = find_images(content, setting, part)
    sample = take_sample(setting.tables, "dice", part)
    if not items or lead not in sample.values:
        return None
    means = _means(sample)
    rivals = sorted((n for n in means if n != lead), key=lambda n: -float(np.mean(list(means[n].values()))))
    methods = [lead, *rivals][:METHODS]
    shown, cases, problems = [], [], []
    for case in worst_cases(sample, lead):
        item = items.get(case.subject)
        if item is None or not item.get("label"):
            continue
        try:
            shown.append(_show(setting, item, methods, case, means))
            cases.append(case)
        except (OSError, ValueError) as error:
            problems.append(f"Worst case {case.subject} is not drawn: {error}")
    return (comparison_figure(shown, methods, labels), cases, problems) if shown else None


def find_images(content: StudyContent, setting: Setting, part: str) -> tuple[dict[str, dict[str, Any]], dict[int, str]]:
    """Items of a modality in the datalists of the definition and of the runs, those with a label first.

    Args:
        content: of a study.
        setting: whose runs are asked.
        part: a modality.

    Returns:
        Subject to item, and the labels; empty where there is no datalist.
    """
    named: list[Any] = [content.about.get("datalist")]
    for one in setting.cells:
        for path in (one.folder / RUN, *sorted(one.folder.glob(f"*/{RUN}"))):
            if path.is_file():
                about = json.loads(path.read_text(encoding="utf-8")).get("datalist")
                named.append(about.get("path") if isinstance(about, dict) else None)
    items: dict[str, dict[str, Any]] = {}
    labels: dict[int, str] = {}
    for name in dict.fromkeys(n for n in named if isinstance(n, str)):
        path = content.folder / name  # an absolute one stays
        if path.is_file():
            found = read_datalist(path)
            labels = labels or found.labels
            for item in (i for section in found.sections.values() for i in section if i["modality"] == part):
                if item.get("label") or str(item["subject"]) not in items:
                    items[str(item["subject"])] = item
    return items, labels


def _show(
    setting: Setting, item: Mapping[str, Any], methods: Sequence[str], case: WorstCase, means: Mapping[str, Any]
) -> Shown:
    image = read_for_display(item["image"])
    label = read_for_display(item["label"]).values.round().astype(np.int64)
    found = {name: path for name in methods if (path := _prediction(setting, name, item))}
    volumes = {name: read_for_display(path).values.round().astype(np.int64) for name, path in found.items()}
    if not volumes:
        raise ValueError("no prediction is left")
    wrong = next(iter(volumes.values())) != label
    at = int(wrong.sum((0, 1)).argmax())
    view = focus(np.maximum.reduce([label > 0, *(volume > 0 for volume in volumes.values())])[:, :, at])
    low, high = display_window(image.values, str(item["modality"]))
    grey = np.clip((image.values[..., at][view] - low) / (high - low), 0, 1)
    scores = ", ".join(f"{name} {means[name][case.subject]:.2f}" for name in volumes if case.subject in means[name])
    title = f"{case.subject}, slice {at + 1}: {case.why}. Dice: {scores}"
    slices = {name: volume[..., at][view] for name, volume in volumes.items()}
    return Shown(title, grey, label[..., at][view], slices, image.spacing[0] / image.spacing[1])


def _prediction(setting: Setting, method: str, item: Mapping[str, Any]) -> Path | None:
    for one in setting.cells:
        if one.cell.method == method and one.state == "done":
            for folder in [one.folder / "predictions", *sorted(one.folder.glob("*/predictions")), one.folder]:
                if folder.is_dir():
                    try:
                        return find_prediction(folder, item)
                    except ValueError:
                        continue
    return None


def comparison_figure(cases: Sequence[Shown], methods: Sequence[str], labels: Mapping[int, str]) -> Figure:
    """A row a subject: the plain image, then each method's contours, the label dashed.

    Args:
        cases: one or more.
        methods: columns.
        labels: value to name.

    Returns:
        The figure.

    Raises:
        ValueError: no case.
    """
    if not cases:
        raise ValueError("cases must hold at least one case, got none.")
    columns = 1 + len(methods)
    heights = [min(2.0, max(0.4, c.image.shape[0] * c.aspect / c.image.shape[1])) for c in cases]
    figure = new_figure(2.0 * columns + 0.3, 2.0 * sum(heights) + 0.3 * len(cases) + 0.5)
    grid = figure.subplots(len(cases), columns, squeeze=False, height_ratios=heights)
    values = [value for value in labels if value != 0]
    for row, case in enumerate(cases):
        for axes, name in zip(grid[row], ["", *methods], strict=True):
            axes.set_axis_off()
            if name and name not in case.predictions:
                caption(axes, f"{name}: no prediction", size=8)
                continue
            panel(axes, case.image, window=(0.0, 1.0), aspect=case.aspect)
            if name:
                contours(axes, case.predictions[name], values, width=1.4)
                contours(axes, case.label, values, width=1.1, style=LABEL_STYLE)
            caption(axes, name or "image", size=9)
        side_caption(grid[row, 0], case.title.split(",")[0], size=9)
    label_legend(figure, labels, lines={"prediction": (INK, "-"), "label": (INK, LABEL_STYLE)})
    return figure
