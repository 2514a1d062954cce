# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What kind of problem a data set poses, from five facts of its fingerprint, and which methods can take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_mmseg.names import counted

ONE, UNPAIRED, MISALIGNED = "one modality", "unpaired", "paired, misaligned"
COMPLETE, GAPS = "registered, complete", "registered, with gaps"

SHIFTED = 0.75  # of a step of in-plane spacing that the mean offset of a pair may reach where it counts as registered
ENOUGH = 0.5  # share of a modality's images with labels below which they are few
MOSTLY = 0.5  # share of subjects that must have several modalities for a data set of pairs
GAP = 0.02  # share of images that may be missing in a complete one

RANDOMISED = "unet_randomised"
PRETRAINED = "dafnet_pretrained"

METHODS: Mapping[str, str] = {
    "unet": "a plain network: registered modalities are its channels",
    "ummkd": "one network for unpaired modalities, slices",
    "ummkd_3d": "one network for unpaired modalities, volumes",
    "csa": "one network for unpaired modalities, their class affinities made alike, slices",
    "dafnet": "modalities of a subject that are not aligned, labels in some of them",
    PRETRAINED: "the same without a label of one: labels in random contrasts first, that one alone at test",
    "disentangle": "registered sequences of which some are missing, in two stages",
    RANDOMISED: "one plain network for all modalities, learned from those with labels in random contrasts",
}
"""Method to what it is for."""


class PlanError(ValueError):
    """Nothing is planned: the data do not allow what is asked for."""


@dataclass(frozen=True)
class Situation:
    """What kind of problem it is.

    Examples:
        >>> Situation("unpaired", ["ct", "mr"], {"ct": 3, "mr": 2}, {"ct": 3, "mr": 2}, [], [], "ct", {}).unlabelled
        []
    """

    name: str
    modalities: list[str]
    images: dict[str, int]  # of each modality
    labelled: dict[str, int]  # images with a label, of each modality
    missing: list[str]  # modalities that some subjects lack
    may_lack: list[str]  # that inference may have to do without
    target: str
    facts: dict[str, str]  # the five, in words
    partly: tuple[str, ...] = ()  # classes that some labels do not show
    held_out: tuple[str, ...] = ()  # modalities whose labels are all in fold 0, so that training has none
    few: tuple[str, ...] = ()  # modalities with labels in less than half of their images
    unwatched: tuple[str, ...] = ()  # modalities with labels, none of them in fold 0, which watches
    asked: bool = False  # somebody named the target
    bare_subjects: int = 0  # without any label

    @property
    def lender(self) -> str:
        """Modality whose masks could be registered to a misaligned target without a label that trains; else empty."""
        if self.name != MISALIGNED or not self.bare_target:
            return ""
        most = max((one for one in self.modalities if one != self.target), key=lambda one: self.labelled[one])
        return most if self.labelled[most] else ""

    @property
    def bare_target(self) -> bool:
        """Whether no label of the target trains."""
        return self.target in (*self.unlabelled, *self.held_out)

    @property
    def unlabelled(self) -> list[str]:
        """Modalities without any label."""
        return [name for name in self.modalities if not self.labelled[name]]


