# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What DAFNet's parts are worth on the heart phantom: three seeds, with all target labels and with none.

    python -m benchmarks.accuracy.dafnet_phantom --work runs/dafnet_phantom

Every cell is one training of the bundle with its demo overlay and one setting, evaluated on test subjects that nothing
was tuned on. Cells run two at a time on one core each; a cell that was finished is not run again, one that was cut off
goes on at its last epoch. Results: one JSON a cell, ``summary.json``, ``summary.md`` and a picture in
``benchmarks/results``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.unpaired_cells import draw_dice
from benchmarks.cells import (
    in_lanes,
    overrides_of,
    paired_tests,
    read_json,
    sd_over,
    study_parser,
    table_lines,
    with_holm,
    write_json,
    write_summary,
)
from benchmarks.runs import Run, train_and_evaluate
from monai_mmseg.baselines import copy_baseline
from monai_mmseg.data import load_datalist
from monai_mmseg.evaluation import ScoreTable, evaluate_predictions
from monai_mmseg.phantom import make_heart_phantom

PHANTOM_SEED, SUBJECTS, TEST_SUBJECTS = 1, 24, 8  # demo.json was chosen on validation subjects of phantom seed 0
FRACTIONS = {"0": "settings/target_0", "100": "settings/target_100"}
VARIANTS = {
    "full": (),
    "without_transformer": ("settings/without_transformer",),
    "without_disentangling": ("settings/ablation_mask_adversary_only",),
}
REFERENCES = {
    "unet_source": "settings/unet_source",
    "unet_copied_masks": "settings/unet_copied_masks",
    "unet_target": "settings/unet_target",
}
CLASSES = ("LV", "myocardium")


def cells(seeds: Sequence[int]) -> list[tuple[str, Run]]:
    """Name and run of every cell, seed by seed so that a cut leaves whole seeds."""
    found = []
    for seed in seeds:
        for fraction, overlay in FRACTIONS.items():
            for variant, more in VARIANTS.items():
                run = Run(f"dafnet_{variant}", (overlay, "demo", *more), {"seed": seed})
                found.append((f"{variant}_{fraction}_seed{seed}", run))
        found += [(f"{n}_seed{seed}", Run(n, (o, "demo"), {"seed": seed})) for n, o in REFERENCES.items()]
    return found


def scores(table: ScoreTable) -> dict[str, dict[str, float]]:
    """Per subject: Dice of each class, their mean over LV and myocardium, mean surface distance, missed organs."""
    found: dict[str, dict[str, float]] = {}
    for score in table:
        one, name = found.setdefault(score.subject, {"missed": 0.0}), score.case["class"]
        one[f"dice {name}"] = score.values["dice"]
        one[f"assd {name}"] = score.values["surface_distance"]
        one["missed"] += float(score.flag == "missed")
    for one in found.values():
        one["dice"] = float(np.mean([one[f"dice {name}"] for name in CLASSES]))
        one["assd"] = float(np.mean([one[f"assd {name}"] for name in CLASSES]))
    return found


def run_cell(name: str, run: Run, work: Path, data: Path, results: Path, overrides: Mapping[str, Any]) -> None:
    """Train and evaluate one cell, and write its JSON."""
    target = results / f"{name}.json"
    if target.is_file():
        return
    result = train_and_evaluate(run, work / name, data, overrides=overrides)
    measures = read_json(result.folder / "disentanglement.json") if "dafnet" in run.name else {}
    found = scores(result.table)
    write_json(target, {"run": run._asdict(), "seconds": result.seconds, "scores": found, **keep(measures)})
    print(f"{name}: {np.mean([one['dice'] for one in found.values()]):.3f}", flush=True)


def keep(measures: Mapping[str, Any]) -> dict[str, Any]:
    """The measures that belong in a table."""
    if not measures:
        return {}
    kept: dict[str, Any] = {"distance_correlation": measures["distance_correlation"]}
    kept["modality_accuracy"] = measures["modality_classification"]["accuracy"]
    return {**kept, **({"registration": measures["registration"]} if "registration" in measures else {})}


