# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How well modalities are reconstructed from each other, as one number to choose a model by."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor


class NegativeCrossError(CumulativeIterationMetric):
    """Minus the mean absolute error of modalities reconstructed with the anatomy of another one: larger is better.

    When to use: as key metric of validation, with :class:`~monai_mmseg.inferers.CrossReconstructionInferer`. Averaged
    over all voxels of a subject, then over the subjects that have both modalities of an ordered pair, then over pairs.
    A modality reconstructed from itself counts only where no subject has two.

    Args:
        num_modalities: M.
        num_slices: channels of each modality in the image; the middle one is compared.

    Raises:
        ValueError: (in a call) if the channels do not fit.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456, original code: what its validation monitors.

    Examples:
        >>> metric = NegativeCrossError(num_modalities=2)
        >>> image = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
        >>> made = torch.tensor([0.0, 1.5, 0.25, 1.0]).reshape(1, 4, 1, 1)  # t1, t1 to t2, t2 to t1, t2
        >>> _ = metric(made, image)
        >>> metric.aggregate()
        tensor(-0.3750)
    """

    def __init__(self, num_modalities: int, num_slices: int = 1) -> None:
        super().__init__()
        self.num_modalities, self.num_slices = int(num_modalities), int(num_slices)

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Errors ``(B, M * M)`` of the ordered pairs, NaN where a modality is absent.

        Args:
            y_pred: ``(B, M * M, *spatial)``.
            y: ``(B, M * S, *spatial)``.
            **kwargs: not used.
        """
        count = self.num_modalities
        if y is None or y.shape[1] != count * self.num_slices or y_pred.shape[1] != count**2:
            raise ValueError(
                f"y_pred must have {count**2} and y {count * self.num_slices} channels, got {y_pred.shape[1]} and "
                f"{None if y is None else y.shape[1]}."
            )
        image = y[:, self.num_slices // 2 :: self.num_slices]
        error = (y_pred.unflatten(1, (count, count)) - image[:, None]).abs().flatten(3).mean(3)
        return error.flatten(1).to(torch.float32)

    def aggregate(self) -> Tensor:
        """The mean over subjects, then over pairs.

        Returns:
            Scalar.
        """
        errors = self.get_buffer()
        if not isinstance(errors, Tensor):
            raise ValueError("there is nothing to aggregate: no image was compared.")
        pairs = errors.nanmean(0)
        own = torch.eye(self.num_modalities, dtype=torch.bool, device=pairs.device).flatten()
        crossed = -pairs[~own].nanmean()
        return torch.where(crossed.isnan(), -pairs[own].nanmean(), crossed)
