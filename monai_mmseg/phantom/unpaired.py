# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Phantoms whose modalities show different patients: acquisition plans and the folder that is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.phantom.grid import Grid, oblique_grid, rotation_matrix
from monai_mmseg.phantom.writer import Made, check_numbers, millilitres, write_pair, write_phantom

FIRST_OUTLIER = 1001
"""Number of the first outlier: they are further patients."""

SMALLEST = 24

_DIRECTIONS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


class UnpairedVolume(NamedTuple):
    """One image of one patient."""

    image: NDArray[np.int16]  # (X, Y, Z)
    label: NDArray[np.uint8]  # (X, Y, Z)
    grid: Grid


@dataclass(frozen=True)
class VolumeProtocol:
    """How a modality covers the body; ranges are drawn from for each patient.

    Args:
        orientation: where the voxel axes point to, slices last: three letters of R/L, A/P, S/I, right-handed.
        field_of_view: extent of the first axis, mm.
        aspect: extent of the second axis relative to the first.
        coverage: extent of all slices together, mm.
        spacing: in-plane spacing, mm.
        step: distance of slices, mm. Voxels are never flatter than they are wide, so small volumes have fewer slices.
        tilt_sd: how far the axes are turned away from the patient's, degrees.
        offset_sd: how far the middle of the volume is from the organs, mm.
    """

    orientation: str
    field_of_view: tuple[float, float]
    aspect: float
    coverage: tuple[float, float]
    spacing: tuple[float, float]
    step: tuple[float, float]
    tilt_sd: float
    offset_sd: float


def plan_volume(
    rng: np.random.Generator, protocol: VolumeProtocol, centre: NDArray[np.floating], size: int | None
) -> Grid:
    """Voxels of one acquisition.

    Args:
        rng: random generator.
        protocol: how the modality is acquired.
        centre: middle of what is imaged in mm (RAS+), shape ``(3,)``.
        size: voxels along the first axis, by default what the protocol's spacing gives.

    Returns:
        The voxels.
    """
    axes = np.array([_DIRECTIONS[letter] for letter in protocol.orientation], dtype=float).T
    axes = rotation_matrix(rng.normal(size=3) * protocol.tilt_sd) @ axes
    extent, coverage = rng.uniform(*protocol.field_of_view), rng.uniform(*protocol.coverage)
    pixel, step = rng.uniform(*protocol.spacing), rng.uniform(*protocol.step)
    pixel = pixel if size is None else extent / size
    step = max(step, pixel)
    middle = np.asarray(centre, dtype=float) + rng.normal(size=3) * protocol.offset_sd
    shape = [round(extent / pixel), 2 * round(extent * protocol.aspect / pixel / 2), round(coverage / step)]
    return oblique_grid(middle, axes, [pixel, pixel, step], shape)


def points_per_voxel(grid: Grid) -> tuple[int, int, int]:
    """Points that a voxel's signal is averaged over, enough for partial volume and not more.

    Args:
        grid: the voxels.

    Returns:
        Points along the three axes.

    Examples:
        >>> points_per_voxel(oblique_grid([0, 0, 0], np.eye(3), [3, 3, 8], [4, 4, 2]))
        (2, 2, 2)
    """
    a, b, c = grid.spacing
    return min(2, int(np.ceil(a / 1.6))), min(2, int(np.ceil(b / 1.6))), min(3, int(np.ceil(c / 4)))


