# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whole volumes with their metadata, preprocessed once."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.transforms import Compose, RandomizableTrait, Transform
from monai.transforms.utils import reset_ops_id

from monai_mmseg.data.disk_arrays import SlicesLast, slices_first
from monai_mmseg.data.fingerprint import NotDescribed, describe
from monai_mmseg.data.volume_dataset import Cache, VolumeDataset, check_cache, numbers_of, parts_of
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.transforms.foreground_window import RandForegroundWindowd


class WholeVolumeDataset(VolumeDataset[Any]):
    """Items of any kind after a transform, of which all that is not random is done once.

    When to use: as ``validate#dataset``, or to train on volumes that MONAI's transforms cut and augment; in place of
    MONAI's ``CacheDataset`` and ``PersistentDataset``. Metadata and the trace of invertible transforms are kept. On
    disk, a changed file or setting is never answered by an older entry, and several processes may share the folder;
    where the first random part is :class:`~monai_mmseg.transforms.RandForegroundWindowd`, it reads its slices alone.
    What is random is a function of seed, epoch and item, as in all data sets here.

    Args:
        data: items.
        transform: a transform or ``Compose``. It is kept up to the first random part; on disk also at most up to the
            first part that no text describes, such as a ``lambda``.
        cache: keep volumes in ``"memory"``, on ``"disk"`` (compressed; needs blosc2), not compressed (``"disk_raw"``),
            or not at all (False).
        cache_dir: folder for volumes on disk; :func:`~monai_mmseg.data.remove_unused` clears it.
        progress: show a progress bar while volumes are read.

    Raises:
        ValueError: if a cache on disk has no folder, or the first part of `transform` already cannot be kept there.

    Examples:
        >>> import torch
        >>> from monai.transforms import Compose, RandFlipd, ScaleIntensityd
        >>> transform = Compose([ScaleIntensityd("image"), RandFlipd("image", prob=0.5)])
        >>> data = WholeVolumeDataset([{"image": torch.arange(4.0).reshape(1, 2, 2)}], transform)
        >>> len(data), float(data[0]["image"].max())
        (1, 1.0)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        *,
        cache: Cache | bool = "memory",
        cache_dir: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> None:
        parts = parts_of(transform)
        on_disk = check_cache(cache, cache_dir) in ("disk", "disk_raw")
        count = next((place for place, part in enumerate(parts) if not _can_be_kept(part, on_disk)), len(parts))
        if on_disk and not count:
            first = type(parts[0]).__name__ if parts else "nothing"
            raise ValueError(f"transform begins with {first}, which is random or cannot be recognised on a disk.")
        self.kept = Compose(parts[:count])
        following = parts[count] if count < len(parts) else None
        self._window = following if on_disk and isinstance(following, RandForegroundWindowd) else None
        self._whole = self._window is None
        super().__init__(data, transform, Compose(parts[count:]) if parts[count:] else None, cache, cache_dir)
        # what changes a volume in place gets a copy; a window is a copy already
        self._leaves_volumes = count == len(parts) or isinstance(following, RandForegroundWindowd)
        self._keys: list[str] = []
        if self.store is not None:
            self._keys = [self.store.key(item) for item in self.data]
        if self.cache:
            for _ in self._read_all(progress):
                pass

    def _transform(self, index: int) -> Any:
        number = range(len(self.data))[int(index)]  # an IndexError ends loops over the data set
        if self.store is not None:
            item = self._named(self.store.read(self._keys[number]), number)
        elif self.cache:
            item = self._volumes[number] if self._leaves_volumes else copy.deepcopy(self._volumes[number])
        else:
            item = self._load(number)
        return self._augmented(item, *numbers_of(index))

    def _load(self, number: int) -> Any:
        made = self.kept(dict(self.data[number]))
        reset_ops_id(made)  # inverse transforms of another process have other ids
        for key in self._window.keys if self._window else ():
            made[key] = slices_first(plain_tensor(made[key]))
        return made

    def _kind(self) -> list[Any]:
        return ["slices first", *map(str, self._window.keys)] if self._window else []

    def _named(self, volume: Any, number: int) -> Any:
        """What was stored slices first in the order of axes of the transform, under the name of its own subject."""
        if self._window is None:
            return volume
        own = {key: self.data[number][key] for key in ("subject", "person") if key in self.data[number]}
        return {**volume, **{key: SlicesLast(volume[key]) for key in self._window.keys}, **own}

    def _kept_transform(self) -> Any:
        return self.kept

    def _read_all(self, progress: bool) -> Any:
        if self.store is None:
            yield from super()._read_all(progress)
        else:
            yield from self._made(self._keys, progress)


def _can_be_kept(part: Any, on_disk: bool) -> bool:
    if isinstance(part, RandomizableTrait) or not isinstance(part, Transform):
        return False
    if on_disk:
        try:
            describe(part)
        except NotDescribed:
            return False
    return True
