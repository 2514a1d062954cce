# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Ids of a config that resemble one it does not have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from typing import Any

from monai.bundle import ConfigComponent

from monai_mmseg.bundle.targets import accepted_arguments

_CUTOFF = 0.6  # difflib's own for close matches
_SHOWN = 3


def close_ids(name: str, config: Any, others: Iterable[str] = ()) -> list[str]:
    """Ids whose last steps resemble those of a name, the closest first.

    People misspell a step, or leave out the first ones: both are found, because steps are compared from the end. What a
    component takes without being given it counts as an id as well.

    Args:
        name: id that the config does not have.
        config: merged config.
        others: further names of one step.

    Returns:
        At most three ids; those that match in fewer steps than the best are left out.

    Examples:
        >>> config = {"train": {"trainer": {"max_epochs": 5}}, "max_epochs": 5}
        >>> close_ids("trainer#max_epoch", config)
        ['train#trainer#max_epochs']
        >>> close_ids("trainn::trainer::max_epochs", config)
        ['train#trainer#max_epochs']
    """
    steps = re.split(r"#|::", name)
    scored: dict[str, tuple[int, float, int]] = {}
    for there in (*_ids(config), *((other,) for other in others)):
        ratios: list[float] = []
        for mine, other in zip(reversed(steps), reversed(there), strict=False):
            ratio = 1.0 if mine == other else SequenceMatcher(None, mine, other).ratio()
            if ratio < _CUTOFF:
                break
            ratios.append(ratio)
        if ratios:
            score = (len(ratios), sum(ratios) / len(ratios), -abs(len(there) - len(steps)))
            scored["#".join(there)] = score
    if not scored:
        return []
    steps_found = max(score[0] for score in scored.values())
    best = {key: score for key, score in scored.items() if score[0] == steps_found}
    if steps_found < min(2, len(steps)):  # a last step alone is a weak hint: it must be nearly right
        best = {key: score for key, score in best.items() if score[1] > 0.8}
    return sorted(best, key=lambda key: best[key], reverse=True)[:_SHOWN]


def _ids(config: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    parts: dict[str, Any] = {}
    if isinstance(config, dict):
        parts = {
            str(key): value for key, value in config.items() if key not in ("_meta_", *ConfigComponent.non_arg_keys)
        }
        if isinstance(config.get("_target_"), str):
            parts = {**dict.fromkeys(accepted_arguments(config["_target_"]) or ()), **parts}
    elif isinstance(config, list):
        parts = {str(index): value for index, value in enumerate(config)}
    for key, value in parts.items():
        if not isinstance(config, list):
            yield (*above, key)
        yield from _ids(value, (*above, key))
