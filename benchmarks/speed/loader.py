# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How many samples a second each bundle's loader makes, what a sample costs, and how many cores feed a GPU.

    python -m benchmarks.speed.loader [--rows dafnet ummkd ...] [--workers 1 2 4] [--passes 5] [--flops]

Data set, sampler, augmentation and loader are those of ``bundles/<bundle>/configs/train.json``; only reading files is
replaced, by random volumes of 60 slices of the paper's size, kept in memory. CPU time is that of one process without
workers, the minimum over passes: *cut* is the data set without augmentation, *augment* what the augmentation adds,
*batch* what joining samples adds. *drawn* is a sample in its batch where the augmentation is on the device
(``augment_on``), and *apply* what that then takes there, on this CPU. Samples a second with workers are by the clock,
which other work slows.

``--flops`` counts the floating-point operations of a training step (one sample, or one of each modality) and gives the
cores that make samples as fast as an H100 takes them: at 40 % of 990 TFLOP/s (bfloat16, dense) and of 67 TFLOP/s
(float32).

Writes ``benchmarks/results/loader.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import RESULTS, ROOT
from benchmarks.speed.step import ROWS as STEPS
from benchmarks.speed.step import make_step
from benchmarks.timing import machine
from monai_mmseg.engines.seeding import seed_data
from monai_mmseg.files import write_json

BUNDLES = ("csa", "dafnet", "disentangle", "disentangle_tumour", "ummkd", "ummkd_3d")
PEAKS = {"bf16": 0.4 * 990e12, "fp32": 0.4 * 67e12}
"""Operations a second that a network is taken to reach on an H100."""
SUBJECTS, DEPTH = 4, 60


class RandomVolumes:
    """In place of a bundle's preprocessing: random images of its sizes, and labels of a few classes.

    Args:
        bundle: its name.
        size: of a slice or window.
        modalities: names.
    """

    def __init__(self, bundle: str, size: list[int], modalities: list[str]) -> None:
        self.size, self.count = [*size[:2], DEPTH], len(modalities)
        self.paired = bundle.startswith(("dafnet", "disentangle"))

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Make a volume; what it shows does not matter."""
        channels = self.count if self.paired else 1
        image = torch.rand(channels, *self.size) * 2 - 1
        label = torch.zeros(channels, *self.size, dtype=torch.uint8)
        label[:, 40:80, 40:80, 10:50] = 1
        made = {"image": image, "label": label, "subject": item["subject"]}
        if self.paired:
            made["present"] = torch.ones(channels, DEPTH, dtype=torch.bool)
            made["labelled"] = torch.ones(channels, dtype=torch.bool)
        return made


def make_parser(bundle: str, workers: int, **knobs: Any) -> Any:
    """The bundle's training over random volumes."""
    config = ConfigParser()
    config.read_config(ROOT / "bundles" / bundle / "configs" / "train.json")
    names, size = list(config["modalities"]), list(config.get_parsed_content("spatial_size"))
    subjects = [f"s{number}" for number in range(SUBJECTS)]
    items = [{"image": s, "subject": s, "modality": name} for s in subjects for name in names]
    config["device"], config["initialize"] = "$torch.device('cpu')", []
    config["num_workers"], config["epoch_length"] = workers, None
    config["train#dataset#data"] = items
    volumes = RandomVolumes(bundle, size, names)
    if bundle == "disentangle_tumour":  # whose data set cuts and augments by the same chain
        items = [{"image": s, "subject": s} for s in subjects]
        config["train#dataset#data"] = items
        config["train#preprocessing"]["transforms"] = (
            "$[monai.transforms.Lambda(@random_volumes)] + @train#window + @train#augmentation + [@train#select]"
        )
        config["random_volumes"] = volumes
    else:
        config["train#dataset#transform"] = volumes
    for name, value in knobs.items():
        config[name] = value
    config.parse(reset=True)
    return config


def make_loader(bundle: str, workers: int) -> Any:
    """The bundle's training loader over random volumes."""
    return make_parser(bundle, workers).get_parsed_content("train#dataloader")


def cpu_seconds(call: Callable[[int], int], passes: int) -> float:
    """CPU seconds of a sample: the minimum over passes, after one to warm up."""
    found = []
    for number in range(passes + 1):
        start = time.process_time()
        made = call(number)
        found.append((time.process_time() - start) / made)
    return min(found[1:])


