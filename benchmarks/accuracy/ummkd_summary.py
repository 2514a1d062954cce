# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tables, tests of the paper's claims and a picture, from the cells of ``ummkd_phantom``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import paired_tests, sd_over, table_lines, with_holm
from monai_mmseg.metrics import bootstrap_interval

MEASURES = ("dice", "hausdorff95", "hausdorff", "surface_distance")
METHODS = ("individual", "joint", "joint_kd", "y_shaped", "x_shaped", "chilopod", "ours")
CLAIMS = (("ours", "chilopod"), ("chilopod", "joint"), ("ours", "individual"))  # the first is not the worse one
OTHERS = (("ours", "joint"), ("ours", "joint_kd"), ("ours", "y_shaped"), ("ours", "x_shaped"))
MODALITIES, BOTH = ("ct", "mr"), "ct and mr"
LEVEL = 0.05

Cells = Sequence[Mapping[str, Any]]


def summarise(cells: Cells) -> dict[str, Any]:
    """Means over seeds and subjects, and paired tests over subjects, of every dimension that has cells."""
    seeds = sorted({cell["seed"] for cell in cells})
    dims = sorted({cell["dims"] for cell in cells})
    return {"seeds": seeds, "dims": {str(d): _study([c for c in cells if c["dims"] == d]) for d in dims}}


def by_method(cells: Cells) -> dict[str, list[dict[str, Any]]]:
    """Method to one entry a seed: the two individual networks are one method, and count where both are there."""
    settings: dict[str, dict[int, Mapping[str, Any]]] = {}
    for cell in cells:
        settings.setdefault(cell["setting"], {})[cell["seed"]] = cell
    pair = [settings.get(f"individual_{modality}", {}) for modality in MODALITIES]
    methods: dict[str, list[dict[str, Any]]] = {"individual": []}
    for seed in sorted(set(pair[0]) & set(pair[1])):
        parts = [one[seed] for one in pair]
        added = {key: sum(p[key] for p in parts) for key in ("seconds", "parameters", "parameters_at_paper_size")}
        joined = {subject: one for part in parts for subject, one in part["scores"].items()}
        methods["individual"].append({"seed": seed, **added, "distillation": {}, "scores": joined})
    for name in METHODS[1:]:
        methods[name] = [dict(settings[name][seed]) for seed in sorted(settings.get(name, {}))]
    return {name: found for name, found in methods.items() if found}


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


def _study(cells: Cells) -> dict[str, Any]:
    methods = by_method(cells)
    lines = {name: _line(found) for name, found in methods.items()}
    tests = {measure: _tests(methods, measure) for measure in ("dice", "hausdorff95")}
    some = next(iter(methods.values()))[0] if methods else {"scores": {}}
    return {
        "subjects": {modality: len(subjects_of(some, modality)) for modality in MODALITIES},
        "outliers": {modality: len(subjects_of(some, modality, outlier=True)) for modality in MODALITIES},
        "lines": lines,
        "tests": tests,
        "gains": _gains(methods),
    }


def _line(found: Cells) -> dict[str, Any]:
    """One method: both modalities, their mean, and what it costs."""
    line: dict[str, Any] = {key: found[0][key] for key in ("parameters", "parameters_at_paper_size")}
    line["seconds"] = [one["seconds"] for one in found]
    line["distillation"] = _distillation(found)
    for modality in MODALITIES:
        usual, odd = subjects_of(found[0], modality), subjects_of(found[0], modality, outlier=True)
        line[modality] = _part(found, usual)
        line[f"{modality} outliers"] = _part(found, odd)
        line[f"{modality} with outliers"] = _part(found, usual + odd)
    each = np.mean([line[modality]["dice_per_seed"] for modality in MODALITIES], axis=0)
    line["mean"] = {
        **{m: float(np.mean([line[modality][m] for modality in MODALITIES])) for m in MEASURES},
        "sd_over_seeds": sd_over(each),
        "dice_per_seed": [round(float(x), 4) for x in each],
    }
    return line


def _part(found: Cells, subjects: Sequence[str]) -> dict[str, Any]:
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


def _distillation(found: Cells) -> list[float]:
    """Loss on validation subjects at the end, a number a seed."""
    return [cell["distillation"]["loss"][-1] for cell in found if cell["distillation"]]


def _tests(methods: Mapping[str, Cells], measure: str) -> list[dict[str, Any]]:
    """All claims on a measure, corrected together."""
    tests = []
    for scope in (*MODALITIES, BOTH):
        compared = {
            name: values(found, subjects_of(found[0], None if scope == BOTH else scope), measure).mean(0)
            for name, found in methods.items()
        }
        tests += paired_tests(compared, (*CLAIMS, *OTHERS) if scope == BOTH else CLAIMS, scope=scope)
    return [{**test, "verdict": verdict(test, higher=measure == "dice")} for test in with_holm(tests)]


def verdict(test: Mapping[str, Any], *, higher: bool) -> str:
    """Whether the first method is better, in words."""
    better = (test["difference"] > 0) == higher and test["difference"] != 0
    if test["p_holm"] < LEVEL:
        return "better" if better else "worse"
    return "better in the mean, could be chance" if better else "not better"


