# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What overrides of a study may not say: the study says it itself, and one of the two would not be kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from monai_mmseg.bundle.checks import ConfigError, check_ahead, known_names
from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.bundle.references import SEPARATOR
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
    _check_names(overrides, [method.bundle], where)


def check_shared_names(raw: Mapping[str, Any], methods: Iterable[Method]) -> None:
    """Check that the bundle of every method has what overrides of all trainings and evaluations set.

    Args:
        raw: keys of a study.
        methods: its own.

    Raises:
        StudyError: one has not, which would be found when it is trained.
    """
    scored = {one.bundle: None for one in methods if one.bundle}
    stages = {stage.bundle: None for one in methods for stage in one.stages}
    _check_names(raw.get("common", {}), [*scored, *stages], "common: ")
    _check_names(raw.get("evaluating", {}), scored, "evaluating: ")


def check_training(
    configs: Path, overlays: Sequence[str], overrides: Mapping[str, Any], evaluating: Mapping[str, Any] | None
) -> None:
    """Check names and values that a training and its evaluation will be given, before the first of either runs.

    Args:
        configs: folder of the configs of its bundle.
        overlays: names below it.
        overrides: of the training.
        evaluating: further ones of the evaluation; ``None`` where it is not scored.

    Raises:
        StudyError: listing what is wrong.
    """
    files = [str(configs / f"{name}.json") for name in ("train", *overlays)]
    try:
        if overrides:
            check_ahead(files, overrides)
        if evaluating:
            check_ahead([*files, str(configs / "evaluate.json")], {**overrides, **evaluating})
    except ConfigError as error:
        raise StudyError("; ".join(line.strip() for line in str(error).splitlines()[1:])) from error


def _check_names(overrides: Mapping[str, Any], bundles: Iterable[str], where: str) -> None:
    for bundle in bundles if overrides else ():
        known = known_names(bundles_folder() / bundle / "configs")
        for name in overrides:
            if (top := SEPARATOR.split(name)[0]) not in known:
                close = get_close_matches(top, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else "; give it to methods that have it ('overrides')."
                raise StudyError(f"{where}{name}: no config of bundles/{bundle} has {top!r}{hint}")


def _check_own(overrides: Mapping[str, Any], where: str) -> None:
    if name := next((name for name in OWN if name in overrides), ""):
        raise StudyError(f"{where}{name} is given by {OWN[name]} for each cell: leave it out.")


def _check_length(overrides: Mapping[str, Any], raw: Mapping[str, Any], where: str) -> None:
    given = next((name for name in ("budget", "steps") if name in raw), "")
    if given and (both := [name for name in LENGTH if name in overrides]):
        raise StudyError(f"{where}{', '.join(both)} and '{given}' both say how long to train: leave one of them out.")
