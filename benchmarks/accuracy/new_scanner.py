# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A third scanner for a network of two, from 1, 2 or 4 labelled subjects: normalisation alone, all weights, or anew.

``python -m benchmarks.accuracy.new_scanner --work DIR [--seeds 71,72]`` trains what is missing below ``DIR``, one
thread, and writes ``benchmarks/results/new_scanner.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from benchmarks import RESULTS, ROOT
from monai_mmseg.evaluation.layout import Sheet
from monai_mmseg.files import write_json
from monai_mmseg.phantom import make_heart_phantom

OLD, NEW = ("cine", "lge"), "t2"
LABELLED = (1, 2, 4)
TRAINED, EXTRA, TEST = 16, 5, 12  # subjects: half of the first with cine, half with LGE; then with T2; then tested
BUNDLE = ROOT / "bundles" / "csa"
STEPS = {"max_epochs": 4, "epoch_length": 40, "batch_size": 4, "lr_decay_steps": 40, "spatial_size": [48, 48]}
STEPS["pixdim"] = [3.5, 3.5]
TESTED = "$monai_mmseg.bundle.read_items(@dataset_dir + '/datalist.json', 'test', modalities=@modalities)"
RECIPE: dict[str, Any] = {  # trains in a minute what the dilated network needs many for
    "layer_pairs": [["downsamples.0", "downsamples.1"]],  # of no weight, but the layers must be there
    "backbone": {
        "_target_": "DynUNet",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 4,
        "kernel_size": [3, 3, 3, 3],
        "strides": [1, 2, 2, 2],
        "upsample_kernel_size": [2, 2, 2],
        "filters": [8, 16, 32, 48],
        "norm_name": ["batch", {"eps": 0.001, "momentum": 0.1}],
    },
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
}
ARMS = {
    "norm": "normalisation only, from the trained network",
    "all": "all weights, from the trained network",
    "alone": "a network of T2 alone, anew",
    "anew": "one network of all three, anew (needs the old images)",
}


def make_data(root: Path, seed: int) -> None:
    """Datalists ``trained`` (two scanners), ``new<n>`` (n subjects of the third) and ``joint<n>`` (both)."""
    phantom = root / "phantom"
    subjects = TRAINED + EXTRA + TEST
    path = make_heart_phantom(
        phantom, modalities=[*OLD, NEW], subjects=subjects, test_subjects=TEST, seed=seed, size=96, folds=4
    )
    content = json.loads(path.read_text(encoding="utf-8"))
    for item in [*content["training"], *content["test"]]:
        item |= {key: str((phantom / item[key]).resolve()) for key in ("image", "label")}
    names = sorted({item["subject"] for item in content["training"]})
    scanner = {name: NEW if place >= TRAINED else OLD[place % 2] for place, name in enumerate(names)}
    one_each = [item for item in content["training"] if item["modality"] == scanner[item["subject"]]]
    for place, item in enumerate(one_each):  # the first T2 is watched only: the kept model is the last
        item["fold"] = place // 2 % 4 if place < TRAINED else int(place > TRAINED)
    old = [item for item in one_each if item["modality"] != NEW]
    tested = [item for item in content["test"] if item["modality"] != NEW]
    write_json(
        root / "trained" / "datalist.json", {**content, "modalities": list(OLD), "training": old, "test": tested}
    )
    for count in LABELLED:
        few = [item for item in one_each if item["modality"] == NEW][: count + 1]
        write_json(root / f"new{count}" / "datalist.json", {**content, "training": few})
        write_json(root / f"joint{count}" / "datalist.json", {**content, "training": [*old, *few]})


def cells(work: Path) -> Iterator[tuple[str, Path, tuple[str, ...], dict[str, Any]]]:
    """Name, data, overlays and overrides of all trainings of a seed, the network of two scanners first."""
    data, plain = work / "data", ("demo", "settings/msbn")
    yield "trained", data / "trained", plain, {**RECIPE, "max_epochs": 10}
    start = {"start": str(work / "trained" / "models" / "model.pt"), "new_modality": NEW, "like": "cine", "fold": 0}
    start["augmentation"] = RECIPE["augmentation"]
    overlays = (*plain, "settings/new_modality")
    for count in LABELLED:
        yield f"norm{count}", data / f"new{count}", overlays, start
        yield f"all{count}", data / f"new{count}", overlays, {**start, "freeze": False}
        yield f"alone{count}", data / f"new{count}", plain, {**RECIPE, "modalities": [NEW], "separate": []}
    yield f"anew{count}", data / f"joint{count}", plain, {**RECIPE, "max_epochs": 10}


def run_cell(folder: Path, data: Path, overlays: tuple[str, ...], overrides: Mapping[str, Any]) -> dict[str, float]:
    """Train, and the Dice of the last weights on the test subjects by modality, unless they are there."""
    done = folder / "dice.json"
    if not done.is_file():
        files = [str(BUNDLE / "configs" / f"{name}.json") for name in ("train", *overlays)]
        places = {"dataset_dir": data, "ckpt_dir": folder / "models", "output_dir": folder}
        own = {"bundle_root": str(BUNDLE), **{key: str(value) for key, value in places.items()}}
        # validated once, at the end: the model that is kept is the last, so nothing is chosen on these subjects
        tested = {"validate#dataset#data": TESTED, "overwrite": True, "val_interval": 1000, "device": "cpu"}
        began = time.process_time()
        workflow = ConfigWorkflow(files, workflow_type="train", **{**own, **STEPS, **tested, **overrides})
        workflow.initialize()
        workflow.run()
        metrics = workflow.evaluator.state.metrics
        dice = {name: round(metrics[f"dice/{name}"], 4) for name in (*OLD, NEW) if f"dice/{name}" in metrics}
        write_json(done, {**dice, "cpu_seconds": round(time.process_time() - began, 1)})
    found: dict[str, float] = json.loads(done.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="71,72")
    parser.add_argument("--only", default="", help="cells, for a trial; nothing is written then")
    args = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for seed in args.seeds.split(","):
        work = args.work.resolve() / f"seed{seed}"
        make_data(work / "data", int(seed))
        for name, data, overlays, overrides in cells(work):
            if not args.only or name in args.only.split(","):
                one = run_cell(work / name, data, overlays, {"seed": int(seed), **overrides})
                found.setdefault(seed, {})[name] = one
                print(seed, name, one, flush=True)
    if not args.only:
        write_json(RESULTS / "new_scanner.json", {"steps": STEPS, "seeds": found})
        (RESULTS / "new_scanner.md").write_text("\n".join(page(found)), encoding="utf-8")


def page(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Table: T2 by number of labelled subjects, and what is left of the old scanners."""

    def mean(name: str, *modalities: str) -> str:
        if any(m not in one.get(name, {}) for one in found.values() for m in modalities):
            return ""
        each = [sum(one[name][m] for m in modalities) / len(modalities) for one in found.values()]
        return f"{sum(each) / len(each):.3f} ({', '.join(f'{value:.3f}' for value in each)})"

    last = LABELLED[-1]
    head = [*(f"T2, {count} labelled" for count in LABELLED), f"cine and LGE, {last} labelled"]
    body = [
        [text, *(mean(f"{arm}{n}", NEW) for n in LABELLED), mean(f"{arm}{last}", *OLD)] for arm, text in ARMS.items()
    ]
    first = ["the trained network", *[""] * len(LABELLED), mean("trained", *OLD)]
    return Sheet("", [""], head, [first, *body]).markdown()


if __name__ == "__main__":
    main()
