# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The small U-Net of a plan: depth and kernels from size and spacing, width from the device, its memory counted."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import DynUNet
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

SMALLEST = 8  # voxels along an axis at the bottom of the network
FEWEST = 4  # levels; half as many voxels are enough for them
COARSE = 2.0  # an axis whose voxels are so much longer than the shortest is not convolved or pooled yet
WIDEST = 6  # times the first level's width


def unet_levels(
    spatial_size: Sequence[int], spacing: Sequence[float], *, most: int = 7
) -> tuple[list[list[int]], list[list[int]]]:
    """Kernels and strides of each level: pooled until axes have 8 voxels, a coarse axis later.

    Args:
        spatial_size: of what the network sees; multiples of 8.
        spacing: mm along the same axes.
        most: levels at most.

    Returns:
        Kernel sizes and strides, from the input down.

    Examples:
        >>> unet_levels([64, 64], [1, 1])
        ([[3, 3], [3, 3], [3, 3], [3, 3]], [[1, 1], [2, 2], [2, 2], [2, 2]])
        >>> unet_levels([64, 64, 16], [1, 1, 5])[1]
        [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2]]
    """
    size, mm = [int(one) for one in spatial_size], [float(one) for one in spacing]
    kernels, strides = [_kernel(mm)], [[1] * len(size)]
    while len(strides) < most:
        least = SMALLEST if len(strides) >= FEWEST else SMALLEST // 2
        step = [
            2 if edge >= 2 * least and edge % 2 == 0 and length < COARSE * min(mm) else 1
            for edge, length in zip(size, mm, strict=True)
        ]
        if max(step) == 1:
            break
        size = [edge // one for edge, one in zip(size, step, strict=True)]
        mm = [length * one for length, one in zip(mm, step, strict=True)]
        strides.append(step)
        kernels.append(_kernel(mm))
    return kernels, strides


def _kernel(mm: Sequence[float]) -> list[int]:
    return [3 if length <= COARSE * min(mm) else 1 for length in mm]


def unet_widths(base: int, levels: int) -> list[int]:
    """Channels of each level.

    Examples:
        >>> unet_widths(16, 4)
        [16, 32, 64, 96]
    """
    return [min(base * 2**level, base * WIDEST) for level in range(levels)]


def unet_definition(
    spatial_size: Sequence[int], spacing: Sequence[float], *, in_channels: Any = 1, features: Any = "@features"
) -> dict[str, Any]:
    """MONAI's ``DynUNet`` as a config has it.

    Args:
        spatial_size: see :func:`unet_levels`.
        spacing: see there.
        in_channels: number, or a reference.
        features: widths, or the reference to them.

    Returns:
        The component.

    Examples:
        >>> unet_definition([32, 32], [1, 1])["upsample_kernel_size"]
        [[2, 2], [2, 2], [2, 2]]
    """
    kernels, strides = unet_levels(spatial_size, spacing)
    return {
        "_target_": "DynUNet",
        "spatial_dims": len(spatial_size),
        "in_channels": in_channels,
        "out_channels": "$len(@labels)",
        "kernel_size": kernels,
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": features,
        "norm_name": ["batch", {"eps": 0.001, "momentum": 0.1}],
        "dropout": 0.0,  # a layer of none: MONAI Label turns it up to ask how sure the network is
    }


def _built(size: Sequence[int], spacing: Sequence[float], channels: int, classes: int, base: int) -> DynUNet:
    kernels, strides = unet_levels(size, spacing)
    return DynUNet(len(size), channels, classes, kernels, strides, strides[1:], filters=unet_widths(base, len(strides)))


def step_bytes(
    spatial_size: Sequence[int], spacing: Sequence[float], *, channels: int, classes: int, base: int, batch: int
) -> int:
    """Memory of a training step of the network, counted without computing anything.

    Args:
        spatial_size: see :func:`unet_levels`.
        spacing: see there.
        channels: of the input.
        classes: of the output.
        base: width of the first level.
        batch: samples.

    Returns:
        Bytes: what the backward pass needs in single precision, the parameters with gradients and two moments.

    Examples:
        >>> one, two = (step_bytes([32, 32], [1, 1], channels=1, classes=4, base=8, batch=b) for b in (4, 8))
        >>> one < two < 2 * one
        True
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        alive.append(storage)  # else its place is taken by the next one
        return tensor

    alive: list[Any] = []
    with torch.device("meta"):
        network = _built(spatial_size, spacing, channels, classes, base)
        image = torch.zeros(batch, channels, *spatial_size)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = network(image)
    own = 4 * sum(parameter.numel() for parameter in network.parameters())
    # a loss over one-hot classes holds a few tensors of the size of the output, and the largest gradients come on top
    return sum(kept.values()) + 4 * own + 6 * logits.numel() * 4


def voxels_per_second(dims: int, device: torch.device, *, channels: int = 1, base: int = 16) -> float:
    """How many voxels of a training step the device takes a second, with the network of a plan: forward, backward.

    Args:
        dims: 2 or 3.
        device: where.
        channels: of the input.
        base: width of the first level.

    Returns:
        Voxels; a few steps of a small size are timed, the first is left out.

    Examples:
        >>> voxels_per_second(2, torch.device("cpu"), base=4) > 0
        True
    """
    size = [64, 64] if dims == 2 else [32, 32, 32]
    batch = 8 if dims == 2 else 2
    network = _built(size, [1.0] * dims, channels, 4, base).to(device)
    image = torch.randn(batch, channels, *size, device=device)
    best = math.inf
    for attempt in range(4):
        begun = time.perf_counter()
        network(image).square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if attempt:
            best = min(best, time.perf_counter() - begun)
    return batch * math.prod(size) / best
