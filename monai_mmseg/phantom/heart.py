# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The heart phantom: misaligned short-axis volumes of several modalities with true labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.phantom.anatomy.heart import HeartAnatomy, HeartShape
from monai_mmseg.phantom.anatomy.thorax import Thorax
from monai_mmseg.phantom.grid import Grid, oblique_grid, rotation_matrix
from monai_mmseg.phantom.motion import Motion, MotionModel
from monai_mmseg.phantom.scanner import acquire, render
from monai_mmseg.phantom.streams import stream
from monai_mmseg.phantom.tissues import HEART_TABLES, HEART_TISSUES
from monai_mmseg.phantom.writer import Made, check_numbers, write_pair, write_phantom

VERSION = 2
"""Part of the recorded parameters: a phantom of an older generator is not taken for the same."""

SMALLEST = 16
"""Fewest voxels along the first in-plane axis."""

SLICES = (8, 12)
"""Fewest and most slices of a volume."""


@dataclass(frozen=True)
class Protocol:
    """How a modality is acquired; ranges are drawn from for each subject.

    Args:
        spacing: in-plane spacing, mm.
        thickness: slice thickness, mm.
        gap: distance between slices, mm.
        field_of_view: extent of the first in-plane axis, mm.
        aspect: extent of the second in-plane axis relative to the first.
        margin: how far the slices reach beyond the LV, mm, both ends together.
        motion: where the organs are.
        slices: fewest and most slices of a volume.
    """

    spacing: tuple[float, float]
    thickness: tuple[float, float]
    gap: tuple[float, float]
    field_of_view: tuple[float, float]
    aspect: float
    margin: tuple[float, float]
    motion: MotionModel
    slices: tuple[int, int] = SLICES


# Slices of one series are acquired in breath holds of nearly, not exactly, the same depth.
CINE_MOTION = MotionModel(phase_sd=0.02, jitter_sd=0.7, jitter_through_sd=0.5)

LGE_MOTION = MotionModel(
    # A deeper breath hold after the contrast agent: the heart goes down and a little forward. In short-axis slices that
    # is about 2 mm in-plane and, the long axis pointing down, as much through-plane.
    drift=(0.0, 1.0, -2.5),
    twist=-2.0,
    # Gated to mid-diastole, not to the first frame of the cine: a slightly smaller cavity.
    phase=0.10,
    phase_sd=0.08,
    shift=(4.5, 7.5),
    through=2.5,
    rotation_sd=5.0,
    field_sd=1.5,
    field_wavelength=90.0,
    jitter_sd=1.2,
    jitter_through_sd=1.0,
)

HEART_PROTOCOLS = {
    "cine": Protocol((1.4, 1.6), (8, 8), (0, 2), (290, 320), 0.88, (2, 12), CINE_MOTION),
    "lge": Protocol((1.6, 1.8), (8, 10), (0, 0), (280, 310), 0.90, (2, 12), LGE_MOTION),
    "t2": Protocol((1.5, 1.8), (8, 10), (0, 2), (280, 320), 0.85, (2, 12), LGE_MOTION),
    "bold": Protocol((1.4, 1.8), (8, 8), (1, 2), (280, 310), 0.90, (2, 12), CINE_MOTION),
}
"""Acquisition of each modality; cine is where the heart is at rest."""

PLAN_TILT_SD = 1.5
"""How far (degrees) the plans of one subject's series differ; both aim across the same long axis."""

PLAN_OFFSET_SD = (6.0, 6.0, 2.0)
"""How far (mm, along the volume's axes) the middle of a volume is from the heart; no method may rely on it."""

PLAN_CENTRE = 0.3
"""Where between the LV's axis (0) and the septum (1) a volume is centred, to have the RV in the picture too."""


class HeartVolume(NamedTuple):
    """One modality of one subject."""

    image: NDArray[np.int16]  # (X, Y, Z)
    label: NDArray[np.uint8]  # (X, Y, Z), values of HEART_LABELS
    grid: Grid
    motion: Motion
    shape: HeartShape


