# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a training step of the disentanglement costs, with and without each of its two savings.

    python -m benchmarks.speed.disentangle_step [--small] [--steps 2] [--threads 2] [--device cpu]

The paper's sizes: four modalities of 160 x 192 with three slices each, batch 2, the network with conditional encoders
and one plain decoder. A step is forward with all drawings (4 self, 12 cross a subject), all losses, backward, Adam.

* ``ours``: kernels of a conditional convolution are mixed once a modality; what an anatomy contributes to a drawing is
  computed once for all codes that it is drawn with;
* ``kernels a sample``: kernels are mixed for every image, which is convolved by itself;
* ``maps a drawing``: what an anatomy contributes is computed for every drawing;
* ``neither``: both.

The naive versions are here only, and their losses are the same to rounding. Operations are those that PyTorch counts in
convolutions and matrix products, forward and backward (``--count`` does that alone, in seconds). Times are taken in one
process, in turn, so that ratios hold when the machine's speed drifts; peak memory is that of a process of its own for
each. Writes ``benchmarks/results/disentangle_step_<device>.json``, with ``--small`` at sizes that only show that it
runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

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
from monai_mmseg.networks.layers import ConditionalConv
from monai_mmseg.networks.nets import DisentangleNet
from monai_mmseg.objectives import DisentangleObjective
from monai_mmseg.objectives.disentangle import _Plan

MODALITIES = ("t1", "t1gd", "t2", "flair")
VARIANTS = ("ours", "kernels a sample", "maps a drawing", "neither")
PAPER: dict[str, Any] = {"spatial_size": (160, 192)}
SMALL: dict[str, Any] = {
    "spatial_size": (32, 64),
    "anatomy_features": (4, 8, 8, 8, 8),
    "appearance_features": (4, 8),
    "decoder_features": (8, 8, 8, 8, 8, 4, 4),
}


class SampleConv(ConditionalConv):
    """A conditional convolution that mixes a kernel for every image and convolves it by itself."""

    def forward(self, x: Tensor, modality: int | Sequence[int] | Tensor) -> Tensor:
        """Convolve each row with the kernel of its modality."""
        index = [modality] * len(x) if isinstance(modality, int) else [int(m) for m in modality]
        found = []
        for row, m in zip(x.split(1), index, strict=True):
            kernel = torch.einsum("k,k...->...", self.mixture()[m], self.weight)
            found.append(self._convolve(row, kernel, self.bias, self.groups))
        return torch.cat(found)


class SeparateObjective(DisentangleObjective):
    """The objective with every reconstruction made from its anatomy and code by itself."""

    def _reconstruct(self, anatomy: Tensor, code: Tensor, plan: _Plan) -> Tensor:
        return self.network.decode(anatomy[plan.anatomy], code[plan.code], plan.target)


def make_loop(variant: str, *, small: bool, batch: int, device: torch.device) -> PlainLoop:
    """A training step of one variant, with the same weights and images in all."""
    torch.manual_seed(0)
    settings = SMALL if small else PAPER
    network = DisentangleNet(2, 3, modalities=MODALITIES, target=MODALITIES[-1], **settings)
    if variant in ("kernels a sample", "neither"):
        for module in network.modules():
            if type(module) is ConditionalConv:
                module.__class__ = SampleConv
    made = SeparateObjective if variant in ("maps a drawing", "neither") else DisentangleObjective
    objective = made(network).to(device)
    torch.manual_seed(1)
    data: dict[str, Any] = {
        "image": torch.randn(batch, 3 * len(MODALITIES), *settings["spatial_size"], device=device),
        "present": torch.ones(batch, len(MODALITIES), dtype=torch.bool),
        "subject_index": torch.arange(batch),
    }
    return PlainLoop(objective, data)


def operations(loop: PlainLoop) -> int:
    """Operations of convolutions and matrix products in a step; a product and its sum are two."""
    with FlopCounterMode(display=False) as counter:
        loop()
    return int(counter.get_total_flops())


