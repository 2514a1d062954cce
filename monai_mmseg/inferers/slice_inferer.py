# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Slice-wise inference that tells the network which modality it sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from monai.inferers import SliceInferer
from torch import Tensor

from monai_mmseg.inferers.window_inferer import WindowInferer, by_volume


class ModalitySliceInferer(SliceInferer, WindowInferer):
    """MONAI's ``SliceInferer`` that hands extra arguments to the network.

    When to use: to run a two-dimensional network that takes ``modality=`` over volumes. MONAI 1.6.1 documents that
    ``SliceInferer`` passes arguments on, but drops them without a word: every image would then be segmented with the
    normalisation of the default modality. ``SlidingWindowInferer`` does pass them.

    Arguments are those of ``SliceInferer``, and ``sw_batch_size`` may be ``"auto"``, see :class:`WindowInferer`.

    Examples:
        >>> import torch
        >>> infer = ModalitySliceInferer(roi_size=(4, 4), spatial_dim=2)
        >>> network = lambda x, modality: x + {"ct": 0, "mr": 1}[modality]
        >>> infer(torch.zeros(1, 1, 4, 4, 3), network, modality="mr").unique().tolist()
        [1.0]
    """

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the network gives for all slices, with the slice axis.

        Args:
            inputs: ``(B, C, X, Y, Z)``.
            network: two-dimensional network.
            *args: for the network, after the image.
            **kwargs: for the network, except ``condition``, which is cut into slices like `inputs`; ``modality`` and
                ``present`` may have one entry for each volume, as for :class:`WindowInferer`.
        """
        return by_volume(self._slices, inputs, network, args, kwargs)

    def _slices(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        condition = {"condition": kwargs.pop("condition")} if "condition" in kwargs else {}

        def run(image: Tensor, *cut: Tensor) -> Any:
            return partial(network, **kwargs)(image, *cut, *args)

        return super().__call__(inputs, run, **condition)
