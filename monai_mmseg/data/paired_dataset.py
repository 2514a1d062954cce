# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Slices of subjects with several modalities, as a dataset."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from monai.data import Dataset
from monai.transforms import Randomizable
from torch import Tensor

from monai_mmseg.data.datalist import group_by_subject
from monai_mmseg.data.volume_cache import item_seed, plain_tensor, progress_bar

__all__ = ["PairedSliceDataset"]


class _Subject(NamedTuple):
    """One subject on its lattice, as plain tensors."""

    image: Tensor  # (M * k, H, W, D), finite
    label: Tensor  # (M, H, W, D), uint8
    present: Tensor  # (M, D), bool
    labelled: Tensor  # (M,), bool
    name: str


class PairedSliceDataset(Dataset):
    """Training items of paired methods: one slice with all its modalities.

    Use it as ``train#dataset`` of a bundle. The volumes of a subject are read and transformed once, when the dataset is
    made; each item is then a slice of them with fresh augmentation. MONAI Label and federated clients may replace
    `data` by a list of ``{"image", "label"}``: such items go to the volume transform as they are.

    Args:
        data: flat items of a datalist, items grouped by subject, or ``{"image", "label"}`` items.
        transform: volume transforms up to ``StackModalitiesd`` and intensities: they must give ``image``
            ``(M * k, H, W, D)``, ``present (M, D)``, and, where labels are wanted, ``label (M, H, W, D)`` and
            ``labelled (M,)``.
        modalities: names in the order of the channels.
        slice_transform: augmentation of ``{"image": (M * k, H, W), "label": (M, H, W)}``.
        keep: ``"all"`` slices; ``"foreground"``: of subjects with a label only slices where some label is not empty;
            ``"labelled"``: slices with a labelled modality; ``"paired"``: slices with all modalities.
        cache: keep the transformed volumes in memory; off, they are made again on each access.
        progress: show a progress bar while volumes are read.

    Returns:
        (of an access) ``image`` float32 ``(M * k, H, W)``, finite; ``label`` int64 ``(M, H, W)``; ``present`` and
        ``labelled`` bool ``(M,)``; ``subject`` and ``slice``.

    Raises:
        ValueError: if there are no items or no slices, or the transform gives something else.

    Example:
        >>> def volumes(item):
        ...     return {"image": torch.rand(2, 8, 8, 3), "present": torch.ones(2, 3, dtype=torch.bool)}
        >>> data = PairedSliceDataset([{"image": "a.nii", "subject": "a"}], volumes, modalities=["cine", "lge"])
        >>> len(data), tuple(data[0]["image"].shape), data[0]["labelled"].tolist()
        (3, (2, 8, 8), [False, False])
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        *,
        modalities: Sequence[str],
        slice_transform: Callable[[dict[Hashable, Any]], dict[Hashable, Any]] | None = None,
        keep: Literal["all", "foreground", "labelled", "paired"] = "all",
        cache: bool = True,
        progress: bool = False,
    ) -> None:
        if keep not in ("all", "foreground", "labelled", "paired"):
            raise ValueError(f"keep must be 'all', 'foreground', 'labelled' or 'paired', got {keep!r}.")
        self.modalities = [str(name) for name in modalities]
        super().__init__(_grouped(data, self.modalities), transform)
        if not self.data:
            raise ValueError(f"data holds no item with a modality of {self.modalities}.")
        self.slice_transform, self.keep, self.cache = slice_transform, keep, cache
        # shared memory: workers that live on through epochs see what set_epoch writes
        self._epoch = torch.full((2,), -1, dtype=torch.int64).share_memory_()
        self._subjects: dict[int, _Subject] = {}
        self.index: list[tuple[int, int]] = []
        for number in progress_bar(range(len(self.data)), progress):
            subject = self._load(number)
            self.index += [(number, place) for place in self._kept(subject)]
            if cache:
                self._subjects[number] = subject
        if not self.index:
            raise ValueError(f"no slice of {len(self.data)} subjects is left with keep={keep!r}.")

    def __len__(self) -> int:
        return len(self.index)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> PairedSliceDataset:
        """Seed the augmentation; draws then follow the order of access.

        Args:
            seed: the seed.
            state: a NumPy random state in place of a seed.

        Returns:
            The dataset.
        """
        if isinstance(self.slice_transform, Randomizable):
            self.slice_transform.set_random_state(seed, state)
        return self

    def set_epoch(self, seed: int, epoch: int) -> None:
        """Make the augmentation of every item a function of seed, epoch and item.

        Call it before each epoch: draws then depend neither on the order of loading nor on the number of workers, and
        a run that is resumed sees what the run that was not interrupted saw.

        Args:
            seed: seed of the run.
            epoch: number of the epoch.
        """
        self._epoch[0], self._epoch[1] = int(seed), int(epoch)

    def subject(self, number: int) -> dict[str, Any]:
        """All slices of one subject, without augmentation: for validation on whole volumes.

        Args:
            number: place in ``data``.

        Returns:
            ``image (M * k, H, W, D)``, ``label``, ``present (M, D)``, ``labelled (M,)``, ``subject``.
        """
        one = self._subjects.get(number) or self._load(number)
        names = ("image", "label", "present", "labelled")
        return {**{name: getattr(one, name).clone() for name in names}, "subject": one.name}

    def _transform(self, index: int) -> dict[Hashable, Any]:
        number, place = self.index[index]
        subject = self._subjects.get(number)
        if subject is None:
            subject = self._load(number)
            # the last subject stays at hand: loaders without shuffling ask for its next slice
            self._subjects = {number: subject}
        present = subject.present[:, place]
        item: dict[Hashable, Any] = {
            "image": subject.image[..., place].clone(),
            "label": subject.label[..., place].to(torch.int64),
        }
        if self.slice_transform is not None:
            if self._epoch[1] >= 0 and isinstance(self.slice_transform, Randomizable):
                self.slice_transform.set_random_state(item_seed(*self._epoch.tolist(), index))
            item = self.slice_transform(item)
        item["present"] = present.clone()
        item["labelled"] = subject.labelled & present
        item["subject"], item["slice"] = subject.name, place
        return item

    def _load(self, number: int) -> _Subject:
        if self.transform is None:
            raise ValueError("transform must be given.")
        volumes = self.transform(dict(self.data[number]))
        count = len(self.modalities)
        image, present = (torch.as_tensor(volumes[key]) for key in ("image", "present"))
        image = plain_tensor(image).to(torch.float32)
        if image.ndim != 4 or image.shape[0] % count or present.shape != (count, image.shape[-1]):
            raise ValueError(
                f"transform must give image (M * k, H, W, D) and present (M, D) with M={count}, got "
                f"{tuple(image.shape)} and {tuple(present.shape)}: is StackModalitiesd part of it?"
            )
        image, present = _fill(image, plain_tensor(present).bool(), count)
        blank = torch.zeros((count, *image.shape[1:]), dtype=torch.uint8)
        label = plain_tensor(torch.as_tensor(volumes.get("label", blank))).to(torch.uint8)
        labelled = plain_tensor(torch.as_tensor(volumes.get("labelled", torch.zeros(count)))).bool()
        name = str(volumes.get("subject", self.data[number].get("subject", number)))
        return _Subject(image.contiguous(), label.contiguous(), present, labelled, name)

    def _kept(self, subject: _Subject) -> list[int]:
        labelled = subject.labelled[:, None] & subject.present
        keep = subject.present.any(0)
        if self.keep == "paired":
            keep = subject.present.all(0)
        elif self.keep == "labelled":
            keep = labelled.any(0)
        elif self.keep == "foreground" and labelled.any():
            keep = ((subject.label > 0).flatten(1, 2).any(1) & labelled).any(0)
        return [int(place) for place in keep.nonzero()[:, 0]]


def _grouped(data: Sequence[Mapping[str, Any]], modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Items by subject; items that are no part of a flat list stay as they are."""
    flat = [item for item in data if "modality" in item and not isinstance(item.get("image"), Mapping)]
    if flat and len(flat) != len(data):
        raise ValueError(f"data mixes {len(flat)} flat items with {len(data) - len(flat)} items of another kind.")
    return group_by_subject(flat, modalities) if flat else [dict(item) for item in data]


def _fill(image: Tensor, present: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Finite image: absent rows are 0, an absent candidate repeats the paired slice."""
    grouped = image.unflatten(0, (count, -1))  # (M, k, H, W, D)
    missing = torch.isnan(grouped).flatten(2, 3).any(2)  # (M, k, D)
    present = present & ~missing[:, 0]
    grouped = torch.where(missing[:, :, None, None], grouped[:, :1], grouped)
    return torch.where(present[:, None, None, None], grouped, 0.0).flatten(0, 1), present
