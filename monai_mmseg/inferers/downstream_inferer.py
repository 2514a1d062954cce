# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Inference of a network whose input has to be made of whole volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from monai_mmseg.networks.nets.disentangle.downstream import DownstreamNet


class DownstreamInferer(Inferer):
    """Runs a network's ``inputs`` on whole volumes, and its ``task`` by another inferer, in slices or windows.

    When to use: where what stands in for a missing modality depends on the place in the volume, as the average volumes
    of a :class:`~monai_mmseg.networks.nets.ImputedModalitiesNet` do.

    Args:
        inferer: for the task, for example MONAI's ``SliceInferer`` or ``SlidingWindowInferer``.

    Raises:
        TypeError: when `inferer` cannot be called.

    Examples:
        >>> import torch
        >>> from monai.inferers import SliceInferer
        >>> from monai_mmseg.networks.nets import ImputedModalitiesNet
        >>> network = ImputedModalitiesNet(torch.nn.Identity(), ("t1",), fill="average")
        >>> network.set_average([torch.arange(3.0).expand(1, 4, 4, 3)])
        >>> missing = torch.full((1, 1, 4, 4, 3), torch.nan)
        >>> DownstreamInferer(SliceInferer(roi_size=(4, 4), spatial_dim=2))(missing, network)[0, 0, 0, 0].tolist()
        [0.0, 1.0, 2.0]
    """

    def __init__(self, inferer: Callable[..., Any]) -> None:
        super().__init__()
        if not callable(inferer):
            raise TypeError(f"inferer must be an inferer, got {type(inferer).__name__}.")
        self.inferer = inferer

    def __call__(self, inputs: Tensor, network: DownstreamNet, *args: Any, **kwargs: Any) -> Any:
        """What the network's task gives.

        Args:
            inputs: ``(B, C, *spatial)``, NaN where a modality is missing.
            network: what takes these volumes as input.
            *args: for the network's ``inputs``, as are all further keywords.
            **kwargs: see there.

        Raises:
            TypeError: when `network` is of another kind, such as a TorchScript program.
        """
        if not isinstance(network, DownstreamNet):
            raise TypeError(
                f"network must be a DownstreamNet, whose inputs and task are run, got {type(network).__name__}."
            )
        return self.inferer(network.inputs(inputs, *args, **kwargs), network.task)
