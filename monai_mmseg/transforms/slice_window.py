# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random windows of neighbouring slices, for three-dimensional networks that see all of a slice and few slices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, RandomizableTransform
from torch import Tensor

from monai_mmseg.unannotated import UNANNOTATED


def tiling_starts(depth: int, window: int) -> list[int]:
    """First slices of the fixed windows that cover a volume: side by side, the last one aligned to the end.

    Args:
        depth: slices of the volume.
        window: slices of a window.

    Raises:
        ValueError: if the volume has fewer slices than a window.

    Examples:
        >>> tiling_starts(20, 8)
        [0, 8, 12]
    """
    if not 1 <= window <= depth:
        raise ValueError(
            f"window must lie between 1 and the {depth} slices of the volume, got {window}; SpatialPadd makes short "
            "volumes longer."
        )
    starts = list(range(0, depth - window + 1, window))
    return starts if starts[-1] == depth - window else [*starts, depth - window]


def foreground_slices(label: Tensor) -> Tensor:
    """Which slices hold foreground, bool ``(Z,)``.

    Args:
        label: label map, ``(1, X, Y, Z)``, slices along the last axis; values above 0 are foreground, but for 255.

    Examples:
        >>> import torch
        >>> foreground_slices(torch.tensor([0, 2, 0]).reshape(1, 1, 1, 3)).tolist()
        [False, True, False]
    """
    # one axis after the other: over all at once, PyTorch takes sixty times as long
    # (what was not annotated is 255, which becomes 0)
    seen = torch.where(label == UNANNOTATED, torch.zeros_like(label), label)
    return seen.amax((0, 1)).amax(0) > 0


def foreground_window_starts(label: Tensor, window: int) -> range:
    """First slices of the windows whose centre lies between the first and the last slice with foreground.

    There are none without foreground, or where it lies so near to an end that no window is centred in it.

    Args:
        label: label map, ``(1, X, Y, Z)``, or what :func:`foreground_slices` gives for it.
        window: slices of a window, at most ``Z``.

    Examples:
        >>> import torch
        >>> label = torch.zeros(1, 1, 1, 20)
        >>> label[..., 9:11] = 1
        >>> list(foreground_window_starts(label, 8))
        [5, 6]
    """
    places = (label if label.ndim == 1 else foreground_slices(label)).nonzero()
    if not places.numel():
        return range(0)
    half = window // 2
    first, last = int(places[0]) - half, int(places[-1]) - half
    return range(max(0, first), min(label.shape[-1] - window, last) + 1)


class RandSliceWindow(RandomizableTransform):
    """One random window along the last axis.

    When to use: to train on volumes of thick slices, each window with whole slices; for windows that are cut in all
    directions take MONAI's ``RandCropByPosNegLabel``. With probability `tile_prob` the window is one of the fixed
    tiling that inference uses, else it is centred within the slices with foreground. Where no window can be centred
    there, or without a label, any window is taken.

    Reference: Dou et al., IEEE TMI 2020, doi:10.1109/TMI.2019.2963882, training of the 3D network.

    Args:
        window: slices of a window.
        tile_prob: probability of a window of the tiling.

    Raises:
        ValueError: if an argument is out of range, or (in a call) the volume is shorter than a window.

    Examples:
        >>> import torch
        >>> crop = RandSliceWindow(2).set_random_state(0)
        >>> tuple(crop(torch.rand(1, 4, 4, 5)).shape)
        (1, 4, 4, 2)
    """

    def __init__(self, window: int = 8, tile_prob: float = 0.5) -> None:
        super().__init__(prob=1.0)
        if window < 1:
            raise ValueError(f"window must be at least 1 slice, got {window}.")
        if not 0 <= tile_prob <= 1:
            raise ValueError(f"tile_prob must lie in [0, 1], got {tile_prob}.")
        self.window, self.tile_prob, self.start = int(window), float(tile_prob), 0

    def randomize(self, data: Any) -> None:
        """Sample the first slice of the window for ``data``: ``(depth, label)``.

        The label may be ``None``, or what :func:`foreground_slices` gives for it.
        """
        depth, label = data
        tiles = tiling_starts(depth, self.window)
        # always two numbers, so that the next call does not depend on what this one chose
        kind, place = self.R.uniform(size=2).tolist()
        if kind < self.tile_prob:
            choice: list[int] | range = tiles
        else:
            centred = range(0) if label is None else foreground_window_starts(label, self.window)
            choice = centred or range(depth - self.window + 1)
        self.start = choice[int(place * len(choice))]

    def __call__(self, img: Tensor, label: Tensor | None = None, randomize: bool = True) -> Tensor:
        """Return a window ``(C, X, Y, window)``, a copy; a MetaTensor has the affine of the window.

        Args:
            img: ``(C, X, Y, Z)``.
            label: label map ``(1, X, Y, Z)`` that says where the foreground is.
            randomize: sample a new window; off, the last one is used again.
        """
        if randomize:
            self.randomize((img.shape[-1], label))
        window = img[..., self.start : self.start + self.window].clone()
        if isinstance(window, MetaTensor):
            step = torch.eye(4, dtype=window.affine.dtype)
            step[2, 3] = self.start
            window.affine = window.affine @ step
        return window


class RandSliceWindowd(Randomizable, MapTransform):
    """The same random window of all keys; dictionary form of :class:`RandSliceWindow`.

    Args:
        keys: volumes on one grid.
        window: see :class:`RandSliceWindow`, as for ``tile_prob``.
        tile_prob: see there.
        label_key: label map that says where the foreground is; may be missing. The entry ``"foreground_slices"`` of an
            item, from :func:`foreground_slices`, saves looking for it.
        allow_missing_keys: do not raise when a key is missing.

    Raises:
        ValueError: if (in a call) volumes differ in their number of slices.

    Examples:
        >>> import torch
        >>> crop = RandSliceWindowd(["image", "label"], 4).set_random_state(0)
        >>> out = crop({"image": torch.rand(1, 6, 6, 9), "label": torch.zeros(1, 6, 6, 9)})
        >>> tuple(out["image"].shape), tuple(out["label"].shape)
        ((1, 6, 6, 4), (1, 6, 6, 4))
    """

    def __init__(
        self,
        keys: KeysCollection,
        window: int = 8,
        tile_prob: float = 0.5,
        *,
        label_key: str = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.crop = RandSliceWindow(window, tile_prob)
        self.label_key = label_key

    def set_random_state(self, seed: int | None = None, state: Any = None) -> RandSliceWindowd:
        """Seed the windows, as ``Randomizable.set_random_state`` does."""
        super().set_random_state(seed, state)
        self.crop.set_random_state(seed, state)
        return self

    def randomize(self, data: Any) -> None:
        """Sample the window for ``data``: ``(depth, label)``."""
        self.crop.randomize(data)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with the same window of every key."""
        result = dict(data)
        depths = {key: int(result[key].shape[-1]) for key in self.key_iterator(result)}
        if len(set(depths.values())) > 1:
            raise ValueError(f"keys must be volumes with one number of slices, got {depths}.")
        for depth in set(depths.values()):
            # data sets know the slices with foreground, and need not read the label for them
            self.randomize((depth, result.get("foreground_slices", result.get(self.label_key))))
        for key in depths:
            result[key] = self.crop(result[key], randomize=False)
        return result
