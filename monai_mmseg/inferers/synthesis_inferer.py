# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes reconstructed slice by slice: one modality from what is there, or every modality from every other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from monai.inferers import SliceInferer
from torch import Tensor

from monai_mmseg.inferers.window_inferer import WindowInferer, by_volume
from monai_mmseg.networks.nets.disentangle.disentangle import DisentangleNet


class SynthesisInferer(SliceInferer, WindowInferer):
    """The middle channel of what a two-dimensional network synthesises of each slice, as a volume.

    Use it with a network that gives a slice and its neighbours, such as
    :class:`~monai_mmseg.networks.nets.DisentangleNet`.

    Args:
        *args: for MONAI's ``SliceInferer``; its ``sw_batch_size`` may be ``"auto"``, see :class:`WindowInferer`.
        target: modality to synthesise, given to the network by this name; ``None``: the network's own.
        **kwargs: for ``SliceInferer``.

    Examples:
        >>> infer = SynthesisInferer(roi_size=(4, 4), spatial_dim=2)
        >>> infer(torch.rand(1, 3, 4, 4, 5), lambda image: image).shape  # a slice with two neighbours
        torch.Size([1, 1, 4, 4, 5])
    """

    def __init__(self, *args: Any, target: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target = target

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """One modality as a volume ``(B, 1, X, Y, Z)``.

        Args:
            inputs: ``(B, M * S, X, Y, Z)``.
            network: two-dimensional network; it is given all further arguments after the image.
            *args: see there.
            **kwargs: see there; ``present`` may have one entry for each volume, as for :class:`WindowInferer`.
        """
        return cast(Tensor, by_volume(self._slices, inputs, network, args, kwargs))

    def _slices(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        named = kwargs if self.target is None else {"target": self.target, **kwargs}

        def run(image: Tensor) -> Tensor:
            channels: Tensor = network(image, *args, **named)
            middle = channels.shape[1] // 2
            return channels[:, middle : middle + 1]

        return cast(Tensor, super().__call__(inputs, run))


class CrossReconstructionInferer(SliceInferer, WindowInferer):
    """Every modality of a volume, reconstructed from the anatomy of every modality with its own code.

    Use it to validate a :class:`~monai_mmseg.networks.nets.DisentangleNet`. Channel ``i * M + j`` of the result is
    modality j with the anatomy of i; it is NaN where i or j is absent. Of a slice with neighbours the middle is given.
    Arguments are those of MONAI's ``SliceInferer``.

    Examples:
        >>> net = DisentangleNet(
        ...     2, 1, modalities=("t1", "t2"), target="t2", spatial_size=(64, 32), anatomy_features=(4, 8, 8, 8, 8),
        ...     appearance_features=(4, 8), decoder_features=(8, 8, 8, 8, 4, 4, 2),
        ... ).eval()
        >>> CrossReconstructionInferer(roi_size=(64, 32), spatial_dim=2)(torch.rand(1, 2, 64, 32, 3), net).shape
        torch.Size([1, 4, 64, 32, 3])
    """

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """All pairs ``(B, M * M, X, Y, Z)`` of a ``DisentangleNet``; further arguments are not used.

        Args:
            inputs: ``(B, M * S, X, Y, Z)``, NaN where absent.
            network: the ``DisentangleNet``.
            *args: not used.
            **kwargs: not used.
        """
        net = cast(DisentangleNet, network)

        def run(image: Tensor) -> Tensor:
            return cross_reconstructions(net, image)[:, :, :, net.in_channels // 2].flatten(1, 2)

        return cast(Tensor, super().__call__(inputs, run))


def cross_reconstructions(network: DisentangleNet, image: Tensor, present: Tensor | None = None) -> Tensor:
    """Every modality with the anatomy of every modality of the same subject.

    Args:
        network: in eval mode.
        image: ``(B, M * S, *spatial)``, NaN where absent.
        present: bool ``(B, M)``, or ``None``.

    Returns:
        ``(B, M, M, S, *spatial)``: first the modality of the anatomy, then that of the code, which is the result's;
        NaN where one of them is absent.
    """
    factors = network.factors(image, present)
    both = factors.present[:, :, None] & factors.present[:, None, :]
    sample, source, target = both.nonzero(as_tuple=True)
    rows = network.decode(factors.anatomy[sample, source], factors.code[sample, target], target.tolist())
    return rows.new_full((*both.shape, *rows.shape[1:]), torch.nan).index_put((sample, source, target), rows)
