# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Values of a config that cannot be meant, found before data are read.

``fire`` gives the text ``'false'`` for ``--resume false``, which counts as true; a misspelt choice or a rate of NaN
fails an hour later, or never. What a setting takes is known from its value in the base config, from the annotation of
the argument that it becomes, and from :mod:`monai_mmseg.bundle.ranges`.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from monai.bundle import ConfigParser

from monai_mmseg.bundle.ranges import is_number, is_whole, range_of
from monai_mmseg.bundle.references import is_plain, is_reference
from monai_mmseg.bundle.targets import argument_types

_NESTED = {"max_epochs", "batch_size", "num_workers", "lr", "sw_batch_size"}  # also where a component is given them
_WINDOWS = {"ScaleIntensityRange": ("a_min", "a_max"), "ScaleIntensityRangePercentiles": ("lower", "upper")}


class _Argument(NamedTuple):
    """An argument that some component of the config is given."""

    name: str  # id
    value: Any
    kinds: tuple[Any, ...]  # members of its annotation
    knob: str  # the setting that it is, or ""


def read_booleans(parser: ConfigParser, defaults: Mapping[str, Any]) -> list[str]:
    """Put true or false in the place of text that says so, and resolve the config anew.

    When to use: before anything is built. The text ``'false'`` of a command line counts as true.

    Args:
        parser: the config that runs.
        defaults: settings at the top of the base config.

    Returns:
        Ids that were changed.

    Examples:
        >>> parser = ConfigParser({"resume": "false", "name": "true"})
        >>> read_booleans(parser, {"resume": False, "name": "dafnet"}), parser["resume"], parser["name"]
        (['resume'], False, 'true')
    """
    config = parser.get()
    switches = {name for name in config if name == "amp" or isinstance(defaults.get(name), bool)}
    arguments = list(_arguments(config))
    switches |= {one.name for one in arguments if not is_reference(one.value) and _is_switch(one.kinds)}
    switches |= {one.knob for one in arguments if one.knob and _is_switch(one.kinds)}
    read = {name: value for name in sorted(switches) if (value := _boolean(parser.get(name))) is not None}
    for name, value in read.items():
        parser[name] = value
    if read:
        parser.parse(reset=True)
    return list(read)


def value_errors(parser: ConfigParser, defaults: Mapping[str, Any]) -> list[str]:
    """What is wrong with the values of the config that runs.

    Args:
        parser: the config, with overlays and overrides; :func:`read_booleans` comes first.
        defaults: settings at the top of the base config, which tell what kind of value is meant.

    Returns:
        One line for each value: its id, what is wanted and what was given.

    Examples:
        >>> parser = ConfigParser({"max_epochs": 1.5, "resume": "off", "momentum": 0.5})
        >>> for line in value_errors(parser, {"max_epochs": 5, "resume": False}):
        ...     print(line)
        max_epochs must be a whole number of at least 1, got 1.5.
        resume must be true or false, got 'off'.
    """
    config = parser.get()
    if not isinstance(config, dict):
        return []
    arguments = list(_arguments(config))
    found: dict[str, str] = {}
    for name in config:
        kinds = [one.kinds for one in arguments if one.knob == name]
        told = isinstance(defaults.get(name), bool | int | float | list) or name == "amp"
        if not (kinds or told or range_of(name)):
            continue
        known, value = _look(parser, name)
        if known and (problem := _problem(name, value, defaults, kinds)):
            found[name] = problem
    for one in arguments:
        if one.knob or is_reference(one.value):
            continue
        last = one.name.rpartition("#")[2]
        meant = range_of(last) if last in _NESTED else None
        if meant is not None and one.value is not None and not meant.takes(one.value):
            found[one.name] = f"must be {meant.wanted}, got {one.value!r}."
        elif problem := _not_among(one.value, one.kinds):
            found[one.name] = problem
    lines = [f"{name} {problem}" for name, problem in found.items()]
    return [*lines, *_window_errors(parser, set(found)), *_source_errors(parser)]


def _source_errors(parser: ConfigParser) -> list[str]:
    """A modality of the inference that the network does not know, which would be left out like one that is missing."""
    if "sources" not in parser or parser.get("sources") == "@modalities":
        return []
    try:
        sources, modalities = (parser.get_parsed_content(name) for name in ("sources", "modalities"))
    except Exception:  # what reads them will say what is wrong
        return []
    if isinstance(sources, list | tuple) and sources and all(name in modalities for name in sources):
        return []
    return [f"sources must be a list of some of {list(modalities)}, got {sources!r}."]


def _look(parser: ConfigParser, name: str) -> tuple[bool, Any]:
    """Whether the value of an id can be told without building anything, and the value."""
    content = _without_descriptions(parser.get(name))
    if isinstance(content, dict) and ("_target_" in content or not content):
        return False, None
    if not _mentions(content):
        return True, content
    if not is_plain(content, parser):
        return False, None
    try:
        return True, parser.get_parsed_content(name)
    except Exception:  # what reads it will say what is wrong with the expression
        return False, None


def _without_descriptions(content: Any) -> Any:
    """What is said, without what is said about it; a mapping that only holds a place for overlays is left out."""
    if not isinstance(content, dict) or "_target_" in content:
        return content
    parts = {key: _without_descriptions(one) for key, one in content.items() if key != "_desc_"}
    return {key: one for key, one in parts.items() if one != {}}


