# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights and images of the reference vectors (Keras, channels last, background last) for this project's networks.

``load_dafnet`` fills a whole network from ``dafnet_generator_step.npz``; the other loaders take one component's layers,
as ``layers_of`` (``<name>_LNN_<kind>``) or ``listed_layers_of`` (``<name>_wNN``) read them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

REFERENCE = Path(__file__).resolve().parent / "reference"
Layer = dict[str, np.ndarray]  # kind (kernel, bias, gamma, beta, moving_mean, moving_variance) -> values
SETTINGS_OF_GENERATOR_STEP = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 5,
    "modalities": ("one", "two"),
    "target": "two",
    "spatial_size": (64, 64),
    "features": (2, 4, 8, 16, 32),
}


def read_vectors(name: str) -> dict[str, np.ndarray]:
    """All arrays of one reference file, e.g. ``"dafnet_segmentor"``."""
    with np.load(REFERENCE / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def image_of(array: np.ndarray) -> Tensor:
    """Images (N, H, W, C) as float32 (N, C, H, W)."""
    return torch.as_tensor(np.ascontiguousarray(np.moveaxis(array, -1, 1)).astype(np.float32))


def classes_of(array: np.ndarray) -> Tensor:
    """Class maps (N, H, W, K) with the background last, as float32 (N, K, H, W) with the background first."""
    return image_of(array).roll(1, dims=1)


def vector_of(array: np.ndarray) -> Tensor:
    """Any other array as float32."""
    return torch.as_tensor(array.astype(np.float32))


def layers_of(vectors: Mapping[str, np.ndarray], component: str) -> list[Layer]:
    """Layers stored as ``<component>_LNN_<kind>``, in forward order."""
    layers: dict[str, Layer] = {}
    for key in sorted(vectors):
        if key.startswith(f"{component}_L"):
            number, kind = key.removeprefix(f"{component}_").split("_", 1)
            layers.setdefault(number, {})[kind] = vectors[key]
    return list(layers.values())


def listed_layers_of(vectors: Mapping[str, np.ndarray], prefix: str) -> list[Layer]:
    """Layers stored as ``<prefix>_wNN`` with ``<prefix>_weight_names``, in forward order."""
    layers: dict[str, Layer] = {}
    for entry in vectors[f"{prefix}_weight_names"]:
        key, path = str(entry).split("=")
        name, kind = path.rsplit("/", 1)
        layers.setdefault(name, {})[kind] = vectors[key]
    return list(layers.values())


def weighted_layers(module: nn.Module) -> list[nn.Module]:
    """Convolutions, dense and normalisation layers of a module, in order of definition."""
    kinds = (nn.Conv2d, nn.Linear, _BatchNorm)
    return [part for part in module.modules() if isinstance(part, kinds)]


def fill(modules: Sequence[nn.Module], layers: Sequence[Layer]) -> None:
    """Copy the layers into the modules, one by one; a dense layer behind a convolution gets its inputs reordered."""
    assert len(modules) == len(layers), f"{len(modules)} modules but {len(layers)} layers"
    channels = 0  # of the convolution in front, whose output a dense layer flattens
    for module, layer in zip(modules, layers, strict=True):
        if isinstance(module, _BatchNorm):
            names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            values = {ours: layer[theirs] for ours, theirs in names.items()}
        else:
            kernel = layer["kernel"]
            if kernel.ndim == 4:
                channels = kernel.shape[3]
                kernel = kernel.transpose(3, 2, 0, 1)
            else:
                if channels and kernel.shape[0] > channels:
                    side = math.isqrt(kernel.shape[0] // channels)
                    kernel = kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
                kernel, channels = kernel.T, 0
            values = {"weight": kernel, **({} if module.bias is None else {"bias": layer["bias"]})}
        with torch.no_grad():
            for name, value in values.items():
                stored = getattr(module, name)
                assert stored.shape == value.shape, f"{name}: {tuple(stored.shape)} but {value.shape}"
                stored.copy_(vector_of(value))


def load_anatomy_encoders(encoders: nn.Module, layers: Sequence[Sequence[Layer]]) -> None:
    """Fill ``AnatomyEncoders``; ``layers`` holds the whole U-Net of every modality, shared layers repeated."""
    for path, own in zip(encoders.contracting, layers, strict=True):
        modules = weighted_layers(path)
        fill(modules, own[: len(modules)])
        fill(weighted_layers(encoders.expanding), own[len(modules) :])


def load_segmentor(segmentor: nn.Module, layers: Sequence[Layer]) -> None:
    """Fill ``AnatomySegmentor``; the background moves from the last to the first class."""
    last = {kind: np.roll(array, 1, axis=-1) for kind, array in layers[-1].items()}
    fill(weighted_layers(segmentor), [*layers[:-1], last])


def load_film_decoder(decoder: nn.Module, layers: Sequence[Layer]) -> None:
    """Fill ``FiLMDecoder``."""
    modules = weighted_layers(decoder.stem)
    for block in decoder.blocks:
        modules += [block.conv_in, block.film.gamma, block.film.beta, block.conv_out]
    modules.append(decoder.out)
    # Each on its own: no dense layer of the decoder follows a flattened convolution.
    for module, layer in zip(modules, layers, strict=True):
        fill([module], [layer])


def load_discriminator(discriminator: nn.Module, layers: Sequence[Layer]) -> None:
    """Fill ``AdversarialDiscriminator(..., spectral="none")``; that of masks sees the foreground classes only."""
    fill(weighted_layers(discriminator), layers)


def load_dafnet(network: nn.Module, vectors: Mapping[str, np.ndarray]) -> None:
    """Fill ``DAFNet(**SETTINGS_OF_GENERATOR_STEP)`` from ``dafnet_generator_step.npz``."""
    load_anatomy_encoders(network.anatomy_encoders, [layers_of(vectors, name) for name in ("EncA1", "EncA2")])
    fill(weighted_layers(network.modality_encoder), layers_of(vectors, "EncM"))
    load_segmentor(network.segmentor, layers_of(vectors, "Seg"))
    fill(weighted_layers(network.transformer), layers_of(vectors, "Loc"))
    load_film_decoder(network.decoder, layers_of(vectors, "Dec"))
