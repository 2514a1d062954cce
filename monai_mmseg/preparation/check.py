# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Look at every file of a datalist and name everything that is broken, not only the first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_mmseg.data.datalist import REQUIRED_KEYS, SECTIONS, absolute_item, label_problem, read_raw
from monai_mmseg.data.leaks import find_leaks
from monai_mmseg.names import names_of_one_file
from monai_mmseg.transforms.geometry import slice_pitch
from monai_mmseg.transforms.image_files import VolumeError
from monai_mmseg.transforms.orient_slices import OrientSlices
from monai_mmseg.transforms.pair_slices import pair_slices
from monai_mmseg.transforms.read_volume import (
    check_image_values,
    check_label_values,
    check_same_grid,
    read_volume,
)


class Thumb(NamedTuple):
    """One slice for the contact sheet."""

    image: NDArray[np.float32]  # (H, W)
    label: NDArray[np.uint8] | None  # (H, W)
    spacing: tuple[float, float]  # mm


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
    label_ml: dict[str, float] | None = None
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
class DatalistReport:
    """What :func:`check_datalist` found."""

    name: str
    modalities: list[str]
    labels: dict[int, str]
    volumes: list[VolumeFacts] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> list[str]:
        """Counts of subjects, modalities and labels, as lines of text.

        Returns:
            Lines.
        """
        lines = [f"labels: {', '.join(f'{value} {name}' for value, name in self.labels.items()) or 'not declared'}"]
        for section in SECTIONS:
            volumes = [volume for volume in self.volumes if volume.section == section]
            if not volumes:
                continue
            parts = []
            for modality in self.modalities:
                mine = [volume for volume in volumes if volume.modality == modality]
                labelled = sum(volume.label_ml is not None for volume in mine)
                parts.append(f"{modality} {len(mine)} ({labelled} labelled)")
            subjects = len({volume.subject for volume in volumes})
            lines.append(f"{section}: {subjects} subjects; {', '.join(parts)}")
        return lines


def check_datalist(path: str | Path, *, thumbnails: bool = False) -> DatalistReport:
    """Read every file of a datalist and collect what is broken.

    Errors: wrong form, label values with gaps, a subject that cannot name a file, missing or unreadable file, a file
    that is no image, 4D image, affine that cannot be inverted, NaN or infinite or constant image, label on another grid
    than its image, label value that is not declared, one subject in two folds or sections, two images of one modality
    of a subject, one file named twice (modalities of a subject may share a label). Warnings: a label without
    foreground, subjects that differ in letter case alone, modalities of a subject that do not meet in the scanner. For
    information: subjects and slices that lack a modality.

    Args:
        path: JSON file.
        thumbnails: keep one slice of each volume for a contact sheet.

    Returns:
        The report; ``errors`` is empty for sound data.

    Raises:
        FileNotFoundError: if there is no such datalist.
        ValueError: if it is no JSON object.
    """
    raw, problems = read_raw(path)
    entries = [
        (section, f"{section}[{number}]", absolute_item(item, Path(path).resolve().parent))
        for section in SECTIONS
        for number, item in enumerate(raw[section] if isinstance(raw.get(section), list) else [])
        if isinstance(item, Mapping) and all(isinstance(item.get(key), str) and item[key] for key in REQUIRED_KEYS)
    ]
    declared = raw.get("modalities") if isinstance(raw.get("modalities"), list) else None
    modalities = [str(name) for name in declared or dict.fromkeys(item["modality"] for _, _, item in entries)]
    given: dict[str, Any] = raw["labels"] if isinstance(raw.get("labels"), dict) else {}
    labels = {int(value): str(name) for value, name in given.items() if value.isascii() and value.isdigit()}
    report = DatalistReport(str(raw.get("name", Path(path).stem)), modalities, dict(sorted(labels.items())))
    report.errors += problems
    if 0 in labels and (problem := label_problem(labels)):
        report.errors.append(problem)
    if not labels and any(item.get("label") for _, _, item in entries):
        report.errors.append("items have labels, but 'labels' does not declare their values")
    _check_subjects(entries, report)
    for section, where, item in entries:
        _check_volume(section, where, item, report, thumbnails)
    _check_pairs(report)
    return report


