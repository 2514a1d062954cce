# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Does bfloat16 cost accuracy? Every method with its demo settings, in float32 and in mixed precision, three seeds.

    python -m benchmarks.accuracy.precision --work runs/precision [--bundles dafnet ummkd csa disentangle] [--lanes 2]

One phantom a bundle. A cell is one training and its evaluation on the test subjects, by the commands of the bundle,
with ``amp`` false or true; on a CPU that is bfloat16. Segmentation is scored by Dice, the mean of classes and test
subjects; disentangle by the SSIM of test images that are drawn with another sequence's anatomy. Finished cells are
kept. Results: ``benchmarks/results/precision.{json,md}``.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import in_lanes, read_json, table_lines, write_json
from benchmarks.runs import ROOT, Run, run_bundle
from monai_mmseg.evaluation import ScoreTable
from monai_mmseg.phantom import (
    make_abdomen_phantom,
    make_brain_phantom,
    make_cardiac_phantom,
    make_cmr_phantom,
    make_heart_phantom,
)

RESULTS = ROOT / "benchmarks" / "results" / "precision.json"
SEEDS = (0, 1, 2)
PHANTOM_SEED = 71
DATA: dict[str, Any] = {
    "dafnet": partial(make_heart_phantom, subjects=18, test_subjects=6),
    "ummkd": partial(make_cardiac_phantom, subjects={"ct": 12, "mr": 12}, test_subjects={"ct": 6, "mr": 6}, size=64),
    "ummkd_3d": partial(make_abdomen_phantom, subjects={"ct": 12, "mr": 12}, test_subjects={"ct": 6, "mr": 6}, size=64),
    "csa": partial(make_cmr_phantom, subjects={"lge": 12, "bssfp": 12}, test_subjects={"lge": 6, "bssfp": 6}, size=128),
    "disentangle": partial(make_brain_phantom, subjects=15, test_subjects=3, missing=0.2, size=54),
}


def main() -> None:
    """Run the cells that are missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/precision"))
    parser.add_argument("--bundles", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--lanes", type=int, default=2, help="runs at a time, one core each")
    arguments = parser.parse_args()
    cells: dict[str, Any] = read_json(RESULTS)["cells"] if RESULTS.is_file() else {}

    def cell(bundle: str, seed: int, amp: bool) -> None:
        name = f"{bundle} seed {seed} {'bfloat16' if amp else 'float32'}"
        if name in cells:
            return
        folder = arguments.work / name.replace(" ", "_")
        overlays = ("settings/target_0", "demo") if bundle == "dafnet" else ("demo",)
        done, metric = ("reconstruction.json", "ssim") if bundle == "disentangle" else ("metrics/run.json", "dice")
        settings = {"seed": seed, "amp": amp}
        data = arguments.work / f"data_{bundle}"
        seconds = run_bundle(Run("run", overlays), folder, data, done=done, bundle=bundle, overrides=settings)
        cells[name] = {"subjects": ScoreTable.from_json(folder / done).per_subject(metric), "seconds": seconds}
        print(f"{name}: {np.mean(list(cells[name]['subjects'].values())):.4f}, {seconds:.0f} s", flush=True)
        write(cells)

    for bundle in arguments.bundles:
        DATA[bundle](arguments.work / f"data_{bundle}", folds=6, seed=PHANTOM_SEED)
    jobs = [(bundle, seed, amp) for seed in arguments.seeds for bundle in arguments.bundles for amp in (False, True)]
    in_lanes(cell, jobs, arguments.lanes)
    write(cells)
    print(RESULTS.with_suffix(".md").read_text(encoding="utf-8"))


def write(cells: dict[str, Any]) -> None:
    """JSON of all cells, and a table with a row for each bundle and seed."""
    rows = []
    for bundle in DATA:
        pairs = []
        for seed in sorted({int(name.split(" ")[2]) for name in cells if name.startswith(f"{bundle} ")}):
            both = [cells.get(f"{bundle} seed {seed} {kind}") for kind in ("float32", "bfloat16")]
            if None in both:
                continue
            means = [float(np.mean(list(one["subjects"].values()))) for one in both]
            pairs.append(means)
            rows.append([bundle, str(seed), *(f"{mean:.3f}" for mean in means), f"{means[1] - means[0]:+.3f}"])
        if len(pairs) > 1:
            single, half = np.mean(pairs, axis=0)
            spread = np.std([pair[0] for pair in pairs], ddof=1)
            rows.append([bundle, f"mean (±{spread:.3f})", f"{single:.3f}", f"{half:.3f}", f"{half - single:+.3f}"])
    about = "Mean Dice of the test subjects; disentangle: mean SSIM. ±: standard deviation over seeds in float32."
    lines = [about, "", *table_lines(["bundle", "seed", "float32", "bfloat16", "difference"], rows, texts=(0, 1))]
    write_json(RESULTS, {"phantom_seed": PHANTOM_SEED, "cells": dict(sorted(cells.items()))})
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
