# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From the places of DICOM slices to one affine, or why they are no volume."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from monai_mmseg.transforms.dicom_headers import DicomSlice, Floats, number, text
from monai_mmseg.transforms.image_files import VolumeError, warn_once

_PARALLEL = 1e-3  # cosines are stored with six digits or so
_EVEN = 0.05  # of the distance of slices: how far one may lie from where it should
_ROUNDED = 0.1  # mm: positions are stored with one digit by some scanners
_TOLD = 0.5  # degrees of tilt; smaller ones are left over from rounding
_DIFFERENCES = (  # what tells volumes of one series apart
    *("EchoTime", "ImageType", "TriggerTime", "TemporalPositionIdentifier", "DiffusionBValue", "AcquisitionNumber"),
    "AcquisitionTime",
)


def stack_slices(slices: Sequence[DicomSlice], name: str) -> tuple[list[int], Floats]:
    """Order of the slices along their normal, and the affine that holds them all.

    Args:
        slices: pictures of one series, in any order.
        name: how to call it in messages.

    Returns:
        Places of the slices in the order of the volume, and the affine from ``(X, Y, Z)`` to mm (RAS+), ``(4, 4)``.

    Raises:
        VolumeError: if they differ in size, spacing or direction, if one is missing or twice there, or if they are not
            evenly spaced.
    """
    _check_alike(slices, name)
    first = slices[0]
    _check_placed(slices)
    right, down = _directions(first)
    normal = np.cross(right, down)
    positions = np.array([np.zeros(3) if one.position is None else one.position for one in slices])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    if len(slices) > 1:
        _check_steps([slices[k] for k in order], depth[order], name)
        step = (positions[order[-1]] - positions[order[0]]) / (len(slices) - 1)
        _check_one_image([slices[k] for k in order], name)
        _check_line([slices[k] for k in order], positions[order], step, name)
        _tell_tilt(step, normal, name)
        _tell_thinned([slices[k] for k in order], float(abs(step @ normal)), name)
    else:
        step = normal * (first.step if first.step and first.step > 0 else 1.0)
    spacing = first.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3] = np.stack([right * spacing[0], down * spacing[1], step, positions[order[0]]], axis=1)
    return [int(k) for k in order], np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # from LPS to RAS


def _check_placed(slices: Sequence[DicomSlice]) -> None:
    """Several slices need a place, a direction and a size; a picture alone may do without."""
    if len(slices) == 1:
        return
    lacks = {
        "position": "no position in the patient (ImagePositionPatient); slices have no order.",
        "orientation": "no direction in the patient (ImageOrientationPatient); slices could lie in any plane.",
        "spacing": "no size of its pixels (PixelSpacing).",
    }
    for name, what in lacks.items():
        if lost := next((one for one in slices if getattr(one, name) is None), None):
            raise VolumeError(f"{_called(lost)}: {what}")


def _called(one: DicomSlice) -> str:
    return f"{one.file} (frame {one.frame + 1})" if _many(one) else str(one.file)


def _short(one: DicomSlice) -> str:
    return f"frame {one.frame + 1} of {one.file.name}" if _many(one) else one.file.name


def _many(one: DicomSlice) -> bool:
    return int(one.header.get("NumberOfFrames") or 1) > 1


def _directions(one: DicomSlice) -> tuple[Floats, Floats]:
    cosines = np.array([1.0, 0, 0, 0, 1, 0]) if one.orientation is None else one.orientation
    right, down = cosines[:3], cosines[3:]
    products = np.array([right @ right, down @ down, right @ down])
    if not np.isfinite(cosines).all() or not np.allclose(products, [1, 1, 0], atol=2 * _PARALLEL):
        raise VolumeError(
            f"{_called(one)}: ImageOrientationPatient {cosines.tolist()} is no pair of perpendicular directions of "
            "length 1."
        )
    # what rounding left
    right = right / np.linalg.norm(right)
    down = down - right * (right @ down)
    return right, down / np.linalg.norm(down)


