# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Averaged weights of the deployed network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAveraging:
    """Stochastic weight averaging, or an exponential moving average, on ``torch.optim.swa_utils.AveragedModel``.

    When to use: give it to an :class:`~monai_mmseg.engines.ObjectiveTrainer`, which updates it, to
    :class:`~monai_mmseg.handlers.AveragedValidationHandler`, which validates and saves with it, and to the savers.

    Without ``decay``, up to and including epoch ``start_epoch`` (counted from 0) the average is the current weights; in
    each epoch ``e`` after that it becomes ``(average * (e - start_epoch) + weights) / (e - start_epoch + 1)``. With
    ``decay``, from epoch ``start_epoch`` on it becomes ``decay * average + (1 - decay) * weights`` after each step.
    Without ``decay`` buffers, so also the running statistics of batch normalisation, are averaged like weights and not
    estimated anew, as in the code of Chartsias et al., IEEE TMI 2020. With ``decay`` they are the current ones, which
    are moving averages already.

    Args:
        network: the deployed network, on its device.
        start_epoch: see above.
        decay: ``None`` for the arithmetic mean over epochs, or the factor in [0, 1) of the moving average.

    Raises:
        ValueError: if ``start_epoch`` is negative or ``decay`` outside of [0, 1).

    Examples:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> averaging = WeightAveraging(network, start_epoch=0)
        >>> for epoch, value in enumerate([2.0, 4.0]):
        ...     _ = nn.init.constant_(network.weight, value)
        ...     averaging.update_epoch(epoch)
        >>> with averaging.swapped():
        ...     network.weight.item()
        3.0
        >>> network.weight.item()
        4.0
    """

    def __init__(self, network: nn.Module, start_epoch: int = 40, decay: float | None = None) -> None:
        if start_epoch < 0:
            raise ValueError(f"start_epoch must not be negative, got {start_epoch}.")
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}.")
        self.network, self.start_epoch, self.decay = network, int(start_epoch), decay
        average = None if decay is None else get_ema_multi_avg_fn(decay)
        # a moving average of a running statistic lags behind the weights: in one run of 750 steps that cost 0.025 Dice
        self.averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=decay is None)
        self.averaged.requires_grad_(False)
        self._swapped = False

    def update_epoch(self, epoch: int) -> None:
        """Take the weights at the end of an epoch, counted from 0, into the average."""
        if epoch < self.start_epoch or (self.decay is None and epoch == self.start_epoch):
            self._copy()
        elif self.decay is None:
            self.averaged.update_parameters(self.network)

    def update_iteration(self, epoch: int) -> None:
        """Take the weights after a step of an epoch into the moving average; does nothing without ``decay``."""
        if self.decay is not None and epoch >= self.start_epoch:
            self.averaged.update_parameters(self.network)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[nn.Module]:
        """Context in which the network has the averaged weights, in place; afterwards it has its own again, to the bit.

        Before the first update there is no average, and the network is left as it is. Contexts may be nested.
        """
        if self._swapped or int(self.averaged.n_averaged) == 0:
            yield self.network
            return
        own = [tensor.detach().clone() for tensor in _tensors(self.network)]
        self._swapped = True
        try:
            _write(self.network, list(_tensors(self.averaged.module)))
            yield self.network
        finally:
            _write(self.network, own)
            self._swapped = False

    def state_dict(self) -> dict[str, Any]:
        """Averaged weights and how many went into them."""
        return {"averaged": self.averaged.state_dict(), "start_epoch": self.start_epoch, "decay": self.decay}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave.

        Raises:
            ValueError: if the average was made in another way.
        """
        for name in ("start_epoch", "decay"):
            if state[name] != getattr(self, name):
                raise ValueError(f"the saved average has {name}={state[name]}, this run has {getattr(self, name)}.")
        self.averaged.load_state_dict(state["averaged"])

    def _copy(self) -> None:
        self.averaged.n_averaged.zero_()
        self.averaged.update_parameters(self.network)


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())


@torch.no_grad()
def _write(network: nn.Module, values: list[Tensor]) -> None:
    for tensor, value in zip(_tensors(network), values, strict=True):
        tensor.copy_(value)
