# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the values of a config refer to, and which of them can be looked at without building anything."""

from __future__ import annotations

import re
from typing import Any

from monai.bundle import ConfigParser

SEPARATOR = re.compile(r"#|::")
"""Between the steps of an id."""

_REFERENCE = re.compile(r"[@%](?:#|::)*([A-Za-z_]\w*(?:(?:#|::)\w+)*)")


def config_references(config: Any) -> set[str]:
    """Normalised ids that some value of a config refers to, and their parents.

    Args:
        config: a config, a part of it or a single value.

    Returns:
        The ids.

    Examples:
        >>> sorted(config_references(["$2 * @train#size", "@seed"]))
        ['seed', 'train', 'train#size']
    """
    if isinstance(config, dict):
        return set().union(*(config_references(value) for value in config.values()))
    if isinstance(config, list):
        return set().union(*(config_references(value) for value in config))
    if not is_reference(config):
        return set()
    found = set()
    for name in _REFERENCE.findall(config):
        steps = SEPARATOR.split(name)
        found |= {"#".join(steps[: depth + 1]) for depth in range(len(steps))}
    return found


def is_reference(value: Any) -> bool:
    """Whether MONAI puts something else in the place of a value: a reference, an expression or a macro.

    Args:
        value: one of a config.

    Returns:
        True if it does.

    Examples:
        >>> is_reference("@seed"), is_reference("$2 * @seed"), is_reference("seed")
        (True, True, False)
    """
    return isinstance(value, str) and value[:1] in {"@", "$", "%"}


def is_plain(content: Any, parser: ConfigParser, above: frozenset[str] = frozenset()) -> bool:
    """Whether resolving a part of a config builds no component and runs nothing of MONAI's or of this package.

    Args:
        content: the part, as it stands in the config.
        parser: with the whole config.
        above: top-level ids that lead here, so that a circle ends.

    Returns:
        True if numbers, text and the like are all that comes of it.

    Examples:
        >>> parser = ConfigParser({"sizes": [8, 16], "net": {"_target_": "torch.nn.ReLU"}})
        >>> is_plain("$len(@sizes)", parser), is_plain("@net", parser)
        (True, False)
    """
    if isinstance(content, dict):
        if "_target_" in content or list(content) == ["_desc_"]:  # a description alone holds the place of an id
            return False
        return all(is_plain(value, parser, above) for value in content.values())
    if isinstance(content, list):
        return all(is_plain(value, parser, above) for value in content)
    if not is_reference(content):
        return True
    names = {name.partition("#")[0] for name in config_references(content)}
    own = content
    for call in ("bundle_root(", "content_settings("):  # where the bundle lies, what a file of settings says: settings
        own = own.replace(f"monai_mmseg.bundle.{call}", "")
    if "monai" in own or names & above or any(name not in parser for name in names):
        return False
    return all(is_plain(parser[name], parser, above | names) for name in names)
