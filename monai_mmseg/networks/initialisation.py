# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Initial weights as the original implementations of the methods sample them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.overrides import TorchFunctionMode

# Standard deviation of a unit normal truncated at two standard deviations.
TRUNCATED_STD = 0.87962566103423978

NARROW_STD = 0.01

_DRAWING = {
    *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_),  # those that torch hands over as a whole
    *(Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.bernoulli_, Tensor.exponential_, Tensor.random_),
}


class NotDrawn(TorchFunctionMode):
    """Context in which parameters of new modules are not drawn, for weights that are loaded right after.

    When to use: around the constructor of a network that then takes a whole ``state_dict``. Drawing them can be a third
    of the start of a run. Buffers, and tensors that are no parameters, get what they always do, and so does everything
    that is not random; parameters that nothing is loaded into hold whatever was in memory.

    Examples:
        >>> source = nn.Linear(2, 1)
        >>> with NotDrawn():
        ...     layer = nn.Linear(2, 1)
        >>> _ = layer.load_state_dict(source.state_dict())
        >>> bool((layer.weight == source.weight).all())
        True
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Give a parameter back as it is, or call the function."""
        named = dict(kwargs or {})
        if func in _DRAWING:
            drawn = args[0] if args else named.get("tensor")
            if isinstance(drawn, nn.Parameter):
                return drawn
        return func(*args, **named)


def _zero_bias(layer: nn.Module) -> None:
    bias = getattr(layer, "bias", None)
    if isinstance(bias, Tensor):
        with torch.no_grad():
            bias.zero_()


def he_normal(layer: nn.Module) -> None:
    """Initialise a convolution or dense layer: normal weight of variance 2 / fan-in, cut at two deviations.

    The bias becomes zero. Pass it to ``nn.Module.apply``; layers without a kernel are left alone.

    Args:
        layer: any module.

    Examples:
        >>> layer = nn.Linear(4, 2)
        >>> he_normal(layer)
        >>> layer.bias.tolist()
        [0.0, 0.0]
    """
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim > 1:
        std = math.sqrt(2.0 / (weight.shape[1] * weight[0, 0].numel())) / TRUNCATED_STD
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
        _zero_bias(layer)


def glorot_uniform(layer: nn.Module) -> None:
    """Initialise a convolution or dense layer: Glorot-uniform weight (the Keras default), zero bias.

    Pass it to ``nn.Module.apply``; layers without a kernel are left alone.

    Examples:
        >>> layer = nn.Linear(4, 2)
        >>> glorot_uniform(layer)
        >>> bool(layer.weight.abs().max() <= 1.0)
        True
    """
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim > 1:
        nn.init.xavier_uniform_(weight)
        _zero_bias(layer)


def balance_channels_(weight: Tensor, gain: float) -> Tensor:
    """Take the mean of every kernel away and stretch what is left, so that no output channel is ahead of the others.

    Use it for the last convolution in front of a softmax whose channels compete. Behind a ReLU all inputs have a
    positive mean, which makes every output channel larger or smaller than the others at every pixel; rounded softmax
    channels that start behind stay empty. Kernels without a mean see differences between inputs only.

    Args:
        weight: kernel, shape ``(out, in, *kernel)``, two inputs or more; changed in place and returned.
        gain: factor; a large one makes the softmax decided from the start.

    Raises:
        ValueError: if ``gain`` is not positive.

    Examples:
        >>> layer = nn.Conv2d(8, 4, 1)
        >>> bool(balance_channels_(layer.weight, 10.0).sum(1).abs().max() < 1e-4)
        True
    """
    if not gain > 0:
        raise ValueError(f"gain must be positive, got {gain}.")
    with torch.no_grad():
        dims = list(range(1, weight.ndim))
        return weight.sub_(weight.mean(dims, keepdim=True)).mul_(gain)


def narrow_normal(layer: nn.Module) -> None:
    """Initialise a convolution or dense layer: normal weight of deviation 0.01 whatever the width, zero bias.

    The normal is cut at two deviations, except in transposed convolutions. Pass it to ``nn.Module.apply``; layers
    without a kernel are left alone. Use it to start as UMMKD's original code does, with wide networks whose
    normalisation follows; in narrow ones the signal fades from layer to layer.

    Examples:
        >>> layer = nn.Conv2d(8, 4, 3)
        >>> narrow_normal(layer)
        >>> bool(layer.weight.abs().max() <= 0.02)
        True
    """
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim > 1:
        if isinstance(layer, _ConvTransposeNd):
            nn.init.normal_(weight, std=NARROW_STD)
        else:
            nn.init.trunc_normal_(weight, std=NARROW_STD, a=-2 * NARROW_STD, b=2 * NARROW_STD)
        _zero_bias(layer)


Initialisation = Literal["he", "original"] | Callable[[nn.Module], None]
"""A name that configs may use, or a function of a layer."""


def initialiser(how: Initialisation) -> Callable[[nn.Module], None]:
    """Function that initialises a layer.

    Args:
        how: ``"he"``: :func:`he_normal`; ``"original"``: :func:`narrow_normal`, as UMMKD's original code; a function is
            given back as it is.

    Raises:
        ValueError: if there is no such name.

    Examples:
        >>> initialiser("original") is narrow_normal
        True
    """
    if callable(how):
        return how
    named = {"he": he_normal, "original": narrow_normal}
    if how not in named:
        raise ValueError(f"initialise must be one of {list(named)} or a function of a layer, got {how!r}.")
    return named[how]