def _gains(methods: Mapping[str, Cells]) -> dict[str, dict[str, float]]:
    """Dice of ours over individual by modality, with 95 % intervals over subjects: is it most where cases are few?"""
    if not {"ours", "individual"} <= methods.keys():
        return {}
    gains = {}
    for modality in MODALITIES:
        ours, alone = (
            values(methods[name], subjects_of(methods[name][0], modality)).mean(0) for name in ("ours", "individual")
        )
        gains[modality] = bootstrap_interval(ours - alone)._asdict()
    return gains


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary as tables, a chapter for each dimension."""
    rows = [f"Phantom seed {summary['phantom_seed']}, training seeds {summary['seeds']}.", ""]
    for dims, study in summary["dims"].items():
        rows += [f"## {dims}D", "", *_tables(study), ""]
    return "\n".join(rows).rstrip() + "\n"


def _tables(study: Mapping[str, Any]) -> list[str]:
    count, odd = study["subjects"], study["outliers"]
    if not study["lines"]:
        return ["No method is complete yet."]
    about = f"{count['ct']} CT and {count['mr']} MR test subjects: mean ± sd over training seeds."
    rows = [f"{about} Distances in mm; an organ that was missed gets the diagonal of its image.", ""]
    head = ["method", "parameters", "Dice CT", "Dice MR", "mean", "HD95 CT", "HD95 MR", "HD CT", "HD MR", "missed"]
    lines = study["lines"]
    rows += table_lines([*head, "seconds", "KD, validation"], [_overview(name, line) for name, line in lines.items()])
    for modality in MODALITIES:
        names = list(next(iter(lines.values()))[modality]["classes"])
        heads = ["method", *(f"{name}: Dice, HD95" for name in names)]
        body = []
        for method, line in lines.items():
            classes = line[modality]["classes"].values()
            body.append(
                [method, *(f"{c['dice']:.3f} ± {c['dice_sd_over_seeds']:.3f}, {c['hausdorff95']:.1f}" for c in classes)]
            )
        rows += ["", f"Each class of {modality.upper()}:", "", *table_lines(heads, body)]
    if any(odd.values()):
        rows += ["", f"Outliers: {odd['ct']} CT and {odd['mr']} MR with artefacts, and all subjects with them:", ""]
        heads = ["method", *(f"{what} {m.upper()}" for m in MODALITIES for what in ("Dice", "HD95", "Dice of all"))]
        body = [[name, *(text for m in MODALITIES for text in _outlier(line, m))] for name, line in lines.items()]
        rows += table_lines(heads, body)
    for measure, name in (("dice", "Dice"), ("hausdorff95", "HD95 [mm]")):
        rows += ["", f"Paired permutation tests over subjects, {name}, all corrected together (Holm):", ""]
        body = [
            [t["a"], t["b"], t["scope"], f"{t['difference']:+.3f}", f"{t['p']:.4f}", f"{t['p_holm']:.4f}", t["verdict"]]
            for t in study["tests"][measure]
        ]
        rows += table_lines(["a", "b", "subjects", "a - b", "p", "p (Holm)", "a is"], body, texts=(0, 1, 2, 6))
    if study["gains"]:
        gains = [
            f"{modality.upper()} {gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
            for modality, gain in study["gains"].items()
        ]
        rows += ["", f"Dice of ours over individual, 95 % interval over subjects: {', '.join(gains)}."]
    return rows


def _overview(name: str, line: Mapping[str, Any]) -> list[str]:
    ct, mr, mean = line["ct"], line["mr"], line["mean"]
    dice = [f"{part['dice']:.3f} ± {part['sd_over_seeds']:.3f}" for part in (ct, mr, mean)]
    distances = [f"{part[key]:.1f}" for key in ("hausdorff95", "hausdorff") for part in (ct, mr)]
    kd = f"{np.mean(line['distillation']):.4f}" if line["distillation"] else "–"
    missed = f"{ct['missed'] + mr['missed']} of {ct['organs'] + mr['organs']}"
    return [name, f"{line['parameters']:,}", *dice, *distances, missed, f"{np.mean(line['seconds']):.0f}", kd]


def _outlier(line: Mapping[str, Any], modality: str) -> list[str]:
    odd, everything = line[f"{modality} outliers"], line[f"{modality} with outliers"]
    if not odd:
        return ["–"] * 3
    return [f"{odd['dice']:.3f} ± {odd['sd_over_seeds']:.3f}", f"{odd['hausdorff95']:.1f}", f"{everything['dice']:.3f}"]


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Dice of every method and modality: a line at the mean, a dot a seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    studies = {dims: study for dims, study in summary["dims"].items() if study["lines"]}
    if not studies:
        return
    figure, panels = plt.subplots(
        len(studies), 2, figsize=(8, 2.6 * len(studies) + 0.4), layout="constrained", squeeze=False, sharey="row"
    )
    for row, (dims, study) in zip(panels, studies.items(), strict=True):
        names = list(study["lines"])
        for axes, modality in zip(row, MODALITIES, strict=True):
            for y, name in enumerate(names):
                one = study["lines"][name][modality]
                color = "#D55E00" if name == "ours" else "#1f3b57"
                axes.plot([one["dice"]] * 2, [y - 0.3, y + 0.3], color=color, lw=2.5)
                axes.plot(one["dice_per_seed"], [y] * len(one["dice_per_seed"]), "o", color=color, ms=4, alpha=0.6)
            axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
            axes.set_title(f"{dims}D, {modality.upper()}, {study['subjects'][modality]} test subjects", fontsize=10)
            axes.grid(axis="x", color="#dddddd", lw=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].invert_yaxis()
    for axes in panels[-1]:
        axes.set_xlabel("Dice, mean of the classes (line: mean; dots: seeds)", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)
