# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether weights may vote together: trained for the same classes, on images that were prepared alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.bundle.checks import ConfigError
from monai_mmseg.bundle.seen import SEEN, SHOWN, item_marks
from monai_mmseg.names import first_names
from monai_mmseg.runs.model_settings import read_settings

logger = logging.getLogger(__name__)

_KNOBS = (
    *("labels", "modalities", "target", "reference", "pixdim", "slice_axis"),
    *("intensity_percentiles", "intensity_mode", "ct_window", "background", "num_slices"),
)
_DEFINITIONS = ("intensity",)


def check_members(
    checkpoints: Sequence[str | os.PathLike[str]],
    weights: str | os.PathLike[str],
    items: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Refuse weights that mean other classes or images than those that they vote with; warn of what they have seen.

    When to use: before an ensemble runs. ``settings.json`` beside each file is read; where there is none, that is said.

    Args:
        checkpoints: files of the other weights.
        weights: file of the network's own.
        items: what is predicted.

    Raises:
        ConfigError: with what differs.

    Examples:
        >>> check_members([], "models/model.pt")
    """
    own = read_settings(Path(weights).parent)
    unknown: list[str] = []
    seen: dict[str, set[str]] = {}
    for path in checkpoints:
        other = read_settings(Path(path).parent)
        if not own or not other:
            unknown.append(str(path))
        elif wrong := _differences(own, other):
            raise ConfigError(
                f"sampled#checkpoints: {path} was trained otherwise than {weights}: {'; '.join(wrong[:3])}. Their "
                "probabilities cannot be averaged."
            )
        if trained := (other.get(SEEN) or {}).get("trained"):
            seen[str(path)] = set(trained)
    if unknown:
        logger.warning(
            "sampled#checkpoints: no settings.json beside %s: whether the classes and the preparation of images are "
            "those of %s was not checked.",
            first_names(unknown, 2),
            weights,
        )
    known = {str(one["subject"]): set(item_marks(one)) for one in items if "subject" in one} if seen else {}
    for path, those in seen.items():
        if subjects := [name for name, marks in known.items() if marks & those]:
            logger.warning(
                "sampled#checkpoints: %s was trained on %s: it is sure of them, and right, so what `mmseg quality` "
                "fits or finds on these subjects is too good.",
                path,
                first_names(subjects, SHOWN),
            )


def _differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    found = []
    for kind, names in (("knobs", _KNOBS), ("definitions", _DEFINITIONS)):
        mine, theirs = own.get(kind) or {}, other.get(kind) or {}
        found += [
            f"{name} {theirs[name]!r}, not {mine[name]!r}"
            for name in names
            if name in mine and name in theirs and mine[name] != theirs[name]
        ]
    return found
