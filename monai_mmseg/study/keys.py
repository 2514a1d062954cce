# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Keys of a study's file and their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

from monai_mmseg.study.methods import StudyError


def check_keys(raw: Mapping[str, Any], known: Sequence[str] | Mapping[str, Any], where: str) -> None:
    """Check that keys are known, or comments.

    Args:
        raw: keys that were given.
        known: those that there are.
        where: begins the message.

    Raises:
        StudyError: one is not.

    Examples:
        >>> check_keys({"_why": "x", "label": {}}, ["labels"], "settings: a: ")
        Traceback (most recent call last):
        monai_mmseg.study.methods.StudyError: settings: a: key 'label' is unknown: did you mean 'labels'?
    """
    for key in raw:
        if key not in known and not key.startswith("_"):
            close = get_close_matches(key, list(known), 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}."
            raise StudyError(f"{where}key {key!r} is unknown: {hint}")


def check_types(raw: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    """Check the types of values; arguments and errors are those of :func:`check_keys`.

    Args:
        raw: keys that were given.
        known: type of each.
        where: begins the message.
    """
    for key, value in raw.items():
        wanted = known.get(key)
        if wanted is None:  # a comment
            continue
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise StudyError(f"{where}{key} must be of type {wanted.__name__}, got {value!r}.")


def flags(function: Callable[..., Any]) -> list[str]:
    """Keyword arguments of a function.

    Args:
        function: any.

    Examples:
        >>> flags(sorted)
        ['key', 'reverse']
    """
    return [one.name for one in signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY]