def _check_subjects(entries: Sequence[tuple[str, str, Mapping[str, Any]]], report: DatalistReport) -> None:
    sections: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    owned: dict[str, set[str]] = defaultdict(set)
    for section, _, item in entries:
        sections[section].append(item)
        owned[item["subject"]].add(item["modality"])
    report.errors += find_leaks(sections)
    for (subject, modality), count in Counter((i["subject"], i["modality"]) for _, _, i in entries).items():
        if count > 1:
            report.errors.append(f"subject {subject!r} has {count} images of modality {modality!r}")
    report.warnings += [
        f"subjects {first!r} and {second!r} differ in their letter case alone: are they one? Where case does not count "
        "(Windows, macOS) their files would replace each other"
        for first, second in names_of_one_file(list(owned))
    ]
    for subject, have in owned.items():
        if lacking := [name for name in report.modalities if name not in have]:
            report.notes.append(f"subject {subject!r} has no {', '.join(lacking)}")


def _check_volume(section: str, where: str, item: Mapping[str, Any], report: DatalistReport, thumbnails: bool) -> None:
    image = _read(item["image"], where, report)
    label = _read(item["label"], f"{where} label", report) if isinstance(item.get("label"), str) else None
    if label is not None:
        _note(report, where, check_label_values, label, sorted(report.labels) or None)
        if not (label > 0).any():
            report.warnings.append(f"{where}: {item['label']}: the label has no foreground")
    if image is None:
        return
    _note(report, where, check_image_values, image)
    if torch.isfinite(image).all() and image.min() == image.max():
        report.errors.append(f"{where}: {item['image']}: the image is constant ({float(image.min()):g})")
    if label is not None and not _note(report, where, check_same_grid, image, label):
        label = None
    orient = OrientSlices()
    oriented: Any = orient(image)
    affine: NDArray[np.float64] = np.asarray(oriented.affine, dtype=np.float64)
    spacing = np.linalg.norm(np.asarray(image.affine, dtype=np.float64)[:3, :3], axis=0)
    fold = item.get("fold")
    facts = VolumeFacts(
        *(section, item["subject"], item["modality"], fold if isinstance(fold, int) else None),
        shape=tuple(image.shape[1:]),
        spacing=tuple(float(value) for value in spacing),
        affine=affine,
        lattice=tuple(oriented.shape[1:]),
    )
    if label is not None:
        voxel = float(abs(np.linalg.det(affine[:3, :3]))) / 1000
        names = {value: name for value, name in report.labels.items() if value != 0}
        facts.label_ml = {name: round(float((label == value).sum()) * voxel, 3) for value, name in names.items()}
    if thumbnails:
        facts.thumb = _thumb(oriented, None if label is None else orient(label), affine)
    report.volumes.append(facts)


def _read(path: str, where: str, report: DatalistReport) -> MetaTensor | None:
    try:
        volume = read_volume(path)
    except (FileNotFoundError, VolumeError) as error:
        report.errors.append(f"{where}: {error}")
        return None
    if volume.shape[0] != 1:
        report.errors.append(f"{where}: {path}: one item is one 3D volume, this file holds {volume.shape[0]}")
        return None
    return volume


def _note(report: DatalistReport, where: str, test: Any, *volumes: Any) -> bool:
    try:
        test(*volumes)
    except VolumeError as error:
        report.errors.append(f"{where}: {error}")
        return False
    return True


def _thumb(image: torch.Tensor, label: torch.Tensor | None, affine: NDArray[np.float64]) -> Thumb:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    pixels, mask = torch.as_tensor(image)[0].numpy(), None if label is None else torch.as_tensor(label)[0].numpy()
    place = pixels.shape[2] // 2
    if mask is not None and (mask > 0).any():
        place = int((mask > 0).sum((0, 1)).argmax())  # where most of the organ is
    shown = None if mask is None else np.array(mask[:, :, place]).astype(np.uint8)
    return Thumb(np.array(pixels[:, :, place]), shown, (float(spacing[0]), float(spacing[1])))


def _check_pairs(report: DatalistReport) -> None:
    """Whether the modalities of a subject meet in scanner coordinates."""
    subjects: dict[str, list[VolumeFacts]] = defaultdict(list)
    for volume in report.volumes:
        subjects[volume.subject].append(volume)
    for subject, volumes in subjects.items():
        for other in volumes[1:]:
            first = volumes[0]
            center = ((first.lattice[0] - 1) / 2, (first.lattice[1] - 1) / 2)
            limit = 0.55 * max(slice_pitch(first.affine), slice_pitch(other.affine))
            partner = pair_slices(first.affine, first.lattice[2], other.affine, other.lattice[2], limit, center).partner
            found = int((partner >= 0).sum())
            if found == 0:
                report.warnings.append(
                    f"subject {subject!r}: no slice of {other.modality} lies near a slice of {first.modality}; do the "
                    "files share scanner coordinates?"
                )
            elif found < first.lattice[2]:
                report.notes.append(
                    f"subject {subject!r}: {first.lattice[2] - found} of {first.lattice[2]} {first.modality} slices "
                    f"have no {other.modality} partner"
                )
