# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What one network for CT and MR costs: a training step beside plain normalisation and beside two networks.

    python -m benchmarks.speed.ummkd_step [--dims 2 3] [--steps 3] [--device cpu]

The paper's networks, two slices of 256 x 256 x 3 (2D) or windows of 128 x 128 x 8 (3D) of each modality:

* ``ours``: normalisation per modality, with distillation; ``chilopod``: the same without;
* ``plain norm``: the same network with one normalisation for all, no distillation, on the same images;
* ``individual``: two plain networks in turn, each on the images of its modality.

All in one process, in turn, so that ratios hold when the machine's speed drifts. The share of the distillation is
measured by itself, forward and backward from the logits, with labels made one-hot anew: a bit more than what a step
spends on it. Peak memory is that of a process of its own for each. Writes
``benchmarks/results/ummkd_step_<device>.json``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import (
    PlainLoop,
    interleaved,
    peak_memory,
    peak_memory_of,
    ratios,
    speed_parser,
    timer,
    write_report,
)
from monai_mmseg.losses import KnowledgeDistillationLoss
from monai_mmseg.networks.nets import AnisotropicUNet, DilatedResidualNet, share_network
from monai_mmseg.objectives import KnowledgeDistillationTerm, L2Term, UnpairedSegmentationObjective

MODALITIES, CLASSES, EACH = ["ct", "mr"], 5, 2
SIZES, WIDTH = {2: 256, 3: 128}, 16
VARIANTS = ("ours", "chilopod", "plain norm", "individual")
MEMORY_FORMAT = {2: torch.channels_last, 3: torch.channels_last_3d}


def make_network(dims: int, width: int) -> nn.Module:
    """The paper's network (``width=16``) with fixed initial weights."""
    torch.manual_seed(0)
    norm = ("batch", {"eps": 0.001, "momentum": 0.1})
    if dims == 2:
        features = [width * factor for factor in (1, 2, 4, 8, 16, 16, 32, 32)]
        return DilatedResidualNet(2, 3, CLASSES, features=features, norm=norm, dropout=0.25)
    return AnisotropicUNet(3, 1, CLASSES, features=[width * factor for factor in (2, 4, 8, 16)], norm=norm)


def make_batch(dims: int, size: int, device: torch.device, modalities: list[int]) -> dict[str, Tensor]:
    """Random images and labels, two of each modality."""
    torch.manual_seed(1)
    rows, shape = EACH * len(modalities), [size, size, *([8] if dims == 3 else [])]
    return {
        "image": torch.randn(rows, 3 if dims == 2 else 1, *shape).to(device, memory_format=MEMORY_FORMAT[dims]),
        "label": torch.randint(0, CLASSES, (rows, 1, *shape)).to(device),
        "modality": torch.arange(len(modalities)).repeat_interleave(EACH),
        "labelled": torch.ones(rows, dtype=torch.bool),
    }


def make_step(variant: str, dims: int, size: int, width: int, device: torch.device) -> Callable[[], None]:
    """A training step of one variant."""

    def loop(network: nn.Module, modalities: list[int], kd_weight: float) -> PlainLoop:
        names = [MODALITIES[index] for index in modalities]
        terms = [KnowledgeDistillationTerm(), L2Term("kernels" if dims == 2 else "all")]
        weights = {"segmentation": {"knowledge_distillation": kd_weight / 2, "l2": 1e-4}}
        objective = UnpairedSegmentationObjective(network, names, CLASSES, terms=terms, weights=weights)
        objective = objective.to(device, memory_format=MEMORY_FORMAT[dims])
        return PlainLoop(objective, make_batch(dims, size, device, modalities))

    plain = make_network(dims, width)
    if variant == "individual":
        loops = [loop(make_network(dims, width), [index], 0.0) for index in range(len(MODALITIES))]

        def both() -> None:
            for one in loops:
                one()

        return both
    if variant == "plain norm":
        return loop(plain, [0, 1], 0.0)
    return loop(share_network(plain, MODALITIES, "norm"), [0, 1], 0.5 if variant == "ours" else 0.0)


def make_distillation(dims: int, size: int, device: torch.device) -> Callable[[], None]:
    """The distillation by itself, forward and backward."""
    batch = make_batch(dims, size, device, [0, 1])
    shape = (len(batch["label"]), CLASSES, *batch["label"].shape[2:])
    logits = torch.randn(shape, device=device).contiguous(memory_format=MEMORY_FORMAT[dims]).requires_grad_()
    loss = KnowledgeDistillationLoss(len(MODALITIES))

    def step() -> None:
        logits.grad = None
        loss(logits, batch["label"], batch["modality"].to(device)).backward()

    return step


def memory_of(variant: str, arguments: argparse.Namespace, dims: int, size: int) -> float:
    """Peak memory in MB of a process that makes two steps of a variant."""
    words = ["--memory-of", variant, "--dims", str(dims), "--size", str(size), "--width", str(arguments.width)]
    return peak_memory_of("benchmarks.speed.ummkd_step", *words, "--device", str(arguments.device))


def compare(dims: int, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times, ratios and memory at one size."""
    device = arguments.device
    steps = {name: make_step(name, dims, size, arguments.width, device) for name in VARIANTS}
    clock = timer(device, cpu_time=arguments.cpu_time)
    found = interleaved({**steps, "distillation": make_distillation(dims, size, device)}, arguments.steps, clock)
    pairs = {
        "ours_over_plain_norm": ("ours", "plain norm"),
        "chilopod_over_plain_norm": ("chilopod", "plain norm"),
        "ours_over_chilopod": ("ours", "chilopod"),
        "ours_over_individual": ("ours", "individual"),
        "share_of_distillation": ("distillation", "ours"),
    }
    each = {name: ratios(found[a], found[b]) for name, (a, b) in pairs.items()}
    return {
        "image": list(make_batch(dims, size, torch.device("cpu"), [0, 1])["image"].shape),
        "parameters": {name: _parameters(steps[name]) for name in ("ours", "plain norm")},
        "seconds": {name: statistics.median(values) for name, values in found.items()},
        **{name: {"median": statistics.median(values), "all": values} for name, values in each.items()},
    }


def _parameters(step: Any) -> int:
    return sum(parameter.numel() for parameter in step.objective.network.parameters())


def main() -> None:
    """Measure and write."""
    parser = speed_parser(__doc__)
    parser.add_argument("--dims", type=int, nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--size", type=int, help="of a side; 256 in 2D and 128 in 3D")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--memory-of", choices=VARIANTS, help="only print the peak memory of two steps in MB")
    arguments = parser.parse_args()
    device = arguments.device
    if arguments.memory_of:
        (dims,) = arguments.dims
        step = make_step(arguments.memory_of, dims, arguments.size or SIZES[dims], arguments.width, device)
        step()
        step()
        print(peak_memory(device))
        return
    report: dict[str, Any] = {"width": arguments.width}
    small = arguments.size is not None or arguments.width != WIDTH
    name = f"ummkd_step_{device.type}" + (f"_{arguments.size}_{arguments.width}" if small else "")
    sizes = {dims: arguments.size or SIZES[dims] for dims in arguments.dims}
    # first, while this process is small: the peak that the system reports of a new process starts at that of its parent
    memory = {d: {name: memory_of(name, arguments, d, size) for name in VARIANTS} for d, size in sizes.items()}
    for dims, size in sizes.items():
        report[f"{dims}d"] = {**compare(dims, size, arguments), "peak_memory_mb": memory[dims]}
        write_report(arguments, name, report, say=len(report) > len(sizes))


if __name__ == "__main__":
    main()
