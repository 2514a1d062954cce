# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Seconds, memory and shares of a DAFNet training step and an inference at the paper's size; the engine's overhead.

    python -m benchmarks.speed.dafnet_step [--batch 1] [--steps 3] [--device cpu]

All figures of one call are taken in one process, in turn, so the ratios hold when the machine's speed drifts. The peer
of the engine is a plain PyTorch loop over the same objective, batch and optimisers. Writes
``benchmarks/results/dafnet_step_<device>.json`` and a picture.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.runs import ROOT
from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
from monai_mmseg.objectives import DAFNetObjective

RESULTS = ROOT / "benchmarks" / "results"


def make_objective(size: int, width: int, device: torch.device, *, channels_last: bool) -> DAFNetObjective:
    """The paper's networks (``width=64``) with fixed initial weights."""
    torch.manual_seed(0)
    net = DAFNet(
        2,
        1,
        5,
        modalities=("source", "target"),
        target="target",
        spatial_size=(size, size),
        features=tuple(width * 2**level for level in range(5)),
        segmentor_features=width,
    )
    judges = [AdversarialDiscriminator(c, (size, size), features=width) for c in (4, 1, 1)]
    memory = torch.channels_last if channels_last else torch.preserve_format
    return DAFNetObjective(net, judges[0], judges[1:]).to(device, memory_format=memory)


def make_batch(batch: int, size: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Random slices of two modalities, all present and labelled."""
    torch.manual_seed(1)
    return {
        "image": (torch.rand(batch, 2, size, size) * 2 - 1).to(device),
        "label": torch.randint(0, 5, (batch, 2, size, size)).to(device),
        "present": torch.ones(batch, 2, dtype=torch.bool),
        "labelled": torch.ones(batch, 2, dtype=torch.bool),
    }


class PlainLoop:
    """Phases in turn, forward, backward, step: what anybody would write."""

    def __init__(self, objective: DAFNetObjective, batch: dict[str, Any], precision: Any = None) -> None:
        self.objective, self.batch, self.precision = objective.train(), batch, precision
        self.optimizers = {p: torch.optim.Adam(objective.parameters_of(p), 1e-4) for p in objective.phases}
        self.parameters = {p: objective.parameters_of(p) for p in objective.phases}
        self.seconds = dict.fromkeys(objective.phases, 0.0)

    def __call__(self) -> None:
        """Make one step."""
        previous: dict[str, Any] = {}
        for phase, optimizer in self.optimizers.items():
            start = clock(self.batch["image"].device)
            for name, parameters in self.parameters.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == phase)
            optimizer.zero_grad(set_to_none=True)
            with self.precision or nullcontext():
                result = self.objective(self.batch, phase, previous)
            self.objective.total(result.terms, phase).backward()
            optimizer.step()
            previous.update(result.outputs)
            self.seconds[phase] += clock(self.batch["image"].device) - start


def clock(device: torch.device) -> float:
    """Seconds, after the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def interleaved(calls: dict[str, Callable[[], Any]], steps: int, timer: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each call, A B A B ..., after one warm-up each."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(steps):
        for name, call in calls.items():
            start = timer()
            call()
            found[name].append(timer() - start)
    return found


def engine_step(objective: DAFNetObjective, batch: dict[str, Any]) -> Callable[[], None]:
    """One iteration of the trainer, without the start of a run."""
    optimizers = {p: torch.optim.Adam(objective.parameters_of(p), 1e-4) for p in objective.phases}
    trainer = ObjectiveTrainer(batch["image"].device, 1, [batch], objective, optimizers)
    trainer.run()

    def step() -> None:
        trainer.state.iteration += 1
        trainer._iteration(trainer, batch)

    return step


def peak_memory(device: torch.device) -> float:
    """MB at most so far: on the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare_engine(size: int, width: int, batch: dict[str, Any], steps: int, *, cpu_time: bool) -> None:
    """Ratio of the engine to the plain loop alone, and its JSON."""
    device = batch["image"].device
    plain = PlainLoop(make_objective(size, width, device, channels_last=True), batch)
    step = engine_step(make_objective(size, width, device, channels_last=True), batch)
    timer = time.process_time if cpu_time else partial(clock, device)
    found = interleaved({"plain loop": plain, "engine": step}, steps, timer)
    ratios = [e / p for e, p in zip(found["engine"], found["plain loop"], strict=True)]
    report = {
        "threads": torch.get_num_threads(),
        "clock": "CPU time of the process" if cpu_time else "wall",
        "seconds": found,
        "ratio": ratios,
        "median": statistics.median(ratios),
    }
    (RESULTS / f"dafnet_engine_{device.type}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=None, help="6 on a GPU, 1 on a CPU")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile of the networks too")
    parser.add_argument(
        "--engine-only", action="store_true", help="only the engine beside the plain loop, channels-last"
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="with --engine-only: count the seconds that the process was at work, which other processes disturb less",
    )
    arguments = parser.parse_args()
    device, size, width = torch.device(arguments.device), arguments.size, arguments.width
    batch = make_batch(arguments.batch or (6 if device.type == "cuda" else 1), size, device)
    torch.set_flush_denormal(True)
    if arguments.engine_only:
        compare_engine(size, width, batch, arguments.steps, cpu_time=arguments.cpu_time)
        return
    timer = partial(clock, device)

    plain = PlainLoop(make_objective(size, width, device, channels_last=False), batch)
    step = engine_step(make_objective(size, width, device, channels_last=False), batch)
    found = interleaved({"plain loop": plain, "engine": step}, arguments.steps, timer)
    memory = peak_memory(device)
    plain.seconds = dict.fromkeys(plain.seconds, 0.0)
    plain()
    shares = {phase: seconds / sum(plain.seconds.values()) for phase, seconds in plain.seconds.items()}
    del step

    variants: dict[str, Callable[[], Any]] = {"fp32": plain}
    variants["channels_last"] = PlainLoop(make_objective(size, width, device, channels_last=True), batch)
    amp = torch.autocast(device.type, torch.bfloat16)
    variants["bf16 + channels_last"] = PlainLoop(make_objective(size, width, device, channels_last=True), batch, amp)
    if arguments.compile:
        compiled = make_objective(size, width, device, channels_last=True)
        for net in (compiled.network.anatomy_encoders, compiled.network.segmentor, compiled.network.decoder):
            net.compile()
        variants["compile + channels_last"] = PlainLoop(compiled, batch)
    options = interleaved(variants, arguments.steps, timer)

    network: nn.Module = plain.objective.network.eval()
    image = batch["image"][:1]
    with torch.no_grad():
        inference = interleaved({"inference of one slice": lambda: network(image)}, max(arguments.steps, 3), timer)

    ratios = [e / p for e, p in zip(found["engine"], found["plain loop"], strict=True)]
    report = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": len(batch["image"]),
        "size": size,
        "width": width,
        "seconds": {name: statistics.median(values) for name, values in {**found, **inference}.items()},
        "engine_over_plain_loop": {"median": statistics.median(ratios), "all": ratios},
        "share_of_phase": shares,
        "peak_memory_mb": memory,
        "seconds_of_option": {name: statistics.median(values) for name, values in options.items()},
        "option_over_fp32": {
            name: statistics.median(v / f for v, f in zip(values, options["fp32"], strict=True))
            for name, values in options.items()
        },
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = f"dafnet_step_{device.type}" + ("" if (size, width) == (192, 64) else f"_{size}_{width}")
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
