# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The short-axis heart phantom in bSSFP and LGE of different patients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.phantom.anatomy.heart import HeartAnatomy, HeartShape
from monai_mmseg.phantom.anatomy.thorax import Thorax
from monai_mmseg.phantom.heart import CINE_MOTION, LGE_MOTION, Protocol, plan_short_axis
from monai_mmseg.phantom.scanner import acquire, render
from monai_mmseg.phantom.streams import stream
from monai_mmseg.phantom.tissues import HEART_TABLES, HEART_TISSUES
from monai_mmseg.phantom.unpaired import UnpairedPhantom, UnpairedVolume

CMR_PROTOCOLS = {
    "bssfp": Protocol((1.25, 1.25), (8, 13), (0, 0), (300, 340), 1.0, (2, 14), CINE_MOTION, slices=(7, 13)),
    "lge": Protocol((0.75, 0.75), (5, 5), (0, 0), (340, 384), 1.0, (0, 12), LGE_MOTION, slices=(13, 20)),
}
"""Spacing and slices as in MS-CMRSeg: bSSFP 1.25 mm with slices of 8 to 13 mm, LGE 0.75 mm with slices of 5 mm."""

TABLES = {"bssfp": HEART_TABLES["cine"], "lge": HEART_TABLES["lge"]}


def make_cmr_volume(modality: str, subject: int, seed: int = 0, *, size: int | None = None) -> UnpairedVolume:
    """One image of one patient of the short-axis phantom; a number is another patient in each modality.

    Args:
        modality: ``"bssfp"`` or ``"lge"``.
        subject: number of the patient, from 1.
        seed: seed of the phantom.
        size: voxels along the first in-plane axis, by default what the protocol's spacing gives.

    Returns:
        Image, label and voxels.

    Raises:
        ValueError: unknown modality.

    Examples:
        >>> volume = make_cmr_volume("lge", 1, size=32)
        >>> volume.image.shape[:2], round(volume.grid.spacing[2])
        ((32, 32), 5)
    """
    if modality not in CMR_PROTOCOLS:
        raise ValueError(f"modality must be one of {sorted(CMR_PROTOCOLS)}, got {modality!r}.")
    body = stream(seed, subject, f"cmr {modality} body")
    thorax, shape = Thorax.draw(body), HeartShape.draw(body)
    protocol, table = CMR_PROTOCOLS[modality], TABLES[modality]
    plan = plan_short_axis(stream(seed, subject, f"cmr {modality} plan"), protocol, shape, size)
    moved = protocol.motion.draw(
        stream(seed, subject, f"cmr {modality} motion"), centre=shape.centre, axes=plan.axes, slices=plan.shape[2]
    )
    draws = stream(seed, subject, f"cmr {modality} scan")
    signals = table.draw(draws, HEART_TISSUES)
    signal, label = render(HeartAnatomy(shape, thorax, moved.phase), plan, moved, signals)
    return UnpairedVolume(acquire(draws, signal, noise_sd=table.noise_sd, texture_sd=table.texture_sd), label, plan)


CMR_PHANTOM = UnpairedPhantom(
    "cmr", 1, HEART_LABELS, dict.fromkeys(CMR_PROTOCOLS, ()), {"bssfp": 20, "lge": 20}, make_cmr_volume
)


def make_cmr_phantom(
    out_dir: str | os.PathLike[str],
    *,
    subjects: Mapping[str, int] | None = None,
    test_subjects: Mapping[str, int] | None = None,
    folds: int = 7,
    size: int | None = None,
    seed: int = 0,
) -> Path:
    """Write short-axis hearts in bSSFP of some patients and LGE of others, with a datalist.

    Use it where a method takes unpaired short-axis stacks; :func:`~monai_mmseg.phantom.make_heart_phantom` has
    both images of every patient. Hearts and intensities are as there, voxels and slice counts as in MS-CMRSeg.

    Args:
        out_dir: folder to write; made as a whole or not at all. One that holds the same phantom is kept.
        subjects: patients of each modality, by default 20 of each. A patient is the same however many are asked for.
        test_subjects: how many of the last patients of each modality are for testing, by default a fifth.
        folds: number of folds that the other patients are dealt to.
        size: voxels along the first in-plane axis, by default what the protocol's spacing gives (about 256 and 480).
        seed: seed of all random draws; equal seeds give equal bytes.

    Returns:
        Path of the datalist.

    Raises:
        ValueError: an argument is out of its range.
        FileExistsError: ``out_dir`` has other content.

    Examples:
        >>> import tempfile
        >>> make_cmr_phantom(tempfile.mkdtemp(), subjects={"lge": 1}, test_subjects={}, size=24).name
        'datalist.json'
    """
    return CMR_PHANTOM.write(out_dir, subjects, test_subjects, folds, size, seed)
