# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a trainer keeps about each phase of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from monai_mmseg.objectives.base import Objective


@dataclass
class Phase:
    """One phase: its optimiser, its parameters, and those that stand still meanwhile."""

    name: str
    optimizer: Optimizer
    parameters: list[nn.Parameter]
    others: list[nn.Parameter]
    updates: int = 1
    clip_norm: float | None = None
    scaler: Any = field(default=None, repr=False)

    def select(self) -> None:
        """Let the parameters of this phase take gradients, and no others."""
        for parameter in self.others:
            parameter.requires_grad_(False)
        for parameter in self.parameters:
            parameter.requires_grad_(True)

    def step(self) -> None:
        """Clip the gradients and let the optimiser step, unless the batch gave this phase no gradient at all."""
        if all(parameter.grad is None for parameter in self.parameters):
            return
        if self.clip_norm is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()


def make_phases(
    objective: Objective,
    optimizers: Mapping[str, Optimizer],
    updates: Mapping[str, int] | None = None,
    clip_norm: float | Mapping[str, float] | None = None,
) -> list[Phase]:
    """Phases of an objective in its order, with their optimisers, after checking that they fit together.

    Parameters that need no gradient now are left frozen. Arguments as for
    :class:`~monai_mmseg.engines.ObjectiveTrainer`.

    Raises:
        ValueError: if a name is not a phase, a number is not positive, phases share parameters, or an optimiser holds
            other parameters than those of its phase.

    Examples:
        >>> from monai_mmseg.objectives import SegmentationObjective
        >>> objective = SegmentationObjective(nn.Conv2d(1, 2, 1), num_classes=2)
        >>> adam = torch.optim.Adam(objective.parameters_of("segmentation"))
        >>> (phase,) = make_phases(objective, {"segmentation": adam}, clip_norm=1.0)
        >>> phase.name, len(phase.parameters), phase.updates, phase.clip_norm
        ('segmentation', 2, 1, 1.0)
    """
    clips = dict(clip_norm) if isinstance(clip_norm, Mapping) else dict.fromkeys(objective.phases, clip_norm)
    counts = dict(updates or {})
    for name in (*optimizers, *counts, *clips):
        objective.check_phase(name)
    if missing := [name for name in objective.phases if name not in optimizers]:
        raise ValueError(f"optimizers must have one entry for each phase {list(objective.phases)}, {missing} missing.")
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"updates[{name!r}] must be at least 1, got {count}.")
    for name, clip in clips.items():
        if clip is not None and not clip > 0:
            raise ValueError(f"clip_norm of phase {name!r} must be positive, got {clip}.")
    own = {name: [p for p in objective.parameters_of(name) if p.requires_grad] for name in objective.phases}
    labels = {id(p): name for name, p in objective.named_parameters()}
    seen: dict[int, str] = {}
    for name, parameters in own.items():
        for parameter in parameters if name not in objective.retraining else ():
            if seen.setdefault(id(parameter), name) != name:
                shared = labels.get(id(parameter), "?")
                raise ValueError(f"phases {seen[id(parameter)]!r} and {name!r} both train parameter {shared!r}.")
        _check_optimizer(name, optimizers[name], parameters, labels)
    return [
        Phase(
            name=name,
            optimizer=optimizers[name],
            parameters=own[name],
            others=_not_of(own[name], [p for other in objective.phases if other != name for p in own[other]]),
            updates=counts.get(name, 1),
            clip_norm=clips.get(name),
        )
        for name in objective.phases
    ]


def _not_of(parameters: list[nn.Parameter], others: list[nn.Parameter]) -> list[nn.Parameter]:
    mine = {id(p) for p in parameters}
    return [p for p in others if id(p) not in mine]


def _check_optimizer(name: str, optimizer: Optimizer, parameters: list[nn.Parameter], labels: dict[int, str]) -> None:
    wanted = {id(p) for p in parameters}
    held = {id(p) for group in optimizer.param_groups for p in group["params"] if p.requires_grad}
    if foreign := [labels.get(i, "one of another model") for i in held - wanted]:
        raise ValueError(f"optimizers[{name!r}] holds parameters that the phase does not train: {sorted(foreign)[:3]}.")
    if left_out := [labels.get(i, "?") for i in wanted - held]:
        raise ValueError(
            f"optimizers[{name!r}] must hold all parameters of the phase that need a gradient, "
            f"{len(left_out)} missing, e.g. {sorted(left_out)[:3]}."
        )
