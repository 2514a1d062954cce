# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling to a spacing: in blocks on the way back, inside MONAI Label, and one that leaves the slices alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Spacing, Spacingd
from monai.utils import TraceKeys
from numpy.typing import NDArray
from torch import Tensor

from monai_mmseg.transforms.geometry import slice_normal
from monai_mmseg.transforms.resample_blocks import most_likely, resample_in_blocks

ONLY_CLASSES = "only_classes"
"""Entry of the metadata of class probabilities of which the most likely class is wanted; gone once it is found."""

_ONLY_TURN = {"OrientSlices", "Orientation", "Flip", "Transpose"}


def inverse_in_blocks(spacing: Spacing, data: Tensor) -> Tensor:
    """What ``spacing.inverse`` gives, to rounding, in single precision and block by block.

    When to use: where many channels go back to a large grid. Where the metadata hold :data:`ONLY_CLASSES`, each block
    becomes a map of classes, so that the channels never exist on the large grid; the transforms that are undone after
    it must then only turn the volume.

    Args:
        spacing: MONAI's transform that made the volume.
        data: a volume that carries its trace.

    Returns:
        ``(C, *spatial)``, or ``(1, *spatial)`` of classes, as the volume was.

    Examples:
        >>> spacing = Spacing(2.0)
        >>> coarse = spacing(MetaTensor(torch.rand(3, 8, 8, 8)))
        >>> tuple(coarse.shape), tuple(inverse_in_blocks(spacing, coarse).shape)
        ((3, 4, 4, 4), (3, 8, 8, 8))
    """
    trace = data.applied_operations[-1] if isinstance(data, MetaTensor) and data.applied_operations else {}
    how = trace.get(TraceKeys.EXTRA_INFO, {})
    if how.get("mode") != "bilinear" or how.get("padding_mode") not in ("border", "zeros") or data.ndim != 4:
        return cast(Tensor, spacing.inverse(data))
    assert isinstance(data, MetaTensor)
    spacing.sp_resample.pop_transform(data)
    before = np.asarray(how["src_affine"], dtype=np.float64)
    size = [int(edge) for edge in trace[TraceKeys.ORIG_SIZE]]
    turned = {operation[TraceKeys.CLASS_NAME] for operation in data.applied_operations} <= _ONLY_TURN
    classes = bool(data.meta.get(ONLY_CLASSES)) and turned
    values: Tensor = data.as_tensor()
    values = values if values.is_floating_point() else values.to(torch.float32)
    place = torch.as_tensor(np.linalg.solve(np.asarray(data.affine, dtype=np.float64), before))
    border = how["padding_mode"] == "border"
    found = resample_in_blocks(values, place, size, border=border, finish=most_likely if classes else None)
    result = MetaTensor(found).copy_meta_from(data)
    result.affine = torch.as_tensor(before)
    if classes:
        result.meta.pop(ONLY_CLASSES)
    return result


class SafeSpacingd(Spacingd):
    """``monai.transforms.Spacingd`` that goes back in blocks and does not stop on entries such as ``image_path``.

    MONAI 1.6.0 and 1.6.1 call ``.update`` on every entry whose name starts with ``image_`` after resampling ``image``
    from a NIfTI file; MONAI Label adds a string ``image_path``. Entries of that kind that are no mappings are set aside
    during the call.

    Examples:
        >>> from monai.data import MetaTensor
        >>> image = MetaTensor(torch.zeros(1, 4, 4, 4), meta={"filename_or_obj": "a.nii.gz"})
        >>> out = SafeSpacingd("image", pixdim=2.0)({"image": image, "image_path": "a.nii.gz"})
        >>> tuple(out["image"].shape), out["image_path"]
        ((1, 2, 2, 2), 'a.nii.gz')
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with resampled volumes; ``lazy`` as in ``Spacingd``."""
        prefixes = tuple(f"{key}_" for key in self.keys)
        aside = {
            name: value
            for name, value in data.items()
            if isinstance(name, str) and name.startswith(prefixes) and not isinstance(value, Mapping)
        }
        kept = {name: value for name, value in data.items() if name in self.keys or name not in aside}
        resampled = super().__call__(kept, lazy)
        # the order of the entries of the caller is restored, in case somebody iterates
        order = [*data, *(name for name in resampled if name not in data)]
        return {name: resampled[name] if name in resampled else aside[name] for name in order}

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the volumes as they were; see :func:`inverse_in_blocks`."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = inverse_in_blocks(self.spacing_transform, result[key])
        return result


