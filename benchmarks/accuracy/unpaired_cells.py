# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Cells of studies with unpaired modalities: train one and keep its scores; what their summaries have in common."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from benchmarks.cells import sd_over, table_lines, write_json
from benchmarks.runs import ROOT, Run, train_and_evaluate
from monai_mmseg.evaluation import ScoreTable
from monai_mmseg.runs.knowledge import read_knowledge

MEASURES = ("dice", "hausdorff95", "hausdorff", "surface_distance")
LEVEL = 0.05
NAMES = {"bssfp": "bSSFP"}  # in tables; else in capitals
SEEDS_NOTE = (
    "The tests are over subjects, each with its mean over the training seeds: they speak of these trainings. Where a "
    "difference is smaller than the sd over seeds, other seeds may turn it."
)

Cells = Sequence[Mapping[str, Any]]


def keep_cell(
    name: str,
    about: Mapping[str, Any],
    run: Run,
    *,
    bundle: str,
    data: Path,
    work: Path,
    results: Path,
    overrides: Mapping[str, Any],
) -> None:
    """Train and evaluate one cell and write its JSON, unless it is there.

    Args:
        name: of the cell and its file.
        about: goes into the JSON before the scores.
        run: what to run; the overlay ``demo`` is what a network of the paper's size does not have.
        bundle: name of the bundle.
        data: folder with ``datalist.json``.
        work: folder of the runs.
        results: folder of the JSON files.
        overrides: of every cell.
    """
    target = results / f"{name}.json"
    if target.is_file():
        return
    result = train_and_evaluate(run, work / name, data, bundle=bundle, overrides=overrides)
    found = scores(result.table)
    content = {
        **about,
        "overrides": {**run.overrides, **overrides},
        "seconds": result.seconds,
        "parameters": parameters(bundle, run.overlays),
        "parameters_at_paper_size": parameters(bundle, tuple(o for o in run.overlays if o != "demo")),
        "distillation": distillation(result.folder),
        "terms": last_terms(result.folder),
        "scores": found,
    }
    write_json(target, content)
    (result.folder / "models" / "resume.pt").unlink(missing_ok=True)  # it went on to the end
    usual: dict[str, list[float]] = {}
    for one in found.values():
        if not one["outlier"]:
            usual.setdefault(one["modality"], []).extend(c["dice"] for c in one["classes"].values())
    means = ", ".join(f"{modality} {np.mean(dice):.3f}" for modality, dice in usual.items())
    print(f"{name}: {means} ({result.seconds:.0f} s)", flush=True)


def scores(table: ScoreTable) -> dict[str, dict[str, Any]]:
    """Per subject: its modality, whether it is an outlier, and the measures of each class."""
    found: dict[str, dict[str, Any]] = {}
    for score in table:
        about = {"modality": score.case["modality"], "outlier": "outlier" in score.subject, "classes": {}}
        measures = {measure: round(score.values[measure], 4) for measure in MEASURES}
        one = found.setdefault(score.subject, about)
        one["classes"][score.case["class"]] = {**measures, "missed": score.flag == "missed"}
    return found


@cache
def parameters(bundle: str, overlays: tuple[str, ...]) -> int:
    """Trainable parameters of a setting, without memory for them."""
    parser = ConfigParser()
    parser.read_config([ROOT / "bundles" / bundle / "configs" / f"{name}.json" for name in ("train", *overlays)])
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def distillation(run_dir: Path) -> dict[str, list[float]]:
    """Distillation loss on the validation subjects over the epochs; empty where there is one modality."""
    path = run_dir / "knowledge.npz"
    if not path.is_file():
        return {}
    history = read_knowledge(path)
    known = np.isfinite(history.loss)
    found = {"epochs": history.epochs[known].tolist(), "loss": history.loss[known].round(5).tolist()}
    return found if known.any() else {}


