# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers of the page: the headline, methods side by side, worst cases, every subject, volumes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from monai_mmseg.evaluation.score import MEASURES, Line, MeanSd, Score, mean_sd
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.report.content import RunContent
from monai_mmseg.report.other_labels import other_labels
from monai_mmseg.runs.run_folder import RUN
from monai_mmseg.visualize import label_color

WORST_SCORES = 8
REMARKS = {"missed": "missed", "spurious": "not there, but predicted", "empty": "not there"}


def methods_table(table: ScoreTable, modality: str) -> dict[str, Any]:
    """One modality's comparison of methods, with the best value of each column marked only where it is the best.

    A mark needs two methods scored on the same subjects, all against the same labels, and a difference that the printed
    digits show.

    Args:
        table: several methods.
        modality: which images.

    Returns:
        ``head``: column names, the first ``dice_columns`` of them Dice; ``rows``: method, subjects, cells (``mean``,
        ``sd``, ``best``) and counts; ``comparable``: whether all methods were scored on the same subjects;
        ``same_labels``: whether against the same labels.
    """
    part = table.select(modality=modality)
    lines = {line.method: line for line in part.means("modality")}
    of_class = {(line.method, line.case["class"]): line for line in part.means("class")}
    columns = [("dice", name, name) for name in part.cases("class")] + [("dice", "", "mean")]
    columns += [("paper_dice", "", "as in the paper")] if "paper_dice" in part.measures else []
    dice_columns = len(columns)
    columns += [(key, "", MEASURES[key].heading) for key in ("hausdorff95", "surface_distance")]
    comparable, same_labels = len({frozenset(part.subjects(method)) for method in lines}) == 1, not other_labels(part)
    cells: dict[str, list[dict[str, Any]]] = {method: [] for method in lines}
    for key, name, _ in columns:
        about = MEASURES[key]
        shown: dict[str, MeanSd] = {}
        for method, line in lines.items():
            found = of_class.get((method, name)) if name else line
            if found is not None and key in found.measures:
                shown[method] = found.measures[key]
        rounded = {method: round(value.mean, about.digits) for method, value in shown.items()}
        best = (max if about.higher else min)(rounded.values())
        winners = [method for method, value in rounded.items() if value == best]
        for method, into in cells.items():
            is_best = comparable and same_labels and len(rounded) > 1 and winners == [method]
            text = shown[method].text(about.digits) if method in shown else "–"
            mean, _, sd = text.partition(" ± ")
            into.append({"mean": mean, "sd": sd, "best": is_best})
    rows = [
        {
            "method": method,
            "subjects": line.subjects,
            "cells": cells[method],
            "missed": f"{line.missed} of {line.present}",
            "spurious": line.spurious,
            "empty": line.empty,
        }
        for method, line in lines.items()
    ]
    head = [title for *_, title in columns]
    told = {"comparable": comparable, "same_labels": same_labels}
    return {"modality": modality, "head": head, "dice_columns": dice_columns, "rows": rows, **told}


class Headline(NamedTuple):
    """The numbers a reader wants first."""

    method: str
    modalities: list[str]  # that the method was scored on, the run's own first
    tiles: list[dict[str, str]]  # label, value, note
    comparisons: list[str]  # a sentence a modality with another method


def headline(content: RunContent) -> Headline | None:
    """The numbers a reader wants first: the run's method on every modality, and its difference to the best other.

    One modality has a tile for each measure, several have a tile each.

    Args:
        content: a run with an evaluation.

    Returns:
        The headline; ``None`` without an evaluation.
    """
    table = content.table
    if not len(table):
        return None
    wanted, methods = content.about.get("modality"), list(table.methods)
    named = content.about.get("method")
    method = named if named in methods else methods[0]
    if named and named != method:
        content.problems.append(f"{RUN} names the method {named!r}, which no evaluation has: {methods}.")
    own = table.select(method=method)
    lines = {line.case["modality"]: line for line in own.means("modality")}
    order = sorted(lines, key=lambda name: name != wanted)
    classes = {name: own.select(modality=name).cases("class") for name in order}
    if len(order) == 1:
        tiles = _tiles(lines[order[0]], len(classes[order[0]]))
    else:
        tiles = [_tile(name, lines[name], len(classes[name])) for name in order]
    comparisons = []
    for name in order:
        text = _comparison(table.select(modality=name), method)
        if text:
            comparisons.append(f"{name}: {text}" if len(order) > 1 else text)
    return Headline(method, order, tiles, comparisons)


