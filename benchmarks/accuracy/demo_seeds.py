# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Is the table of the demonstration luck? The same runs on fresh phantoms and with other training seeds.

    python -m benchmarks.accuracy.demo_seeds --work runs/demo_seeds

Every pair of a phantom seed and a training seed is one cell: the copy baseline, the U-Net with copied masks and DAFNet
as ``benchmarks.demo`` runs them. Finished cells are kept. Results: ``benchmarks/results/demo_seeds.{json,md}``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import in_lanes, read_json, table_lines, write_json
from benchmarks.demo import DAFNET, FOLDS, SUBJECTS, TEST_SUBJECTS, UNETS, copied_masks
from benchmarks.runs import ROOT, train_and_evaluate
from monai_mmseg.metrics import paired_permutation_test
from monai_mmseg.phantom import make_heart_phantom

RESULTS = ROOT / "benchmarks" / "results" / "demo_seeds.json"
RUNS = (DAFNET, UNETS[1])


def main() -> None:
    """Run the cells that are missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/demo_seeds"))
    parser.add_argument("--phantom-seeds", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--lanes", type=int, default=2, help="runs at a time, one core each")
    arguments = parser.parse_args()
    cells: dict[str, Any] = read_json(RESULTS)["cells"] if RESULTS.is_file() else {}

    def cell(phantom_seed: int, seed: int, run: Any) -> None:
        name = f"{run.name} phantom {phantom_seed} seed {seed}"
        if name in cells:
            return
        folder = arguments.work / name.replace(" ", "_")
        result = train_and_evaluate(
            run, folder, arguments.work / f"data{phantom_seed}", overrides={**run.overrides, "seed": seed}
        )
        cells[name] = result.table.per_subject("dice")
        print(f"{name}: {np.mean(list(cells[name].values())):.3f}", flush=True)
        write(cells)

    for phantom_seed in arguments.phantom_seeds:
        data = arguments.work / f"data{phantom_seed}"
        datalist = make_heart_phantom(
            data, subjects=SUBJECTS, test_subjects=TEST_SUBJECTS, folds=FOLDS, seed=phantom_seed
        )
        if f"copy phantom {phantom_seed}" not in cells:
            table = copied_masks(Path(datalist), arguments.work / f"copy{phantom_seed}")
            cells[f"copy phantom {phantom_seed}"] = table.per_subject("dice")
    jobs = [(ps, seed, run) for seed in arguments.seeds for ps in arguments.phantom_seeds for run in RUNS]
    in_lanes(cell, jobs, arguments.lanes)
    write(cells)
    print(RESULTS.with_suffix(".md").read_text(encoding="utf-8"))


def write(cells: dict[str, Any]) -> None:
    """JSON of all cells, and a table of DAFNet beside copy and the U-Net of each cell."""
    about = (
        "Mean Dice over LV, myocardium and RV of LGE, 8 test subjects; p of a paired permutation test over subjects."
    )
    head = ["phantom", "training seed", "copy", "U-Net, copied masks", "DAFNet"]
    head += ["DAFNet - copy", "p", "DAFNet - U-Net", "p"]
    rows = []
    for name in sorted(cells):
        if not name.startswith(DAFNET.name):
            continue
        _, _, phantom_seed, _, seed = name.split(" ")
        copied, unet = f"copy phantom {phantom_seed}", f"{UNETS[1].name} phantom {phantom_seed} seed {seed}"
        if copied not in cells or unet not in cells:
            continue
        subjects = sorted(cells[name])
        ours, copy, other = (np.array([cells[key][s] for s in subjects]) for key in (name, copied, unet))
        tests = [paired_permutation_test(ours, other_one) for other_one in (copy, other)]
        compared = [text for test in tests for text in (f"{test.difference:+.3f}", f"{test.p_value:.3f}")]
        rows.append([phantom_seed, seed, *(f"{values.mean():.3f}" for values in (copy, other, ours)), *compared])
    write_json(RESULTS, {"cells": dict(sorted(cells.items()))})
    lines = [about, "", *table_lines(head, rows, texts=())]
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
