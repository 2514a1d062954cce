# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which numbers a setting can mean, by its name: one table for all bundles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from monai_mmseg.data.datalist import SECTIONS


@dataclass(frozen=True)
class Range:
    """What values a setting takes.

    Args:
        names: regular expression of the setting's name.
        wanted: the same in words, after "must be".
        holds: whether a number is right.
        entries: ``"none"``: the value is one number; ``"all"``: a list of such; ``"either"``: one or a list;
            ``"whole"``: the value is judged as it is.
        nullable: whether null has a meaning of its own.
    """

    names: str
    wanted: str
    holds: Callable[[Any], bool]
    entries: str = "none"
    nullable: bool = False

    def takes(self, value: Any) -> bool:
        """Whether a value is right.

        Args:
            value: as it stands in the config.

        Returns:
            True if it is.
        """
        if self.entries == "whole":
            return self.holds(value)
        if isinstance(value, Mapping) and self.entries != "none":
            return all(self.takes(one) for one in value.values())
        if isinstance(value, list | tuple) and self.entries != "none":
            return bool(value) and all(self.holds(one) for one in value)
        return self.entries != "all" and self.holds(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none.

    Args:
        value: any.

    Returns:
        True if it is.

    Examples:
        >>> is_number(1.5), is_number(True), is_number("1.5"), is_number(float("nan"))
        (True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(float(value))


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number.

    Args:
        value: any.

    Returns:
        True if it is.

    Examples:
        >>> is_whole(3), is_whole(3.0), is_whole(True)
        (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda value: is_whole(value) and value >= low


def _positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _not_negative(value: Any) -> bool:
    return is_number(value) and value >= 0


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _below_one(value: Any) -> bool:
    return is_number(value) and 0 <= value < 1


def _ascending(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(map(is_number, value))
        and low <= value[0] < value[1] <= high
    )


RANGES = (
    Range("section", f"one of {', '.join(map(repr, SECTIONS))}", lambda value: value in SECTIONS, "whole"),
    Range("num_slices", "an odd whole number of at least 1", lambda value: _whole(1)(value) and value % 2 == 1),
    Range("epoch_length", "a whole number of at least 1, or null", _whole(1), nullable=True),
    Range(
        "max_epochs|batch_size|val_interval|num_candidates|accumulation_steps|init_filters|pool|lr_decay_steps"
        r"|mask_discriminator_updates|\w+_channels|\w+_features",
        "a whole number of at least 1",
        _whole(1),
    ),
    Range(
        "sw_batch_size",
        "a whole number of at least 1, or 'auto'",
        lambda value: value == "auto" or _whole(1)(value),
        "whole",
    ),
    Range("num_workers|seed|random_shift|align_start|patience", "a whole number of at least 0", _whole(0)),
    Range("fold", "a whole number of at least 0, or a list of such", _whole(0), "either", nullable=True),
    Range("features|spatial_size", "a list of whole numbers of at least 1", _whole(1), "all"),
    Range("pixdim", "a list of positive numbers (mm)", _positive, "all", nullable=True),
    Range(
        r"learning_rate|\w+_learning_rate|lr|temperature|max_offset|anatomy_gain|output_std",
        "a positive number",
        _positive,
    ),
    Range("clip_norm", "a positive number, or one for each phase", _positive, "either"),
    Range(r"\w+_weight|weight_decay|l2_scale|margin|\w+_lr_factor", "a number of at least 0", _not_negative),
    Range("class_weights", "a list of numbers of at least 0", _not_negative, "all"),
    Range("loss_weights", "numbers of at least 0", _not_negative, "either"),
    Range("dropout", "a number of at least 0 and below 1", _below_one),
    Range("overlap", "numbers of at least 0 and below 1", _below_one, "either"),
    Range("lr_decay", "a number above 0 and at most 1", lambda value: _share(value) and value > 0),
    Range(r"\w+_prob|\w+_fraction|lr_hold|lr_final|momentum", "a number from 0 to 1", _share),
    Range(
        "intensity_percentiles",
        "two percentiles, low and high, with 0 <= low < high <= 100",
        lambda value: _ascending(value, 0, 100),
        "whole",
    ),
    Range(r"\w+_window", "two numbers, the lower one first", _ascending, "whole"),
)
"""The first one that has a setting's name counts."""


def range_of(name: str) -> Range | None:
    """What a setting of this name takes; ``None`` where the table has none.

    Args:
        name: last step of an id.

    Returns:
        The range.

    Examples:
        >>> range_of("kd_weight").takes(0.5), range_of("kd_weight").takes(-1)
        (True, False)
    """
    return next((one for one in RANGES if re.fullmatch(one.names, name)), None)