def summarise(seeds: Sequence[int], copied: Mapping[str, Mapping[str, float]], results: Path) -> dict[str, Any]:
    """Means over seeds and subjects, and paired tests over subjects."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, _ in cells(seeds):
        path = results / f"{name}.json"
        if path.is_file():
            groups.setdefault(name.rsplit("_seed", 1)[0], []).append(read_json(path))
    subjects = sorted(copied)
    by_subject = {"copy": np.array([copied[s]["dice"] for s in subjects])}
    lines = {"copy": line([copied], subjects)}
    for group, found in groups.items():
        lines[group] = {
            **line([one["scores"] for one in found], subjects),
            "seconds": [one["seconds"] for one in found],
        }
        by_subject[group] = np.mean([[one["scores"][s]["dice"] for s in subjects] for one in found], axis=0)
    pairs = [(f"full_{f}", f"{v}_{f}") for f in FRACTIONS for v in list(VARIANTS)[1:]]
    pairs += [("full_0", name) for name in ("copy", "unet_source", "unet_copied_masks")] + [("full_100", "unet_target")]
    tests = with_holm(paired_tests(by_subject, pairs))
    return {
        "subjects": len(subjects),
        "phantom_seed": PHANTOM_SEED,
        "seeds": list(seeds),
        "lines": lines,
        "tests": tests,
    }


def line(found: Sequence[Mapping[str, Mapping[str, float]]], subjects: Sequence[str]) -> dict[str, Any]:
    """One line of the table."""
    dice = np.array([[one[s]["dice"] for s in subjects] for one in found])
    assd = np.array([[one[s]["assd"] for s in subjects] for one in found])
    return {
        "dice": float(dice.mean()),
        "sd_over_seeds": sd_over(dice.mean(1)),
        "sd_over_subjects": sd_over(dice.mean(0)),
        "dice_per_seed": [round(float(x), 4) for x in dice.mean(1)],
        "assd_mm": float(assd.mean()),
        "missed": int(sum(one[s]["missed"] for one in found for s in subjects)),
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary as two tables."""
    about = f"Phantom seed {summary['phantom_seed']}, {summary['subjects']} test subjects, seeds {summary['seeds']}."
    cells_of, tests = [], []
    for name, one in summary["lines"].items():
        each = " / ".join(f"{x:.3f}" for x in one["dice_per_seed"])
        sds = [f"{one[key]:.3f}" for key in ("sd_over_seeds", "sd_over_subjects")]
        cells_of.append([name, f"{one['dice']:.3f}", *sds, each, f"{one['assd_mm']:.2f}", str(one["missed"])])
    for t in summary["tests"]:
        tests.append([t["a"], t["b"], f"{t['difference']:+.3f}", f"{t['p']:.4f}", f"{t['p_holm']:.4f}"])
    head = ["cell", "Dice", "sd over seeds", "sd over subjects", "each seed", "ASSD [mm]", "missed"]
    rows = [about + " Dice is the mean over LV blood pool and myocardium of each LGE volume.", ""]
    rows += [*table_lines(head, cells_of, texts=(0, 4)), ""]
    rows += table_lines(["a", "b", "a - b", "p", "p (Holm)"], tests, texts=(0, 1))
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run what is missing and write the summary."""
    parser = study_parser(__doc__, "dafnet_phantom")
    arguments = parser.parse_args()
    work, results, overrides = arguments.work, arguments.results, overrides_of(arguments.set)
    data = work / "data"
    datalist = make_heart_phantom(data, subjects=SUBJECTS, test_subjects=TEST_SUBJECTS, seed=PHANTOM_SEED)
    found = copy_baseline(load_datalist(datalist, "test"), "cine", "lge", work / "copy", overwrite=True)
    copied = scores(evaluate_predictions(datalist, found, modality="lge", section="test", method="copy"))
    jobs = [(name, run, work, data, results, overrides) for name, run in cells(arguments.seeds)]
    in_lanes(run_cell, jobs, arguments.lanes)
    summary = summarise(arguments.seeds, copied, results)
    draw_dice([{"LGE, LV and myocardium": summary["lines"]}], results / "summary.png", ours="full_0")
    write_summary(results, summary, markdown(summary))


if __name__ == "__main__":
    main()
