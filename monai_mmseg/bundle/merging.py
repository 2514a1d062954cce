# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Overlays over a base config: where values go, and which settings are left without a reader."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.references import SEPARATOR, config_references


def merge_value(parser: ConfigParser, name: str, value: Any, *, extend: bool) -> None:
    """Set a value where MONAI would set it; an id without a place is left out.

    Args:
        parser: gets it.
        name: id, without ``+``.
        value: what to set.
        extend: add it to the list or mapping that is there.

    Examples:
        >>> parser = ConfigParser({"names": ["ct"]})
        >>> merge_value(parser, "names", ["mr"], extend=True)
        >>> merge_value(parser, "no#such#place", 1, extend=False)
        >>> parser["names"]
        ['ct', 'mr']
    """
    try:
        old = parser.get(name) if extend else None  # MONAI spends long on a message about an id that is not there
        if isinstance(old, list) and isinstance(value, list):
            parser[name] = old + copy.deepcopy(value)
        elif isinstance(old, dict) and isinstance(value, dict):
            parser[name] = {**old, **copy.deepcopy(value)}
        else:
            parser[name] = copy.deepcopy(value)
    except (KeyError, IndexError, ValueError):
        return


def idle_errors(sources: Sequence[tuple[str, Mapping[str, Any]]], overrides: Mapping[str, Any]) -> Iterable[str]:
    """Overrides of settings whose readers an overlay has replaced, such as the width of another network.

    An overlay that runs something else, such as the evaluation, is given what the training had.

    Args:
        sources: names of files and their contents, the base first; overrides have no name.
        overrides: values by id.

    Returns:
        A message for each.

    Examples:
        >>> sources = [("train.json", {"width": 8, "size": "@width"}), ("fixed.json", {"size": 4})]
        >>> list(idle_errors(sources, {"width": 2}))
        ['width: nothing reads it, for fixed.json replaces what did: leave it out.']
        >>> list(idle_errors(sources, {"width": 2, "size": "$2 * @width"}))
        []
    """
    if not overrides:
        return
    files = [one for one in sources if one[0] and (one is sources[0] or "run" not in one[1])]
    idle = idle_settings([content for _, content in files]) - config_references(list(overrides.values()))
    for name in overrides:
        if (top := SEPARATOR.split(name.removeprefix("+"))[0]) in idle:
            last = max(number for number in range(1, len(files)) if _drops(files, number, top))
            yield f"{name}: nothing reads it, for {files[last][0]} replaces what did: leave it out."


def _drops(files: Sequence[tuple[str, Mapping[str, Any]]], number: int, name: str) -> bool:
    before, now = (idle_settings([content for _, content in files[:end]]) for end in (number, number + 1))
    return name in now - before


def idle_settings(contents: Sequence[Mapping[str, Any]]) -> set[str]:
    """Settings that a base config reads and that nothing reads any more with the overlays over it.

    Args:
        contents: of the base, and of its overlays in the order of merging.

    Returns:
        Top-level ids.

    Examples:
        >>> base = {"width": 8, "net": {"_target_": "torch.nn.Linear", "in_features": "@width", "out_features": 1}}
        >>> idle_settings([base, {"net": {"_target_": "torch.nn.Identity"}}])
        {'width'}
        >>> idle_settings([base, {"net#out_features": 2}])
        set()
    """
    parser = ConfigParser(config={})
    for content in contents:
        for key, value in content.items():
            merge_value(parser, key.removeprefix("+"), value, extend=key.startswith("+"))
    read = {name for name in contents[0] if name in config_references(dict(contents[0]))}
    return read - config_references(parser.get())