def plan_short_axis(rng: np.random.Generator, protocol: Protocol, shape: HeartShape, size: int | None) -> Grid:
    """Short-axis slices as a radiographer plans them, nearly across the long axis.

    Args:
        rng: random generator.
        protocol: how the modality is acquired.
        shape: the heart that the slices are planned on.
        size: voxels along the first in-plane axis, by default what the protocol's spacing gives.

    Returns:
        The voxels.
    """
    u, v, w = shape.axes.T
    # columns run from RV to LV and to the anterior wall, slices from base to apex: right-handed
    axes = rotation_matrix(rng.normal(size=3) * PLAN_TILT_SD) @ np.stack([-u, -v, w], axis=1)
    extent = rng.uniform(*protocol.field_of_view)
    pixel = rng.uniform(*protocol.spacing) if size is None else extent / size
    thickness = float(np.round(rng.uniform(*protocol.thickness)))
    step = thickness + float(np.round(rng.uniform(*protocol.gap), 1))
    reach = shape.length + shape.apex_wall + rng.uniform(*protocol.margin)
    slices = int(np.clip(np.round(reach / step), *protocol.slices))
    matrix = [2 * round(extent / pixel / 2), 2 * round(extent * protocol.aspect / pixel / 2)]
    centre = shape.centre + PLAN_CENTRE * shape.radius * u + axes @ (rng.normal(size=3) * PLAN_OFFSET_SD)
    return oblique_grid(centre, axes, [pixel, pixel, step], [*matrix, slices], thickness=thickness)


def make_heart_volume(
    modality: str,
    subject: int,
    seed: int = 0,
    *,
    motion: float = 1.0,
    scar_fraction: float = 0.6,
    size: int | None = None,
    grid: Grid | None = None,
) -> HeartVolume:
    """One modality of one subject of the heart phantom.

    Args:
        modality: a key of :data:`HEART_PROTOCOLS`.
        subject: number of the subject, from 1.
        seed: seed of the phantom.
        motion: factor on all motion, see :func:`make_heart_phantom`.
        scar_fraction: share of subjects with a scar.
        size: voxels along the first in-plane axis, by default what the protocol's spacing gives.
        grid: voxels to image, by default a new plan for the modality.

    Returns:
        Image, label and the truth about them.

    Raises:
        ValueError: unknown modality.

    Examples:
        >>> volume = make_heart_volume("cine", 1, size=48)
        >>> volume.image.dtype.name, volume.image.shape[0], volume.label.shape == volume.image.shape
        ('int16', 48, True)
    """
    if modality not in HEART_PROTOCOLS:
        raise ValueError(f"modality must be one of {sorted(HEART_PROTOCOLS)}, got {modality!r}.")
    body = stream(seed, subject, "body")
    thorax, shape = Thorax.draw(body), HeartShape.draw(body, scar_fraction=scar_fraction)
    protocol, table = HEART_PROTOCOLS[modality], HEART_TABLES[modality]
    plan = grid or plan_short_axis(stream(seed, subject, f"{modality} plan"), protocol, shape, size)
    moved = protocol.motion.draw(
        stream(seed, subject, f"{modality} motion"),
        centre=shape.centre,
        axes=plan.axes,
        slices=plan.shape[2],
        amount=motion,
    )
    scan = stream(seed, subject, f"{modality} scan")
    signal, label = render(HeartAnatomy(shape, thorax, moved.phase), plan, moved, table.draw(scan, HEART_TISSUES))
    image = acquire(scan, signal, noise_sd=table.noise_sd, texture_sd=table.texture_sd)
    return HeartVolume(image, label, plan, moved, shape)


