# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the cells of ``disentangle_phantom`` sum up to: tables, paired tests, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.unpaired_cells import Cells, verdict
from benchmarks.cells import paired_tests, sd_over, table_lines, table_of_tests, with_holm
from monai_mmseg.evaluation import MEASURES, MethodInfo, Score, ScoreTable, subset_text
from monai_mmseg.report import subset_blocks
from monai_mmseg.visualize import save_figure, subset_figure

VARIANTS = {
    "conv_na": "Conv+NA",
    "conv_adv": "Conv+Adv",
    "conv_sim": "Conv+Sim",
    "condconv_sim": "CondConv+Sim",
}
SETTINGS = {"standard_zero": "Standard+Zero", "standard_average": "Standard+Average", "ours": "Ours"}
TRIVIAL = "trivial"  # of the reconstructed images: what needs no network
TRIVIAL_NAMES = {"cross": "that sequence itself, histogram matched", "others": "mean image of the training subjects"}
CLAIMS_REDRAW = {  # first is expected to be better
    "cross": [
        ("condconv_sim", "conv_na"),
        ("condconv_sim", "conv_adv"),
        ("condconv_sim", "conv_sim"),
        ("conv_sim", "conv_na"),
        ("condconv_sim", TRIVIAL),
    ],
    "others": [("condconv_sim", TRIVIAL)],
}
SCOPES = {"cross": "each other", "others": "all others"}
CLAIMS_DOWNSTREAM = [("ours", "standard_zero"), ("ours", "standard_average")]
SILHOUETTES = {
    "code_by_modality": "z by modality (near 1)",
    "anatomy_by_modality": "s by modality (0 or less)",
    "anatomy_by_subject": "s by subject (near 1)",
}
DOWNSTREAM = {
    "tumour": ("dice", "hausdorff95"),
    "tumour_incomplete": ("dice", "hausdorff95"),
    "pet": ("psnr", "ssim"),
    "pet_incomplete": ("psnr", "ssim"),
}
TITLES = {
    "tumour": "Tumours, a sequence missing in the test",
    "tumour_incomplete": "Tumours, sequences missing in training and in the test",
    "pet": "PET, a sequence missing in the test",
    "pet_incomplete": "PET, sequences missing in training and in the test",
}
NONE = "none"


def summarise(cells: Cells, baselines: Mapping[str, Any]) -> dict[str, Any]:
    """Means over seeds and subjects, and tests, of all stages that have cells; images beside the baselines."""
    stages: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for cell in cells:
        stages.setdefault(cell["stage"], {}).setdefault(cell["setting"], []).append(cell)
    summary: dict[str, Any] = {"seeds": sorted({cell["seed"] for cell in cells})}
    if "redraw" in stages:
        summary["redraw"] = _redraw(stages["redraw"], baselines)
    for stage, measures in DOWNSTREAM.items():
        if stage in stages:
            summary[stage] = _downstream(stages[stage], measures)
    return summary


# -- reconstructed images ---------------------------------------------------------------------------------------------


def _redraw(settings: Mapping[str, Cells], baselines: Mapping[str, Any]) -> dict[str, Any]:
    lines, tests = {}, {}
    settings = {name: settings[name] for name in VARIANTS if name in settings}
    for name, found in settings.items():
        line: dict[str, Any] = {
            "seconds": [cell["seconds"] for cell in found],
            "parameters": found[0]["parameters"],
            "silhouettes": {key: _spread(_silhouettes(found, key)) for key in SILHOUETTES},
        }
        for part in ("cross", "others"):
            line[part] = {}
            for target in found[0][part]:
                line[part][target] = {
                    measure: _spread([np.mean(list(cell[part][target][measure].values())) for cell in found])
                    for measure in found[0][part][target]
                    if all(cell[part][target][measure] for cell in found)
                }
        lines[name] = line
    for measure in ("psnr", "ssim"):
        found = []
        for part, claims in CLAIMS_REDRAW.items():
            compared = {
                name: _subjects(each, part, measure) for name, each in {**settings, TRIVIAL: [baselines]}.items()
            }
            common = set.intersection(*(set(values) for values in compared.values()))
            scores = {name: [values[subject] for subject in sorted(common)] for name, values in compared.items()}
            found += paired_tests(scores, claims, scope=SCOPES[part]) if len(common) > 1 else []
        tests[measure] = [{**test, "verdict": verdict(test, higher=True)} for test in with_holm(found)]
    subjects = {s for found in settings.values() for t in found[0]["cross"].values() for s in t["psnr"]}
    trivial = {
        part: {
            target: {measure: float(np.mean(list(values.values()))) for measure, values in each.items() if values}
            for target, each in baselines[part].items()
        }
        for part in ("cross", "others")
    }
    return {"subjects": len(subjects), "lines": lines, "trivial": trivial, "tests": tests}


