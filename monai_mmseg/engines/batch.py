# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From the data loader to the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor

if TYPE_CHECKING:
    from monai_mmseg.transforms import SliceAugmentation

HOST_KEYS = ("present", "labelled", "modality")
"""Entries of a batch that stay on the CPU: objectives make indexes of samples of them without waiting for the GPU."""


def prepare_training_batch(
    batchdata: Mapping[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> dict[str, Any]:
    """Batch with its tensors on the device, except the masks of :data:`HOST_KEYS`.

    When to use: as ``prepare_batch`` of an :class:`~monai_mmseg.engines.ObjectiveTrainer` (its default). Pinned memory
    in the data loader (``pin_memory``) lets the copies run beside the computation.

    Args:
        batchdata: dictionary from the data loader; entries that are no tensors pass unchanged.
        device: where tensors go.
        non_blocking: copy without waiting, see :meth:`torch.Tensor.to`.
        kwargs: further arguments of :meth:`torch.Tensor.to`; ``memory_format`` is used for four-dimensional
            floating-point tensors only.

    Returns:
        New dictionary; ``MetaTensor`` entries are plain tensors, which computes faster and is all a loss needs.

    Raises:
        TypeError: if the batch is not a dictionary.

    Examples:
        >>> batch = {"image": torch.zeros(1, 1, 2, 2), "present": torch.tensor([[True]]), "name": ["s01"]}
        >>> prepared = prepare_training_batch(batch, "meta")
        >>> prepared["image"].device.type, prepared["present"].device.type, prepared["name"]
        ('meta', 'cpu', ['s01'])
    """
    if not isinstance(batchdata, Mapping):
        raise TypeError(f"batchdata must be a dictionary of tensors, got {type(batchdata).__name__}.")
    memory_format = kwargs.pop("memory_format", None)

    def move(key: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        tensor = plain_tensor(value)
        if key in HOST_KEYS:
            return tensor.cpu()
        tensor = tensor.to(device=device, non_blocking=non_blocking, **kwargs)
        if memory_format is not None and tensor.ndim == 4 and tensor.is_floating_point():
            tensor = tensor.contiguous(memory_format=memory_format)
        return tensor

    return {key: move(key, value) for key, value in batchdata.items()}


class PrepareAugmentedBatch:
    """:func:`prepare_training_batch`, and on the device the augmentation that was drawn in the loader.

    Args:
        augmentation: the transform of the data set's slices, if it may be one of those.

    Examples:
        >>> from monai_mmseg.transforms import RandAffineSlicesd, SliceAugmentation
        >>> augment = SliceAugmentation([RandAffineSlicesd("image", rotate=20)], on="device").set_random_state(0)
        >>> batch = torch.utils.data.default_collate([augment({"image": torch.rand(1, 4, 4)})])
        >>> sorted(batch), sorted(PrepareAugmentedBatch(augment)(batch, "cpu"))
        (['augmentation', 'image'], ['image'])
    """

    def __init__(self, augmentation: SliceAugmentation) -> None:
        self.augmentation = augmentation

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Batch on the device, see :func:`prepare_training_batch`."""
        return self.augmentation.apply(prepare_training_batch(batchdata, device, non_blocking, **kwargs))
