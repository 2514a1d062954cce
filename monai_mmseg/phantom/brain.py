# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The brain phantom: MR sequences and a PET of one brain, with a tumour or healthy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import TUMOUR_LABELS
from monai_mmseg.files import write_nifti
from monai_mmseg.phantom.anatomy.brain import BrainAnatomy, BrainShape
from monai_mmseg.phantom.anatomy.tumour import Tumour
from monai_mmseg.phantom.brain_tables import BRAIN_TABLES, BRAIN_TISSUES
from monai_mmseg.phantom.grid import Grid, oblique_grid
from monai_mmseg.phantom.motion import Motion, MotionModel
from monai_mmseg.phantom.scanner import acquire, blur, render
from monai_mmseg.phantom.streams import stream
from monai_mmseg.phantom.tissues import TissueTable
from monai_mmseg.phantom.unpaired import VolumeProtocol, plan_volume, points_per_voxel
from monai_mmseg.phantom.writer import Made, check_numbers, millilitres, write_phantom

VERSION = 1
"""Part of the recorded parameters: a phantom of an older generator is not taken for the same."""

BRAIN_SEQUENCES = ("t1", "t1gd", "t2", "flair")
"""MR sequences; ``"pet"`` is the further modality."""

SIZE, SMALLEST = 80, 24
"""Voxels from left to right unless told otherwise (2 mm), and the fewest that there may be."""

EXTENT = (160.0, 192.0, 152.0)
"""What the common grid covers (mm): 160 x 192 pixels in slices of 1 mm spacing."""

MIDDLE = (0.0, -2.0, 3.0)
"""Middle of every volume, mm."""

BRAIN_PROTOCOLS = {
    # sagittal slices with nearly cubic voxels
    "t1": VolumeProtocol("PSL", (205, 220), 0.80, (156, 164), (0.9, 1.1), (1.0, 1.3), tilt_sd=2.0, offset_sd=2.0),
    "t1gd": VolumeProtocol("LPS", (165, 175), 1.20, (154, 162), (0.9, 1.1), (1.5, 2.0), tilt_sd=2.0, offset_sd=2.0),
    # axial slices of 2-D scans
    "t2": VolumeProtocol("LPS", (165, 175), 1.20, (154, 162), (0.7, 0.9), (3.5, 5.0), tilt_sd=3.0, offset_sd=2.0),
    "flair": VolumeProtocol("LPS", (165, 185), 1.20, (154, 162), (0.8, 1.0), (4.0, 6.0), tilt_sd=3.0, offset_sd=2.0),
    "pet": VolumeProtocol("LPS", (175, 190), 1.15, (154, 162), (2.0, 2.6), (2.4, 3.3), tilt_sd=2.0, offset_sd=2.0),
}
"""Acquisition of each modality where each has a grid of its own."""

OWN_MOTION = MotionModel(shift=(0.5, 3.0), through=1.5, rotation_sd=2.0)
"""How the head lies differently in each acquisition: rigid, nothing inside a skull deforms."""

PET_WIDTH = 2.4
"""Standard deviation of PET's blur in mm (5.6 mm FWHM)."""


class BrainVolume(NamedTuple):
    """One modality of one subject."""

    image: NDArray[np.int16]  # (X, Y, Z), 0 outside the brain and nowhere else
    label: NDArray[np.uint8]  # (X, Y, Z), values of TUMOUR_LABELS
    grid: Grid
    motion: Motion


