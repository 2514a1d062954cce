# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Adam whose learning rate falls with every step, as Keras' ``decay``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from monai_mmseg.objectives.base import Objective


class DecayedAdam(torch.optim.Adam):
    """Adam of learning rate ``lr / (1 + decay * step)``, where ``step`` counts from 0.

    Use it for parity with methods that were written in Keras. A schedule of the learning rate goes with it: both
    factors are multiplied.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        decay: how fast it falls; 0 is Adam.
        settings: further settings of ``torch.optim.Adam``.

    Raises:
        ValueError: if ``decay`` is negative.

    Examples:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> adam = DecayedAdam([weight], lr=1.0, decay=1.0)
        >>> for _ in range(2):  # of a constant gradient Adam's step is the learning rate: 1 and 1 / 2
        ...     weight.grad = torch.ones(1)
        ...     adam.step()
        >>> round(weight.item(), 3)
        -1.5
    """

    def __init__(self, params: Any, lr: float = 1e-3, *, decay: float = 0.0, **settings: Any) -> None:
        if decay < 0:
            raise ValueError(f"decay must not be negative, got {decay}.")
        super().__init__(params, lr=lr, **settings)
        for group in self.param_groups:
            group.setdefault("decay", float(decay))
            group.setdefault("steps", 0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, with the learning rate of its number."""
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["lr"] / (1 + group["decay"] * group["steps"])
            group["steps"] += 1
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate


def decayed_adams(
    objective: Objective, learning_rates: Mapping[str, float], **settings: Any
) -> dict[str, torch.optim.Optimizer]:
    """A :class:`DecayedAdam` for each phase of an objective.

    Use it in a config, as ``optimizers``.

    Args:
        objective: with its phases.
        learning_rates: by phase.
        settings: of :class:`DecayedAdam`, the same for all.

    Raises:
        ValueError: if a name is no phase of the objective, or a phase has no learning rate.

    Examples:
        >>> from monai_mmseg.objectives import SegmentationObjective
        >>> objective = SegmentationObjective(torch.nn.Conv2d(1, 2, 1), num_classes=2)
        >>> list(decayed_adams(objective, {"segmentation": 1e-4}, decay=1e-4))
        ['segmentation']
    """
    if wrong := learning_rates.keys() ^ set(objective.phases):
        raise ValueError(
            f"learning_rates must name the phases {list(objective.phases)}, they differ on {sorted(wrong)}."
        )
    return {
        phase: DecayedAdam(objective.parameters_of(phase), learning_rates[phase], **settings)
        for phase in objective.phases
    }