def last_terms(run_dir: Path) -> dict[str, float]:
    """Terms of the loss in the last epoch, before their weights."""
    with (run_dir / "terms.csv").open(encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    return {name.split("/")[-1]: float(value) for name, value in last.items() if name != "epoch"}


def join_methods(
    cells: Cells, methods: Sequence[str], alone: str, modalities: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Method to one entry a seed, in the order of the methods, without those that have no cell.

    Args:
        cells: what was run.
        methods: names; all but ``alone`` are settings of a cell.
        alone: method that is one network for each modality (``<alone>_<modality>``), and counts where all are there.
        modalities: names.
    """
    settings: dict[str, dict[int, Mapping[str, Any]]] = {}
    for cell in cells:
        settings.setdefault(cell["setting"], {})[cell["seed"]] = cell
    each = [settings.get(f"{alone}_{modality}", {}) for modality in modalities]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for seed in sorted(set.intersection(*(set(one) for one in each))):
        same = [one[seed] for one in each]
        added = {key: sum(p[key] for p in same) for key in ("seconds", "parameters", "parameters_at_paper_size")}
        joined = {subject: one for part in same for subject, one in part["scores"].items()}
        found[alone].append({"seed": seed, **added, "distillation": {}, "terms": {}, "scores": joined})
    for name in methods:
        if name != alone:
            found[name] = [dict(settings[name][seed]) for seed in sorted(settings.get(name, {}))]
    return {name: entries for name, entries in found.items() if entries}


def line_of(found: Cells, modalities: Sequence[str]) -> dict[str, Any]:
    """One method: what it costs, its modalities, and their mean."""
    line: dict[str, Any] = {key: found[0][key] for key in ("parameters", "parameters_at_paper_size")}
    line["seconds"] = [one["seconds"] for one in found]
    line |= {modality: part(found, subjects_of(found[0], modality)) for modality in modalities}
    return {**line, "mean": mean_of(line, modalities)}


def by_scope(methods: Mapping[str, Cells], modalities: Sequence[str], measure: str) -> dict[str, dict[str, Any]]:
    """Each modality and all of them: method to a number a subject, the mean over classes and seeds."""
    return {
        scope: {
            name: values(found, subjects_of(found[0], modality), measure).mean(0) for name, found in methods.items()
        }
        for scope, modality in [*zip(modalities, modalities, strict=True), (" and ".join(modalities), None)]
    }


def overview(lines: Mapping[str, Any], modalities: Sequence[str], last: str, cells: Mapping[str, str]) -> list[str]:
    """Table of all methods.

    Args:
        lines: method to its :func:`line_of`.
        modalities: names.
        last: heading of a further column.
        cells: its text, by method.
    """
    names = [NAMES.get(modality, modality.upper()) for modality in modalities]
    head = [f"{what} {name}" for what in ("HD95", "HD") for name in names]
    head = ["method", "parameters", *(f"Dice {name}" for name in names), "mean", *head, "missed", "seconds", last]
    body = []
    for name, line in lines.items():
        parts = [line[modality] for modality in modalities]
        dice = [f"{one['dice']:.3f} ± {one['sd_over_seeds']:.3f}" for one in (*parts, line["mean"])]
        distances = [f"{one[key]:.1f}" for key in ("hausdorff95", "hausdorff") for one in parts]
        missed = f"{sum(one['missed'] for one in parts)} of {sum(one['organs'] for one in parts)}"
        seconds = f"{np.mean(line['seconds']):.0f}"
        body.append([name, f"{line['parameters']:,}", *dice, *distances, missed, seconds, cells[name]])
    return table_lines(head, body)


def values(
    found: Cells, subjects: Sequence[str], measure: str = "dice", only: str | None = None
) -> NDArray[np.float64]:
    """One number a seed and subject, the mean over the classes or that of one class: shape (seeds, subjects)."""
    return np.array(
        [
            [
                np.mean([one[measure] for name, one in cell["scores"][s]["classes"].items() if only in (None, name)])
                for s in subjects
            ]
            for cell in found
        ]
    )


def subjects_of(cell: Mapping[str, Any], modality: str | None = None, *, outlier: bool = False) -> list[str]:
    """Subjects of a modality (of both), outliers or the others."""
    return [
        subject
        for subject, one in sorted(cell["scores"].items())
        if one["outlier"] == outlier and modality in (None, one["modality"])
    ]


def part(found: Cells, subjects: Sequence[str]) -> dict[str, Any]:
    """Means of one method over seeds and some subjects, also of each class."""
    if not subjects:
        return {}
    dice = values(found, subjects)
    names = list(found[0]["scores"][subjects[0]]["classes"])
    missed = sum(one["missed"] for c in found for s in subjects for one in c["scores"][s]["classes"].values())
    return {
        **{measure: float(values(found, subjects, measure).mean()) for measure in MEASURES},
        "sd_over_seeds": sd_over(dice.mean(1)),
        "sd_over_subjects": sd_over(dice.mean(0)),
        "hausdorff95_sd_over_seeds": sd_over(values(found, subjects, "hausdorff95").mean(1)),
        "dice_per_seed": [round(float(x), 4) for x in dice.mean(1)],
        "missed": int(missed),
        "organs": len(found) * len(subjects) * len(names),
        "classes": {
            name: {
                **{measure: float(values(found, subjects, measure, name).mean()) for measure in MEASURES},
                "dice_sd_over_seeds": sd_over(values(found, subjects, "dice", name).mean(1)),
            }
            for name in names
        },
    }


def mean_of(line: Mapping[str, Any], modalities: Sequence[str]) -> dict[str, Any]:
    """A method's parts, averaged over the modalities."""
    each = np.mean([line[modality]["dice_per_seed"] for modality in modalities], axis=0)
    return {
        **{m: float(np.mean([line[modality][m] for modality in modalities])) for m in MEASURES},
        "sd_over_seeds": sd_over(each),
        "dice_per_seed": [round(float(x), 4) for x in each],
    }


def verdict(test: Mapping[str, Any], *, higher: bool) -> str:
    """Whether the first method is better, in words."""
    better = (test["difference"] > 0) == higher and test["difference"] != 0
    if test["p_holm"] < LEVEL:
        return "better" if better else "worse"
    return "better in the mean, could be chance" if better else "not better"


def class_tables(lines: Mapping[str, Mapping[str, Any]], modality: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: Dice and HD95 of each class, a row a method."""
    names = list(next(iter(lines.values()))[modality]["classes"])
    body = []
    for method, line in lines.items():
        found = line[modality]["classes"].values()
        cells = [f"{c['dice']:.3f} ± {c['dice_sd_over_seeds']:.3f}, {c['hausdorff95']:.1f}" for c in found]
        body.append([method, *cells])
    return ["method", *(f"{name}: Dice, HD95" for name in names)], body


def draw_dice(rows: Sequence[Mapping[str, Mapping[str, Mapping[str, Any]]]], path: Path, *, ours: str) -> None:
    """Dice of methods: a line at the mean, a dot a seed.

    Args:
        rows: for each row of panels the title of a panel to its methods, and a method to its :func:`part`.
        path: of the picture.
        ours: method in the colour of its own.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heights = [0.28 * max(len(methods) for methods in row.values()) + 0.7 for row in rows]
    figure, panels = plt.subplots(
        len(rows),
        len(rows[0]),
        figsize=(8, sum(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
        sharey="row",
    )
    for axes_row, row in zip(panels, rows, strict=True):
        for axes, (title, methods) in zip(axes_row, row.items(), strict=True):
            for y, (name, one) in enumerate(methods.items()):
                color = "#D55E00" if name == ours else "#1f3b57"
                axes.plot([one["dice"]] * 2, [y - 0.3, y + 0.3], color=color, lw=2.5)
                axes.plot(one["dice_per_seed"], [y] * len(one["dice_per_seed"]), "o", color=color, ms=4, alpha=0.6)
            axes.set_yticks(range(len(methods)), [name.replace("_", " ") for name in methods])
            axes.set_title(title, fontsize=10)
            axes.grid(axis="x", color="#dddddd", lw=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        axes_row[0].invert_yaxis()
    for axes in panels[-1]:
        axes.set_xlabel("Dice, mean of the classes (line: mean; dots: seeds)", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)