def make_brain_volumes(
    subject: int,
    seed: int = 0,
    *,
    modalities: Sequence[str] = BRAIN_SEQUENCES,
    healthy: bool = False,
    own_grids: bool = False,
    size: int | None = None,
) -> dict[str, BrainVolume]:
    """Modalities of one subject of the brain phantom.

    Args:
        subject: number of the subject, from 1.
        seed: seed of the phantom.
        modalities: keys of :data:`BRAIN_PROTOCOLS`.
        healthy: leave the tumour out.
        own_grids: see :func:`make_brain_phantom`.
        size: voxels from left to right (own grids: along the first axis), by default 80.

    Returns:
        Image, label and the truth about them, by modality.

    Raises:
        ValueError: unknown modality.

    Examples:
        >>> volumes = make_brain_volumes(1, modalities=["t1", "flair"], size=32)
        >>> {name: volume.image.shape for name, volume in volumes.items()}
        {'t1': (32, 40, 32), 'flair': (32, 40, 32)}
    """
    if unknown := [name for name in modalities if name not in BRAIN_PROTOCOLS]:
        raise ValueError(f"modalities must be among {list(BRAIN_PROTOCOLS)}, got {unknown}.")
    tumour = None if healthy else Tumour.draw(stream(seed, subject, "brain tumour"))
    anatomy = BrainAnatomy(BrainShape.draw(stream(seed, subject, "brain body"), tumour=tumour))
    plans = {name: _plan(name, subject, seed, own_grids, size) for name in modalities}
    volumes: dict[str, BrainVolume] = {}
    # what lies on one grid is looked up once
    groups = [[name] for name in modalities] if own_grids else [list(modalities)]
    for names in groups:
        grid, motion = plans[names[0]]
        draws = {name: stream(seed, subject, f"brain {name} scan") for name in names}
        signals = [BRAIN_TABLES[name].draw(draws[name], BRAIN_TISSUES) for name in names]
        present = np.arange(len(BRAIN_TISSUES)) > 0  # a further row: the share of each voxel that is brain
        rows = np.stack([*signals, present.astype(np.float32)])
        clean, label = render(anatomy, grid, motion, rows, subdivide=points_per_voxel(grid))
        brain = clean[-1] >= 0.5
        label = np.where(brain, label, np.uint8(0))
        for name, signal in zip(names, clean[:-1], strict=True):
            image = _scan(draws[name], name, signal, brain, grid, BRAIN_TABLES[name])
            volumes[name] = BrainVolume(image, label, grid, motion)
    return volumes


def _plan(name: str, subject: int, seed: int, own_grids: bool, size: int | None) -> tuple[Grid, Motion]:
    """Voxels of a modality and how the head lies in it."""
    size = SIZE if size is None else size
    if own_grids:
        grid = plan_volume(stream(seed, subject, f"brain {name} plan"), BRAIN_PROTOCOLS[name], np.array(MIDDLE), size)
    else:
        step = EXTENT[0] / size
        shape = [size, *(2 * int(np.ceil(extent / step / 2 - 1e-6)) for extent in EXTENT[1:])]
        grid = oblique_grid(MIDDLE, np.diag([-1.0, -1.0, 1.0]), [step] * 3, shape)
    motion = OWN_MOTION.draw(
        stream(seed, subject, f"brain {name} motion"),
        centre=np.array(MIDDLE),
        axes=grid.axes,
        slices=grid.shape[2],
        amount=float(own_grids),
    )
    return grid, motion


def _scan(
    rng: np.random.Generator,
    name: str,
    signal: NDArray[np.float32],
    brain: NDArray[np.bool_],
    grid: Grid,
    table: TissueTable,
) -> NDArray[np.int16]:
    """Image of the brain; what a tool for skull-stripping takes away is exactly 0, and nothing else is."""
    bias = 0.10
    if name == "pet":
        signal, bias = blur(signal, [PET_WIDTH / step for step in grid.spacing]), 0.04
    image = acquire(rng, signal, noise_sd=table.noise_sd, texture_sd=table.texture_sd, bias_strength=bias)
    return np.where(brain, np.maximum(image, 1), 0).astype(np.int16)


