# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What no single file shows to be wrong, and what costs a training later: warnings and notes about a whole datalist."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from monai_mmseg.data.leaks import file_key
from monai_mmseg.names import counted, first_names
from monai_mmseg.preparation.arrangement import Arrangement, arrangement_warnings
from monai_mmseg.preparation.mask_files import is_mask
from monai_mmseg.preparation.volume_facts import VolumeFacts
from monai_mmseg.transforms.geometry import find_slice_axis, slice_normal, slice_pitch
from monai_mmseg.transforms.pair_slices import pair_slices

_CT_WORDS = {"ct", "cta", "ncct", "cect", "ldct", "hrct"}
_OUTLIER = 10.0  # times the median
_OTHER_SIZE = 1.5  # times the volume of the same organ in another modality


def by_modality(volumes: Iterable[VolumeFacts]) -> dict[str, list[VolumeFacts]]:
    """Images of each modality, in their order."""
    found: dict[str, list[VolumeFacts]] = defaultdict(list)
    for volume in volumes:
        found[volume.modality].append(volume)
    return dict(found)


def label_warnings(volumes: Sequence[VolumeFacts], labels: Mapping[int, str]) -> list[str]:
    """Classes that a label, or every label of a modality, lacks."""
    found = []
    labelled = [volume for volume in volumes if volume.label_ml is not None]
    for name in [name for value, name in labels.items() if value != 0] if labelled else []:
        if all(name in one.absent for one in labelled if name in (one.label_ml or ())):
            found.append(f"class {name!r} is declared and in no label")
            continue
        for modality, everything in by_modality(labelled).items():
            mine = [volume for volume in everything if name in (volume.label_ml or ())]
            # a label that is empty altogether is told for itself
            without = [volume.subject for volume in mine if name in volume.absent]
            partly = [one.subject for one in mine if name in one.absent and len(one.absent) < len(one.label_ml or ())]
            if len(without) == len(mine):
                found.append(f"class {name!r} is in no label of modality {modality!r}")
            elif partly:
                found.append(
                    f"class {name!r} is absent in {len(partly)} of {len(mine)} labels of modality {modality!r}: "
                    f"{first_names(partly)}"
                )
    return found


def size_warnings(volumes: Sequence[VolumeFacts]) -> list[str]:
    """Classes whose volume differs by more than a half between modalities in most subjects with both labels.

    An organ has one size, wherever it lies: the files have another order of classes, or not the same was drawn.
    """
    found = []
    own: dict[str, dict[str, VolumeFacts]] = defaultdict(dict)
    for volume in volumes:
        if volume.label_ml:
            own[volume.subject].setdefault(volume.modality, volume)
    for first, other in combinations(by_modality(volumes), 2):
        differing: dict[str, list[str]] = defaultdict(list)
        both = [
            (one[first].label_ml, one[other].label_ml, name)
            for name, one in own.items()
            if {first, other} <= one.keys()
        ]
        for one, two, subject in both:
            for name in (one or {}).keys() & (two or {}).keys():
                low, high = sorted((one[name], two[name]))  # type: ignore[index]
                if high > _OTHER_SIZE * low > 0:  # absent ones are told by themselves
                    differing[name].append(f"{subject}, {one[name]:.3g} and {two[name]:.3g} ml")  # type: ignore[index]
        most = {name: told for name, told in sorted(differing.items()) if 2 * len(told) > len(both)}
        if most and len(both) > 1:
            name, told = next(iter(most.items()))
            found.append(
                f"labels of modalities {first!r} and {other!r} of one subject differ by more than a half in the volume "
                f"of {first_names(map(repr, most))} (of {name!r} in {len(told)} of {len(both)} subjects, such as "
                f"{told[0]}): is the order of classes the same, and was the same drawn?"
            )
    return found


def mask_warnings(volumes: Sequence[VolumeFacts], values: Collection[int]) -> list[str]:
    """Images without a label that look like labels themselves: a name that was typed wrong made one an image."""
    return [
        f"{one.path} ({one.subject}, {one.modality}) looks like a label file: it has no label, and its values are "
        f"{first_names(one.values)}, as of labels. Is it the label of another image, its name typed wrong?"
        for one in volumes
        if is_mask(one.values, values)
    ]


