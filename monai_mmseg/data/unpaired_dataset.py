# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Training samples of unpaired methods: slices with their neighbours, or volumes to cut windows from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

from monai_mmseg.data.unpaired_volumes import UnpairedVolumes, Volume
from monai_mmseg.transforms.adjacent_slices import pad_slices


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
        cache: keep the transformed volumes in memory; off, they are made again when another volume is asked for.
        progress: show a progress bar while volumes are read.

    Returns:
        (of an access) ``image`` float32 ``(num_slices, X, Y)``, ``label`` int64 ``(1, X, Y)``, ``modality`` int64 and
        ``labelled`` bool without axes, ``subject`` and ``slice``. Without a label, ``label`` is 0 and ``labelled``
        False.

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
        cache: bool = True,
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

    def __len__(self) -> int:
        return len(self.index)

    def _load(self, number: int) -> Volume:
        volume = super()._load(number)
        if volume.image.shape[0] != 1:
            raise ValueError(f"transform must give image (1, X, Y, Z), got {tuple(volume.image.shape)}.")
        # slices first in memory, so that a slice and its neighbours are one block: (Z + num_slices - 1, X, Y)
        stack = pad_slices(volume.image[0].movedim(-1, 0), self.num_slices, 0).contiguous()
        label = None if volume.label is None else volume.label[0].movedim(-1, 0).contiguous()
        return volume._replace(image=stack, label=label)

    def _kept(self, volume: Volume) -> list[int]:
        depth = volume.image.shape[0] - self.num_slices + 1
        if self.keep == "labelled" and volume.label is None:
            return []
        if self.keep == "foreground" and volume.label is not None:
            return [int(place) for place in (volume.label > 0).flatten(1).any(1).nonzero()[:, 0]]
        return list(range(depth))

    def _transform(self, index: int) -> Any:
        number, place = self.index[index]
        volume = self._volume(number)
        image = volume.image[place : place + self.num_slices]
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
        cache: keep the transformed volumes in memory; off, they are made again on each access.
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
        cache: bool = True,
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
            extra_keys=extra_keys,
        )
        self.modality_indices = list(self.volume_modalities)
        if cache:
            for _ in self._read_all(progress):
                pass

    def _transform(self, index: int) -> Any:
        volume = self._volume(index)
        item: dict[Hashable, Any] = {**volume.extra, "image": volume.image, "label": volume.label}
        item["subject"] = volume.subject
        return self._finished(item, index, index)
