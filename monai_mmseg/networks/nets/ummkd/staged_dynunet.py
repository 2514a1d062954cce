# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MONAI's DynUNet as a chain of stages, for networks of which modalities share a part."""

from __future__ import annotations

from typing import Any

from monai.networks.nets import DynUNet
from torch import Tensor, nn


class StagedDynUNet(nn.Module):
    """The blocks of :class:`monai.networks.nets.DynUNet` under names of their own.

    When to use: with :class:`~monai_mmseg.networks.nets.ModalityStreams`, which needs ``stages``: here ``input_block``,
    ``down_1`` and so on, ``bottleneck``, ``up_1`` (the deepest) and so on, and ``output_block``.

    Args:
        settings: arguments of ``DynUNet``, without deep supervision.

    Raises:
        ValueError: ``deep_supervision`` is asked for, or MONAI refuses an argument.

    Examples:
        >>> net = StagedDynUNet(
        ...     spatial_dims=2, in_channels=1, out_channels=3, kernel_size=[3, 3, 3], strides=[1, 2, 2],
        ...     upsample_kernel_size=[2, 2], filters=[4, 8, 16],
        ... )
        >>> net.encoder, net.ends[2:], net.skips
        (['input_block', 'down_1'], ['up_1', 'up_2', 'output_block'], {'up_1': 'down_1', 'up_2': 'input_block'})
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        if settings.get("deep_supervision"):
            raise ValueError("deep_supervision must be off, for a stage has one output; got on.")
        whole = DynUNet(**settings)
        downs = {f"down_{at}": block for at, block in enumerate(whole.downsamples, 1)}
        ups = {f"up_{at}": block for at, block in enumerate(whole.upsamples, 1)}
        blocks = {"input_block": whole.input_block, **downs, "bottleneck": whole.bottleneck, **ups}
        blocks["output_block"] = whole.output_block
        for name, block in blocks.items():
            self.add_module(name, block)
        self.stages = tuple(blocks)
        self.skips = dict(zip(ups, reversed(["input_block", *downs]), strict=True))

    @property
    def encoder(self) -> list[str]:
        """Stages before the bottleneck."""
        return list(self.stages[: self.stages.index("bottleneck")])

    @property
    def ends(self) -> list[str]:
        """Stages before and behind the bottleneck."""
        return [stage for stage in self.stages if stage != "bottleneck"]

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, *spatial)`` of images ``(B, C, *spatial)``."""
        kept: dict[str, Tensor] = {}
        hidden = image
        for stage in self.stages:
            inputs = [hidden, kept[self.skips[stage]]] if stage in self.skips else [hidden]
            hidden = kept[stage] = getattr(self, stage)(*inputs)
        return hidden
