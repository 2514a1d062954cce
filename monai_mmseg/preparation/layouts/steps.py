# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Changes of the voxels that papers make before anything else, as steps that can be named and left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from monai.transforms import SpatialCrop

from monai_mmseg.preparation.layouts.layout import Case


@dataclass(frozen=True)
class CropAroundLabel:
    """Box around all that is labelled, with the voxels that are there: nothing is resampled or padded.

    An image without label stays as it is, since what the box would hold is not known.

    Args:
        size: mm from left to right, back to front and feet to head. The box has at least this size around the middle
            of what is labelled; it ends where the volume ends.
        margin: mm that the box has at least on each side of what is labelled.

    Examples:
        >>> import torch
        >>> from pathlib import Path
        >>> image, label = MetaTensor(torch.rand(1, 8, 8, 8)), MetaTensor(torch.zeros(1, 8, 8, 8))
        >>> label[0, 2:4, 4, 5] = 1
        >>> case = Case("s01", "ct", Path("s01.nii.gz"))
        >>> box, _ = CropAroundLabel(size=(4, 0, 6), margin=1)(image, label, case)
        >>> tuple(box.shape), box.affine[:3, 3].tolist()
        ((1, 4, 3, 6), [1.0, 3.0, 2.0])
    """

    size: tuple[float, float, float] = (256.0, 0.0, 256.0)
    margin: float = 10.0

    def __call__(self, image: MetaTensor, label: MetaTensor | None, case: Case) -> tuple[MetaTensor, MetaTensor | None]:
        """Cut ``(1, X, Y, Z)``.

        Raises:
            ValueError: if the label is empty.
        """
        if label is None:
            return image, None
        inside = label.as_tensor()[0].numpy() > 0
        if not inside.any():
            raise ValueError(f"{case.label}: nothing is labelled, so there is nothing to crop around.")
        spacing = np.linalg.norm(np.asarray(label.affine)[:3, :3], axis=0)
        box = []
        for axis, direction in enumerate(_directions(label)):
            found = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
            first, end = int(found[0]), int(found[-1]) + 1
            length = max(self.size[direction] / spacing[axis], end - first + 2 * self.margin / spacing[axis])
            start = round((first + end - length) / 2)
            box.append(slice(max(0, start), min(inside.shape[axis], start + int(np.ceil(length - 1e-6)))))
        return _cut(image, box), _cut(label, box)


@dataclass(frozen=True)
class KeepSlices:
    """A range of the axial slices, counted from 0 as they are stored.

    Args:
        first: first slice that is kept.
        last: last one.

    Examples:
        >>> import torch
        >>> from pathlib import Path
        >>> case = Case("s01", "t1", Path("s01.nii.gz"))
        >>> image, _ = KeepSlices(2, 4)(MetaTensor(torch.rand(1, 8, 8, 8)), None, case)
        >>> tuple(image.shape), image.affine[2, 3].item()
        ((1, 8, 8, 3), 2.0)
    """

    first: int
    last: int

    def __call__(self, image: MetaTensor, label: MetaTensor | None, case: Case) -> tuple[MetaTensor, MetaTensor | None]:
        """Cut ``(1, X, Y, Z)``.

        Raises:
            ValueError: if the volume has fewer slices.
        """
        axis = _directions(image).index(2)
        if self.last >= image.shape[1 + axis]:
            kept = f"{self.first} to {self.last}"
            raise ValueError(f"{case.image}: slices {kept} are to be kept, but there are {image.shape[1 + axis]}.")
        box = [slice(self.first, self.last + 1) if one == axis else slice(None) for one in range(3)]
        return _cut(image, box), None if label is None else _cut(label, box)


def _directions(volume: MetaTensor) -> list[int]:
    """Of each axis of the voxels, the nearest direction in the body: 0 right, 1 front, 2 head, or away from there."""
    return [int(one) for one in nib.orientations.io_orientation(np.asarray(volume.affine))[:, 0]]


def _cut(volume: MetaTensor, box: Sequence[slice]) -> MetaTensor:
    cut: MetaTensor = SpatialCrop(roi_slices=list(box))(volume)
    return cut