def find_situation(
    fingerprint: Mapping[str, Any], *, target: str | None = None, may_lack: Sequence[str] | None = None
) -> Situation:
    """Name the situation of a data set.

    Args:
        fingerprint: see :func:`~monai_mmseg.planning.fingerprint`.
        target: the modality to segment, where there is one; ``None``: one without labels, else the last.
        may_lack: modalities that new subjects may come without.

    Returns:
        The situation.

    Raises:
        PlanError: an unknown modality, or no label at all.

    Examples:
        >>> found = {"name": "a", "modalities": ["ct"], "pairs": [], "images": [], "labels": {"0": "background"},
        ...          "subjects": [{"subject": "s", "fold": 0, "images": ["ct"], "labelled": ["ct"]}]}
        >>> find_situation(found).name
        'one modality'
    """
    modalities = list(fingerprint["modalities"])
    for name in [*([target] if target else []), *(may_lack or ())]:
        if name not in modalities:
            raise PlanError(f"{name!r} is no modality with training images of {fingerprint['name']}: {modalities}.")
    subjects = fingerprint["subjects"]
    images = {name: sum(name in one["images"] for one in subjects) for name in modalities}
    labelled = {name: sum(name in one["labelled"] for one in subjects) for name in modalities}
    if not any(labelled.values()):
        raise PlanError(f"{fingerprint['name']}: no training image has a label, and every method learns from labels.")
    several = sum(len(one["images"]) > 1 for one in subjects)
    offset, shifted = _offset(fingerprint)
    lacking = [name for name in modalities if images[name] < (1 - GAP) * len(subjects)]
    if several < MOSTLY * len(subjects):
        lacking = []  # of different patients: nobody was to have them all
    if len(modalities) == 1:
        name = ONE
    elif several < MOSTLY * len(subjects):
        name = UNPAIRED
    elif shifted:
        name = MISALIGNED
    else:
        name = GAPS if lacking or may_lack else COMPLETE
    bare = [one for one in modalities if not labelled[one]]
    training = [one for one in subjects if one["fold"] != 0] or subjects
    trains = {name: sum(name in one["labelled"] for one in training) for name in modalities}
    held_out = tuple(one for one in modalities if labelled[one] and any(trains.values()) and not trains[one])
    few = tuple(one for one in modalities if labelled[one] < ENOUGH * images[one])
    watching = [one for one in subjects if one["fold"] == 0]
    unwatched = tuple(one for one in modalities if labelled[one] and not any(one in s["labelled"] for s in watching))
    wanted = target or (bare or held_out or modalities)[-1]
    facts = {
        "modalities": f"{several} of {len(subjects)} subjects have several of {', '.join(modalities)}",
        "alignment": f"images of a subject fit best {offset:.1f} mm from where they are"
        if offset is not None
        else "images of a subject do not meet"
        if shifted
        else "not compared: no subject has two",
        "labels": ", ".join(f"{one}: {labelled[one]} of {images[one]}" for one in modalities),
        "classes": _classes(fingerprint),
        "gaps": f"missing in training: {_counts(lacking, images, len(subjects))}; may be missing later: "
        f"{', '.join(may_lack or ()) or 'none'}",
    }
    partly = tuple(_partly(fingerprint))
    lack = list(may_lack or ())
    bare_subjects = sum(not one["labelled"] for one in subjects)
    seen = partly, held_out, few, unwatched if watching else (), bool(target), bare_subjects
    return Situation(name, modalities, images, labelled, lacking, lack, wanted, facts, *seen)


def _offset(fingerprint: Mapping[str, Any]) -> tuple[float | None, bool]:
    """Mean offset of pairs in mm, and whether it is too large for images that are registered."""
    found = [pair["offset"] for pair in fingerprint["pairs"] if pair["offset"] is not None]
    if not found:  # pairs that never meet are not registered either
        return None, bool(fingerprint["pairs"])
    spacing = float(np.median([np.mean(image["spacing"][:2]) for image in fingerprint["images"]]))
    mean = float(np.mean(found))
    return mean, mean > SHIFTED * max(spacing, 1.5)


def _counts(names: Sequence[str], images: Mapping[str, int], subjects: int) -> str:
    return ", ".join(f"{name} of {subjects - images[name]} subjects" for name in names) or "none"


def _partly(fingerprint: Mapping[str, Any]) -> dict[str, int]:
    """Classes that some labels do not show, and how many."""
    known = [one["label_voxels"] for one in fingerprint["images"] if one["label_voxels"] is not None]
    names = [name for value, name in fingerprint["labels"].items() if value != "0"]
    return {name: count for name in names if (count := sum(name not in one for one in known))}


