# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Reference vectors, which are channels last, for networks that are channels first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


def channels_first(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    """An image ``(B, H, W, C)`` as a tensor ``(B, C, H, W)``."""
    return torch.as_tensor(np.ascontiguousarray(np.moveaxis(array, -1, 1))).to(dtype)


def load_layers(layers: Iterable[nn.Module], weights: Iterable[np.ndarray], flat_size: tuple[int, ...] = ()) -> None:
    """Fill convolutions and dense layers in order.

    ``flat_size`` is the shape ``(H, W, C)`` that was flattened in front of the first dense layer, if any.
    """
    arrays = iter(weights)
    for layer in layers:
        kernel = next(arrays).astype(np.float32)
        if kernel.ndim > 2:
            kernel = kernel.transpose(3, 2, 0, 1)
        elif flat_size:
            kernel = kernel.reshape(*flat_size, -1).transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)
            flat_size = ()
        else:
            kernel = kernel.T
        with torch.no_grad():
            assert layer.weight.shape == kernel.shape
            layer.weight.copy_(torch.as_tensor(kernel.copy()))
            if layer.bias is not None:
                layer.bias.copy_(torch.as_tensor(next(arrays).astype(np.float32)))
    assert next(arrays, None) is None, "weights are left over"


def weights_of(vectors: np.lib.npyio.NpzFile, prefix: str) -> list[np.ndarray]:
    """The arrays ``<prefix>_w00``, ``<prefix>_w01``, ... in order."""
    return [vectors[name] for name in sorted(vectors.files) if name.startswith(f"{prefix}_w") and name[-2:].isdigit()]
