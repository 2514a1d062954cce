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
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.timing import (
    PlainLoop,
    engine_step,
    interleaved,
    peak_memory,
    ratios,
    speed_parser,
    timer,
    write_report,
)
from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
from monai_mmseg.objectives import DAFNetObjective


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


def compare_engine(arguments: argparse.Namespace, batch: dict[str, Any]) -> None:
    """Ratio of the engine to the plain loop alone, and its JSON."""
    about = (arguments.size, arguments.width, arguments.device)
    plain = PlainLoop(make_objective(*about, channels_last=True), batch)
    step = engine_step(make_objective(*about, channels_last=True), batch)
    clock = timer(arguments.device, cpu_time=arguments.cpu_time)
    found = interleaved({"plain loop": plain, "engine": step}, arguments.steps, clock)
    ratio = ratios(found["engine"], found["plain loop"])
    report = {"seconds": found, "ratio": ratio, "median": statistics.median(ratio)}
    write_report(arguments, f"dafnet_engine_{arguments.device.type}", report)


def main() -> None:
    """Measure and write."""
    parser = speed_parser(__doc__)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=None, help="6 on a GPU, 1 on a CPU")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile of the networks too")
    parser.add_argument(
        "--engine-only", action="store_true", help="only the engine beside the plain loop, channels-last"
    )
    arguments = parser.parse_args()
    device, size, width = arguments.device, arguments.size, arguments.width
    batch = make_batch(arguments.batch or (6 if device.type == "cuda" else 1), size, device)
    if arguments.engine_only:
        compare_engine(arguments, batch)
        return
    wall = timer(device, cpu_time=arguments.cpu_time)

    plain = PlainLoop(make_objective(size, width, device, channels_last=False), batch)
    step = engine_step(make_objective(size, width, device, channels_last=False), batch)
    found = interleaved({"plain loop": plain, "engine": step}, arguments.steps, wall)
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
    options = interleaved(variants, arguments.steps, wall)

    network: nn.Module = plain.objective.network.eval()
    image = batch["image"][:1]
    with torch.no_grad():
        inference = interleaved({"inference of one slice": lambda: network(image)}, max(arguments.steps, 3), wall)

    engine_over_plain = ratios(found["engine"], found["plain loop"])
    report = {
        "batch": len(batch["image"]),
        "size": size,
        "width": width,
        "seconds": {name: statistics.median(values) for name, values in {**found, **inference}.items()},
        "engine_over_plain_loop": {"median": statistics.median(engine_over_plain), "all": engine_over_plain},
        "share_of_phase": shares,
        "peak_memory_mb": memory,
        "seconds_of_option": {name: statistics.median(values) for name, values in options.items()},
        "option_over_fp32": {
            name: statistics.median(ratios(values, options["fp32"])) for name, values in options.items()
        },
    }
    name = f"dafnet_step_{device.type}" + ("" if (size, width) == (192, 64) else f"_{size}_{width}")
    write_report(arguments, name, report)


if __name__ == "__main__":
    main()
