# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The cardiac and the abdomen phantom: CT and MR of different patients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.data.label_sets import ABDOMEN_LABELS, CARDIAC_LABELS
from monai_mmseg.phantom.anatomy.abdomen import AbdomenAnatomy, AbdomenShape
from monai_mmseg.phantom.anatomy.torso import BODY_TISSUES, Torso
from monai_mmseg.phantom.anatomy.whole_heart import CardiacAnatomy, CardiacShape
from monai_mmseg.phantom.artefacts import ARTEFACTS, scan
from monai_mmseg.phantom.ct_mr_tables import ABDOMEN_TABLES, CARDIAC_TABLES, inverse_table
from monai_mmseg.phantom.motion import MotionModel
from monai_mmseg.phantom.scanner import Anatomy, render
from monai_mmseg.phantom.streams import stream
from monai_mmseg.phantom.tissues import TissueTable
from monai_mmseg.phantom.unpaired import (
    UnpairedPhantom,
    UnpairedVolume,
    VolumeProtocol,
    plan_volume,
    points_per_voxel,
)


class Part(NamedTuple):
    """What a part of the body looks like in CT and MR."""

    draw: Callable[[np.random.Generator, Torso], tuple[Anatomy, NDArray[np.float64]]]  # and its middle, mm (RAS+)
    protocols: dict[str, VolumeProtocol]
    tables: dict[str, TissueTable]
    window: tuple[float, float]  # CT densities that become white and black in the inverse MR
    warp: MotionModel  # no patient's organs are the smooth shapes that they are drawn as


def _draw_abdomen(rng: np.random.Generator, torso: Torso) -> tuple[Anatomy, NDArray[np.float64]]:
    return AbdomenAnatomy(AbdomenShape.draw(rng, torso), torso), np.array([0.0, 0.0, torso.dome - 100])


def _draw_heart(rng: np.random.Generator, torso: Torso) -> tuple[Anatomy, NDArray[np.float64]]:
    shape = CardiacShape.draw(rng, torso)
    phase = float(rng.uniform(0, 0.25))
    middle = shape.heart.centre - shape.heart.axes[:, 2] * shape.heart.length / 2 + [0, 8, 5]
    return CardiacAnatomy(shape, torso, phase), middle


PARTS = {
    "abdomen": Part(
        _draw_abdomen,
        {
            # from the lungs' lower ends to the kidneys' lower poles
            "ct": VolumeProtocol(
                "LPS", (330, 400), 0.82, (225, 260), (0.9, 1.1), (3.0, 5.0), tilt_sd=0.8, offset_sd=6.0
            ),
            # thick slices, counted from the head down, and a smaller field of view
            "mr": VolumeProtocol(
                "RPI", (320, 370), 0.78, (215, 245), (1.3, 1.6), (7.0, 9.0), tilt_sd=2.5, offset_sd=8.0
            ),
        },
        ABDOMEN_TABLES,
        (0.90, 1.25),
        MotionModel(field_sd=4.0, field_wavelength=80.0),
    ),
    "cardiac": Part(
        _draw_heart,
        {
            # axial slices of a helical scan
            "ct": VolumeProtocol(
                "LPS", (195, 230), 1.0, (155, 175), (0.8, 1.0), (0.9, 1.2), tilt_sd=1.0, offset_sd=5.0
            ),
            # sagittal slabs of a free-breathing 3-D scan, a little oblique, with a larger field of view
            "mr": VolumeProtocol(
                "PIR", (220, 270), 0.96, (165, 185), (1.1, 1.4), (1.4, 1.9), tilt_sd=4.0, offset_sd=7.0
            ),
        },
        CARDIAC_TABLES,
        (0.85, 1.45),
        MotionModel(field_sd=3.5, field_wavelength=75.0),
    ),
}


def make_ct_mr_volume(
    name: str,
    modality: str,
    subject: int,
    seed: int = 0,
    *,
    size: int | None = None,
    inverse: bool = False,
    artefact: str | None = None,
) -> UnpairedVolume:
    """One image of one patient of the abdomen or the cardiac phantom; a number is another patient in each modality.

    Args:
        name: ``"abdomen"`` or ``"cardiac"``.
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
        >>> volume = make_ct_mr_volume("cardiac", "mr", 1, size=24)
        >>> volume.image.shape[0], volume.image.shape == volume.label.shape, int(volume.label.max())
        (24, True, 4)
    """
    part = PARTS[name]
    if modality not in part.protocols:
        raise ValueError(f"modality must be one of {sorted(part.protocols)}, got {modality!r}.")
    if artefact is not None and artefact not in ARTEFACTS[modality]:
        raise ValueError(f"artefact must be one of {list(ARTEFACTS[modality])} for {modality}, got {artefact!r}.")
    body = stream(seed, subject, f"{name} {modality} body")
    torso = Torso.draw(body)
    anatomy, middle = part.draw(body, torso)
    table = part.tables[modality]
    if inverse and modality == "mr":
        table = inverse_table(part.tables["ct"], table, part.window)
    plan = plan_volume(stream(seed, subject, f"{name} {modality} plan"), part.protocols[modality], middle, size)
    warp = part.warp.draw(body, centre=middle, axes=np.eye(3), slices=plan.shape[2])
    draws = stream(seed, subject, f"{name} {modality} scan")
    signals = table.draw(draws, BODY_TISSUES)
    signal, label = render(anatomy, plan, warp, signals, subdivide=points_per_voxel(plan))
    metal = (0.0, torso.spine, float(middle[2]))  # screws in the spine
    return UnpairedVolume(scan(draws, modality, signal, plan, table, artefact=artefact, metal=metal), label, plan)


CT_MR_PHANTOMS = {
    name: UnpairedPhantom(name, 1, labels, ARTEFACTS, {"ct": 30, "mr": 9}, partial(make_ct_mr_volume, name))
    for name, labels in (("abdomen", ABDOMEN_LABELS), ("cardiac", CARDIAC_LABELS))
}


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
    abdomen = CT_MR_PHANTOMS["abdomen"]
    return abdomen.write(out_dir, subjects, test_subjects, folds, size, seed, outliers, inverse=inverse)


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
        out_dir: this and the others as for :func:`make_abdomen_phantom`.
        subjects: patients of each modality, by default 30 CT and 9 MR.
        test_subjects: how many of the last ones are for testing, by default a fifth.
        folds: number of folds.
        size: voxels along the first axis; 64 gives about 64 x 64 x 48, in half a second.
        seed: seed of all random draws.
        inverse: make MR the opposite of CT.
        outliers: further patients with artefacts, by modality.

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
    cardiac = CT_MR_PHANTOMS["cardiac"]
    return cardiac.write(out_dir, subjects, test_subjects, folds, size, seed, outliers, inverse=inverse)