def _mentions(content: Any) -> bool:
    if isinstance(content, dict):
        return any(map(_mentions, content.values()))
    return any(map(_mentions, content)) if isinstance(content, list) else is_reference(content)


def _problem(name: str, value: Any, defaults: Mapping[str, Any], kinds: list[tuple[Any, ...]]) -> str | None:
    """What is wrong with a setting at the top of the config."""
    default = defaults.get(name)
    meant = range_of(name)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        open_to_none = (name in defaults and default is None) or any(type(None) in one or Any in one for one in kinds)
        if meant is not None:
            return None if open_to_none or meant.nullable else f"must be {meant.wanted}, got null."
        needed = isinstance(default, bool | int | float)
        return f"must be {_kind(default)}, got null." if needed and not open_to_none else None
    if name == "amp" or isinstance(default, bool):
        return None if isinstance(value, bool) else f"must be true or false, got {value!r}."
    if meant is not None:
        if meant.takes(value) or (isinstance(value, Mapping) and "_target_" in value):
            return None
        return f"must be {meant.wanted}, got {value!r}{_meant(value, meant.wanted)}"
    if problem := next(filter(None, (_not_among(value, one) for one in kinds)), None):
        return problem
    return _other_kind(value, default)


def _other_kind(value: Any, default: Any) -> str | None:
    """What is wrong with a value where the base config has another kind of value."""
    wrong = False
    if isinstance(default, int):
        wrong = not is_whole(value)
    elif isinstance(default, float):
        wrong = not is_number(value)
    elif isinstance(default, list):
        if isinstance(value, str):
            wrong = value.lstrip().startswith("[") or not any(isinstance(one, dict) for one in default)
        else:
            wrong = isinstance(value, bool | int | float)
    return f"must be {_kind(default)}, got {value!r}." if wrong else None


def _kind(default: Any) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return "a whole number"
    return "a number" if isinstance(default, float) else f"a list such as {default}"


def _not_among(value: Any, kinds: tuple[Any, ...]) -> str | None:
    """What is wrong with a value where the argument takes some choices only."""
    choices = [
        choice for kind in kinds if typing.get_origin(kind) is typing.Literal for choice in typing.get_args(kind)
    ]
    others = [kind for kind in kinds if typing.get_origin(kind) is not typing.Literal]
    if not choices or isinstance(value, list | tuple | dict) or any(value == one for one in choices):
        return None
    if Any in others or any(isinstance(kind, type) and isinstance(value, kind) for kind in others):
        return None
    also = "".join(" or a whole number" for kind in others if kind is int)
    wanted = ", ".join(map(repr, choices))
    return f"must be one of {wanted}{also}, got {value!r}{_meant(value, wanted)}"


def _meant(value: Any, wanted: str) -> str:
    """The closest of the words in quotes."""
    words = wanted.split("'")[1::2]
    close = difflib.get_close_matches(value, words, n=1) if isinstance(value, str) else []
    return f"; did you mean {close[0]!r}?" if close else "."


def _boolean(value: Any) -> bool | None:
    """What a text says; ``None`` if it is not true or false in words."""
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _is_switch(kinds: tuple[Any, ...]) -> bool:
    return bool in kinds and str not in kinds and Any not in kinds


def _arguments(config: Any, name: str = "") -> Iterator[_Argument]:
    """All arguments of all components, with what the library says about them."""
    if isinstance(config, dict):
        target = config.get("_target_")
        if name == "phantom" and target is None:  # arguments of the function that makes it
            target = f"monai_mmseg.phantom.make_{config.get('kind', 'heart')}_phantom"
        hints = argument_types(target) if isinstance(target, str) else {}
        for key, value in config.items():
            own = f"{name}#{key}" if name else str(key)
            if key in hints:
                knob = value[1:] if isinstance(value, str) and value[:1] == "@" and value[1:].isidentifier() else ""
                yield _Argument(own, value, _members(hints[key]), knob)
            yield from _arguments(value, own)
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from _arguments(value, f"{name}#{index}" if name else str(index))


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(member for one in typing.get_args(annotation) for member in _members(one))
    return (annotation,)


def _window_errors(parser: ConfigParser, reported: set[str]) -> Iterator[str]:
    """Windows of intensities that are empty or upside down."""
    for name, config in _components(parser.get()):
        kind = str(config["_target_"]).rpartition(".")[2].rstrip("d")
        if kind not in _WINDOWS:
            continue
        pair = [_look(parser, f"{name}#{key}") for key in _WINDOWS[kind] if key in config]
        if len(pair) < 2 or not all(known for known, _ in pair) or any(one in str(config) for one in reported):
            continue
        low, high = (value for _, value in pair)
        percent = kind.endswith("Percentiles")
        if not (is_number(low) and is_number(high) and low < high and (not percent or (low >= 0 and high <= 100))):
            yield f"{name} must have {' < '.join(_WINDOWS[kind])}{' in 0 .. 100' * percent}, got {low!r} and {high!r}."


def _components(config: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(config, dict) and "_target_" in config:
        yield name, config
    parts = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in parts:
        yield from _components(value, f"{name}#{key}" if name else str(key))