def measure(bundle: str, workers: list[int], passes: int) -> dict[str, Any]:
    """CPU milliseconds of a sample and samples a second of one bundle."""
    loader = make_loader(bundle, 0)
    data = loader.dataset
    wanted = min(len(data), 64)
    augment = getattr(data, "augment", None)

    def samples(number: int) -> int:
        seed_data(loader, 0, number)
        for place in range(wanted):
            data[place * len(data) // wanted]
        return wanted

    def batches(number: int) -> int:
        seed_data(loader, 0, number)
        made = 0
        for batch in loader:
            made += len(batch["image"])
            if made >= wanted:
                break
        return made

    whole, sample = cpu_seconds(batches, passes), cpu_seconds(samples, passes)
    found = {"sample": 1e3 * whole, "batch": 1e3 * max(0.0, whole - sample)}
    # without augmentation windows would be whole volumes
    if augment is not None and bundle not in ("ummkd_3d", "disentangle_tumour"):
        data.augment = None
        cut = cpu_seconds(samples, passes)
        data.augment = augment
        found |= {"cut": 1e3 * cut, "augment": 1e3 * max(0.0, sample - cut)}
    else:
        found["cut"] = 1e3 * sample
    if "augment_on" in (parser := make_parser(bundle, 0, augment_on="device")).config:
        found |= on_device(parser, passes, wanted)
    rates = {str(count): rate(bundle, count) for count in workers}
    return {"cpu_ms": {key: round(value, 3) for key, value in found.items()}, "samples_per_second": rates}


def on_device(parser: Any, passes: int, wanted: int) -> dict[str, float]:
    """CPU milliseconds of a sample whose augmentation is drawn in the loader and done in a batch."""
    loader, augment = (parser.get_parsed_content(f"train#{name}") for name in ("dataloader", "slice_transform"))
    made: list[Any] = []

    def draw(number: int) -> int:
        seed_data(loader, 0, number)
        made.clear()
        for batch in loader:
            made.append(batch)
            if sum(len(one["image"]) for one in made) >= wanted:
                break
        return sum(len(one["image"]) for one in made)

    def apply(_: int) -> int:
        return sum(len(augment.apply(batch)["image"]) for batch in made)

    return {"drawn": 1e3 * cpu_seconds(draw, passes), "apply": 1e3 * cpu_seconds(apply, passes)}


def rate(bundle: str, workers: int, seconds: float = 3.0) -> float:
    """Samples a second by the clock, once the workers run."""
    loader = make_loader(bundle, workers)
    made, start, number = 0, 0.0, 0
    while not start or time.perf_counter() - start < seconds:
        seed_data(loader, 0, number)
        for batch in loader:
            made += len(batch["image"]) if start else 0
            start = start or time.perf_counter()
        number += 1
    return round(made / (time.perf_counter() - start), 1)


def flops(bundle: str) -> float | None:
    """Operations of a training step for one sample; ``None`` where no step is measured."""
    if bundle not in STEPS:
        return None
    STEPS["one"] = (bundle, {"batch_size": 2 if bundle == "disentangle" else 1})
    step, trainer = make_step("one", "kept", torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops()) / len(trainer.data_loader[0]["image"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(BUNDLES), choices=BUNDLES)
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--flops", action="store_true", help="count the operations of a step, which takes minutes")
    parser.add_argument("--results", type=Path, default=RESULTS / "loader.json", help="the JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {**machine(torch.device("cpu")), "volumes": f"{SUBJECTS} of {DEPTH} slices", "rows": {}}
    for bundle in arguments.rows:
        row = report["rows"][bundle] = measure(bundle, arguments.workers, arguments.passes)
        if arguments.flops and (operations := flops(bundle)):
            row["gflop_per_sample"] = round(operations / 1e9, 1)
            row["cores_for_an_h100"] = {
                name: round(row["cpu_ms"]["sample"] / 1e3 * peak / operations, 1) for name, peak in PEAKS.items()
            }
        print(bundle, json.dumps(row), flush=True)
        write_json(arguments.results, report)


if __name__ == "__main__":
    main()
