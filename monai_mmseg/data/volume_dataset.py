# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the data sets that keep transformed volumes, in memory or on disk, have in common."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import torch
from monai.data import Dataset
from monai.transforms import Compose, Randomizable, Transform

from monai_mmseg.data.reseed import Reseeder
from monai_mmseg.data.volume_store import VolumeStore
from monai_mmseg.workers import with_bar

V = TypeVar("V")

Cache = Literal["memory", "disk", "disk_raw"]


class VolumeDataset(Dataset, Generic[V]):
    """Items whose volumes are transformed once and then augmented at each access; a base class.

    Args:
        data: items.
        transform: volume transforms.
        augment: random transform of each access.
        cache: where the transformed volumes are kept. ``"memory"`` or True: in this process. ``"disk"``: compressed in
            `cache_dir`, where further runs find them again; ``"disk_raw"``: likewise, not compressed. Of each volume
            memory then holds what an index needs. False: nowhere, they are made again when another one is asked for.
        cache_dir: folder for volumes on disk, see :func:`~monai_mmseg.data.remove_unused`.

    Raises:
        ValueError: if `transform` cannot be called, or a cache on disk has no folder or cannot recognise `transform`.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        augment: Callable[[dict[Hashable, Any]], Any] | None,
        cache: Cache | bool,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if not callable(transform):
            raise ValueError(f"transform must be a callable that reads an item, got {transform!r}.")
        super().__init__([dict(item) for item in data], transform)
        self.augment, self.cache = augment, check_cache(cache, cache_dir)
        self._reseed: Reseeder | None = None
        self.store: VolumeStore | None = None
        if self.cache in ("disk", "disk_raw"):
            assert cache_dir is not None
            kind, kept = [type(self).__name__, self._kind()], self._kept_transform()
            self.store = VolumeStore(cache_dir, kept, kind, compress=self.cache == "disk", whole=self._whole)
        # shared memory: workers that live on through epochs see what set_epoch writes
        self._epoch = torch.full((2,), -1, dtype=torch.int64).share_memory_()
        self._volumes: dict[int, V] = {}

    _whole = False
    """Whether an access needs all of a volume."""

    @property
    def seeded_by_epoch(self) -> bool:
        """Whether :meth:`set_epoch` makes the augmentation repeatable, so that workers may live through epochs."""
        return all(isinstance(part, Transform) for part in parts_of(self.augment))

    def set_random_state(self, seed: int | None = None, state: Any = None) -> VolumeDataset[V]:
        """Seed the augmentation by a seed or a NumPy random state; draws then follow the order of access."""
        if isinstance(self.augment, Randomizable):
            self.augment.set_random_state(seed, state)
        return self

    def set_epoch(self, seed: int, epoch: int) -> None:
        """Make the augmentation of every item a function of seed, epoch and item (and draw, where items are repeated).

        Call it before each epoch: draws then depend neither on the order of loading nor on the number of workers, and
        a run that is resumed sees what the run that was not interrupted saw.
        """
        self._epoch[0], self._epoch[1] = int(seed), int(epoch)

    def _augmented(self, item: Any, *numbers: int) -> Any:
        """The item after the augmentation, which is seeded by what tells this access from the others of an epoch."""
        if self.augment is None:
            return item
        if self._epoch[1] >= 0 and isinstance(self.augment, Randomizable):
            if self._reseed is None or self._reseed.transform is not self.augment:
                self._reseed = Reseeder(self.augment)
            self._reseed(_item_seed(*self._epoch.tolist(), *numbers))
        return self.augment(item)

    def _read_all(self, progress: bool) -> Iterator[V]:
        """Every volume once, so that broken files show before training starts."""
        numbers: Iterable[int] = range(len(self.data))
        if self.store is not None:
            keys = [self.store.key(item) for item in self.data]
            for _ in self._made(keys, progress):
                pass
            for number, key in enumerate(keys):
                self._volumes[number] = self._named(self.store.read(key), number)
                yield self._volumes[number]
            return
        for number in with_bar(numbers, "reading volumes", len(self.data), progress):
            volume = self._load(number)
            if self.cache:
                self._volumes[number] = volume
            yield volume

    def _made(self, keys: Sequence[str], progress: bool) -> Iterable[int]:
        """Makes what is not on disk yet."""
        assert self.store is not None
        return with_bar(self.store.fill(keys, self._load), "reading volumes", len(set(keys)), progress)

    def _volume(self, number: int) -> V:
        volume = self._volumes.get(number)
        if volume is None:
            volume = self._load(number)
            # the last volume stays at hand: loaders without shuffling ask for its next slice
            self._volumes = {number: volume}
        return volume

    def _load(self, number: int) -> V:
        raise NotImplementedError(f"{type(self).__name__} must write _load.")

    def _kind(self) -> list[Any]:
        """What decides, beside transform and item, what `_load` gives."""
        return []

    def _kept_transform(self) -> Any:
        """The transforms whose result is kept."""
        return self.transform

    def _named(self, volume: V, number: int) -> V:
        """A volume from the disk under the name of its subject, as linked files share it."""
        return volume


def check_cache(cache: Cache | bool, cache_dir: str | os.PathLike[str] | None) -> Cache | Literal[False]:
    """Where volumes are kept; a ValueError if there is no such place.

    Args:
        cache: as given; True is ``"memory"``.
        cache_dir: folder for a cache on disk.

    Examples:
        >>> check_cache(True, None)
        'memory'
    """
    if cache is True:
        return "memory"
    if cache not in (False, "memory", "disk", "disk_raw"):
        raise ValueError(f"cache must be 'memory', 'disk', 'disk_raw' or false, got {cache!r}.")
    if cache in ("disk", "disk_raw") and not cache_dir:
        raise ValueError(f"cache_dir must name a folder for cache {cache!r}, got {cache_dir!r}.")
    return cache


def parts_of(transform: Any) -> list[Any]:
    """The transforms that are made one after the other, without those that only hold them.

    Args:
        transform: one, a ``Compose`` or ``None``.

    Examples:
        >>> from monai.transforms import Flip
        >>> [type(one).__name__ for one in parts_of(Compose([Flip(0), Compose([Flip(1)])]))]
        ['Flip', 'Flip']
    """
    if type(transform) is Compose:
        return [part for one in transform.transforms for part in parts_of(one)]
    return [] if transform is None else [transform]


def numbers_of(index: int) -> list[int]:
    """What tells an access from the others of an epoch: place, and number of the draw where it was drawn before.

    Args:
        index: place in a data set, maybe a ``RepeatedIndex``.

    Examples:
        >>> numbers_of(3)
        [3]
    """
    draw = getattr(index, "draw", 0)
    return [int(index), draw] if draw else [int(index)]


def _item_seed(*numbers: int) -> int:
    """Seed below 2**32, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
