# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the data sets that keep transformed volumes in memory have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from monai.data import Dataset
from monai.transforms import Randomizable

V = TypeVar("V")


class VolumeDataset(Dataset, Generic[V]):
    """Items whose volumes are transformed once and then augmented at each access; a base class.

    Args:
        data: items.
        transform: volume transforms.
        augment: random transform of each access.
        cache: keep the transformed volumes in memory; off, they are made again when another volume is asked for.

    Raises:
        ValueError: if `transform` cannot be called.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        augment: Callable[[dict[Hashable, Any]], Any] | None,
        cache: bool,
    ) -> None:
        if not callable(transform):
            raise ValueError(f"transform must be a callable that reads an item, got {transform!r}.")
        super().__init__([dict(item) for item in data], transform)
        self.augment, self.cache = augment, bool(cache)
        # shared memory: workers that live on through epochs see what set_epoch writes
        self._epoch = torch.full((2,), -1, dtype=torch.int64).share_memory_()
        self._volumes: dict[int, V] = {}

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

    def _augmented(self, item: dict[Hashable, Any], *numbers: int) -> Any:
        """The item after the augmentation, which is seeded by what tells this access from the others of an epoch."""
        if self.augment is None:
            return item
        if self._epoch[1] >= 0 and isinstance(self.augment, Randomizable):
            self.augment.set_random_state(_item_seed(*self._epoch.tolist(), *numbers))
        return self.augment(item)

    def _read_all(self, progress: bool) -> Iterator[V]:
        """Every volume once, so that broken files show before training starts."""
        numbers: Iterable[int] = range(len(self.data))
        if progress:
            from tqdm.auto import tqdm

            numbers = tqdm(numbers, desc="reading volumes", leave=False)
        for number in numbers:
            volume = self._load(number)
            if self.cache:
                self._volumes[number] = volume
            yield volume

    def _volume(self, number: int) -> V:
        volume = self._volumes.get(number)
        if volume is None:
            volume = self._load(number)
            # the last volume stays at hand: loaders without shuffling ask for its next slice
            self._volumes = {number: volume}
        return volume

    def _load(self, number: int) -> V:
        raise NotImplementedError(f"{type(self).__name__} must write _load.")


def _item_seed(*numbers: int) -> int:
    """Seed below 2**32, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
