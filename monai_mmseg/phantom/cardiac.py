# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The cardiac phantom: whole hearts in CT and MR of different patients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from monai_mmseg.data.label_sets import CARDIAC_LABELS
from monai_mmseg.phantom.anatomy.torso import BODY_TISSUES, Torso
from monai_mmseg.phantom.anatomy.whole_heart import CardiacAnatomy, CardiacShape
from monai_mmseg.phantom.artefacts import ARTEFACTS, scan
from monai_mmseg.phantom.ct_mr_tables import CARDIAC_TABLES, inverse_table
from monai_mmseg.phantom.motion import MotionModel
from monai_mmseg.phantom.scanner import render
from monai_mmseg.phantom.streams import stream
from monai_mmseg.phantom.unpaired import (
    UnpairedVolume,
    VolumeProtocol,
    plan_volume,
    points_per_voxel,
    write_unpaired,
)

__all__ = ["CARDIAC_PROTOCOLS", "make_cardiac_phantom", "make_cardiac_volume"]

VERSION = 1
"""Part of the recorded parameters: a phantom of an older generator is not taken for the same."""

CARDIAC_PROTOCOLS = {
    # axial slices of a helical scan
    "ct": VolumeProtocol("LPS", (195, 230), 1.0, (155, 175), (0.8, 1.0), (0.9, 1.2), tilt_sd=1.0, offset_sd=5.0),
    # sagittal slabs of a free-breathing 3-D scan, a little oblique, with a larger field of view
    "mr": VolumeProtocol("PIR", (220, 270), 0.96, (165, 185), (1.1, 1.4), (1.4, 1.9), tilt_sd=4.0, offset_sd=7.0),
}
"""Acquisition of each modality."""

# No patient's organs are the smooth shapes that they are drawn as.
SHAPE = MotionModel(field_sd=3.5, field_wavelength=75.0)

INVERSE_WINDOW = (0.85, 1.45)
"""CT densities that become white and black in the inverse MR."""


def make_cardiac_volume(
    modality: str,
    subject: int,
    seed: int = 0,
    *,
    size: int | None = None,
    inverse: bool = False,
    artefact: str | None = None,
) -> UnpairedVolume:
    """One image of one patient of the cardiac phantom; a number is another patient in each modality.

    Args:
        modality: ``"ct"`` or ``"mr"``.
        subject: number of the patient, from 1.
        seed: seed of the phantom.
        size: voxels along the first axis, by default what the protocol's spacing gives.
        inverse: see :func:`make_cardiac_phantom`.
        artefact: one of :data:`~monai_mmseg.phantom.artefacts.ARTEFACTS` of the modality.

    Returns:
        Image, label and voxels.

    Raises:
        ValueError: unknown modality or artefact.

    Examples:
        >>> volume = make_cardiac_volume("mr", 1, size=24)
        >>> volume.image.shape[0], volume.image.shape == volume.label.shape, int(volume.label.max())
        (24, True, 4)
    """
    if modality not in CARDIAC_PROTOCOLS:
        raise ValueError(f"modality must be one of {sorted(CARDIAC_PROTOCOLS)}, got {modality!r}.")
    if artefact is not None and artefact not in ARTEFACTS[modality]:
        raise ValueError(f"artefact must be one of {list(ARTEFACTS[modality])} for {modality}, got {artefact!r}.")
    body = stream(seed, subject, f"cardiac {modality} body")
    torso = Torso.draw(body)
    shape = CardiacShape.draw(body, torso)
    phase = float(body.uniform(0, 0.25))
    heart = shape.heart
    middle = heart.centre - heart.axes[:, 2] * heart.length / 2 + [0, 8, 5]
    protocol, table = CARDIAC_PROTOCOLS[modality], CARDIAC_TABLES[modality]
    if inverse and modality == "mr":
        table = inverse_table(CARDIAC_TABLES["ct"], table, INVERSE_WINDOW)
    plan = plan_volume(stream(seed, subject, f"cardiac {modality} plan"), protocol, middle, size)
    warp = SHAPE.draw(body, centre=middle, axes=np.eye(3), slices=plan.shape[2])
    draws = stream(seed, subject, f"cardiac {modality} scan")
    signals = table.draw(draws, BODY_TISSUES)
    signal, label = render(CardiacAnatomy(shape, torso, phase), plan, warp, signals, subdivide=points_per_voxel(plan))
    metal = (0.0, torso.spine, float(middle[2]))  # screws in the spine
    image = scan(draws, modality, signal, plan, table, artefact=artefact, metal=metal)
    return UnpairedVolume(image, label, plan)


def make_cardiac_phantom(
    out_dir: str | os.PathLike[str],
    *,
    subjects: Mapping[str, int] | None = None,
    test_subjects: Mapping[str, int] | None = None,
    folds: int = 7,
    size: int | None = None,
    seed: int = 0,
    inverse: bool = False,
    outliers: Mapping[str, int] | None = None,
) -> Path:
    """Write hearts in CT of some patients and MR of others, with a datalist.

    Use it to try methods for unpaired modalities without private data. CT and MR show different patients with their own
    field of view, voxels, orientation and law of intensity. Left atrium, ventricle and aorta hold the same blood, as do
    the unlabelled right heart, veins and the rest of the aorta; myocardium looks like muscle and liver. So where a
    structure is counts as much as how bright it is. Labels are true in each image's own grid.

    Args:
        out_dir: folder to write; made as a whole or not at all. One that holds the same phantom is kept.
        subjects: patients of each modality, by default 30 CT and 9 MR as in the paper. A patient is the same however
            many are asked for.
        test_subjects: how many of the last patients of each modality are for testing, by default a fifth.
        folds: number of folds that the other patients are dealt to; of 7, one holds a tenth of all patients.
        size: voxels along the first axis, by default what the protocol's spacing gives; 64 gives about
            64 x 64 x 48, in half a second.
        seed: seed of all random draws; equal seeds give equal bytes.
        inverse: make MR the opposite of CT: what is bright in one is dark in the other.
        outliers: further patients with artefacts, by modality, none by default; ``{"ct": 3}`` gives one each of metal,
            low dose and motion (MR: ghosts, low signal, shading). They are in a datalist of their own,
            ``outliers.json``, section ``test``, with ``{"meta": {"artefact": ...}}``.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: an argument is out of its range.
        FileExistsError: ``out_dir`` has other content.

    Examples:
        >>> import tempfile
        >>> make_cardiac_phantom(tempfile.mkdtemp(), subjects={"ct": 1, "mr": 1}, test_subjects={}, size=24).name
        'datalist.json'
    """
    if not isinstance(inverse, bool):
        raise ValueError(f"inverse must be true or false, got {inverse!r}.")

    def make(modality: str, number: int, artefact: str | None) -> UnpairedVolume:
        return make_cardiac_volume(modality, number, seed, size=size, inverse=inverse, artefact=artefact)

    return write_unpaired(
        out_dir,
        name="cardiac",
        labels=CARDIAC_LABELS,
        known=ARTEFACTS,
        subjects={"ct": 30, "mr": 9} if subjects is None else subjects,
        test_subjects=test_subjects,
        folds=folds,
        size=size,
        seed=seed,
        outliers=outliers,
        parameters={"version": VERSION, "inverse": inverse},
        make=make,
    )
