# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Read the images of one subject once, and keep what checks, statistics and pictures need of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_mmseg.data.borrowed import SOURCE
from monai_mmseg.data.pair_tables import pair_problems
from monai_mmseg.preparation.arrangement import class_centres
from monai_mmseg.preparation.intensities import image_intensities
from monai_mmseg.preparation.mask_files import few_values
from monai_mmseg.preparation.same_place import OrientedVolume, Thumb, same_place
from monai_mmseg.transforms.geometry import voxel_sizes
from monai_mmseg.transforms.image_files import VolumeError
from monai_mmseg.transforms.orient_slices import OrientSlices
from monai_mmseg.transforms.read_volume import check_image_values, check_label_values, check_same_grid, read_volume


class Entry(NamedTuple):
    """An item of a datalist and where it stands there."""

    section: str
    where: str  # such as "training[3]"
    item: Mapping[str, Any]  # with absolute paths


class Background(NamedTuple):
    """The value that fills the sides of an image, and how much of it."""

    value: float
    border: float  # share of the voxels of its four sides
    whole: float  # share of all voxels

    @property
    def constant(self) -> bool | None:
        """Whether the background was erased; ``None``: it may be, or the image ends at its content."""
        if self.border >= 0.9 and self.whole >= 0.3:
            return True
        return False if self.border < 0.5 else None


@dataclass
class VolumeFacts:
    """What is known about one image that could be read."""

    section: str
    subject: str
    modality: str
    fold: int | None
    shape: tuple[int, ...]  # as in the file
    spacing: tuple[float, ...]  # mm, as in the file
    affine: NDArray[np.float64]  # (4, 4), of the oriented volume, slice axis last
    lattice: tuple[int, ...]  # (H, W, D), of the oriented volume
    path: str
    person: str  # the subject, or who its visits are of
    axes: str  # directions of the file's axes, such as "RAS"
    low: float
    high: float
    background: Background
    digest: str  # of the voxels, however they are stored
    pairs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # as the item has them, if their form is right
    label_ml: dict[str, float] | None = None  # of the classes that the label shows
    absent: tuple[str, ...] = ()  # those of them without a voxel
    centres: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # of those that have one, in mm
    label_source: str = ""  # of a borrowed label
    values: tuple[int, ...] = ()  # of an image without a label, where they are whole and few
    intensity: dict[str, float] | None = None  # name to value, where they were asked for
    thumb: Thumb | None = None

    def row(self) -> list[str]:
        """Cells of the table that ``mmseg data check`` prints.

        Returns:
            Section, subject, fold, modality, size, spacing, label volumes.
        """
        volumes = "no label" if self.label_ml is None else ", ".join(f"{k} {v:.1f}" for k, v in self.label_ml.items())
        fold = "-" if self.fold is None else str(self.fold)
        size = " x ".join(map(str, self.shape))
        return [
            *(self.section, self.subject, fold, self.modality, size),
            *(" x ".join(f"{value:.3g}" for value in self.spacing), volumes),
        ]


@dataclass
class SubjectFacts:
    """Images of one subject, and what is wrong with them."""

    volumes: list[VolumeFacts] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def passes(self, where: str, test: Callable[..., None], *volumes: Any) -> bool:
        """Whether a test raises nothing; what it raises is an error of the subject."""
        try:
            test(*volumes)
        except VolumeError as error:
            self.errors.append(f"{where}: {error}")
            return False
        return True


def look_at_subject(
    entries: Sequence[Entry], labels: Mapping[int, str], *, thumbnails: bool = False, statistics: bool = False
) -> SubjectFacts:
    """Read the images and labels of one subject.

    Args:
        entries: its items.
        labels: declared values; empty if there are none.
        thumbnails: keep a slice of each image, all through one place.
        statistics: measure the intensities.

    Returns:
        Facts; an image that cannot be read has an error and no facts.
    """
    found = SubjectFacts()
    drawn: list[OrientedVolume] = []
    for entry in entries:
        volume = _look(entry, labels, found, statistics)
        if volume is not None and thumbnails:
            drawn.append(volume)
    if drawn:
        for facts, thumb in zip(found.volumes, same_place(drawn), strict=True):
            facts.thumb = thumb
    return found