def _classes(fingerprint: Mapping[str, Any]) -> str:
    """Which classes the labels of a modality never show."""
    names = [name for value, name in fingerprint["labels"].items() if value != "0"]
    total = sum(one["label_voxels"] is not None for one in fingerprint["images"])
    parts = [f"{name} is not annotated in {count} of {total} labels" for name, count in _partly(fingerprint).items()]
    for modality in fingerprint["modalities"]:
        counts = [one["label_voxels"] for one in fingerprint["images"] if one["modality"] == modality]
        known = [one for one in counts if one]
        if known and (never := [name for name in names if not any(one.get(name) for one in known)]):
            parts.append(f"{modality} never shows {', '.join(never)}")
    return "; ".join(parts) or "all modalities show the same classes"


def possible_methods(situation: Situation) -> dict[str, str]:
    """Why each method cannot take the situation; an empty text where it can.

    Args:
        situation: from :func:`find_situation`.

    Returns:
        Method to reason.

    Examples:
        >>> one = Situation("one modality", ["ct"], {"ct": 3}, {"ct": 3}, [], [], "ct", {})
        >>> [name for name, reason in possible_methods(one).items() if not reason]
        ['unet']
    """
    bare, several = situation.unlabelled, len(situation.modalities) > 1
    paired = situation.name not in (ONE, UNPAIRED)
    registered = situation.name in (COMPLETE, GAPS)
    if not several:
        lone = f"there is one modality, {situation.modalities[0]}"
        return {name: "" if name == "unet" else lone for name in METHODS}
    unpaired = f"it learns each modality from its own labels, and {' and '.join(bare)} has none" if bare else ""
    if situation.held_out and not bare:
        unpaired = (
            f"it learns each modality from its own labels, and all labels of {' and '.join(situation.held_out)} are in "
            "fold 0, which is held out: give some of these subjects another fold, or leave their labels out"
        )
    apart = "" if paired else "hardly any subject has several modalities"
    half = f"labels differ in the classes that they show ({', '.join(situation.partly)})" if situation.partly else ""
    off = "" if registered else apart or "the modalities of a subject are not aligned"
    return {
        "unet": off,
        "ummkd": unpaired,
        "ummkd_3d": unpaired,
        "csa": unpaired,
        "dafnet": apart or half,
        PRETRAINED: apart or half or ("" if situation.bare_target else f"labels of {situation.target} train"),
        "disentangle": off or half,
        RANDOMISED: "",
    }


def choose_method(
    situation: Situation, method: str | None = None, *, volumes: tuple[bool, str], ct: bool
) -> tuple[str, str]:
    """The method for a situation, and why.

    Args:
        situation: from :func:`find_situation`.
        method: one that is asked for; ``None``: the best one known.
        volumes: whether three-dimensional windows are affordable and sensible, and why.
        ct: whether CT is among the modalities.

    Returns:
        Name and reason.

    Raises:
        PlanError: a method that is asked for cannot take the situation, or none can.

    Examples:
        >>> one = Situation("one modality", ["ct"], {"ct": 3}, {"ct": 3}, [], [], "ct", {})
        >>> choose_method(one, volumes=(False, "thick slices"), ct=True)[0]
        'unet'
    """
    reasons = possible_methods(situation)
    fits = [name for name, reason in reasons.items() if not reason]
    if method is not None:
        if method not in METHODS:
            raise PlanError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
        if reasons[method]:
            other = f"possible: {', '.join(fits)}" if fits else "no method fits"
            raise PlanError(f"{method} cannot be trained on these data: {reasons[method]}; {other}.")
        return method, "asked for" + _unused(situation, method)
    chosen, reason = _chosen(situation, reasons, volumes, ct)
    return chosen, reason + _unused(situation, chosen)