def _subjects(found: Cells, part: str, measure: str) -> dict[str, float]:
    """Subject to its mean over seeds and targets, of the subjects that have all targets."""
    targets = list(found[0][part])
    names = set.intersection(*(set(cell[part][target][measure]) for cell in found for target in targets))
    return {s: float(np.mean([cell[part][t][measure][s] for cell in found for t in targets])) for s in names}


def _silhouettes(found: Cells, key: str) -> list[float]:
    values = [cell["silhouettes"].get(key) for cell in found]
    return [float(value) for value in values if value is not None]


def _spread(values: Sequence[Any]) -> dict[str, Any] | None:
    """Mean and deviation over seeds."""
    if not len(values):
        return None
    each = [round(float(value), 4) for value in values]
    return {"mean": float(np.mean(each)), "sd_over_seeds": sd_over(each), "per_seed": each}


# -- downstream ---------------------------------------------------------------------------------------------------


def _downstream(settings: Mapping[str, Cells], measures: Sequence[str]) -> dict[str, Any]:
    settings = {name: settings[name] for name in SETTINGS if name in settings}
    modalities = next(iter(settings.values()))[0]["modalities"]
    missing = {NONE: modalities, **{name: [m for m in modalities if m != name] for name in modalities}}
    lines: dict[str, Any] = {}
    for name, found in settings.items():
        lines[name] = {
            "seconds": [cell["seconds"] for cell in found],
            "parameters": found[0]["parameters"],
            **{
                measure: {
                    gone: _spread([value for v in _values(found, subset, measure) if (value := _mean(v)) is not None])
                    for gone, subset in missing.items()
                }
                for measure in measures
            },
        }
    tests: dict[str, list[dict[str, Any]]] = {}
    for measure in measures:
        all_of_them: list[dict[str, Any]] = []
        for gone, subset in missing.items():
            each = {name: _over_seeds(_values(found, subset, measure)) for name, found in settings.items()}
            common = set.intersection(*(set(values) for values in each.values()))
            if len(common) > 1:
                scores = {name: [values[s] for s in sorted(common)] for name, values in each.items()}
                all_of_them += paired_tests(scores, CLAIMS_DOWNSTREAM, scope=gone)
        higher = MEASURES[measure].higher
        tests[measure] = [{**test, "verdict": verdict(test, higher=higher)} for test in with_holm(all_of_them)]
    return {"modalities": list(modalities), "lines": lines, "tests": tests}


def _values(found: Cells, subset: Sequence[str], measure: str) -> list[dict[str, float]]:
    """For each seed: subject to score, with this subset."""
    return [
        {row["subject"]: row["measures"][measure] for row in cell["rows"] if set(row["subset"]) == set(subset)}
        for cell in found
    ]


