# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a datalist offers to methods, and what they may need of it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from monai_mmseg.data.borrowed import has_true_label
from monai_mmseg.data.datalist import Datalist, group_by_subject
from monai_mmseg.data.leaks import subjects_of_one_label
from monai_mmseg.study.methods import Method, StudyError

_WHOLE_LABELS = {"dafnet", "translation", "disentangle"}
MOSTLY = 0.5  # share of subjects that must have several modalities where pairs are needed


class Facts(NamedTuple):
    """Of the training section, and of the tested images.

    Examples:
        >>> bare = Facts(["cine", "lge"], "lge", "cine", {"cine": 3, "lge": 0}, 3, 3, {"cine": 2, "lge": 2})
        >>> NEEDS["target labels"](bare)
        'no training image of lge has a label'
    """

    modalities: list[str]
    target: str
    source: str  # "" where there is one modality
    labelled: Mapping[str, int]  # training images with a label
    subjects: int
    several: int  # subjects with several modalities
    tested: Mapping[str, int]  # labels of the test section; of the folds where there is none
    partly: bool = False  # whether labels show some classes only
    lent: int = 0  # subjects whose target image lacks a label that their source image has
    answered: int = 0  # tested subjects whose source and target have one label file
    contoured: int = 0  # tested subjects with a label of the source and an image of the target


def find_facts(listed: Datalist, target: str | None = None, source: str | None = None) -> Facts:
    """Facts of a datalist.

    Args:
        listed: with the sections training and test.
        target: modality to segment; ``None``: the datalist's own, else one without labels, else the last.
        source: the one that helps; ``None``: the first other one.

    Raises:
        StudyError: a modality is not there, or both are one.
    """
    target = target or _own_target(listed.path)
    for name, what in ((target, "target"), (source, "source")):
        if name is not None and name not in listed.modalities:
            raise StudyError(f"{what} must be one of {listed.modalities}, which {listed.path} has; got {name!r}.")
    training = listed.items("training")
    test = listed.sections.get("test") or training
    labelled, tested = (
        {m: sum(counts(item) for item in items if item["modality"] == m) for m in listed.modalities}
        for items, counts in ((training, lambda item: bool(item.get("label"))), (test, has_true_label))
    )
    bare = [name for name, count in labelled.items() if not count]
    chosen = target or (bare or listed.modalities)[-1]
    if chosen == source:
        raise StudyError(f"source and target must be two modalities, and {chosen} is the target: name another one.")
    others = [name for name in listed.modalities if name != chosen]
    groups = group_by_subject(training)
    several = sum(len(one["image"]) > 1 for one in groups)
    helping = source or (others[0] if others else "")
    partly = any(any(item.get("unknown", ())) for item in training)
    lent = sum(chosen in one["image"] and chosen not in one["label"] and helping in one["label"] for one in groups)
    answered = len(subjects_of_one_label(test, helping, chosen))
    contoured = sum(chosen in one["image"] and helping in one["label"] for one in group_by_subject(test))
    found = (listed.modalities, chosen, helping, labelled, len(groups), several, tested, partly, lent, answered)
    return Facts(*found, contoured)


NEEDS: Mapping[str, Callable[[Facts], str]] = {
    "two modalities": lambda f: "" if len(f.modalities) > 1 else f"there is one modality, {f.target}",
    "labels": lambda f: "" if any(f.labelled.values()) else "no training image has a label",
    "labels of each modality": lambda f: _lacking(f, f.modalities),
    "source labels": lambda f: _lacking(f, [f.source]) if f.source else "there is no source",
    "target labels": lambda f: _lacking(f, [f.target]),
    "labels to lend": lambda f: (
        "" if f.lent else f"no training image of {f.target} lacks a label that its {f.source} has"
    ),
    "pairs": lambda f: "" if f.several >= MOSTLY * f.subjects else "hardly any subject has several modalities",
    "one image or pairs": lambda f: NEEDS["pairs"](f) if len(f.modalities) > 1 else "",
    "source labels of tested": lambda f: _not_contoured(f),
    "own labels": lambda f: (
        f"{f.source} and {f.target} of {f.answered} tested subjects have one label file: its copy is the answer"
        if f.answered
        else ""
    ),
}
"""What a method may need: why a datalist does not offer it, or nothing."""


def _not_contoured(facts: Facts) -> str:
    if not facts.tested.get(facts.source):
        return f"no tested image of {facts.source} has a label"
    return "" if facts.contoured else f"no tested subject has a label of {facts.source} and an image of {facts.target}"


def _own_target(path: Path) -> str | None:
    found = json.loads(path.read_text(encoding="utf-8")).get("target")
    return found if isinstance(found, str) else None


def _lacking(facts: Facts, modalities: list[str]) -> str:
    names = [name for name in modalities if not facts.labelled.get(name)]
    return f"no training image of {' or '.join(names)} has a label" if names else ""


def refusal(method: Method, facts: Facts) -> str:
    """Why a method cannot be run on the data; an empty text if it can.

    Args:
        method: which.
        facts: of the data.
    """
    if method.package:
        package, _, extra = method.package.partition(" ")
        if importlib.util.find_spec(package) is None:
            return f"the package {package} is missing: pip install {extra or package}"
    if reason := next((reason for need in method.needs if (reason := NEEDS[need](facts))), ""):
        return reason
    bundles = {method.bundle, *(stage.bundle for stage in method.stages)}
    if facts.partly and (method.kind == "baseline" or bundles & _WHOLE_LABELS):
        return "labels show some classes only ('annotated'), and it would learn that the others are not there"
    one = method.kind == "baseline" or method.bundle == "dafnet" or method.redraws
    scored = [facts.target] if one else facts.modalities
    if not method.scores and not any(facts.tested.get(name) for name in scored):
        return f"no tested image of {' or '.join(scored)} has a label: nothing can be scored"
    return ""


def taken_away(aims: bool, method: Method, whole: Facts, facts: Facts) -> str:
    """Why a plain network that is to segment the target cannot: a setting took its labels away; empty if it can.

    It would segment another modality instead, with or without them alike.

    Args:
        aims: whether it is to segment the target.
        method: any.
        whole: of the data.
        facts: of what it reads.
    """
    return NEEDS["target labels"](facts) if aims and method.bundle == "unet" and whole.labelled[whole.target] else ""
