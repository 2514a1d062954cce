# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Class means over the last steps, for batches that show a class in a few pixels or not at all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_mmseg.losses.class_logits import ClassLogits


class RunningClassLogits(nn.Module):
    r"""Running means of the class rows of every modality, with the gradient of the current batch.

    When to use: between :func:`~monai_mmseg.losses.class_logits.pool_class_logits` and the distillation. The mean
    logits of a class are those of its pixels in the last batches that held it,

    .. math:: \bar z_c = \bar S_c / \bar N_c, \quad \bar S_c \leftarrow (1 - m) \bar S_c + m S_c,

    and :math:`\bar N_c` likewise: a ratio, so the start has no bias, and a class of few pixels counts little. The
    gradient is that of the means of the current batch, in full, as if they stood at this value. Rows of a class that
    the batch lacks are remembered and take none.

    Args:
        momentum: m, how much comes from the current batch; 0.1 is about ten batches.

    Raises:
        ValueError: unless it lies in (0, 1].

    Examples:
        >>> running, pixels, rows = RunningClassLogits(0.5), torch.tensor([[4.0]]), torch.ones(1)
        >>> for value in (1.0, 4.0):
        ...     found = running(ClassLogits(torch.tensor([[[value]]]), pixels, rows))
        >>> found.means  # (1 / 4 + 4 / 2) / (1 / 4 + 1 / 2)
        tensor([[[3.]]])
    """

    sums: Tensor | None

    def __init__(self, momentum: float) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}.")
        self.momentum = float(momentum)
        self.register_buffer("sums", None)  # (M, K, K + 1), known at the first batch

    def forward(self, classes: ClassLogits) -> ClassLogits:
        """Returns the running means and counts; in training the batch is taken in first.

        Args:
            classes: of the batch, the same on all processes.
        """
        pixels = classes.pixels[..., None]
        batch = torch.cat([classes.means.detach() * pixels, pixels], -1)
        # a run that goes on has read them on the CPU
        self.sums = torch.zeros_like(batch) if self.sums is None else self.sums.to(batch)
        if self.sums.shape != batch.shape:
            raise ValueError(f"classes must be {tuple(self.sums.shape[:2])} as before, got {tuple(batch.shape[:2])}.")
        if self.training:
            self.sums.lerp_(batch, (self.momentum * (pixels > 0)).to(batch))
        seen = self.sums[..., -1].clone()
        means = self.sums[..., :-1] / seen[..., None].clamp(min=torch.finfo(torch.float32).tiny)
        current = classes.means - classes.means.detach()  # zero, with a gradient
        return ClassLogits(means + current, seen, classes.rows + seen.sum(-1))

    def extra_repr(self) -> str:
        """Returns the settings for ``print(running)``."""
        return f"momentum={self.momentum:g}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}sums")
        self.sums = None if saved is None else torch.zeros_like(saved)
        super()._load_from_state_dict(state_dict, prefix, *args)