def _chosen(situation: Situation, reasons: Mapping[str, str], volumes: tuple[bool, str], ct: bool) -> tuple[str, str]:
    """The best method known, and why."""
    if situation.name == ONE:
        kind = "volumes" if volumes[0] else "slices"
        return "unet", f"one modality, {situation.modalities[0]}: a plain network does it; {kind}, for {volumes[1]}"
    if situation.name == UNPAIRED and situation.unlabelled:
        return RANDOMISED, _without_labels(situation)
    if situation.name == UNPAIRED and reasons["ummkd"]:
        raise PlanError(f"ummkd, as csa, cannot be trained on these data: {reasons['ummkd']}; possible: {RANDOMISED}.")
    bare = situation.unlabelled or list(situation.held_out)
    if situation.name == MISALIGNED and bare:
        apart = f"modalities of a subject are not aligned, and {', '.join(bare)} has no label that trains"
        if not situation.bare_target:
            return "dafnet", f"{apart}: DAFNet learns from its images, too"
        known = " and ".join(one for one in situation.modalities if one not in bare)
        rivals = f"{RANDOMISED} unet_registered_masks {PRETRAINED}"
        return RANDOMISED, (
            f"{apart}: a plain network learns {known} in random contrasts: no misalignment enters. On phantoms it "
            "was ahead of DAFNet in minutes, level in more time with closer surfaces, far ahead where images lay far "
            "apart; masks that were registered once did better, as one true label does: "
            f"mmseg compare DATALIST --methods {rivals}"
        )
    if situation.name in (UNPAIRED, MISALIGNED):
        kind = "unpaired" if situation.name == UNPAIRED else "not aligned"
        if situation.name == MISALIGNED and situation.few:
            kind += f", few labels of {' and '.join(situation.few)}, of which one did more than borrowed on phantoms"
        drawn = f"labels in {_counted_labels(situation) or ('all modalities' if volumes[0] or ct else 'all')}"
        if volumes[0]:
            return "ummkd_3d", f"{kind}, {drawn}; volumes, for {volumes[1]}"
        if ct:
            return "ummkd", f"{kind} with CT, {drawn}; slices, for {volumes[1]}"
        return "csa", f"{kind}, {drawn}: class affinities guide each other; slices, for {volumes[1]}"
    if situation.name == COMPLETE:
        return "unet", "registered and complete, with labels: take a plain network with the modalities as channels"
    return "unet", (
        "registered with gaps: a plain network with the modalities as channels that learns to do without some; it did "
        "better than two stages of disentangling in the same time, unless the most telling sequence is missing"
    )


def _counted_labels(situation: Situation) -> str:
    """How many images of each modality have a label; empty where all of them have one."""
    images, labelled = situation.images, situation.labelled
    partly = any(labelled[one] < images[one] for one in situation.modalities)
    return " and ".join(f"{labelled[one]} of {images[one]} {one}" for one in situation.modalities) if partly else ""


def _unused(situation: Situation, method: str) -> str:
    """What a method does not train on, and what nothing watches, since labels are lacking; empty where none are."""
    if method == "unet":
        bare = situation.bare_subjects
        return f"; {counted(bare, 'subject')} without a label {'is' if bare == 1 else 'are'} not used" if bare else ""
    if method in ("dafnet", PRETRAINED, "disentangle"):
        return ""  # they learn from images without labels, too
    told = "; images without a label are not used" if _counted_labels(situation) else ""
    if unwatched := situation.unwatched:
        watched = [one for one in situation.modalities if situation.labelled[one] and one not in unwatched]
        told += (
            f"; no label of {' and '.join(unwatched)} is in fold 0, which validates: nothing watches it, validation "
            f"sees {' and '.join(watched) or 'nothing'} alone"
        )
    return told


def _without_labels(situation: Situation) -> str:
    """What can be done for a modality without labels of other patients, what cannot, and what would be better."""
    bare = " and ".join(situation.unlabelled)
    known = " and ".join(name for name in situation.modalities if situation.labelled[name])
    return (
        f"{bare} without labels, of other patients: a plain network learns {known} in random contrasts. Chosen and "
        f"validated without labels of {bare}; it bridges intensities, not another anatomy or field of view. "
        f"Better: four or more labels of {bare} (then ummkd), or both images of most patients (then dafnet)"
    )