def _tiles(line: Line, classes: int) -> list[dict[str, str]]:
    """A tile for each measure of one modality."""
    tiles = [{"label": _dice_label(classes), "value": _dice(line), "note": _spread(line)}]
    for name, label in (("hausdorff95", "HD95"), ("surface_distance", "Average surface distance")):
        if name in line.measures:
            mean, plus_minus, sd = line.text(name).partition("± ")
            tiles.append({"label": label, "value": f"{mean.strip()} mm", "note": plus_minus + sd})
    share = f"miss rate {100 * line.miss_rate:.0f} %"
    return [*tiles, {"label": "Organs missed", "value": f"{line.missed} of {line.present}", "note": share}]


def _tile(modality: str, line: Line, classes: int) -> dict[str, str]:
    """All of one modality in a tile."""
    notes = [_spread(line)]
    if "hausdorff95" in line.measures:
        notes.append(f"HD95 {line.text('hausdorff95')} mm")
    notes.append(f"organs missed: {line.missed} of {line.present}")
    return {"label": f"{modality}: {_dice_label(classes)}", "value": _dice(line), "note": "\n".join(notes)}


def _dice_label(classes: int) -> str:
    return f"Dice, mean of {classes} classes" if classes > 1 else "Dice"


def _dice(line: Line) -> str:
    return f"{line.measures['dice'].mean:.3f}"


def _spread(line: Line) -> str:
    return f"± {line.measures['dice'].sd:.3f} over {line.subjects} subjects" if line.subjects > 1 else "1 subject"


def _comparison(table: ScoreTable, method: str) -> str | None:
    """Difference to the best other method on the subjects that both have, and whose labels were the same for both."""
    each = {name: table.per_subject("dice", method=name) for name in table.methods}
    own = each.pop(method)
    others = {name: found for name, found in each.items() if found.keys() & own.keys()}
    apart = [name for name in others if any({name, method} == {*pair} for pair in other_labels(table))]
    others = {name: found for name, found in others.items() if name not in apart}
    if not others:
        return f"No difference to {', '.join(apart)} is given: scored against other labels." if apart else None
    rival = max(others, key=lambda name: mean_sd([others[name][s] for s in others[name] if s in own]).mean)
    differences = [own[subject] - others[rival][subject] for subject in own if subject in others[rival]]
    better, count = sum(difference > 0 for difference in differences), len(differences)
    text = (
        f"{mean_sd(differences).mean:+.3f} Dice against {rival}, the best other method: better in {better} of {count}"
    )
    text += " subjects"
    for test in table.select(lambda score: score.method in (method, rival)).tests("dice", "method", rival):
        p = f"{test.p:.3f}" if test.p >= 0.001 else f"{test.p:.1g}"
        text += f" (paired permutation test, p = {p})"
    return text + "."


def worst_scores(table: ScoreTable, method: str) -> list[Score]:
    """The lowest Dice values of a method over all modalities, worst first; ties by the larger distance.

    Args:
        table: any table.
        method: whose.

    Returns:
        A few scores.
    """
    found = table.select(lambda score: "dice" in score.values and "class" in score.case, method=method)
    return sorted(found, key=lambda score: (score.values["dice"], -score.values.get("hausdorff95", 0)))[:WORST_SCORES]


