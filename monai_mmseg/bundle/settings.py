# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The settings that a run was made with, out of its own config."""

from __future__ import annotations

import logging
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.checks import ALWAYS_KNOWN, config_references
from monai_mmseg.bundle.parser import resolving_parser

logger = logging.getLogger(__name__)


def run_settings() -> dict[str, Any]:
    """Plain values at the top of the config that is being resolved: numbers, text, lists and the like.

    When to use: in a config, for the record of a run. Overlays and overrides are in it, wherever they come from: the
    command line, MONAI Label, ``MonaiAlgo`` or a script. Nothing is built for it: of expressions, those are resolved
    that refer to nothing but settings and call nothing of MONAI's or of this package.

    Returns:
        Values by id, in the order of the config; empty if no config is being resolved.

    Examples:
        >>> config = ConfigParser({
        ...     "imports": ["$import monai_mmseg"],
        ...     "sizes": [8, 16],
        ...     "depth": "$len(@sizes)",
        ...     "net": {"_target_": "torch.nn.Linear", "in_features": "@depth", "out_features": 1},
        ...     "settings": "$monai_mmseg.bundle.run_settings()",
        ... })
        >>> config["sizes"] = [8, 16, 32]
        >>> config.get_parsed_content("settings")
        {'sizes': [8, 16, 32], 'depth': 3}
    """
    parser = resolving_parser()
    if parser is None:
        logger.warning("run_settings() was called outside of a config: the run's settings are not recorded.")
        return {}
    found = {}
    for name, content in parser.get().items():
        if name not in ALWAYS_KNOWN and not name.startswith("_") and _is_plain(content, parser):
            try:
                value = parser.ref_resolver.get_resolved_content(name)
            except Exception:  # a setting that nothing reads must not end the run that is recorded
                logger.warning("the setting %r could not be resolved: it is not recorded.", name)
                continue
            if _is_json(value):
                found[name] = value
    return found


def _is_plain(content: Any, parser: ConfigParser, above: frozenset[str] = frozenset()) -> bool:
    """Whether resolving it builds no component and runs nothing of the library's."""
    if isinstance(content, dict):
        if "_target_" in content or list(content) == ["_desc_"]:  # a description alone holds the place of an id
            return False
        return all(_is_plain(value, parser, above) for value in content.values())
    if isinstance(content, list):
        return all(_is_plain(value, parser, above) for value in content)
    if not isinstance(content, str) or content[:1] not in {"@", "$", "%"}:
        return True
    names = {name.partition("#")[0] for name in config_references(content)}
    if "monai" in content or names & above or any(name not in parser for name in names):
        return False
    return all(_is_plain(parser[name], parser, above | names) for name in names)


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(_is_json(one) for one in value)
    return value is None or isinstance(value, str | int | float)