@dataclass(frozen=True)
class UnpairedPhantom:
    """A phantom whose modalities show different patients.

    Args:
        name: of the phantom.
        version: recorded, so that a phantom of an older generator is not taken for the same.
        labels: value to name.
        artefacts: modalities that there are, and the artefacts that outliers of each can have.
        subjects: patients of each modality by default.
        volume: makes one image; called with modality, number of the patient, seed and, by name, ``size``, options and,
            for outliers, ``artefact``.
    """

    name: str
    version: int
    labels: Mapping[int, str]
    artefacts: Mapping[str, tuple[str, ...]]
    subjects: Mapping[str, int]
    volume: Callable[..., UnpairedVolume]

    def write(
        self,
        out_dir: str | os.PathLike[str],
        subjects: Mapping[str, int] | None,
        test_subjects: Mapping[str, int] | None,
        folds: int,
        size: int | None,
        seed: int,
        outliers: Mapping[str, int] | None = None,
        **options: bool,
    ) -> Path:
        """Write the volumes of all patients and their datalists.

        Args:
            out_dir: folder to write, see :func:`~monai_mmseg.phantom.writer.write_folder`.
            subjects: patients of each modality.
            test_subjects: how many of the last ones are for testing, by default a fifth.
            folds: number of folds that the other patients of each modality are dealt to.
            size: voxels along the first axis.
            seed: seed of all random draws.
            outliers: further patients with artefacts of each modality.
            options: for ``volume``.

        Returns:
            Path of the datalist.

        Raises:
            ValueError: an argument is out of its range.
            FileExistsError: ``out_dir`` has other content.
        """
        for option, value in options.items():
            if not isinstance(value, bool):
                raise ValueError(f"{option} must be true or false, got {value!r}.")
        known = self.artefacts
        subjects = _counts("subjects", self.subjects if subjects is None else subjects, known, 1)
        if not subjects:
            raise ValueError(f"subjects must give a number for one or more of {sorted(known)}, got none.")
        if test_subjects is None:
            test_subjects = {modality: (count + 2) // 5 for modality, count in subjects.items()}
        test_subjects = _counts("test_subjects", test_subjects, subjects, 0)
        outliers = _counts("outliers", outliers or {}, {m: kinds for m, kinds in known.items() if kinds}, 0)
        if any(count > subjects[modality] for modality, count in test_subjects.items()):
            raise ValueError(f"test_subjects must be at most subjects={subjects}, got {test_subjects}.")
        check_numbers(folds=(folds, 1), seed=(seed, 0), size=(SMALLEST if size is None else size, SMALLEST))
        recorded = {
            "phantom": self.name,
            "version": self.version,
            **options,
            "subjects": subjects,
            "test_subjects": test_subjects,
            "folds": folds,
            "size": size,
            "seed": seed,
            "outliers": outliers,
        }

        jobs: list[tuple[str, str, int, str | None]] = []
        for modality, count in subjects.items():
            jobs += [(modality, f"{modality}{n:02d}", n, None) for n in range(1, count + 1)]
        for modality, count in outliers.items():
            kinds = [known[modality][n % len(known[modality])] for n in range(count)]
            jobs += [(modality, f"{modality}_outlier{n + 1:02d}", FIRST_OUTLIER + n, k) for n, k in enumerate(kinds)]
        make = partial(self._write_patient, recorded, options)
        return write_phantom(out_dir, recorded, modalities=list(subjects), labels=self.labels, jobs=jobs, make=make)

    def _write_patient(
        self,
        parameters: Mapping[str, Any],
        options: Mapping[str, bool],
        folder: Path,
        modality: str,
        subject: str,
        number: int,
        artefact: str | None,
    ) -> Made:
        """Write the volume of a patient."""
        p, odd = parameters, {} if artefact is None else {"artefact": artefact}
        volume = self.volume(modality, number, p["seed"], size=p["size"], **options, **odd)
        item = {**write_pair(folder, subject, volume), "modality": modality, "subject": subject}
        about = {"artefact": artefact, "label_ml": millilitres(volume.label, volume.grid, self.labels)}
        if odd:
            return Made(subject, "outliers", [{**item, "meta": odd}], about)
        training = number <= p["subjects"][modality] - p["test_subjects"].get(modality, 0)
        return Made(subject, "training" if training else "test", [{**item, "fold": (number - 1) % p["folds"]}], about)


def _counts(name: str, counts: Mapping[str, int], known: Mapping[str, Any], lowest: int) -> dict[str, int]:
    """Refuse what is no number of patients by modality."""
    if not isinstance(counts, Mapping):
        raise ValueError(f"{name} must map modalities out of {sorted(known)} to numbers, got {counts!r}.")
    if unknown := sorted(str(modality) for modality in counts if modality not in known):
        raise ValueError(f"{name} must name modalities out of {sorted(known)}, got {unknown}.")
    for modality, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < lowest:
            raise ValueError(f"{name} must hold whole numbers of at least {lowest}, got {count!r} for {modality!r}.")
    return dict(counts)