def _mean(values: Mapping[str, float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


def _over_seeds(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = set.intersection(*(set(values) for values in found))
    return {subject: float(np.mean([values[subject] for values in found])) for subject in names}


# -- text ---------------------------------------------------------------------------------------------------------


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary as tables, a chapter a stage."""
    rows = [f"Phantom seed {summary['phantom_seed']}, training seeds {summary['seeds']}.", ""]
    if "redraw" in summary:
        rows += ["## Reconstructed images", "", *_redraw_text(summary["redraw"]), ""]
    for stage, title in TITLES.items():
        if stage in summary:
            rows += [f"## {title}", "", *_downstream_text(summary[stage], DOWNSTREAM[stage]), ""]
    return "\n".join(rows).rstrip() + "\n"


def _redraw_text(study: Mapping[str, Any]) -> list[str]:
    lines = study["lines"]
    targets = list(next(iter(lines.values()))["cross"])
    rows = []
    for part, about in (
        ("cross", "Each sequence reconstructed with the anatomy of each other one and its own code"),
        ("others", "Each sequence reconstructed from all others with its mean code, without anything of its image"),
    ):
        rows += [f"{about}: PSNR [dB] / SSIM, {study['subjects']} test subjects, mean ± sd over seeds.", ""]
        body = [
            [VARIANTS[name], *(_pair(line[part].get(target)) for target in targets)] for name, line in lines.items()
        ]
        plain = [study["trivial"][part].get(target) for target in targets]
        body.append([TRIVIAL_NAMES[part], *("–" if x is None else f"{x['psnr']:.2f} / {x['ssim']:.3f}" for x in plain)])
        rows += [*table_lines(["variant", *targets], body), ""]
    rows += ["As the original code measures it (whole image, background 0 here, so not those of the paper):", ""]
    body = [
        [VARIANTS[name], *(_pair(line["cross"].get(target), "original_") for target in targets)]
        for name, line in lines.items()
    ]
    rows += [*table_lines(["variant", *targets], body), "", "Silhouettes, mean ± sd over seeds:", ""]
    body = [
        [
            VARIANTS[name],
            *(_text(line["silhouettes"][key], 2) for key in SILHOUETTES),
            f"{line['parameters']:,}",
            f"{np.mean(line['seconds']):.0f}",
        ]
        for name, line in lines.items()
    ]
    rows += table_lines(["variant", *SILHOUETTES.values(), "parameters", "seconds"], body)
    for measure, title in (("psnr", "PSNR"), ("ssim", "SSIM")):
        rows += ["", f"Paired permutation tests over subjects, {title}, corrected together (Holm):", ""]
        rows += table_of_tests(study["tests"][measure], "from", names={**VARIANTS, TRIVIAL: "no network"})
    return rows


def _downstream_text(study: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    lines = study["lines"]
    rows = []
    for measure in measures:
        about = MEASURES[measure]
        rows += [f"{about.title}, mean ± sd over seeds; missing:", ""]
        gone = [NONE, *study["modalities"]]
        body = [
            [SETTINGS[name], *(_text(line[measure][one], about.digits) for one in gone)] for name, line in lines.items()
        ]
        rows += [*table_lines(["method", *gone], body), ""]
        rows += [f"Paired permutation tests over subjects, {about.heading}, corrected together (Holm):", ""]
        rows += [*table_of_tests(study["tests"][measure], "missing", names=SETTINGS, digits=about.digits), ""]
    cost = [
        f"{SETTINGS[name]} {line['parameters']:,}, {np.mean(line['seconds']):.0f} s" for name, line in lines.items()
    ]
    return [*rows, f"Trainable parameters and time: {'; '.join(cost)}."]


def _pair(found: Mapping[str, Any] | None, prefix: str = "") -> str:
    if not found or f"{prefix}psnr" not in found:
        return "–"
    psnr, ssim = found[f"{prefix}psnr"], found[f"{prefix}ssim"]
    return f"{_text(psnr, 2)} / {_text(ssim, 3)}"


def _text(found: Mapping[str, Any] | None, digits: int) -> str:
    if found is None:
        return "–"
    return f"{found['mean']:.{digits}f} ± {found['sd_over_seeds']:.{digits}f}"


# -- pictures -----------------------------------------------------------------------------------------------------


def draw(cells: Cells, folder: Path) -> list[Path]:
    """A heat map of every subset for each downstream task."""
    paths = []
    for stage, measures in DOWNSTREAM.items():
        found = [cell for cell in cells if cell["stage"] == stage]
        if found:
            table = joined(found, measures)
            figure = subset_figure(found[0]["modalities"], subset_blocks(table, measures))
            paths.append(save_figure(figure, folder / f"{stage}_subsets.png", dpi=80))
    return paths


def joined(cells: Cells, measures: Sequence[str]) -> ScoreTable:
    """One table of all settings, each subject's scores averaged over the seeds."""
    names, scores = cells[0]["modalities"], []
    for setting, method in SETTINGS.items():
        values: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
        for cell in cells:
            for row in cell["rows"] if cell["setting"] == setting else ():
                one = np.array([row["measures"][measure] for measure in measures])
                values.setdefault((subset_text(row["subset"], names), row["subject"]), []).append(one)
        for (subset, subject), each in values.items():
            means = dict(zip(measures, np.mean(each, axis=0).tolist(), strict=True))
            scores.append(Score(method, subject, {"subset": subset}, means))
    return ScoreTable(scores, {score.method: MethodInfo(modalities=tuple(names)) for score in scores})