def _check_alike(slices: Sequence[DicomSlice], name: str) -> None:
    """One size, spacing, orientation and scale of values."""
    first = slices[0]
    for one in slices:
        if one.position is not None and not np.isfinite(one.position).all():
            raise VolumeError(f"{_called(one)}: ImagePositionPatient is {one.position.tolist()}.")
        if one.spacing is not None and not (np.isfinite(one.spacing).all() and min(one.spacing) > 0):
            raise VolumeError(f"{_called(one)}: PixelSpacing must be two positive numbers, got {one.spacing}.")
        sizes = [(int(each.header.Columns), int(each.header.Rows)) for each in (first, one)]
        if sizes[0] != sizes[1]:
            wanted, got = (f"{columns} x {rows} pixels" for columns, rows in sizes)
            _differ(first, one, "size", wanted, got, name)
        if not _close(first.spacing, one.spacing, 1e-3):
            _differ(first, one, "pixel spacing", str(first.spacing), str(one.spacing), name)
        if not _close(first.orientation, one.orientation, _PARALLEL):
            found = [None if each.orientation is None else each.orientation.tolist() for each in (first, one)]
            _differ(first, one, "orientation", str(found[0]), str(found[1]), name)
        given = [[key for key in ("RescaleSlope", "RescaleIntercept") if key in each.header] for each in (first, one)]
        if given[0] != given[1]:
            _differ(first, one, "scale of the values", str(given[0]), str(given[1]), name)
        if first.rescale != one.rescale:
            _differ(first, one, "scale of the values", str(first.rescale), str(one.rescale), name)


def _close(first: object, other: object, tolerance: float) -> bool:
    if first is None or other is None:
        return first is other
    return bool(np.allclose(np.asarray(first), np.asarray(other), rtol=0, atol=tolerance))


def _differ(first: DicomSlice, one: DicomSlice, what: str, wanted: str, got: str, name: str) -> None:
    scout = next((each for each in (one, first) if "LOCALIZER" in text(each.header, "ImageType").upper()), None)
    told = f" {_short(scout)} is a localizer; leave it out." if scout else ""
    raise VolumeError(
        f"{name}: the slices are no volume, since {_short(one)} has another {what} than {_short(first)}: {got}, not "
        f"{wanted}.{told}"
    )


def _check_steps(slices: Sequence[DicomSlice], depth: Floats, name: str) -> None:
    """Distances of neighbours, which are sorted: none twice there, none missing, all equal."""
    steps = np.diff(depth)
    if repeated := np.flatnonzero(steps < 1e-3).tolist():
        _refuse_repeated(slices, repeated, name)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    tolerance = max(_EVEN * usual, _ROUNDED)
    times = np.round(steps / usual)
    if (
        (np.abs(steps - times * usual) <= tolerance * np.maximum(times, 1)).all()
        and times.max() > 1
        and times.min() > 0
    ):
        gaps = np.flatnonzero(times > 1).tolist()
        a, b = _short(slices[gaps[0]]), _short(slices[gaps[0] + 1])
        more = f" (one of {len(gaps)} gaps)" if len(gaps) > 1 else ""
        raise VolumeError(
            f"{name}: {int((times - 1).sum())} slice(s) missing: {a} and {b} lie {steps[gaps[0]]:.4g} mm apart{more}, "
            f"others {usual:.4g} mm. Fetch the series again; stacked with a gap, slices would move."
        )
    even = depth[0] + np.arange(len(depth)) * (depth[-1] - depth[0]) / max(len(depth) - 1, 1)
    if (np.abs(steps - usual) > 2 * tolerance).any() or (np.abs(depth - even) > tolerance).any():
        worst = int(np.argmax(np.abs(steps - usual)))
        a, b = _short(slices[worst]), _short(slices[worst + 1])
        raise VolumeError(
            f"{name}: the slices are unevenly spaced, {steps.min():.4g} to {steps.max():.4g} mm apart ({a} and {b}: "
            f"{steps[worst]:.4g} mm). A volume has one distance; resample the series before, or leave slices out."
        )


