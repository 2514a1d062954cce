# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Put the slice axis of a volume last and its slices into one canonical orientation; can be inverted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform
from monai.transforms.spatial.functional import orientation
from monai.utils import TraceKeys

from monai_mmseg.transforms.geometry import SliceAxis, find_slice_axis, slice_orientation
from monai_mmseg.transforms.map_transforms import EachKeyd


class OrientSlices(InvertibleTransform):
    """Slice axis last, rows and columns in the radiological view, never mirrored.

    Use it in place of ``Orientation`` for data that are stacks of slices. ``Orientation`` names axes after the nearest
    direction of the patient; near 45 degrees, where short-axis views lie, it swaps the slice axis with an in-plane one.
    Here the slice axis is found by its spacing (:func:`~monai_mmseg.transforms.geometry.find_slice_axis`).

    Args:
        slice_axis: ``"auto"``, ``"axial"``, ``"coronal"``, ``"sagittal"`` or an array axis of the file.

    Examples:
        >>> volume = MetaTensor(torch.zeros(1, 5, 64, 48), affine=torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0])))
        >>> tuple(OrientSlices()(volume).shape)
        (1, 48, 64, 5)
    """

    def __init__(self, slice_axis: SliceAxis = "auto") -> None:
        self.slice_axis: SliceAxis = slice_axis

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        """Return a volume ``(C, H, W, D)`` with an updated affine.

        Args:
            img: channel first, shape ``(C, X, Y, Z)``; a tensor without metadata is taken to have an identity affine.

        Raises:
            ValueError: if it has not three spatial axes.
        """
        if img.ndim != 4:
            raise ValueError(f"OrientSlices needs a channel-first volume (C, X, Y, Z), got shape {tuple(img.shape)}.")
        volume = img if isinstance(img, MetaTensor) else MetaTensor(img)
        affine = np.asarray(volume.affine, dtype=np.float64)
        axis = find_slice_axis(affine, volume.shape[1:], self.slice_axis)
        return self._apply(volume, slice_orientation(affine, axis), self.get_transform_info())

    @staticmethod
    def _apply(volume: MetaTensor, orient: Any, transform_info: dict[Hashable, Any]) -> torch.Tensor:
        affine = np.asarray(volume.affine, dtype=np.float64)
        result: torch.Tensor = orientation(volume, affine, orient.copy(), lazy=False, transform_info=transform_info)
        if isinstance(result, MetaTensor) and result.applied_operations:
            result.applied_operations[-1][TraceKeys.EXTRA_INFO]["orientation"] = orient.tolist()
        return result

    def inverse(self, data: MetaTensor) -> torch.Tensor:
        """Return ``(C, X, Y, Z)`` in the orientation of the file.

        Args:
            data: a volume that carries the trace of this transform, shape ``(C, H, W, D)``.
        """
        forward = np.asarray(self.pop_transform(data)[TraceKeys.EXTRA_INFO]["orientation"], dtype=np.int64)
        backward = np.zeros_like(forward)
        for axis, (target, sign) in enumerate(forward):
            backward[target] = (axis, sign)
        info = {**self.get_transform_info(), TraceKeys.TRACING: False}
        affine = np.asarray(data.affine, dtype=np.float64)
        restored: torch.Tensor = orientation(data, affine, backward, lazy=False, transform_info=info)
        return restored


class OrientSlicesd(EachKeyd, InvertibleTransform):
    """Dictionary form of :class:`OrientSlices`; each volume is oriented by its own affine.

    Examples:
        >>> volume = MetaTensor(torch.zeros(1, 5, 64, 48), affine=torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0])))
        >>> orient = OrientSlicesd("image")
        >>> oriented = orient({"image": volume})
        >>> tuple(oriented["image"].shape), tuple(orient.inverse(oriented)["image"].shape)
        ((1, 48, 64, 5), (1, 5, 64, 48))
    """

    def __init__(self, keys: KeysCollection, slice_axis: SliceAxis = "auto", allow_missing_keys: bool = False) -> None:
        self.orient = OrientSlices(slice_axis)
        super().__init__(keys, self.orient, allow_missing_keys)

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the volumes as in their files."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.orient.inverse(result[key])
        return result
