# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Do a ramp, running means and balanced gradients help where one modality has two labelled patients?

    python -m benchmarks.accuracy.unpaired_schedules --work runs/unpaired_schedules

UMMKD as the paper has it and with ``settings/running_means`` (weight grows with the Dice of the batch, rows over ten
steps, absent classes skipped); CSA as the paper has it and with ``settings/balance``. All with a small network of
MONAI, augmented, 600 steps, on the heart phantom of ``ummkd_phantom`` (seed 41) with 17 CT and 2 MR patients; tested on
12 and 12 others. A finished cell is not run again. Results: ``benchmarks/results/unpaired_schedules.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.ummkd_phantom import PHANTOM_SEED, prepare
from benchmarks.accuracy.unpaired_cells import keep_cell
from benchmarks.cells import finished, in_lanes, overrides_of, read_json, study_parser, write_json
from benchmarks.runs import ROOT, Run

LABELLED_MR = 2
RECIPE: dict[str, Any] = {
    "backbone#_target_": "DynUNet",
    "augmentation": {
        "_target_": "Compose",
        "transforms": [
            {
                "_target_": "RandAffined",
                "keys": ["image", "label"],
                "prob": 0.8,
                "rotate_range": 0.35,
                "scale_range": [0.15, 0.15],
                "translate_range": [5, 5],
                "mode": ["bilinear", "nearest"],
                "padding_mode": ["border", "zeros"],
            },
            {"_target_": "RandScaleIntensityd", "keys": "image", "factors": 0.2, "prob": 0.5},
            {"_target_": "RandShiftIntensityd", "keys": "image", "offsets": 0.2, "prob": 0.5},
            {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.3, "std": 0.15},
        ],
    },
    "backbone#kernel_size": [3, 3, 3, 3],
    "backbone#strides": [1, 2, 2, 2],
    "backbone#upsample_kernel_size": [2, 2, 2],
    "backbone#filters": [8, 16, 32, 48],
    "backbone#dropout": "$None",
    "max_epochs": 15,
    "batch_size": 4,
    "epoch_length": 40,
    "val_interval": 10,
    "lr_decay_steps": 40,
    "lr_decay": 0.83,
    "num_workers": 0,
}
CSA = ("settings/ct_mr", "demo", "settings/dynunet")
CT_MR: dict[str, Any] = {"pixdim": [3.0, 3.0, 3.0], "num_slices": 3}
CELLS: dict[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {
    "ummkd": ("ummkd", ("demo", "settings/dynunet"), {}),
    "ummkd_running_means": ("ummkd", ("demo", "settings/dynunet", "settings/running_means"), {}),
    "csa": ("csa", CSA, CT_MR),
    "csa_balance": ("csa", (*CSA, "settings/balance"), CT_MR),
}


def scarce(data: Path) -> Path:
    """The datalist with few MR patients outside of fold 0, in a folder beside it."""
    listed = read_json(data / "datalist.json")
    kept: list[dict[str, Any]] = []
    mr = 0
    for item in listed["training"]:
        if item["modality"] == "mr" and item["fold"] != 0:
            mr += 1
            if mr > LABELLED_MR:
                continue
        kept.append(item)
    folder = data.parent / f"data_{LABELLED_MR}_mr"
    write_json(folder / "datalist.json", {**listed, "training": kept})
    return folder


def run_cell(name: str, seed: int, data: Path, work: Path, results: Path, more: Mapping[str, Any]) -> None:
    """Train and evaluate one cell."""
    bundle, overlays, knobs = CELLS[name]
    run = Run(name, overlays, {**RECIPE, **knobs, "seed": seed})
    about = {"setting": name, "seed": seed}
    keep_cell(
        f"{name}_seed{seed}", about, run, bundle=bundle, data=data, work=work, results=results, overrides=dict(more)
    )


def summarise(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean Dice and average surface distance of each modality, seed by seed, outliers left out."""
    found: dict[str, Any] = {}
    for cell in cells:
        line: dict[str, Any] = {"seconds": cell["seconds"], "terms": cell["terms"]}
        for modality in ("ct", "mr"):
            usual = [one for one in cell["scores"].values() if one["modality"] == modality and not one["outlier"]]
            for measure in ("dice", "surface_distance"):
                line[f"{modality}_{measure}"] = round(
                    float(np.mean([c[measure] for one in usual for c in one["classes"].values()])), 4
                )
        found.setdefault(cell["setting"], {})[str(cell["seed"])] = line
    return found


def main() -> None:
    """Run what is missing and write the summary."""
    parser = study_parser(__doc__, "unpaired_schedules", phantom_seed=PHANTOM_SEED, settings=tuple(CELLS))
    parser.set_defaults(results=None, seeds=[0, 1], lanes=1)
    arguments = parser.parse_args()
    data = scarce(prepare(arguments.work, 2, arguments.phantom_seed))
    cells = arguments.work / "cells"
    more = overrides_of(arguments.set)
    jobs = [(name, seed, data, arguments.work, cells, more) for seed in arguments.seeds for name in arguments.only]
    in_lanes(run_cell, jobs, arguments.lanes)
    summary = {"phantom_seed": arguments.phantom_seed, "cells": summarise(finished(cells))}
    write_json(arguments.results or ROOT / "benchmarks" / "results" / "unpaired_schedules.json", summary)
    print(json.dumps(summary["cells"], indent=1))


if __name__ == "__main__":
    main()