def _refuse_repeated(slices: Sequence[DicomSlice], repeated: Sequence[int], name: str) -> None:
    first, second = slices[repeated[0]], slices[repeated[0] + 1]
    same = text(first.header, "SOPInstanceUID") == text(second.header, "SOPInstanceUID") != ""
    found = {key: sorted({text(one.header, key) for one in slices}) for key in _DIFFERENCES}
    told = [f"{key} ({', '.join(values[:4])})" for key, values in found.items() if 1 < len(values) < len(slices)]
    why = f"They differ in {', '.join(told[:2])}: give the files of one volume." if told else "Remove what is doubled."
    if same and not _many(first):
        why = "One of them is a copy: remove it."
    raise VolumeError(
        f"{name}: {_short(first)} and {_short(second)} lie at one place ({len(repeated)} of {len(slices)} slices "
        f"repeat another's position), so that the series is no single volume. {why}"
    )


def _check_one_image(slices: Sequence[DicomSlice], name: str) -> None:
    """Two images whose slices lie between each other are evenly spaced, too."""
    for key in ("DiffusionBValue", "TemporalPositionIdentifier"):
        if len(values := sorted({text(one.header, key) for one in slices})) > 1:
            raise VolumeError(
                f"{name}: the slices are of several images: their {key} is {', '.join(values[:4])}. Give the files of "
                "one."
            )
    acquired = [text(one.header, "AcquisitionNumber") for one in slices]
    kinds, changes = len(set(acquired)), sum(one != other for one, other in pairwise(acquired))
    if 1 < kinds < len(slices) and changes >= kinds:
        warn_once(
            f"{name}: slices of {kinds} acquisitions (AcquisitionNumber {', '.join(sorted(set(acquired))[:4])}) lie "
            "between each other: are they one image?"
        )


def _check_line(slices: Sequence[DicomSlice], positions: Floats, step: Floats, name: str) -> None:
    """Each slice where a straight line from the first to the last one puts it."""
    apart = np.linalg.norm(positions - positions[0] - np.arange(len(positions))[:, None] * step, axis=1)
    worst = int(np.argmax(apart))
    if apart[worst] > max(_EVEN * float(np.linalg.norm(step)), _ROUNDED):
        raise VolumeError(
            f"{name}: {_short(slices[worst])} is shifted by {apart[worst]:.3g} mm within its plane against the other "
            "slices; a volume cannot hold that."
        )


def _tell_tilt(step: Floats, normal: Floats, name: str) -> None:
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if tilt > _TOLD:
        warn_once(
            f"{name}: a gantry tilt of {tilt:.1f} degrees; slices stay as they were acquired, on a sheared affine, "
            "which programs that read the qform of a NIfTI file alone do not see.",
        )


def _tell_thinned(slices: Sequence[DicomSlice], step: float, name: str) -> None:
    """Every second slice of a series is evenly spaced, too."""
    header = slices[0].header
    told, thickness = (number(header, key) or 0.0 for key in ("SpacingBetweenSlices", "SliceThickness"))
    # some scanners write the gap instead, which is smaller than the slice
    if told > 0 and 0 < 0.99 * thickness <= told and round(step / told) > 1 and abs(step / told % 1 - 0.5) > 0.45:
        warn_once(
            f"{name}: the slices lie {step:.4g} mm apart, but their header says {told:.4g} mm: are all of them there?",
        )
        return
    counted = {abs(jump) for jump in np.diff([number(one.header, "InstanceNumber") or 0.0 for one in slices]).tolist()}
    # echoes that are numbered in turns leave gaps in the numbers alone, not in the body
    if len(counted) == 1 and (jump := counted.pop()) > 1 and thickness > 0 and abs(step / thickness / jump - 1) < 0.05:
        warn_once(
            f"{name}: the slices are {thickness:.4g} mm thick and lie {step:.4g} mm apart, and their InstanceNumber "
            f"grows by {jump:g}: are all of them there?",
        )
