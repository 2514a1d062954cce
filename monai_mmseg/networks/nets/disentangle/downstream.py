# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A network for a task, fed from any subset of the modalities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from monai_mmseg.networks.dropout import set_dropout


class DownstreamNet(nn.Module):
    """Base of the networks that make a fixed number of channels of what is there and hand it to another network.

    When to use: subclass it and write :meth:`inputs`; the objectives of
    :mod:`monai_mmseg.objectives.downstream` train it.

    Args:
        task: takes what :meth:`inputs` makes.
        dropout: probability of every dropout layer of the task; ``None`` leaves them as they are.

    Raises:
        ValueError: if the task has no layer for ``dropout``.

    Examples:
        >>> import torch
        >>> class First(DownstreamNet):
        ...     def inputs(self, image, present=None, slices=None):
        ...         return image[:, :1]
        >>> First(nn.Conv2d(1, 4, 1))(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """

    def __init__(self, task: nn.Module, *, dropout: float | None = None) -> None:
        super().__init__()
        self.task = task
        if dropout is not None:
            set_dropout(task, dropout)

    def inputs(self, image: Tensor, present: Tensor | None = None, slices: Tensor | None = None) -> Tensor:
        """What the task's network sees: a fixed number of channels, without NaN.

        Args:
            image: all modalities, channels modality-major; one with a NaN is absent.
            present: bool, shape ``(B, M)``; ``None``: the NaN alone decide.
            slices: int64, shape ``(B,)``: which slice of its volume each image is, for networks that have to know.
        """
        raise NotImplementedError(f"{type(self).__name__} must write inputs.")

    def forward(self, image: Tensor, present: Tensor | None = None, slices: Tensor | None = None) -> Tensor:
        """What the task's network gives, logits or an image; arguments as in :meth:`inputs`."""
        result: Tensor = self.task(self.inputs(image, present, slices))
        return result


def split_modalities(
    image: Tensor, modalities: Sequence[str], channels: int, present: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Images ``(B, M, channels, *spatial)``, absent ones as they are, and which are there ``(B, M)``.

    Args:
        image: shape ``(B, M * channels, *spatial)``.
        modalities: M names.
        channels: of a modality.
        present: bool, shape ``(B, M)``, or ``None``.

    Raises:
        ValueError: for another shape.

    Examples:
        >>> import torch
        >>> images, present = split_modalities(torch.tensor([[[1.0], [torch.nan]]]), ("t1", "t2"), 1)
        >>> tuple(images.shape), present.tolist()
        ((1, 2, 1, 1), [[True, False]])
    """
    count = len(modalities)
    if image.ndim < 3 or image.shape[1] != count * channels:
        raise ValueError(
            f"image must have the shape (B, {count * channels}, *spatial) - {count} modalities {list(modalities)} x "
            f"{channels} channel(s) - got {tuple(image.shape)}."
        )
    if present is not None and tuple(present.shape) != (image.shape[0], count):
        raise ValueError(f"present must have the shape ({image.shape[0]}, {count}), got {tuple(present.shape)}.")
    images = image.unflatten(1, (count, channels))
    is_present = ~images.isnan().flatten(2).any(2)
    return images, is_present if present is None else is_present & present.to(image.device).bool()