def ct_warnings(volumes: Sequence[VolumeFacts]) -> list[str]:
    """Images of a modality called CT that are not in Hounsfield units, and single ones of another that look so.

    Fat is -100 and air -1000: no value below -50 means another scale, or that both were erased.
    """
    found = []
    for modality, mine in by_modality(volumes).items():
        if not _CT_WORDS.intersection(re.split(r"[^a-z]+", modality.lower())):
            airy = [volume for volume in mine if volume.low < -500]
            if 0 < len(airy) < len(mine):
                found.append(
                    f"modality {modality!r}: {len(airy)} of {len(mine)} images reach below -500, as air does in CT, "
                    f"such as {airy[0].path} with values {airy[0].low:.4g} to {airy[0].high:.4g}; are they of another "
                    f"modality? {first_names(volume.subject for volume in airy)}"
                )
            continue
        kinds: dict[str, list[VolumeFacts]] = defaultdict(list)
        for volume in mine:
            if volume.high - volume.low <= 50:
                kinds["normalised?"].append(volume)
            elif volume.low > -50:
                why = "scaled to 0..255?" if volume.high <= 255 else "stored with 1000 or 1024 added?"
                kinds["cut to a window?" if volume.low < 0 else why].append(volume)
        for why, those in kinds.items():
            one = those[0]
            found.append(
                f"modality {modality!r}: {len(those)} of {len(mine)} images are not in Hounsfield units, such as "
                f"{one.path} with values {one.low:.4g} to {one.high:.4g} ({why}): "
                f"{first_names(v.subject for v in those)}"
            )
    return found


def without_air(volumes: Sequence[VolumeFacts]) -> dict[str, list[VolumeFacts]]:
    """Images of each modality but CT, whose air scanners pad as they like."""
    return {
        modality: mine
        for modality, mine in by_modality(volumes).items()
        if not any(volume.low < -800 for volume in mine)
    }


def background_warnings(volumes: Sequence[VolumeFacts]) -> list[str]:
    """Modalities in which the background was erased in some images alone, or with another value."""
    warnings = []
    for modality, mine in without_air(volumes).items():
        erased = [volume for volume in mine if volume.background.constant]
        noisy = [volume for volume in mine if volume.background.constant is False]
        if erased and noisy:
            few, what = (erased, "an erased") if len(erased) <= len(noisy) else (noisy, "no erased")
            have, have_not = (("has" if len(those) == 1 else "have") for those in (erased, noisy))
            warnings.append(
                f"modality {modality!r}: {counted(len(erased), 'image')} {have} an erased background (constant on the "
                f"sides) and {len(noisy)} {have_not} not; was the skull or the air removed in some alone? "
                f"With {what} background: {first_names(volume.subject for volume in few)}"
            )
        values = Counter(volume.background.value for volume in erased)
        if len(values) > 1:
            usual = values.most_common(1)[0][0]
            others = [one for one in erased if one.background.value != usual]
            warnings.append(
                f"modality {modality!r}: the erased background is {usual:g} in {counted(values[usual], 'image')} and "
                f"{first_names(f'{one.background.value:g}' for one in others)} in {len(others)}: "
                f"{first_names(one.subject for one in others)}"
            )
    return warnings


def geometry_findings(volumes: Sequence[VolumeFacts]) -> tuple[list[str], list[str]]:
    """Warnings of voxels and sizes far from the others of their modality, and notes of how the files are stored."""
    warnings, notes = [], []
    for modality, mine in by_modality(volumes).items():
        for what, unit, measure in (("spacing", " mm", _oriented_spacing), ("size", "", _size)):
            values = np.array([measure(volume) for volume in mine], dtype=np.float64)
            usual = values[0] if len(mine) == 2 else np.median(values, axis=0)  # of two, none is the odd one
            for volume, value in zip(mine, values, strict=True):
                ratio = np.maximum(value / usual, usual / value)
                if (ratio >= _OUTLIER).any():
                    shown, other = (" x ".join(f"{number:.3g}" for number in one) for one in (value, usual))
                    which = "that of the other image" if len(mine) == 2 else f"the median of {len(mine)} images"
                    warnings.append(
                        f"{volume.path}: subject {volume.subject!r}, {modality}: {what} {shown}{unit}, {which} is "
                        f"{other}"
                    )
        straight = [volume for volume in mine if np.abs(slice_normal(volume.affine)).max() > 0.85]
        stored = Counter(volume.axes for volume in straight)
        planes = Counter(_plane(volume) for volume in straight)
        if len(planes) > 1:
            notes.append(f"modality {modality!r} has slices of several planes: {_counted(planes)}")
        if len(stored) > 1:
            notes.append(f"modality {modality!r} is stored with its axes in several orders: {_counted(stored)}")
    return warnings, notes