def _look(entry: Entry, labels: Mapping[int, str], found: SubjectFacts, statistics: bool) -> OrientedVolume | None:
    where, item = entry.where, entry.item
    image = _read(item["image"], where, found)
    label = _read(item["label"], f"{where} label", found) if isinstance(item.get("label"), str) else None
    if label is not None:
        fits = partial(check_label_values, ignore=item.get("ignore"), unknown=item.get("unknown"))
        found.passes(where, fits, label, sorted(labels) or None)
        if not ((label > 0) & (label != item.get("ignore", 0))).any():
            found.warnings.append(f"{where}: {item['label']}: the label has no foreground")
    if image is None:
        return None
    found.passes(where, check_image_values, image)
    low, high = float(image.min()), float(image.max())
    if low == high and np.isfinite(low):
        found.errors.append(f"{where}: {item['image']}: the image is constant ({low:g}); a missing one has no entry")
    if label is not None and not found.passes(where, check_same_grid, image, label):
        label = None
    orient = OrientSlices()
    oriented: Any = orient(image)
    pixels: NDArray[np.float32] = np.ascontiguousarray(oriented.as_tensor()[0].numpy())
    original = np.asarray(image.affine, dtype=np.float64)
    affine: NDArray[np.float64] = np.asarray(oriented.affine, dtype=np.float64)
    fold, pairs = item.get("fold"), item.get("pairs")
    facts = VolumeFacts(
        *(entry.section, item["subject"], item["modality"], fold if isinstance(fold, int) else None),
        shape=tuple(image.shape[1:]),
        spacing=voxel_sizes(original, image.shape[1:]),
        affine=affine,
        lattice=pixels.shape,
        path=str(item["image"]),
        person=str(item.get("person", item["subject"])),
        axes="".join(map(str, nib.aff2axcodes(original))),
        low=low,
        high=high,
        background=_background(pixels),
        digest=hashlib.blake2b(pixels.view(np.uint8).data, digest_size=16).hexdigest() + str(pixels.shape),
        pairs=pairs if isinstance(pairs, Mapping) and not pair_problems(item, list(pairs)) else {},
    )
    if label is not None:
        voxel = float(abs(np.linalg.det(affine[:3, :3]))) / 1000
        unknown = item.get("unknown") or [False] * (max(labels, default=0) + 1)
        shown = {value: name for value, name in labels.items() if value != 0 and not unknown[value]}
        counts, facts.centres = class_centres(label[0].numpy(), original, shown)
        facts.label_ml = {name: count * voxel for name, count in counts.items()}
        facts.label_source = str(item.get(SOURCE, ""))
        facts.absent = tuple(name for name, count in counts.items() if not count)
    elif item.get("label") is None:
        facts.values = few_values(pixels)
    if statistics:
        facts.intensity = image_intensities(pixels)
    found.volumes.append(facts)
    mask = None if label is None else torch.as_tensor(orient(label))[0].clamp(0, 255).to(torch.uint8).numpy()
    step = np.linalg.inv(original[:3, :3]) @ affine[:3, 2]  # from slice to slice, in voxels of the file
    return OrientedVolume(pixels, mask, affine, flipped=float(step.sum()) < 0)


def _read(path: str, where: str, found: SubjectFacts) -> MetaTensor | None:
    try:
        volume = read_volume(path)
    except (FileNotFoundError, VolumeError) as error:
        found.errors.append(f"{where}: {error}")
        return None
    if volume.shape[0] != 1:
        found.errors.append(f"{where}: {path}: one item is one 3D volume, this file holds {volume.shape[0]}")
        return None
    return volume


def _background(pixels: NDArray[np.float32]) -> Background:
    sides = np.concatenate([pixels[0].ravel(), pixels[-1].ravel(), pixels[:, 0].ravel(), pixels[:, -1].ravel()])
    values, counts = np.unique(sides, return_counts=True)
    value = values[counts.argmax()]
    return Background(float(value), float(counts.max() / counts.sum()), float((pixels == value).mean()))
