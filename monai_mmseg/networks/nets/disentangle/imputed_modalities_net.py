# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The standard network for several modalities: images as channels, something in place of those that are not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.networks.nets.disentangle.downstream import DownstreamNet, split_modalities


class ImputedModalitiesNet(DownstreamNet):
    """All modalities as channels of one network; a missing one is replaced by zeros or by a mean image.

    Use it as baseline of methods that do without missing modalities.

    Args:
        task: takes ``M * in_channels`` channels.
        modalities: M names, in the order of the input.
        in_channels: channels of a modality.
        fill: ``"zero"``, or the ``"average"`` image of each modality that :meth:`set_average` was given; it is part of
            the weights. Of volumes, for a network of slices, it is one image for each slice.
        dropout: probability of every dropout layer of the task; ``None`` leaves them as they are.

    Raises:
        ValueError: when an argument is unknown, or the image has another shape.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: Table 2, Standard+Zero and Standard+Avg.

    Examples:
        >>> net = ImputedModalitiesNet(nn.Identity(), ("t1", "t2"), fill="average")
        >>> net.set_average([torch.tensor([[1.0, 2.0], [5.0, 6.0]]), torch.tensor([[3.0, 4.0], [float("nan")] * 2])])
        >>> net(torch.tensor([[[float("nan")] * 2, [7.0, 8.0]]]))
        tensor([[[2., 3.],
                 [7., 8.]]])
    """

    def __init__(
        self,
        task: nn.Module,
        modalities: Sequence[str],
        *,
        in_channels: int = 1,
        fill: Literal["zero", "average"] = "zero",
        dropout: float | None = None,
    ) -> None:
        super().__init__(task, dropout=dropout)
        self.modalities = tuple(modalities)
        if isinstance(modalities, str) or not modalities or len(set(modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be one or more different names, got {modalities!r}.")
        if fill not in ("zero", "average"):
            raise ValueError(f"fill must be 'zero' or 'average', got {fill!r}.")
        self.in_channels, self.fill = int(in_channels), str(fill)
        self.average: Tensor | None
        # its size comes with the images, or with the weights
        self.register_buffer("average", torch.empty(0) if fill == "average" else None)

    @torch.no_grad()
    def set_average(self, images: Iterable[Tensor]) -> None:
        """Take the mean image of each modality over subjects that have it.

        Args:
            images: of subjects, each ``(M * in_channels, *spatial)``, of one size and aligned; a modality with a NaN is
                absent. With one axis more than the images that the network is trained with, the last one counts slices.

        Raises:
            ValueError: when nothing is to be averaged, sizes differ, or no subject has a modality.
        """
        if self.average is None:
            raise ValueError(f"fill must be 'average' for set_average, got {self.fill!r}.")
        total: Tensor | None = None
        counts = torch.zeros(len(self.modalities), dtype=torch.float64)
        for image in images:
            plain = plain_tensor(image)
            own, present = split_modalities(plain[None].cpu(), self.modalities, self.in_channels)
            mask = present.reshape(1, -1, *[1] * (own.ndim - 2))
            kept = torch.where(mask, own, 0.0)[0].double()
            if total is not None and total.shape != kept.shape:
                raise ValueError(f"images must be of one size, got {tuple(kept.shape)} after {tuple(total.shape)}.")
            total = kept if total is None else total + kept
            counts += present[0].double()
        if total is None or (counts == 0).any():
            lacking = [name for name, count in zip(self.modalities, counts.tolist(), strict=True) if not count]
            raise ValueError(f"images must hold every modality at least once, none has {lacking}.")
        mean = total / counts.reshape(-1, *[1] * (total.ndim - 1))
        self.average = mean.flatten(0, 1).to(self.average.device, torch.float32)

    def inputs(self, image: Tensor, present: Tensor | None = None, slices: Tensor | None = None) -> Tensor:
        """The images, with something in place of what is absent; shape of ``image``.

        Args:
            image: ``(B, M * in_channels, *spatial)``; a modality with a NaN is absent.
            present: bool, shape ``(B, M)``; ``None``: the NaN alone decide.
            slices: int64, shape ``(B,)``: which slice of the average volumes each image is, where these have an axis
                more than the image.

        Raises:
            ValueError: for another shape, or when something is missing and the average images are of another size.
        """
        images, is_present = split_modalities(image, self.modalities, self.in_channels, present)
        other = image.new_zeros(())
        if self.average is not None:
            if not self.average.numel():
                raise ValueError("fill='average' needs the mean images of set_average, or weights that hold them.")
            size, own = tuple(self.average.shape[1:]), tuple(image.shape[2:])
            placed = size[:-1] == own and slices is not None
            if size != own and not placed:
                if is_present.all():  # filled before it was cut; the one wait for the device, and in this case alone
                    return image
                raise ValueError(
                    f"image must have the spatial size {size} of the average images where a modality is missing (or be "
                    f"one of {size[-1]} slices, with slices to say which), got {own}. DownstreamInferer fills whole "
                    "volumes."
                )
            other = self.average.to(image).unflatten(0, (len(self.modalities), self.in_channels))
            if placed:
                other = other[..., slices].movedim(-1, 0)
        return torch.where(is_present.reshape(*is_present.shape, *[1] * (images.ndim - 2)), images, other).flatten(1, 2)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        stored = state_dict.get(f"{prefix}average")
        if self.average is not None and stored is not None and stored.shape != self.average.shape:
            self.average = torch.empty(stored.shape, dtype=self.average.dtype, device=self.average.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
