# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate factors that a config can name."""

from __future__ import annotations

import math


class HoldThenCosine:
    """Factor 1 for a share of the steps, then half a cosine down to a last value.

    Use it as ``lr_lambda`` of ``torch.optim.lr_scheduler.LambdaLR``: a class rather than a function, so that it has a
    place in a JSON config and its settings in the scheduler's state.

    Args:
        steps: number of steps (or epochs) of the whole run.
        hold: share of them at factor 1, in [0, 1].
        final: factor at the end, in [0, 1].
        first: steps of a first stage, which has such a curve of its own; the rest starts again at 1.

    Raises:
        ValueError: if ``steps`` is not positive, ``first`` not among them, or a share or factor is outside [0, 1].

    Examples:
        >>> factor = HoldThenCosine(steps=100, hold=0.5, final=0.02)
        >>> [round(factor(step), 2) for step in (0, 50, 75, 100, 150)]
        [1.0, 1.0, 0.51, 0.02, 0.02]
        >>> factor = HoldThenCosine(steps=100, first=60)
        >>> [round(factor(step), 2) for step in (0, 45, 59, 60, 90, 100)]
        [1.0, 0.51, 0.02, 1.0, 0.51, 0.02]
    """

    def __init__(self, steps: int, hold: float = 0.5, final: float = 0.02, first: int = 0) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}.")
        for name, value in (("hold", hold), ("final", final)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}.")
        if not 0 <= first <= steps:
            raise ValueError(f"first must be from 0 to steps = {steps}, got {first}.")
        self.first = first
        self.steps, self.hold, self.final = steps, hold, final

    def __call__(self, step: int) -> float:
        """Factor at ``step``, counted from 0; the last value goes on after the end."""
        steps = self.steps
        if 0 < self.first < steps:
            step, steps = (step, self.first) if step < self.first else (step - self.first, steps - self.first)
        start = self.hold * steps
        if step <= start or self.hold == 1:
            return 1.0
        done = min((step - start) / (steps - start), 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))