def subject_rows(table: ScoreTable, method: str) -> dict[str, Any]:
    """A line a subject and modality: Dice of each class, their mean, HD95 and what was missed or made up.

    Args:
        table: any table.
        method: whose.

    Returns:
        ``classes``: names of the columns; ``rows``: ``subject``, ``modality``, ``dice`` (texts), ``mean``, ``hd95`` and
        ``remark``, by modality and subject.
    """
    own = table.select(lambda score: "class" in score.case and "dice" in score.values, method=method)
    classes = own.cases("class")
    found: dict[tuple[str, str], dict[str, Score]] = {}
    for score in own:
        found.setdefault((score.case.get("modality", ""), score.subject), {})[score.case["class"]] = score
    rows = []
    for (modality, subject), scores in sorted(found.items()):
        distances = [s.values["hausdorff95"] for s in scores.values() if "hausdorff95" in s.values]
        flags = [f"{name} {REMARKS[s.flag]}" for name, s in scores.items() if s.flag]
        rows.append(
            {
                "subject": subject,
                "modality": modality,
                "dice": [f"{scores[name].values['dice']:.3f}" if name in scores else "–" for name in classes],
                "mean": f"{mean_sd([s.values['dice'] for s in scores.values()]).mean:.3f}",
                "hd95": f"{mean_sd(distances).mean:.1f}" if distances else "–",
                "remark": "; ".join(flags),
            }
        )
    return {"classes": classes, "rows": rows}


class Volumes(NamedTuple):
    """True and predicted volumes of a method on one modality."""

    modality: str
    points: dict[str, list[tuple[str, float, float]]]  # class to subject, true and predicted volume in ml
    rows: list[tuple[str, ...]]  # class, subjects, true, predicted, difference, difference in per cent: texts


def volumes(table: ScoreTable, method: str, modalities: Sequence[str]) -> list[Volumes]:
    """Predicted against true volumes, and how far they are apart on average.

    Args:
        table: any table; scores without volumes, such as those of older files, do not count.
        method: whose.
        modalities: which ones, in the order of the page.

    Returns:
        One entry a modality that has volumes.
    """
    out = []
    for modality in modalities:
        points: dict[str, list[tuple[str, float, float]]] = {}
        for score in table.select(method=method, modality=modality):
            pair = [score.values.get(name) for name in ("true_volume", "predicted_volume")]
            if "class" in score.case and pair[0] is not None and pair[1] is not None:
                points.setdefault(score.case["class"], []).append((score.subject, pair[0], pair[1]))
        if points:
            out.append(Volumes(modality, points, [_volume_row(name, found) for name, found in points.items()]))
    return out


def _volume_row(name: str, points: Sequence[tuple[str, float, float]]) -> tuple[str, ...]:
    truth, predicted = mean_sd([true for _, true, _ in points]), mean_sd([found for _, _, found in points])
    bias = mean_sd([found - true for _, true, found in points])
    share = f"{100 * bias.mean / truth.mean:+.0f}" if truth.mean else "–"
    digits = 0 if truth.mean >= 100 else 1 if truth.mean >= 10 else 2
    difference = f"{bias.mean:+.{digits}f}" + ("" if math.isnan(bias.sd) else f" ± {bias.sd:.{digits}f}")
    return (name, str(len(points)), f"{truth.mean:.{digits}f}", f"{predicted.mean:.{digits}f}", difference, share)


def class_colors(content: RunContent) -> dict[str, str]:
    """Colour of each class, as in the pictures.

    Args:
        content: of a run; its settings say which value a class has, else the order of the table does.

    Returns:
        Class to ``#RRGGBB``.
    """
    settings = content.about.get("settings")
    named = settings.get("labels") if isinstance(settings, Mapping) else None
    found = (
        {str(name): int(at) for at, name in named.items() if str(at).isdigit()} if isinstance(named, Mapping) else {}
    )
    values = {name: at for name, at in found.items() if at > 0}
    for at, name in enumerate(content.table.cases("class"), 1):
        values.setdefault(name, at)
    return {name: label_color(value) for name, value in values.items()}
