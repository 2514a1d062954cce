# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Training samples of unpaired methods: slices with their neighbours, or volumes to cut windows from."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

from monai_mmseg.data.disk_arrays import DiskArray, Rows, SlicesLast, neighbours, slices_first
from monai_mmseg.data.unpaired_volumes import UnpairedVolumes, Volume
from monai_mmseg.data.volume_dataset import Cache, parts_of
from monai_mmseg.transforms.slice_window import RandSliceWindowd


class UnpairedSliceDataset(UnpairedVolumes):
    """Slices of volumes of several modalities of different patients, each with its neighbours as channels.

    When to use: as ``train#dataset`` of a two-dimensional unpaired method, with a
    :class:`~monai_mmseg.data.BalancedModalityBatchSampler`. Volumes are read and transformed once, when the data set is
    made; a sample is then a view of one of them. The first and the last slice stand in for their missing neighbours.
    MONAI Label and federated clients may replace `data` by a list of ``{"image", "label"}``: such items are of the
    default modality.

    Args:
        data: flat items of a datalist, or ``{"image", "label"}`` items.
        transform: volume transforms; must give ``image (1, X, Y, Z)`` with the slices along the last axis, and may give
            ``label`` alike.
        modalities: names in the order of the network; an item of another one is refused.
        num_slices: channels of a sample, an odd number.
        default_modality: modality of items that name none; if there is one modality only, that one.
        slice_transform: augmentation of ``{"image": (num_slices, X, Y), "label": (1, X, Y)}``; may return several.
        keep: ``"all"`` slices; ``"foreground"``: of volumes with a label only slices where it is not empty;
            ``"labelled"``: slices of volumes with a label.
        cache: keep the transformed volumes in ``"memory"``, on ``"disk"`` (compressed; needs blosc2) or not compressed
            (``"disk_raw"``), or not at all (False): then they are made again when another volume is asked for. From a
            disk, an access reads the slices that it needs.
        cache_dir: folder for volumes on disk; :func:`~monai_mmseg.data.remove_unused` clears it.
        progress: show a progress bar while volumes are read.

    Returns:
        (of an access) ``image`` float32 ``(num_slices, X, Y)``, ``label`` int64 ``(1, X, Y)``, ``modality`` int64 and
        ``labelled`` bool without axes, ``subject`` and ``slice``. Without a label, ``label`` is 0 and ``labelled``
        False. Where labels of some items show some classes only, ``unknown`` bool ``(K,)``.

    Raises:
        ValueError: if there are no items or no slices, a modality is missing or unknown, or the transform gives
            something else.

    Examples:
        >>> import torch
        >>> items = [{"image": "a.nii", "modality": "ct"}, {"image": "b.nii", "modality": "mr"}]
        >>> volumes = lambda item: {"image": torch.rand(1, 8, 8, 4 if item["modality"] == "ct" else 2)}
        >>> data = UnpairedSliceDataset(items, volumes, modalities=["ct", "mr"])
        >>> data.modality_indices, tuple(data[5]["image"].shape), data[5]["labelled"].item()
        ([0, 0, 0, 0, 1, 1], (3, 8, 8), False)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        *,
        modalities: Sequence[str],
        num_slices: int = 3,
        default_modality: str | None = None,
        slice_transform: Callable[[dict[Hashable, Any]], Any] | None = None,
        keep: Literal["all", "foreground", "labelled"] = "all",
        cache: Cache | bool = "memory",
        cache_dir: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> None:
        if keep not in ("all", "foreground", "labelled"):
            raise ValueError(f"keep must be 'all', 'foreground' or 'labelled', got {keep!r}.")
        if num_slices < 1 or num_slices % 2 == 0:
            raise ValueError(f"num_slices must be an odd number from 1, got {num_slices}.")
        self.num_slices, self.keep = int(num_slices), keep
        super().__init__(
            data,
            transform,
            modalities=modalities,
            default_modality=default_modality,
            augment=slice_transform,
            cache=cache,
            cache_dir=cache_dir,
        )
        self.index: list[tuple[int, int]] = []
        sizes = set()
        for number, volume in enumerate(self._read_all(progress)):
            self.index += [(number, place) for place in self._kept(volume)]
            sizes.add(tuple(volume.image.shape[1:]))
        if not self.index:
            raise ValueError(f"no slice of {len(self.data)} volumes is left with keep={keep!r}.")
        if slice_transform is None and len(sizes) > 1:
            raise ValueError(
                f"transform must give slices of one size, got {sorted(sizes)}; ResizeWithPadOrCropd does, or a "
                "slice_transform that crops."
            )
        self.modality_indices = [self.volume_modalities[number] for number, _ in self.index]
        # a sampler of balanced batches leaves out what has no sample, and the network would never see it
        if keep == "foreground" and (lost := set(self.volume_modalities) - set(self.modality_indices)):
            raise ValueError(
                f"no slice of modality {', '.join(repr(self.modalities[one]) for one in sorted(lost))} is left with "
                "keep='foreground': its labels are empty. keep='all' takes its slices, or leave it out of data."
            )

    def __len__(self) -> int:
        return len(self.index)

    def _load(self, number: int) -> Volume:
        volume = super()._load(number)
        if volume.image.shape[0] != 1:
            raise ValueError(f"transform must give image (1, X, Y, Z), got {tuple(volume.image.shape)}.")
        # slices first, so that a slice and its neighbours are one block
        label = None if volume.label is None else slices_first(volume.label[:][0])
        return volume._replace(image=slices_first(volume.image[:][0]), label=label)

    def _kept(self, volume: Volume) -> list[int]:
        if self.keep == "labelled" and volume.label is None:
            return []
        if self.keep == "foreground" and volume.label is not None:
            return [int(place) for place in volume.foreground.nonzero()[:, 0]]
        return list(range(volume.image.shape[0]))

    def _transform(self, index: int) -> Any:
        number, place = self.index[index]
        volume = self._volume(number)
        image = neighbours(volume.image, place, self.num_slices)
        item: dict[Hashable, Any] = {
            # what augments may write into its input, which must not be the cache
            "image": image if self.augment is None else image.clone(),
            "label": None if volume.label is None else volume.label[place : place + 1].clone(),
            "subject": volume.subject,
            "slice": place,
        }
        return self._finished(item, index, number)


class UnpairedVolumeDataset(UnpairedVolumes):
    """Volumes of several modalities of different patients, to cut random windows from.

    When to use: as ``train#dataset`` of a three-dimensional unpaired method, with a
    :class:`~monai_mmseg.data.BalancedModalityBatchSampler`; an ``epoch_length`` of the sampler above the number of
    volumes cuts several windows of each, every one drawn anew. Volumes are read and transformed once.

    Args:
        data: flat items of a datalist, or ``{"image", "label"}`` items, which are of the default modality.
        transform: volume transforms; must give ``image (C, X, Y, Z)`` and may give ``label (1, X, Y, Z)``.
        modalities: names in the order of the network; an item of another one is refused.
        patch_transform: cuts and augments ``{"image", "label"}``, for example
            :class:`~monai_mmseg.transforms.RandSliceWindowd` or MONAI's ``RandCropByPosNegLabeld``; may return several.
            Its first step must not write into its input, which is the cached volume.
        default_modality: modality of items that name none; if there is one modality only, that one.
        cache: as for the data set above. From a disk, an access reads the window that it needs if `patch_transform`
            begins with ``RandSliceWindowd``, else (but for ``"disk_raw"``) the whole volume.
        cache_dir: likewise.
        extra_keys: further entries that `transform` makes and `patch_transform` needs, such as those of
            ``FgBgToIndicesd``.
        progress: show a progress bar while volumes are read.

    Returns:
        (of an access) ``image`` float32, ``label`` int64, ``modality`` int64 and ``labelled`` bool without axes,
        ``subject``. Without a label, ``label`` is 0 and ``labelled`` False.

    Raises:
        ValueError: if there are no items, a modality is missing or unknown, or the transform gives something else.

    Examples:
        >>> import torch
        >>> from monai_mmseg.transforms import RandSliceWindowd
        >>> volumes = lambda item: {"image": torch.rand(1, 8, 8, 12), "label": torch.ones(1, 8, 8, 12)}
        >>> cut = RandSliceWindowd(["image", "label"], 4)
        >>> data = UnpairedVolumeDataset([{"image": "a.nii"}], volumes, modalities=["ct"], patch_transform=cut)
        >>> tuple(data[0]["image"].shape), data[0]["label"].dtype, data[0]["modality"].item()
        ((1, 8, 8, 4), torch.int64, 0)
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        *,
        modalities: Sequence[str],
        patch_transform: Callable[[dict[Hashable, Any]], Any] | None = None,
        default_modality: str | None = None,
        cache: Cache | bool = "memory",
        cache_dir: str | os.PathLike[str] | None = None,
        extra_keys: Sequence[str] = (),
        progress: bool = False,
    ) -> None:
        super().__init__(
            data,
            transform,
            modalities=modalities,
            default_modality=default_modality,
            augment=patch_transform,
            cache=cache,
            cache_dir=cache_dir,
            extra_keys=extra_keys,
        )
        self.modality_indices = list(self.volume_modalities)
        if self.cache:
            for _ in self._read_all(progress):
                pass

    @property
    def _by_window(self) -> bool:
        """Whether an access is to some slices of a volume, which then are its first axis."""
        first = next(iter(parts_of(self.augment)), None)
        return isinstance(first, RandSliceWindowd) and {"image", "label"} <= set(first.keys)

    def _kind(self) -> list[Any]:
        return [*super()._kind(), self._by_window]

    def _load(self, number: int) -> Volume:
        volume = super()._load(number)
        if not self._by_window:
            return volume
        label = None if volume.label is None else slices_first(volume.label)
        return volume._replace(image=slices_first(volume.image), label=label)

    def _transform(self, index: int) -> Any:
        volume = self._volume(index)
        item: dict[Hashable, Any] = {
            **volume.extra,
            "image": self._channels_first(volume.image),
            "label": None if volume.label is None else self._channels_first(volume.label),
            "foreground_slices": volume.foreground,
            "subject": volume.subject,
        }
        return self._finished(item, index, index)

    def _channels_first(self, rows: Rows) -> Any:
        if not self._by_window:
            return rows[:]
        return SlicesLast(rows) if isinstance(rows, DiskArray) else rows[:].movedim(0, -1)
