# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What overrides of a study may not say: the study says it itself, and one of the two would not be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_mmseg.study.methods import Method, StudyError

LENGTH = ("epoch_length", "max_epochs")
OWN = {
    "seed": "'seeds'",
    "fold": "'folds'",
    "dataset_dir": "'datalist'",
    "target": "'target'",
    "method": "the method's 'name'",
    "ckpt_dir": "--out",
    "output_dir": "--out",
    "resume": "the study, which goes on by itself",
}
"""Settings of every cell, and who gives them."""


def check_shared_overrides(raw: Mapping[str, Any]) -> None:
    """Check those of all trainings and of all evaluations.

    Args:
        raw: keys of a study.

    Raises:
        StudyError: they say what the study says.

    Examples:
        >>> check_shared_overrides({"common": {"seed": 7}})
        Traceback (most recent call last):
        monai_mmseg.study.methods.StudyError: common: seed is given by 'seeds' for each cell: leave it out.
    """
    for name in ("common", "evaluating"):
        _check_own(raw.get(name, {}), f"{name}: ")
    _check_length(raw.get("common", {}), raw, "common: ")


def check_method_overrides(overrides: Mapping[str, Any], method: Method, raw: Mapping[str, Any], where: str) -> None:
    """Check those of a method.

    Args:
        overrides: values by id.
        method: that they are given to.
        raw: keys of the study.
        where: begins the message.

    Raises:
        StudyError: they say what the study says, or nobody reads them.
    """
    if overrides and method.kind != "bundle":
        raise StudyError(f"{where}overrides are of bundles; baselines and programs have 'options'.")
    _check_own(overrides, where)
    _check_length(overrides, raw, where)


def _check_own(overrides: Mapping[str, Any], where: str) -> None:
    if name := next((name for name in OWN if name in overrides), ""):
        raise StudyError(f"{where}{name} is given by {OWN[name]} for each cell: leave it out.")


def _check_length(overrides: Mapping[str, Any], raw: Mapping[str, Any], where: str) -> None:
    given = next((name for name in ("budget", "steps") if name in raw), "")
    if given and (both := [name for name in LENGTH if name in overrides]):
        raise StudyError(f"{where}{', '.join(both)} and '{given}' both say how long to train: leave one of them out.")
