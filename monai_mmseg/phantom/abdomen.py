# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The abdomen phantom: liver, kidneys and spleen in CT and MR of different patients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from monai_mmseg.data.label_sets import ABDOMEN_LABELS
from monai_mmseg.phantom.anatomy.abdomen import AbdomenAnatomy, AbdomenShape
from monai_mmseg.phantom.anatomy.torso import BODY_TISSUES, Torso
from monai_mmseg.phantom.artefacts import ARTEFACTS, scan
from monai_mmseg.phantom.ct_mr_tables import ABDOMEN_TABLES, inverse_table
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

__all__ = ["ABDOMEN_PROTOCOLS", "make_abdomen_phantom", "make_abdomen_volume"]

VERSION = 1
"""Part of the recorded parameters: a phantom of an older generator is not taken for the same."""

ABDOMEN_PROTOCOLS = {
    # from the lungs' lower ends to the kidneys' lower poles
    "ct": VolumeProtocol("LPS", (330, 400), 0.82, (225, 260), (0.9, 1.1), (3.0, 5.0), tilt_sd=0.8, offset_sd=6.0),
    # thick slices, counted from the head down, and a smaller field of view
    "mr": VolumeProtocol("RPI", (320, 370), 0.78, (215, 245), (1.3, 1.6), (7.0, 9.0), tilt_sd=2.5, offset_sd=8.0),
}
"""Acquisition of each modality."""

# No patient's organs are the smooth shapes that they are drawn as.
SHAPE = MotionModel(field_sd=4.0, field_wavelength=80.0)

INVERSE_WINDOW = (0.90, 1.25)
"""CT densities that become white and black in the inverse MR."""


def make_abdomen_volume(
    modality: str,
    subject: int,
    seed: int = 0,
    *,
    size: int | None = None,
    inverse: bool = False,
    artefact: str | None = None,
) -> UnpairedVolume:
    """One image of one patient of the abdomen phantom; a number is another patient in each modality.

    Args:
        modality: ``"ct"`` or ``"mr"``.
        subject: number of the patient, from 1.
        seed: seed of the phantom.
        size: voxels along the first axis, by default what the protocol's spacing gives.
        inverse: see :func:`make_abdomen_phantom`.
        artefact: one of :data:`~monai_mmseg.phantom.artefacts.ARTEFACTS` of the modality.

    Returns:
        Image, label and voxels.

    Raises:
        ValueError: unknown modality or artefact.

    Examples:
        >>> volume = make_abdomen_volume("mr", 1, size=24)
        >>> volume.image.shape[0], volume.image.shape == volume.label.shape, int(volume.label.max())
        (24, True, 4)
    """
    if modality not in ABDOMEN_PROTOCOLS:
        raise ValueError(f"modality must be one of {sorted(ABDOMEN_PROTOCOLS)}, got {modality!r}.")
    if artefact is not None and artefact not in ARTEFACTS[modality]:
        raise ValueError(f"artefact must be one of {list(ARTEFACTS[modality])} for {modality}, got {artefact!r}.")
    body = stream(seed, subject, f"abdomen {modality} body")
    torso = Torso.draw(body)
    shape = AbdomenShape.draw(body, torso)
    middle = np.array([0.0, 0.0, torso.dome - 100])
    protocol, table = ABDOMEN_PROTOCOLS[modality], ABDOMEN_TABLES[modality]
    if inverse and modality == "mr":
        table = inverse_table(ABDOMEN_TABLES["ct"], table, INVERSE_WINDOW)
    plan = plan_volume(stream(seed, subject, f"abdomen {modality} plan"), protocol, middle, size)
    warp = SHAPE.draw(body, centre=middle, axes=np.eye(3), slices=plan.shape[2])
    draws = stream(seed, subject, f"abdomen {modality} scan")
    signals = table.draw(draws, BODY_TISSUES)
    signal, label = render(AbdomenAnatomy(shape, torso), plan, warp, signals, subdivide=points_per_voxel(plan))
    metal = (0.0, torso.spine, float(middle[2]))  # screws in the spine
    image = scan(draws, modality, signal, plan, table, artefact=artefact, metal=metal)
    return UnpairedVolume(image, label, plan)


def make_abdomen_phantom(
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
    """Write abdomens in CT of some patients and MR of others, with a datalist.

    Use it to try methods for unpaired modalities without a download. CT and MR show different patients with their own
    field of view, slice thickness, orientation and law of intensity: in CT (portal-venous phase) liver, spleen,
    pancreas, bowel and vessels differ by less than the noise; in MR (T2, fat suppressed) the kidneys look like bowel
    and the order of the organs' brightness is another. Labels are true in each image's own grid.

    Args:
        out_dir: folder to write; made as a whole or not at all. One that holds the same phantom is kept.
        subjects: patients of each modality, by default 30 CT and 9 MR as in the paper. A patient is the same however
            many are asked for.
        test_subjects: how many of the last patients of each modality are for testing, by default a fifth.
        folds: number of folds that the other patients are dealt to; of 7, one holds a tenth of all patients.
        size: voxels along the first axis, by default what the protocol's spacing gives; 64 gives about
            64 x 52 x 42 (CT) and 64 x 50 x 29 (MR).
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
        >>> make_abdomen_phantom(tempfile.mkdtemp(), subjects={"ct": 1, "mr": 1}, test_subjects={}, size=24).name
        'datalist.json'
    """
    if not isinstance(inverse, bool):
        raise ValueError(f"inverse must be true or false, got {inverse!r}.")

    def make(modality: str, number: int, artefact: str | None) -> UnpairedVolume:
        return make_abdomen_volume(modality, number, seed, size=size, inverse=inverse, artefact=artefact)

    return write_unpaired(
        out_dir,
        name="abdomen",
        labels=ABDOMEN_LABELS,
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
