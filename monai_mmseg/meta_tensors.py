# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tensors out of MONAI's MetaTensor and back into it."""

from __future__ import annotations

from typing import TypeVar, cast

from torch import Tensor
from torch.nn import Parameter

T = TypeVar("T", bound=Tensor)


def plain_tensor(tensor: Tensor) -> Tensor:
    """Tensor without metadata, the same memory: computing with and collating MetaTensors is slow.

    Args:
        tensor: a tensor or MetaTensor.

    Returns:
        A tensor.
    """
    if type(tensor) in (Tensor, Parameter):
        return tensor
    from monai.data import MetaTensor

    plain: Tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return plain


def with_metadata(values: Tensor, source: T) -> T:
    """Values with the affine, the metadata and the trace of the tensor that they were made of.

    Unlike MONAI's ``convert_to_dst_type`` it leaves the type of the values as it is.

    Args:
        values: a plain tensor.
        source: a tensor or MetaTensor.

    Returns:
        A MetaTensor if `source` is one.

    Examples:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> source = MetaTensor(torch.zeros(1, 2, 2), meta={"filename_or_obj": "a.nii"})
        >>> with_metadata(torch.ones(1, 2, 2).long(), source).meta["filename_or_obj"]
        'a.nii'
    """
    from monai.data import MetaTensor

    wrapped = MetaTensor(values).copy_meta_from(source) if isinstance(source, MetaTensor) else values
    return cast(T, wrapped)