def make_brain_phantom(
    out_dir: str | os.PathLike[str],
    *,
    subjects: int = 12,
    test_subjects: int | None = None,
    folds: int = 4,
    modalities: Sequence[str] | None = None,
    pet: bool = False,
    healthy: bool = False,
    missing: float = 0.0,
    own_grids: bool = False,
    size: int | None = None,
    seed: int = 0,
) -> Path:
    """Write brains in several MR sequences, with a tumour that no single sequence shows in full, and their datalist.

    Use it to try methods that redraw, fuse or do without sequences before there are real data. Brains are skull-
    stripped as those of BraTS: the background is exactly 0. Folds, ventricles, size and the tumour are different in
    each subject. Labels are 1 necrosis, 2 oedema and 3 enhancing tumour: only T1Gd shows where tumour enhances, T2 and
    FLAIR where oedema ends, and T1 and FLAIR tell necrosis from it. Every sequence carries the label; the PET is a
    target to predict and carries none.

    Args:
        out_dir: folder to write; made as a whole or not at all. One that holds the same phantom is kept.
        subjects: number of subjects. A subject is the same brain however many are asked for, and in which sequences.
        test_subjects: how many of the last subjects are for testing, by default a third.
        folds: number of folds that the other subjects are dealt to.
        modalities: MR sequences of :data:`BRAIN_SEQUENCES`, as a list or in one string (``"t1,flair"``); by default
            all four, or t1 and t2 of healthy subjects.
        pet: give each subject an FDG-PET besides, modality ``"pet"``.
        healthy: no tumours, and so no labels.
        missing: probability with which each MR sequence of a subject is left out, but never all of them, in the
            training section alone; subjects for testing are complete, and a PET is never left out. What is left out
            is no item of the datalist.
        own_grids: give each modality its own spacing, orientation and slices, and the head a slightly different place
            (rigid), as in a hospital; labels are then true in each grid. By default all lie on one grid.
        size: voxels from left to right, by default 80 (volumes of 80 x 96 x 76 and 2 mm); 160 gives 1 mm. With own
            grids, voxels along the first axis.
        seed: seed of all random draws; equal seeds give equal bytes.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: an argument is out of its range.
        FileExistsError: ``out_dir`` has other content.

    Examples:
        >>> import tempfile
        >>> make_brain_phantom(tempfile.mkdtemp(), subjects=1, test_subjects=0, size=24).name
        'datalist.json'
    """
    if isinstance(modalities, str):
        modalities = modalities.replace(",", " ").split()
    sequences = list(modalities) if modalities is not None else ["t1", "t2"] if healthy else list(BRAIN_SEQUENCES)
    test_subjects = subjects // 3 if test_subjects is None else test_subjects
    unknown = [name for name in sequences if name not in BRAIN_SEQUENCES]
    if unknown or not sequences or len(set(sequences)) < len(sequences):
        raise ValueError(
            f"modalities must be different names out of {list(BRAIN_SEQUENCES)} (pet=True adds a PET), got {sequences}."
        )
    check_numbers(subjects=(subjects, 1), test_subjects=(test_subjects, 0), folds=(folds, 1), seed=(seed, 0))
    check_numbers(size=(SIZE if size is None else size, SMALLEST))
    if test_subjects > subjects:
        raise ValueError(f"test_subjects must be at most subjects={subjects}, got {test_subjects}.")
    if isinstance(missing, bool) or not isinstance(missing, int | float) or not 0 <= missing <= 1:
        raise ValueError(f"missing must lie in [0, 1], got {missing!r}.")
    for name, value in (("pet", pet), ("healthy", healthy), ("own_grids", own_grids)):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}.")
    parameters: dict[str, Any] = {
        "phantom": "brain",
        "version": VERSION,
        "modalities": sequences,
        "pet": pet,
        "healthy": healthy,
        "missing": missing,
        "own_grids": own_grids,
        "subjects": subjects,
        "test_subjects": test_subjects,
        "folds": folds,
        "size": size,
        "seed": seed,
    }
    every = [*sequences, "pet"] if pet else sequences

    make = partial(_write_subject, parameters, every)
    jobs = [(number,) for number in range(1, subjects + 1)]
    return write_phantom(out_dir, parameters, modalities=every, labels=TUMOUR_LABELS, jobs=jobs, make=make)


def _write_subject(parameters: Mapping[str, Any], every: Sequence[str], folder: Path, number: int) -> Made:
    """Write all modalities of a subject."""
    p = parameters
    section = "training" if number <= p["subjects"] - p["test_subjects"] else "test"
    absent = _absent(p["modalities"], number, p["seed"], p["missing"]) if section == "training" else []
    names = [name for name in every if name not in absent]
    made = Made(f"s{number:02d}", section, [], {"absent": absent, "label_ml": {}, "motion": {}})
    look = {key: p[key] for key in ("healthy", "own_grids", "size")}
    for name, volume in make_brain_volumes(number, p["seed"], modalities=names, **look).items():
        item = {"image": f"images/{made.subject}_{name}.nii.gz"}
        write_nifti(folder / item["image"], volume.image, volume.grid.affine)
        if not p["healthy"] and name != "pet":
            item["label"] = f"labels/{made.subject}{f'_{name}' if p['own_grids'] else ''}.nii.gz"
            if p["own_grids"] or not made.items:
                write_nifti(folder / item["label"], volume.label, volume.grid.affine)
            made.about["label_ml"][name] = millilitres(volume.label, volume.grid, TUMOUR_LABELS)
        if p["own_grids"]:
            made.about["motion"][name] = volume.motion.summary()
        made.items.append({**item, "modality": name, "subject": made.subject, "fold": (number - 1) % p["folds"]})
    return made


def _absent(sequences: Sequence[str], subject: int, seed: int, missing: float) -> list[str]:
    """Sequences that a subject lacks; each has a draw of its own, so that the others do not matter."""
    chance = {name: stream(seed, subject, f"brain {name} missing").uniform() for name in sequences}
    kept = max(sequences, key=lambda name: chance[name])
    return [name for name in sequences if chance[name] < missing and name != kept]
