# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What class-specific affinities cost: time and memory of the loss beside the training step that it is a part of.

    python -m benchmarks.speed.csa_loss [--small] [--steps 3] [--device cpu]

The paper's network and sizes, eight slices of 224 x 224 of each modality, affinities of four classes between the groups
4 and 5 and between 5 and 6 (128, 256 and 256 channels on a grid of 28 x 28):

* ``csa``: a training step with affinities; ``msbn``: the same without;
* ``loss``: the loss by itself, forward and backward from the features of both pairs, labels made masks anew;
* ``loop``: the same value by a loop over classes and over the channels of the first layer of a pair.

All in one process, in turn, so that ratios hold when the machine's speed drifts; the loop is run once. Features are
random numbers in ``loss`` and ``loop``, which make gradients of them in memory of their own. Peak memory is that of a
process of its own for each, ``features`` one that only holds the features. Writes
``benchmarks/results/csa_loss_<device>.json``, with ``--small`` at sizes that only show that it runs.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

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
from monai_mmseg.losses import AffinityConsistencyLoss
from monai_mmseg.networks.nets import DilatedResidualNet, share_network
from monai_mmseg.objectives import AffinityTerm, UnpairedSegmentationObjective

MODALITIES, CLASSES = ["lge", "bssfp"], 4
PAIRS = [("group_4", "group_5"), ("group_5", "group_6")]
SIZES = {False: {"size": 224, "width": 16, "each": 8}, True: {"size": 64, "width": 4, "each": 2}}  # by --small
VARIANTS = ("csa", "msbn", "loss", "loop", "features")
LIMIT = 0.05  # of the training step


