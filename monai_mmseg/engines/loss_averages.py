# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Means of loss terms over an epoch, and which of them stopped being finite, without waiting for the GPU each step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from monai_mmseg.distributed import is_distributed, world_size


class LossAverages:
    """Adds up terms on their device; the host looks at them when asked.

    When to use: inside a trainer. :meth:`update` costs a few tiny kernels and no synchronisation.

    Examples:
        >>> monitor = LossAverages()
        >>> for i, value in enumerate([1.0, 3.0]):
        ...     monitor.update("fit", {"error": torch.tensor(value)}, iteration=i)
        >>> monitor.means()
        {'fit/error': 2.0}
        >>> monitor.update("fit", {"error": torch.tensor(float("nan"))}, iteration=7)
        >>> monitor.not_finite()
        [('fit', 'error', 7)]
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; call it at the start of an epoch."""
        self._names: dict[str, list[str]] = {}
        self._sums: dict[str, Tensor] = {}
        self._first_bad: dict[str, Tensor] = {}
        self._updates: dict[str, int] = {}

    def update(self, phase: str, terms: Mapping[str, Tensor], iteration: int) -> None:
        """Add the terms of one update of a phase, scalars that have the same names each time."""
        values = torch.stack([term.detach() for term in terms.values()])
        if phase not in self._sums:
            self._names[phase] = list(terms)
            self._updates[phase] = 0
            self._sums[phase] = torch.zeros_like(values, dtype=torch.float64)
            self._first_bad[phase] = torch.full_like(values, -1, dtype=torch.long)
        self._updates[phase] += 1
        self._sums[phase] += values
        bad = self._first_bad[phase]
        self._first_bad[phase] = torch.where(torch.isfinite(values) | (bad >= 0), bad, iteration)

    def not_finite(self) -> list[tuple[str, str, int]]:
        """Phase, term and iteration of each term that was NaN or infinite, the earliest first. Waits for the device."""
        found = [
            (phase, name, iteration)
            for phase, names in self._names.items()
            for name, iteration in zip(names, self._first_bad[phase].tolist(), strict=True)
            if iteration >= 0
        ]
        return sorted(found, key=lambda item: item[2])

    def means(self) -> dict[str, float]:
        """Mean of each term since the last reset, as ``"phase/term"``, over all processes. Waits for the device."""
        result = {}
        for phase, sums in self._sums.items():
            mean = sums / self._updates[phase]
            if is_distributed():
                # the terms of a process are its share of the joined batch, times the number of processes
                dist.all_reduce(mean)
                mean /= world_size()
            result.update({f"{phase}/{name}": v for name, v in zip(self._names[phase], mean.tolist(), strict=True)})
        return result
