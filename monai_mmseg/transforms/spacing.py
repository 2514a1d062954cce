# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Resampling to a spacing: a ``Spacingd`` that runs inside MONAI Label, and one that leaves the slices alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import Spacingd


class SafeSpacingd(Spacingd):
    """``monai.transforms.Spacingd`` that does not stop on entries such as ``image_path``.

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


class SpacingInPlaned(SafeSpacingd):
    """Resample the slices of a volume in-plane; their number and distance stay as they are.

    Use it after :class:`~monai_mmseg.transforms.OrientSlicesd` (the slice axis is the last). Nothing is mixed across
    slices, which are 5 to 10 mm apart in the data that slice-wise networks are made for. ``Invertd`` undoes it.

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
