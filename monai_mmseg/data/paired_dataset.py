# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Slices of subjects with several modalities, as a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from monai_mmseg.data.datalist import group_by_subject
from monai_mmseg.data.disk_arrays import Rows, neighbours, slices_first
from monai_mmseg.data.volume_dataset import Cache, VolumeDataset, numbers_of
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.unannotated import UNANNOTATED, is_foreground


class _Subject(NamedTuple):
    """One subject on its lattice; slices first, so that a slice and its neighbours are one block."""

    image: Rows  # (D, M * k, H, W), finite
    label: Rows  # (D, M, H, W), or (D, 1, H, W) for one of the subject; uint8
    present: Tensor  # (M, D), bool
    labelled: Tensor  # (M,), or without axes for one label of the subject; bool
    foreground: Tensor  # (M or 1, D), bool: whether the label is not empty
    content: Tensor  # (D,), share of the pixels that are not background in some modality
    subject: str
    extra: dict[str, Rows]  # (D, C, H, W)


class PairedSliceDataset(VolumeDataset[_Subject]):
    """Training items of paired methods: one slice with all its modalities.

    Use it as ``train#dataset`` of a bundle. The volumes of a subject are read and transformed once, when the dataset is
    made; each item is then a slice of them with fresh augmentation. MONAI Label and federated clients may replace
    `data` by a list of ``{"image", "label"}``: such items go to the volume transform as they are.

    Args:
        data: flat items of a datalist, items grouped by subject, or ``{"image", "label"}`` items.
        transform: volume transforms up to ``StackModalitiesd`` or ``ResampleModalitiesd`` and intensities: they must
            give ``image (M * k, H, W, D)``, ``present (M, D)`` or ``(M,)``, and, where labels are wanted, ``label
            (M, H, W, D)`` and ``labelled (M,)``, or ``label (1, H, W, D)`` and ``labelled`` without axes where
            modalities share one.
        modalities: names in the order of the channels.
        slice_transform: augmentation of ``{"image": (M * k * S, H, W), "label": (M, H, W), "present": (M,)}`` and of
            `extra_keys`; may make modalities absent.
        keep: ``"all"`` slices; ``"foreground"``: of subjects with a label only slices where some label is not empty;
            ``"labelled"``: slices with a labelled modality; ``"paired"``: slices with all modalities.
        num_slices: S, an odd number: each slice with its neighbours as channels, those of the first modality (and
            candidate) first. The first and the last slice stand in for what they lack.
        min_content: share of the pixels of a slice that must not be `background` in some modality; slices with less are
            left out.
        background: value of pixels where there is nothing.
        fill: value of absent modalities in a batch; ``nan`` for networks that read it as absence.
        extra_keys: further volumes ``(C, H, W, D)`` that the transform may give and that are cut into slices as well,
            float32, for example a target image.
        cache: keep the transformed volumes in ``"memory"``, on ``"disk"`` (compressed; needs blosc2) or not compressed
            (``"disk_raw"``), or not at all (False): then they are made again on each access. From a disk, an access
            reads the slices that it needs.
        cache_dir: folder for volumes on disk; :func:`~monai_mmseg.data.remove_unused` clears it.
        progress: show a progress bar while volumes are read.

    Returns:
        (of an access) ``image`` float32 ``(M * k * S, H, W)``, `fill` where absent and finite elsewhere; ``label``
        int64 ``(M, H, W)`` or ``(1, H, W)``; ``present`` bool ``(M,)``; ``labelled`` likewise, or without axes;
        `extra_keys`; ``subject``, ``subject_index`` (its number, int64) and ``slice``.

    Raises:
        ValueError: if there are no items or no slices, the transform gives something else, or ``cache="disk"`` cannot
            recognise it.

    Examples:
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
        num_slices: int = 1,
        min_content: float = 0.0,
        background: float = 0.0,
        fill: float = 0.0,
        extra_keys: Sequence[str] = (),
        cache: Cache | bool = "memory",
        cache_dir: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> None:
        if keep not in ("all", "foreground", "labelled", "paired"):
            raise ValueError(f"keep must be 'all', 'foreground', 'labelled' or 'paired', got {keep!r}.")
        if num_slices < 1 or num_slices % 2 == 0:
            raise ValueError(f"num_slices must be an odd number from 1, got {num_slices}.")
        if not 0 <= min_content <= 1:
            raise ValueError(f"min_content must lie in [0, 1], got {min_content}.")
        self.modalities = [str(name) for name in modalities]
        self.num_slices, self.min_content, self.background = int(num_slices), float(min_content), float(background)
        self.fill, self.extra_keys = float(fill), [str(key) for key in extra_keys]
        super().__init__(_grouped(data, self.modalities), transform, slice_transform, cache, cache_dir)
        if not self.data:
            raise ValueError(f"data holds no item with a modality of {self.modalities}.")
        self.keep = keep
        self.index = [
            (number, place) for number, one in enumerate(self._read_all(progress)) for place in self._kept(one)
        ]
        if not self.index:
            limit = f" and min_content={min_content}" if min_content else ""
            raise ValueError(f"no slice of {len(self.data)} subjects is left with keep={keep!r}{limit}.")

    @property
    def subject_indices(self) -> list[int]:
        """Number of the subject of each item, for samplers."""
        return [number for number, _ in self.index]

    def __len__(self) -> int:
        return len(self.index)

    def subject(self, number: int) -> dict[str, Any]:
        """All slices of the subject at a place of ``data``, without augmentation, shaped as `transform` gives them."""
        one = self._volume(number)
        rows = {"image": one.image, "label": one.label, **one.extra}
        volumes = {key: volume[:].movedim(0, -1).contiguous() for key, volume in rows.items()}
        return {**volumes, "present": one.present.clone(), "labelled": one.labelled.clone(), "subject": one.subject}

    def _transform(self, index: int) -> dict[Hashable, Any]:
        number, place = self.index[index]
        subject = self._volume(number)
        present = subject.present[:, place].clone()
        item: dict[Hashable, Any] = {
            "image": self._with_neighbours(subject, place),
            "label": _row(subject.label, place).to(torch.int64),
            "present": present,
            **{key: _row(volume, place).clone() for key, volume in subject.extra.items()},
        }
        item = self._augmented(item, *numbers_of(index))
        item["image"] = _masked(item["image"], item["present"], self.fill)
        item["labelled"] = subject.labelled & present if subject.labelled.ndim else subject.labelled.clone()
        item["subject"], item["subject_index"], item["slice"] = subject.subject, torch.tensor(number), place
        return item

    def _with_neighbours(self, subject: _Subject, place: int) -> Tensor:
        """Slice and neighbours ``(M * k * S, H, W)``; where a neighbour is absent the slice itself stands in."""
        half = self.num_slices // 2
        if not half:
            return _row(subject.image, place).clone()
        window = neighbours(subject.image, place, self.num_slices).unflatten(1, (len(self.modalities), -1))
        places = torch.arange(place - half, place + half + 1).clamp(0, len(subject.content) - 1)
        present = subject.present[:, places]
        if not present.all():
            window = torch.where(present.T[:, :, None, None, None], window, window[half : half + 1])
        return window.movedim(0, 2).flatten(0, 2).contiguous()

    def _load(self, number: int) -> _Subject:
        volumes = self.transform(dict(self.data[number]))
        count = len(self.modalities)
        if missing := [key for key in ("image", "present") if key not in volumes]:
            raise ValueError(f"transform must give image and present, got {sorted(map(str, volumes))}: no {missing}.")
        image, present = (plain_tensor(torch.as_tensor(volumes[key])) for key in ("image", "present"))
        image = image.to(torch.float32)
        if present.ndim == 1:
            present = present[:, None].expand(-1, image.shape[-1])
        if image.ndim != 4 or image.shape[0] % count or present.shape != (count, image.shape[-1]):
            raise ValueError(
                f"transform must give image (M * k, H, W, D) and present (M, D) with M={count}, got "
                f"{tuple(image.shape)} and {tuple(present.shape)}: is StackModalitiesd or ResampleModalitiesd part of "
                "it?"
            )
        image, present = _fill(image, present.bool(), count)
        image = slices_first(image)
        depth, _, *size = image.shape
        label = volumes.get("label")
        if label is None or isinstance(label, Mapping):  # paths that nobody was asked to read
            # a view of one number: no memory for labels that are not there
            label = torch.zeros((), dtype=torch.uint8).expand(depth, count, *size)
        else:
            label = slices_first(_label(plain_tensor(torch.as_tensor(label)), count, (*size, depth)))
            if "labelled" not in volumes:
                raise ValueError(
                    "transform must give labelled, bool (M,), beside label: of which modalities it is one."
                )
        labelled = plain_tensor(torch.as_tensor(volumes.get("labelled", torch.zeros(count)))).bool()
        name = str(volumes.get("subject", self.data[number].get("subject", number)))
        given = {key: plain_tensor(torch.as_tensor(volumes[key])) for key in self.extra_keys if key in volumes}
        if wrong := {key: tuple(v.shape) for key, v in given.items() if v.shape[1:] != (*size, depth)}:
            raise ValueError(f"extra_keys must lie on the grid of image {(*size, depth)}, got {wrong}.")
        extra: dict[str, Rows] = {key: slices_first(volume.to(torch.float32)) for key, volume in given.items()}
        foreground = is_foreground(label).flatten(2).amax(2).T
        return _Subject(image, label, present, labelled, foreground, self._content(image, present), name, extra)

    def _content(self, image: Tensor, present: Tensor) -> Tensor:
        if self.min_content <= 0:
            return torch.ones(len(image))
        content = (image != self.background).unflatten(1, (len(self.modalities), -1)).any(2)
        return (content & present.T[:, :, None, None]).any(1).float().mean((1, 2))

    def _kind(self) -> list[Any]:
        return [self.modalities, self.extra_keys, self.background if self.min_content > 0 else None]

    def _named(self, volume: _Subject, number: int) -> _Subject:
        name, shares = self.data[number].get("subject"), self.store is not None and self.store.shares
        return volume._replace(subject=name) if shares and isinstance(name, str) else volume

    def _kept(self, subject: _Subject) -> list[int]:
        # one label of the subject counts wherever it has an image
        rows = len(subject.foreground)
        labelled = subject.labelled.expand(rows)[:, None] & (
            subject.present if rows == len(subject.present) else subject.present.any(0, keepdim=True)
        )
        keep = subject.present.any(0)
        if self.keep == "paired":
            keep = subject.present.all(0)
        elif self.keep == "labelled":
            keep = labelled.any(0)
        elif self.keep == "foreground" and labelled.any():
            keep = (subject.foreground & labelled).any(0)
        if self.min_content > 0:
            keep = keep & (subject.content >= self.min_content)
        return [int(place) for place in keep.nonzero()[:, 0]]


def _grouped(data: Sequence[Mapping[str, Any]], modalities: Sequence[str]) -> list[dict[str, Any]]:
    """Items by subject; items that are no part of a flat list stay as they are."""
    flat = [item for item in data if "modality" in item and not isinstance(item.get("image"), Mapping)]
    if flat and len(flat) != len(data):
        raise ValueError(f"data mixes {len(flat)} flat items with {len(data) - len(flat)} items of another kind.")
    if partly := next((item["label"] for item in flat if any(item.get("unknown", ())) and item.get("label")), None):
        raise ValueError(
            f"{partly} shows some classes only ('annotated'), which this method cannot learn from: an organ that "
            "nobody drew would be taught as background. bundles/unet, ummkd, ummkd_3d and csa can."
        )
    return group_by_subject(flat, modalities) if flat else list(map(dict, data))


def _label(label: Tensor, count: int, grid: tuple[int, ...]) -> Tensor:
    """Label as uint8, of one modality each or of the subject, on the grid of the image."""
    if label.shape[0] not in (1, count) or label.shape[1:] != grid:
        raise ValueError(
            f"transform must give label (M, H, W, D) or (1, H, W, D) on the grid of image {grid} with M={count}, got "
            f"{tuple(label.shape)}."
        )
    # MONAI's resampling gives labels as floating-point numbers
    whole = label.round() if label.is_floating_point() else label
    if whole.numel() and not 0 <= float(whole.min()) <= float(whole.max()) <= UNANNOTATED:
        raise ValueError(
            f"transform must give classes from 0, and {UNANNOTATED} where nobody annotated, got labels from "
            f"{float(whole.min()):g} to {float(whole.max()):g}; MapLabelValued changes them."
        )
    return whole.to(torch.uint8)


def _row(rows: Rows, place: int) -> Tensor:
    return rows[place : place + 1][0]


def _masked(image: Tensor, present: Tensor, fill: float) -> Tensor:
    """The image with `fill` for what is absent."""
    if present.all():
        return image
    mask = present.repeat_interleave(image.shape[0] // len(present)).reshape(-1, *[1] * (image.ndim - 1))
    return torch.where(mask, image, fill)


def _fill(image: Tensor, present: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Finite image: absent images are 0, an absent candidate repeats the paired slice."""
    grouped = image.unflatten(0, (count, -1))  # (M, k, H, W, D)
    missing = torch.isnan(grouped).flatten(2, 3).any(2)  # (M, k, D)
    present = present & ~missing[:, 0]
    grouped = torch.where(missing[:, :, None, None], grouped[:, :1], grouped)
    return torch.where(present[:, None, None, None], grouped, 0.0).flatten(0, 1), present