def _size(volume: VolumeFacts) -> Sequence[float]:
    return volume.lattice


def _oriented_spacing(volume: VolumeFacts) -> Sequence[float]:
    spacing: list[float] = np.linalg.norm(volume.affine[:3, :3], axis=0).tolist()
    return spacing


def _plane(volume: VolumeFacts) -> str:
    return ("sagittal", "coronal", "axial")[int(np.abs(slice_normal(volume.affine)).argmax())]


def _counted(values: Counter[str]) -> str:
    return ", ".join(f"{value} {count}" for value, count in values.most_common())


def copies(volumes: Sequence[VolumeFacts]) -> list[str]:
    """Images with the same voxels under two names."""
    same: dict[str, list[VolumeFacts]] = defaultdict(list)
    for volume in volumes:
        same[volume.digest].append(volume)
    found = []
    for mine in same.values():
        files = {file_key(volume.path): volume for volume in reversed(mine)}  # one file twice is an error already
        if len(files) > 1:
            first, *others = [volume for volume in mine if files[file_key(volume.path)] is volume]
            found += [
                f"{other.path} ({other.subject}, {other.modality}) has the voxels of {first.path} ({first.subject}, "
                f"{first.modality}): is it the same image?"
                for other in others
            ]
    return found


def split_findings(volumes: Sequence[VolumeFacts], modalities: Sequence[str]) -> tuple[list[str], list[str]]:
    """Warnings and notes on labels and folds of the training.

    Modalities without labels, folds without something to train or to score on. Of one subject alone, which cannot be
    split, all are notes.
    """
    training = [volume for volume in volumes if volume.section == "training"]
    if not training:
        return [], []
    labelled = _labelled(training)
    scored_on, what = (labelled, "labelled image") if labelled else (training, "image")
    warnings = []
    for name in modalities:
        mine = {volume.subject for volume in training if volume.modality == name}
        if not mine:
            warnings.append(f"modality {name!r} is declared and has no training image")
        elif labelled and not any(volume.modality == name for volume in labelled):
            others = dict.fromkeys(volume.modality for volume in labelled if volume.subject in mine)
            beside = f"; its subjects have labels of {', '.join(others)}" if others else ""
            warnings.append(f"modality {name!r} has no training image with a label{beside}")
    held_out = [volume for volume in volumes if volume.section == "validation"]
    if held_out:
        scored = {volume.modality for volume in (_labelled(held_out) if labelled else held_out)}
        lost = [name for name in modalities if name not in scored and any(v.modality == name for v in scored_on)]
        warnings += [f"section 'validation' holds no {what} of modality {name!r}" for name in lost]
    without = [volume.subject for volume in training if volume.fold is None]
    folds = sorted({volume.fold for volume in training if volume.fold is not None})
    notes = []
    if not folds and not held_out:
        notes.append("no folds, and no section 'validation': `mmseg data split` makes folds")
    elif folds and without:
        have = "has" if len(without) == 1 else "have"
        warnings.append(
            f"{counted(len(without), 'training image')} {have} no fold and others have one: {first_names(without)}"
        )
    elif len(folds) == 1 and not held_out:
        warnings.append(f"all training images are of fold {folds[0]}: where it is held out, none is left to train on")
    if len(folds) > 1:
        warnings += _fold_warnings(by_modality(scored_on), modalities, folds, what)
    single = len({volume.person for volume in training}) == 1
    return ([], warnings + notes) if single else (warnings, notes)


def _fold_warnings(
    counted: Mapping[str, Sequence[VolumeFacts]], modalities: Sequence[str], folds: Sequence[int], what: str
) -> list[str]:
    found = []
    for name in modalities:
        per_fold = Counter(volume.fold for volume in counted.get(name, ()))
        if not per_fold:
            continue
        if len(per_fold) == 1:
            fold = next(iter(per_fold))
            found.append(f"fold {fold} holds every {what} of modality {name!r}: held out, none is left to train on")
        if empty := [fold for fold in folds if not per_fold[fold]]:
            found.append(f"no {what} of modality {name!r} to validate on in fold {first_names(empty, 20)}")
    return found