def make_heart_phantom(
    out_dir: str | os.PathLike[str],
    *,
    modalities: Sequence[str] = ("cine", "lge"),
    subjects: int = 12,
    seed: int = 0,
    test_subjects: int | None = None,
    folds: int = 4,
    size: int | None = None,
    motion: float = 1.0,
    scar_fraction: float = 0.6,
) -> Path:
    """Write a cardiac data set with everything that makes the real one hard, and its datalist.

    Use it to try a method, a pipeline or an installation without private data. Each modality of a subject is a stack of
    oblique short-axis slices with its own spacing, slice count and field of view, and the heart has moved in between:
    shift, rotation, smooth deformation, breath holds of single slices and another cardiac phase, part of it common
    to all subjects. Labels are true in each modality's own grid; scar belongs to the myocardium, papillary muscles to
    the LV blood pool, and the wall of the RV to the background.

    Args:
        out_dir: folder to write; made as a whole or not at all. One that holds the same phantom is kept.
        modalities: keys of :data:`HEART_PROTOCOLS`, as a list or in one string (``"cine,lge"``).
        subjects: number of subjects. A subject is the same however many are asked for.
        seed: seed of all random draws; equal seeds give equal bytes.
        test_subjects: how many of the last subjects are for testing, by default a third.
        folds: number of folds that the other subjects are dealt to.
        size: voxels along the first in-plane axis, by default what the protocol's spacing gives (about 190);
            a smaller one is faster to make and to test with.
        motion: factor on all motion: 0 leaves the heart where it was in every modality, 1 is the calibrated difficulty.
        scar_fraction: share of subjects with a scar.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: an argument is out of its range.
        FileExistsError: ``out_dir`` has other content.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> make_heart_phantom(folder, subjects=1, test_subjects=0, modalities=["cine"], size=32).name
        'datalist.json'
    """
    modalities = modalities.replace(",", " ").split() if isinstance(modalities, str) else list(modalities)
    test_subjects = subjects // 3 if test_subjects is None else test_subjects
    unknown = [m for m in modalities if m not in HEART_PROTOCOLS]
    if unknown or not modalities or len(set(modalities)) < len(modalities):
        raise ValueError(f"modalities must be different names out of {sorted(HEART_PROTOCOLS)}, got {modalities}.")
    check_numbers(subjects=(subjects, 1), seed=(seed, 0), test_subjects=(test_subjects, 0), folds=(folds, 1))
    check_numbers(size=(SMALLEST if size is None else size, SMALLEST))
    if test_subjects > subjects:
        raise ValueError(f"test_subjects must be at most subjects={subjects}, got {test_subjects}.")
    if not isinstance(motion, int | float) or not 0 <= motion < float("inf"):
        raise ValueError(f"motion must be a number of at least 0, got {motion!r}.")
    if not isinstance(scar_fraction, int | float) or not 0 <= scar_fraction <= 1:
        raise ValueError(f"scar_fraction must lie in [0, 1], got {scar_fraction!r}.")
    parameters: dict[str, Any] = {
        "phantom": "heart",
        "version": VERSION,
        "modalities": modalities,
        "subjects": subjects,
        "seed": seed,
        "test_subjects": test_subjects,
        "folds": folds,
        "size": size,
        "motion": motion,
        "scar_fraction": scar_fraction,
    }

    make = partial(_write_subject, parameters)
    jobs = [(number,) for number in range(1, subjects + 1)]
    return write_phantom(out_dir, parameters, modalities=modalities, labels=HEART_LABELS, jobs=jobs, make=make)


def _write_subject(parameters: Mapping[str, Any], folder: Path, number: int) -> Made:
    """Write all modalities of a subject."""
    p, name = parameters, f"s{number:02d}"
    made = Made(name, "training" if number <= p["subjects"] - p["test_subjects"] else "test", [], {"motion": {}})
    shape = {key: p[key] for key in ("motion", "scar_fraction", "size")}
    for modality in p["modalities"]:
        volume = make_heart_volume(modality, number, p["seed"], **shape)
        files = write_pair(folder, f"{name}_{modality}", volume)
        made.items.append({**files, "modality": modality, "subject": name, "fold": (number - 1) % p["folds"]})
        made.about["scar"] = volume.shape.scar is not None
        made.about["motion"][modality] = volume.motion.summary()
    return made
