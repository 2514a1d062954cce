# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random rotation, scale and shift of slices: the same for all modalities and labels."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import ensure_tuple_rep
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor


def affine_slices(
    image: Tensor,
    degrees: float = 0.0,
    scale: float = 1.0,
    shift: Sequence[float] = (0.0, 0.0),
    *,
    nearest: bool = False,
) -> Tensor:
    """Rotate, then scale, then shift slices about their centre, in pixels of equal size.

    Args:
        image: ``(C, H, W)``, all channels alike.
        degrees: angle; positive turns the picture counter-clockwise as shown with row 0 on top.
        scale: above 1 enlarges.
        shift: rows and columns, as a share of half the height and width; positive moves down and right.
        nearest: for labels, 0 outside; otherwise linear, with the border value outside.

    Raises:
        ValueError: if the image is no slice.

    Examples:
        >>> image = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> affine_slices(image, 90.0).round()
        tensor([[[1., 3.],
                 [0., 2.]]])
    """
    if image.ndim != 3:
        raise ValueError(f"image must be a slice (C, H, W), got shape {tuple(image.shape)}.")
    height, width = image.shape[-2:]
    matrix = torch.tensor(affine_matrix(degrees, scale, shift, height / width), device=image.device)
    grid = F.affine_grid(matrix[None], [1, 1, height, width], align_corners=False)
    mode, padding = ("nearest", "zeros") if nearest else ("bilinear", "border")
    moved = F.grid_sample(image[None].to(torch.float32), grid, mode=mode, padding_mode=padding, align_corners=False)
    return moved[0].to(image.dtype)


def affine_matrix(degrees: float, scale: float, shift: Sequence[float], aspect: float) -> list[list[float]]:
    """Matrix of :func:`affine_slices` as :func:`torch.nn.functional.affine_grid` takes it, output to input, x first.

    Args:
        degrees: angle.
        scale: above 1 enlarges.
        shift: rows and columns, as a share of half the height and width.
        aspect: height of a slice over its width, which keeps the rotation rigid.

    Examples:
        >>> affine_matrix(0.0, 2.0, (0.5, 0.5), 1.0)
        [[0.5, -0.0, -0.25], [0.0, 0.5, -0.25]]
    """
    cos, sin = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    x, y = -float(shift[1]), -float(shift[0])
    return [
        [cos, -sin * aspect, cos * x - sin * aspect * y],
        [sin / aspect, cos, sin / aspect * x + cos * y],
    ]


class RandAffineSlicesd(RandomizableTransform, MapTransform):
    """The same random rotation, scale and shift for all keys.

    Use it on slices. ``rotate=20`` alone is DAFNet's augmentation; more helps where there are few subjects or the
    network is small. Results are tensors without metadata, moved or not.

    Args:
        keys: images and labels, each ``(C, H, W)``.
        rotate: largest angle in degrees, either way.
        scale: largest relative change of size, either way (0.15: from 0.85 to 1.15).
        translate: largest shift as a share of half the height and width.
        mode: ``"bilinear"`` or ``"nearest"``, one for each key.
        prob: probability of doing anything.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: if a range is negative or a mode unknown.

    Reference:
        Chartsias et al., IEEE TMI 2020; fact sheet of DAFNet, sec. 5: +-20 degrees, edge values outside. Differs from
        the paper: labels are rotated by nearest neighbour (the original interpolates them linearly).

    Examples:
        >>> augment = RandAffineSlicesd(["image", "label"], rotate=20, mode=["bilinear", "nearest"]).set_random_state(0)
        >>> out = augment({"image": torch.rand(2, 8, 8), "label": torch.ones(2, 8, 8, dtype=torch.int64)})
        >>> tuple(out["image"].shape), out["label"].dtype
        ((2, 8, 8), torch.int64)
    """

    def __init__(
        self,
        keys: KeysCollection,
        rotate: float = 0.0,
        scale: float = 0.0,
        translate: float = 0.0,
        *,
        mode: Sequence[str] | str = "bilinear",
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if rotate < 0 or not 0 <= scale < 1 or translate < 0:
            raise ValueError(
                "rotate and translate must not be negative and scale must lie in [0, 1), got "
                f"{rotate}, {translate} and {scale}."
            )
        self.rotate, self.scale, self.translate = float(rotate), float(scale), float(translate)
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        if unknown := set(self.mode) - {"bilinear", "nearest"}:
            raise ValueError(f"mode must be 'bilinear' or 'nearest', got {sorted(unknown)}.")
        self.degrees, self.factor, self.shift = 0.0, 1.0, (0.0, 0.0)

    def randomize(self, data: Any = None) -> None:
        """Sample angle, factor and shift; ``data`` is not used."""
        super().randomize(None)
        if not self._do_transform:
            return
        # always four numbers: switching one of them off leaves the others as they were
        angle, factor, rows, columns = self.R.uniform(-1, 1, size=4).tolist()
        self.degrees, self.factor = angle * self.rotate, 1 + factor * self.scale
        self.shift = (rows * self.translate, columns * self.translate)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with every key moved alike."""
        result = dict(data)
        self.randomize()
        for key, mode in self.key_iterator(result, self.mode):
            array = plain_tensor(result[key])
            if not self._do_transform:
                result[key] = array  # loaders cannot join tensors with and without metadata
                continue
            result[key] = affine_slices(array, self.degrees, self.factor, self.shift, nearest=mode == "nearest")
        return result