class SpacingInPlaned(SafeSpacingd):
    """Resample the slices of a volume in-plane; their number and distance stay as they are.

    Use it after :class:`~monai_mmseg.transforms.OrientSlicesd` (the slice axis is the last). Nothing is mixed across
    slices, which are 5 to 10 mm apart in the data that slice-wise networks are made for; slices that are shifted
    against each other (a tilted gantry) stay so. ``Invertd`` undoes it.

    Args:
        keys: volumes to resample.
        pixdim: spacing of rows and columns in mm.
        mode: ``"bilinear"`` or ``"nearest"``, or one for each key.
        padding_mode: value outside the volume, see ``Spacingd``.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: if `pixdim` is not two positive numbers.

    Examples:
        >>> from monai.data import MetaTensor
        >>> image = MetaTensor(torch.zeros(1, 57, 57, 5), affine=torch.diag(torch.tensor([1.0, 1.0, 8.0, 1.0])))
        >>> tuple(SpacingInPlaned("image", pixdim=(2.8, 2.8))({"image": image})["image"].shape)
        (1, 21, 21, 5)
    """

    def __init__(
        self,
        keys: KeysCollection,
        pixdim: Sequence[float] = (2.8, 2.8),
        *,
        mode: Sequence[str] | str = "bilinear",
        padding_mode: Sequence[str] | str = "border",
        allow_missing_keys: bool = False,
    ) -> None:
        sizes = [float(size) for size in (pixdim if isinstance(pixdim, Sequence) else [])]
        if len(sizes) != 2 or min(sizes) <= 0:
            raise ValueError(f"pixdim must be two positive spacings in mm (rows, columns), got {pixdim!r}.")
        super().__init__(
            keys,
            pixdim=(*sizes, -1.0),
            mode=mode,
            padding_mode=padding_mode,
            dtype=torch.float64,
            allow_missing_keys=allow_missing_keys,
        )

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with resampled slices; ``lazy`` as in ``Spacingd``, not if sheared."""
        straight = dict(data)
        sheared: dict[Hashable, Any] = {}
        for key in self.key_iterator(straight):
            volume = straight[key]
            if isinstance(volume, MetaTensor) and volume.ndim == 4 and (upright := _upright(volume.affine)) is not None:
                sheared[key] = volume.affine
                straight[key] = _moved(volume, upright)
        result = super().__call__(straight, False if sheared else lazy)
        for key, affine in sheared.items():
            # the same step within the slices, from the affine that the volume has
            within = np.linalg.solve(np.asarray(straight[key].affine), np.asarray(result[key].affine))
            result[key].affine = torch.as_tensor(np.asarray(affine, dtype=np.float64) @ within)
            result[key].applied_operations[-1][TraceKeys.EXTRA_INFO][_SHEARED] = np.asarray(affine).tolist()
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the slices as they were."""
        result = dict(data)
        sheared: dict[Hashable, Any] = {}
        for key in self.key_iterator(result):
            volume = result[key]
            trace = (
                volume.applied_operations[-1] if isinstance(volume, MetaTensor) and volume.applied_operations else {}
            )
            if found := trace.get(TraceKeys.EXTRA_INFO, {}).get(_SHEARED):
                sheared[key] = np.asarray(found, dtype=np.float64)
                within = np.linalg.solve(sheared[key], np.asarray(volume.affine, dtype=np.float64))
                upright = _upright(sheared[key])
                assert upright is not None  # else it was not noted
                result[key] = _moved(volume, upright @ within)
        result = super().inverse(result)
        for key, affine in sheared.items():
            result[key].affine = torch.as_tensor(affine)
        return result


_SHEARED = "sheared_affine"  # in the trace: where the slices lie


def _upright(affine: Any) -> NDArray[np.float64] | None:
    """The affine with its slices stacked along their normal; ``None`` if they are already, to rounding."""
    matrix = np.asarray(affine, dtype=np.float64).copy()
    normal = slice_normal(matrix)
    straight = normal * (matrix[:3, 2] @ normal)
    if np.linalg.norm(matrix[:3, 2] - straight) < 1e-4 * np.linalg.norm(straight):
        return None
    matrix[:3, 2] = straight
    return matrix


def _moved(volume: MetaTensor, affine: NDArray[np.float64]) -> MetaTensor:
    moved = MetaTensor(volume.as_tensor()).copy_meta_from(volume)
    moved.affine = torch.as_tensor(affine)
    return cast(MetaTensor, moved)
