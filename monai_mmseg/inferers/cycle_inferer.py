# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes redrawn as the other modality and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor

from monai_mmseg.inferers.slice_inferer import ModalitySliceInferer
from monai_mmseg.networks.nets.munit.munit import MUNIT


class CycleInferer(ModalitySliceInferer):
    """:meth:`~monai_mmseg.networks.nets.MUNIT.cycle` of each slice, as a volume.

    Use it to validate a :class:`~monai_mmseg.networks.nets.MUNIT` without pairs. Arguments are those of
    :class:`ModalitySliceInferer`.

    Examples:
        >>> import torch
        >>> net = MUNIT(2, 1, ["cine", "lge"], features=2)
        >>> CycleInferer(roi_size=(16, 16), spatial_dim=2)(torch.rand(1, 1, 16, 16, 3), net, modality="lge").shape
        torch.Size([1, 1, 16, 16, 3])
    """

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Volume ``(B, 1, X, Y, Z)`` like `inputs`.

        Args:
            inputs: images of one modality.
            network: the ``MUNIT``.
            *args: for ``cycle``, after the image.
            **kwargs: for ``cycle``: ``modality``.
        """
        return super().__call__(inputs, cast(MUNIT, network).cycle, *args, **kwargs)