def decoder_operations(loop: PlainLoop) -> dict[str, int]:
    """Operations of the decoder's forward pass, by how often the part of an anatomy is computed."""
    network, rows = loop.objective.network, len(loop.batch["image"])
    count = network.num_modalities
    anatomy = torch.rand(
        rows * count, network.anatomy_channels, *network.spatial_size, device=loop.batch["image"].device
    )
    found = {}
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            maps = network.decoder.maps(anatomy)
        contributed = int(counter.get_total_flops())
        with FlopCounterMode(display=False) as counter:
            network.decoder.reconstruct(maps, torch.zeros(rows * count, network.code_size, device=anatomy.device))
        rest = count * int(counter.get_total_flops())
    found["once an anatomy"] = contributed + rest
    found["once a drawing"] = count * contributed + rest
    return found


def count(*, small: bool, batch: int) -> dict[str, Any]:
    """Operations of all variants, on tensors without content."""
    loops = {name: make_loop(name, small=small, batch=batch, device=torch.device("meta")) for name in VARIANTS}
    counted = {name: operations(loop) for name, loop in loops.items()}
    decoder = decoder_operations(loops["ours"])
    return {
        "gflop_of_a_step": {name: round(value / 1e9, 3) for name, value in counted.items()},
        "gflop_over_ours": {name: round(value / counted["ours"], 3) for name, value in counted.items()},
        "gflop_of_the_decoder_forward": {name: round(value / 1e9, 3) for name, value in decoder.items()},
        "decoder_saving": round(decoder["once a drawing"] / decoder["once an anatomy"], 3),
    }


def memory_of(variant: str, arguments: argparse.Namespace) -> float:
    """Peak memory in MB of a process that makes two steps of a variant."""
    words = ["--memory-of", variant, "--batch", str(arguments.batch), "--threads", str(arguments.threads)]
    words += ["--device", str(arguments.device), *(["--small"] if arguments.small else [])]
    return peak_memory_of("benchmarks.speed.disentangle_step", *words)


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times, ratios and operations of all variants."""
    device = arguments.device
    loops = {name: make_loop(name, small=arguments.small, batch=arguments.batch, device=device) for name in VARIANTS}
    found = interleaved(loops, arguments.steps, timer(device, cpu_time=arguments.cpu_time))
    each = {name: ratios(found[name], found["ours"]) for name in VARIANTS[1:]}
    network = loops["ours"].objective.network
    return {
        "image": list(loops["ours"].batch["image"].shape),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seconds": {
            name: {"median": statistics.median(values), "min": min(values), "all": values}
            for name, values in found.items()
        },
        "over_ours": {name: {"median": statistics.median(values), "all": values} for name, values in each.items()},
        **count(small=arguments.small, batch=arguments.batch),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = speed_parser(__doc__, steps=2)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", action="store_true", help="only count operations, and print them")
    parser.add_argument("--memory-of", choices=VARIANTS, help="only print the peak memory of two steps in MB")
    arguments = parser.parse_args(words)
    device = arguments.device
    torch.set_num_threads(arguments.threads)
    if arguments.count:
        print(json.dumps(count(small=arguments.small, batch=arguments.batch), indent=1))
        return
    if arguments.memory_of:
        loop = make_loop(arguments.memory_of, small=arguments.small, batch=arguments.batch, device=device)
        loop()
        loop()
        print(peak_memory(device))
        return
    # first, while this process is small: the peak that the system reports of a new process starts at that of its parent
    memory = {name: round(memory_of(name, arguments)) for name in VARIANTS}
    report = {
        "batch": arguments.batch,
        **compare(arguments),
        "peak_memory_mb": memory,
    }
    write_report(arguments, f"disentangle_step_{device.type}{'_small' if arguments.small else ''}", report)


if __name__ == "__main__":
    main()
