# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights and arrays of ``ummkd_nets.npz``: TensorFlow's layout, drawn from seeds, for networks of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from tests.reference_loading import image_of, read_vectors

SUB_PIXELS = 8


def case_of(name: str) -> dict[str, np.ndarray]:
    """The arrays of one case: ``"net2d_b2"``, ``"net2d_b1"`` or ``"net3d_b2"``."""
    vectors = read_vectors("ummkd_nets")
    return {key.removeprefix(f"{name}/"): value for key, value in vectors.items() if key.startswith(f"{name}/")}


def image_in(case: Mapping[str, np.ndarray], key: str) -> Tensor:
    """A stored image or logit map, channels first."""
    return image_of(case[key])


def kernels_of(case: Mapping[str, np.ndarray]) -> list[Tensor]:
    """All kernels in PyTorch's layout; that of a transposed convolution, stored ``(..., out, in)``, turns likewise."""
    seed, kernels = int(case["seed"]), []
    for number, line in enumerate(case["kernel_order"]):
        shape = tuple(int(size) for size in str(line).split("[")[1].rstrip("]").split(","))
        inputs = shape[-1] if "deconv" in str(line) else shape[-2]
        values = np.random.default_rng(seed + number).standard_normal(shape)
        values = (values * np.sqrt(2 / (np.prod(shape[:-2]) * inputs))).astype(np.float32)
        kernels.append(torch.as_tensor(np.ascontiguousarray(np.moveaxis(values, (-1, -2), (0, 1)))))
    return kernels


def norm_of(case: Mapping[str, np.ndarray], modality: int, number: int, channels: int) -> dict[str, Tensor]:
    """Scale, shift and running statistics of one normalisation layer of one modality."""
    rng = np.random.default_rng(int(case["seed"]) + 5000 + 100 * modality + number)
    weight, bias, mean, variance = (rng.standard_normal(channels) for _ in range(4))
    values = {
        "weight": 1 + 0.1 * weight,
        "bias": 0.1 * bias,
        "running_mean": 0.1 * mean,
        "running_var": 1 + 0.2 * np.abs(variance),
    }
    return {name: torch.as_tensor(array.astype(np.float32)) for name, array in values.items()}


def transpose_cells(values: Tensor, side: int = SUB_PIXELS) -> Tensor:
    """Swap row and column of the sub-pixel cell, which is the first axis: ``(features * side * side, ...)``."""
    cells = values.unflatten(0, (-1, side, side))
    return cells.transpose(1, 2).flatten(0, 2)


def fill_kernels(convs: Sequence[nn.Module], case: Mapping[str, np.ndarray], *, transposed_cell: bool = False) -> None:
    """Fill convolutions in forward order; with ``transposed_cell`` the last but one for the cell of batches > 1."""
    kernels = kernels_of(case)
    if transposed_cell:
        kernels[-2] = transpose_cells(kernels[-2])
    with torch.no_grad():
        for conv, kernel in zip(convs, kernels, strict=True):
            assert conv.weight.shape == kernel.shape
            conv.weight.copy_(kernel)
        if convs[-1].bias is not None:
            bias = 0.1 * np.random.default_rng(int(case["seed"]) + 9000).standard_normal(convs[-1].bias.shape[0])
            convs[-1].bias.copy_(torch.as_tensor(bias))


def fill_norms(
    norms: Sequence[nn.Module], case: Mapping[str, np.ndarray], modality: int, *, transposed_cell: bool = False
) -> None:
    """Fill one modality's normalisation layers in forward order; ``transposed_cell`` as for the kernels."""
    with torch.no_grad():
        for number, norm in enumerate(norms):
            values = norm_of(case, modality, number, norm.num_features)
            for name, value in values.items():
                last = transposed_cell and number == len(norms) - 1
                getattr(norm, name).copy_(transpose_cells(value) if last else value)


def layers_in(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Convolutions and batch normalisation layers of a plain network, in forward order."""
    modules = list(network.modules())
    convs = [module for module in modules if isinstance(module, _ConvNd)]
    return convs, [module for module in modules if isinstance(module, _BatchNorm)]


def load_modality(
    network: nn.Module, case: Mapping[str, np.ndarray], modality: int, *, transposed_cell: bool = False
) -> nn.Module:
    """Fill a plain network with the shared kernels and the normalisation of one modality (0 source, 1 target)."""
    convs, norms = layers_in(network)
    fill_kernels(convs, case, transposed_cell=transposed_cell)
    fill_norms(norms, case, modality, transposed_cell=transposed_cell)
    return network