class Setup:
    """Network, batch and features at one size."""

    def __init__(self, *, size: int, width: int, each: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        rows = each * len(MODALITIES)
        self.batch: dict[str, Tensor] = {
            "image": torch.randn(rows, 1, size, size).to(device, memory_format=torch.channels_last),
            "label": (torch.rand(rows, 1, size // 16, size // 16) * CLASSES).long().repeat_interleave(16, 2).to(device),
            "modality": torch.arange(len(MODALITIES)).repeat_interleave(each),
            "labelled": torch.ones(rows, dtype=torch.bool),
        }
        self.batch["label"] = self.batch["label"].repeat_interleave(16, 3)
        self.features = [width * factor for factor in (1, 2, 4, 8, 16, 16, 32, 32)]

    def objective(self, weight: float) -> UnpairedSegmentationObjective:
        """Of a fresh network; the same initial weights each time."""
        torch.manual_seed(1)
        norm = ("batch", {"eps": 0.001, "momentum": 0.1})
        plain = DilatedResidualNet(2, 1, CLASSES, features=self.features, norm=norm, dropout=0.25)
        network = share_network(plain, MODALITIES, "norm")
        objective = UnpairedSegmentationObjective(
            network,
            MODALITIES,
            CLASSES,
            terms=[AffinityTerm(PAIRS, AffinityConsistencyLoss(CLASSES))],
            ce_weighted=False,
            weights={"segmentation": {"affinity": weight}},
        )
        return objective.to(self.device, memory_format=torch.channels_last)

    def tapped(self) -> dict[str, Tensor]:
        """Random features as large as the tapped ones: the memory of a network would be counted with the loss."""
        torch.manual_seed(2)
        rows, _, *size = self.batch["image"].shape
        grid = [side // 8 for side in size]
        widths = {f"group_{number}": width for number, width in enumerate(self.features, start=1)}
        names = list(dict.fromkeys(name for pair in PAIRS for name in pair))
        made = {name: torch.randn(rows, widths[name], *grid).to(self.device) for name in names}
        return {name: x.contiguous(memory_format=torch.channels_last).requires_grad_() for name, x in made.items()}

    def call(self, variant: str) -> Callable[[], Any]:
        """One step, or the loss of one step."""
        if variant in ("csa", "msbn"):
            return PlainLoop(self.objective(0.5 if variant == "csa" else 0.0), self.batch)
        features = self.tapped()
        label, modality = self.batch["label"], self.batch["modality"].to(self.device)
        vectorised = AffinityConsistencyLoss(CLASSES, len(MODALITIES))

        def loss() -> Tensor:
            return torch.stack([vectorised(features[a], features[b], label, modality) for a, b in PAIRS]).mean()

        def terms() -> Iterator[Tensor]:
            if variant == "loss":
                yield loss()
            else:  # the graph of all channels of all classes at once would not fit into memory
                for a, b in PAIRS:
                    for term in looped(features[a], features[b], label, modality):
                        yield term / len(PAIRS)

        def step() -> float:
            for found in features.values():
                found.grad = None
            total = 0.0
            for term in terms():
                term.backward()
                total += float(term.detach())
            return total

        return (lambda: None) if variant == "features" else step


def looped(first: Tensor, second: Tensor, label: Tensor, modality: Tensor) -> Iterator[Tensor]:
    """Mean of squared differences of affinities over S_c, a channel at a time: the share of each class."""
    grid = first.shape[2:]
    masks = label[:, :, :: label.shape[2] // grid[0], :: label.shape[3] // grid[1]]
    for value in range(CLASSES):
        rows: list[list[Tensor]] = []
        for index in range(len(MODALITIES)):
            chosen = modality == index
            mask = masks[chosen] == value
            size = mask.sum().clamp(min=1)
            a, b = ((x[chosen] * mask).transpose(0, 1).flatten(1) for x in (first, second))
            norms = b.norm(dim=1)
            found = []
            for channel in a:
                length = channel.norm() * norms
                found.append((channel * b).sum(1) / torch.where(length > 0, length, 1) / size)
            rows.append(found)
        squares = [(x - y).square().sum() for x, y in zip(*rows, strict=True)]
        yield torch.stack(squares).sum() / (first.shape[1] * second.shape[1]) / CLASSES


def compare(setup: Setup, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times and ratios."""
    clock = timer(setup.device, cpu_time=arguments.cpu_time)
    calls = {name: setup.call(name) for name in ("csa", "msbn", "loss")}
    found = interleaved(calls, arguments.steps, clock)
    loop = setup.call("loop")
    start = clock()
    value = loop()
    found["loop"] = [clock() - start]
    shares = {
        "share_of_loss": ratios(found["loss"], found["csa"]),
        "csa_over_msbn": ratios(found["csa"], found["msbn"]),
    }
    median = {name: statistics.median(seconds) for name, seconds in found.items()}
    return {
        "channels": {name: features.shape[1] for name, features in setup.tapped().items()},
        "grid": list(setup.tapped()[PAIRS[0][0]].shape[2:]),
        "seconds": median,
        **{name: {"median": statistics.median(each), "all": each} for name, each in shares.items()},
        "within_limit": statistics.median(shares["share_of_loss"]) <= LIMIT,
        "loop_over_loss": median["loop"] / median["loss"],
        "value": {"loss": calls["loss"](), "loop": value},
    }


def main() -> None:
    """Measure and write."""
    parser = speed_parser(__doc__)
    parser.add_argument("--small", action="store_true", help="64 x 64, a quarter of the width, two slices of each")
    parser.add_argument("--memory-of", choices=VARIANTS, help="only print the peak memory of one call in MB")
    arguments = parser.parse_args()
    device = arguments.device
    if arguments.memory_of:
        Setup(**SIZES[arguments.small], device=device).call(arguments.memory_of)()
        print(peak_memory(device))
        return
    words = ["--device", str(device), *(["--small"] if arguments.small else [])]
    # first, while this process is small: the peak that the system reports of a new process starts at that of its parent
    memory = {name: peak_memory_of("benchmarks.speed.csa_loss", "--memory-of", name, *words) for name in VARIANTS}
    report = {
        **SIZES[arguments.small],
        "limit": LIMIT,
        **compare(Setup(**SIZES[arguments.small], device=device), arguments),
        "peak_memory_mb": memory,
        "memory_of_loss_mb": {name: memory[name] - memory["features"] for name in ("loss", "loop")},
    }
    write_report(arguments, f"csa_loss_{device.type}{'_small' if arguments.small else ''}", report)


if __name__ == "__main__":
    main()