def _labelled(volumes: Sequence[VolumeFacts]) -> list[VolumeFacts]:
    """Images with a label of their own, or on the grid of one of their subject that has one."""
    own: dict[str, list[VolumeFacts]] = defaultdict(list)
    for volume in volumes:
        if volume.label_ml is not None:
            own[volume.subject].append(volume)
    return [
        volume
        for volume in volumes
        if any(one.lattice == volume.lattice and np.allclose(one.affine, volume.affine) for one in own[volume.subject])
    ]


def pairing_findings(volumes: Sequence[VolumeFacts]) -> tuple[list[str], list[str], list[str]]:
    """Errors of tables of pairs, warnings of modalities that do not meet in the scanner, notes of slices that do not.

    Slices that are paired by hand may lie anywhere.
    """
    subjects: dict[str, list[VolumeFacts]] = defaultdict(list)
    for volume in volumes:
        subjects[volume.subject].append(volume)
    errors: list[str] = []
    warnings: list[str] = []
    notes: list[str] = []
    for subject, mine in subjects.items():
        for volume in mine:
            _check_tables(volume, mine, errors, warnings)
        first = mine[0]
        for other in mine[1:]:
            if other.modality in first.pairs or first.modality in other.pairs:
                continue  # paired by hand, wherever they lie
            alone = {one.modality: _without_partner(one, two) for one, two in ((first, other), (other, first))}
            if alone[first.modality] == first.lattice[2]:
                warnings.append(
                    f"subject {subject!r}: no slice of {other.modality} lies near a slice of {first.modality}; do the "
                    "files share scanner coordinates?"
                )
                continue
            notes += [
                f"subject {subject!r}: {alone[one.modality]} of {one.lattice[2]} {one.modality} slices have no "
                f"{two.modality} partner"
                for one, two in ((first, other), (other, first))
                if alone[one.modality]
            ]
    return errors, warnings, notes


def _without_partner(fixed: VolumeFacts, moving: VolumeFacts) -> int:
    """Slices of a volume that no slice of another is near."""
    center = ((fixed.lattice[0] - 1) / 2, (fixed.lattice[1] - 1) / 2)
    limit = 0.55 * max(slice_pitch(fixed.affine), slice_pitch(moving.affine))
    pairs = pair_slices(fixed.affine, fixed.lattice[2], moving.affine, moving.lattice[2], limit, center)
    return int((pairs.partner < 0).sum())


def _check_tables(volume: VolumeFacts, mine: Sequence[VolumeFacts], errors: list[str], warnings: list[str]) -> None:
    where = f"{volume.path}: 'pairs' of subject {volume.subject!r}, {volume.modality}:"
    for name, table in volume.pairs.items():
        partner = next((one for one in mine if one.modality == name), None)
        if partner is None:
            warnings.append(f"{where} the subject has no image of {name}, which the table pairs")
        slices = volume.lattice[2]
        theirs = None if partner is None else _slices_along(partner, slice_normal(volume.affine))
        beyond = [
            f"{key} -> {value}"
            for key, value in table.items()
            if int(key) >= slices or (theirs is not None and int(value) >= theirs)
        ]
        if beyond:
            sizes = f"0 to {slices - 1}" + ("" if theirs is None else f" and 0 to {theirs - 1}")
            errors.append(f"{where} slices to {name} must lie in {sizes}, got {first_names(beyond)}")


def _slices_along(volume: VolumeFacts, normal: Any) -> int:
    return volume.lattice[find_slice_axis(volume.affine, volume.lattice, "auto", normal)]


def all_findings(
    volumes: Sequence[VolumeFacts],
    modalities: Sequence[str],
    labels: Mapping[int, str],
    values: Collection[int] = (),
) -> tuple[list[str], list[str], list[str]]:
    """Errors, warnings and notes of everything above; `values` are further ones that labels have."""
    errors, warnings, notes = pairing_findings(volumes)
    warnings += [*label_warnings(volumes, labels), *size_warnings(volumes), *ct_warnings(volumes)]
    warnings += mask_warnings(volumes, {*labels, *values})
    places = [Arrangement(volume.modality, volume.subject, volume.centres) for volume in volumes if volume.centres]
    warnings += arrangement_warnings(places)
    warnings += background_warnings(volumes)
    warnings += copies(volumes)
    for more, told in (geometry_findings(volumes), split_findings(volumes, modalities)):
        warnings += more
        notes += told
    return errors, warnings, notes
