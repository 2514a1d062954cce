# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The settings that a run was made with, out of its own config."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.checks import ALWAYS_KNOWN
from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.references import config_references, is_plain
from monai_mmseg.files import read_json

logger = logging.getLogger(__name__)

TRAINED = "@trained"
"""What a setting of ``inference.json`` refers to that comes with the weights."""
_NOT_OF_THE_MODEL = frozenset({"bundle_root", "ckpt_dir", "output_dir", "dataset_dir", "resume", "overwrite"})


class NotPlain(ValueError):
    """A definition depends on something that only a running config has."""


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
    return plain_settings(parser)


def model_settings() -> dict[str, Any]:
    """What inference and evaluation have to know of a model: knobs, definitions, and how the config came about.

    When to use: in ``train.json``, by way of :func:`~monai_mmseg.bundle.own_run`, which writes it beside the weights.
    Definitions are those of the components that the ``inference.json`` beside takes from the weights, with every value
    put in.

    Returns:
        ``bundle``, ``method``, ``knobs``, ``definitions``, ``overlays``, ``overrides``; empty outside of a config.

    Examples:
        >>> model_settings()
        {}
    """
    parser = resolving_parser()
    if parser is None:
        return {}
    knobs = plain_settings(parser)
    root = Path(str(knobs.get("bundle_root", ".")))
    overlays, overrides = _origin(parser, root)
    definitions = {}
    for name in trained_components(root):
        if name in parser:
            try:
                definitions[name] = plain_definition(parser, name)
            except NotPlain as error:
                logger.warning("%s is not recorded with the weights: %s", name, error)
    return {
        "bundle": root.resolve().name,
        "method": str(knobs.get("method", root.resolve().name)),
        "knobs": {name: value for name, value in knobs.items() if name not in _NOT_OF_THE_MODEL},
        "definitions": definitions,
        "overlays": overlays,
        "overrides": overrides,
    }


def plain_settings(parser: ConfigParser) -> dict[str, Any]:
    """Values for :func:`run_settings` of a config.

    Args:
        parser: the config.

    Returns:
        Values by id.
    """
    found = {}
    for name, content in parser.get().items():
        if name not in ALWAYS_KNOWN and not name.startswith("_") and is_plain(content, parser):
            try:
                value = parser.get_parsed_content(name)
            except Exception:  # a setting that nothing reads must not end the run that is recorded
                logger.warning("the setting %r could not be resolved: it is not recorded.", name)
                continue
            if is_json(value):
                found[name] = json.loads(json.dumps(value))
    return found


def plain_definition(parser: ConfigParser, name: str) -> Any:
    """A component as plain data: references to components are replaced by these, everything else by its value.

    Args:
        parser: the config.
        name: id of the component.

    Returns:
        JSON.

    Raises:
        NotPlain: an argument is an expression that needs more than settings.

    Examples:
        >>> config = ConfigParser({"size": [2], "act": {"_target_": "torch.nn.ReLU"},
        ...                        "net": {"_target_": "N", "act": "@act", "depth": "$len(@size)"}})
        >>> plain_definition(config, "net")
        {'_target_': 'N', 'act': {'_target_': 'torch.nn.ReLU'}, 'depth': 1}
    """
    return _plain_part(parser, parser[name], name, frozenset({name}))


def trained_components(root: Path) -> list[str]:
    """Ids of the components that a bundle's ``inference.json`` takes from the settings of the weights.

    Args:
        root: folder of the bundle.

    Returns:
        Ids.
    """
    content = config_content(root / "configs" / "inference.json")
    return [name for name, one in content.items() if isinstance(one, dict) and TRAINED in str(one.get("_target_", ""))]


def trained_knobs(root: Path) -> list[str]:
    """Ids of the settings that a bundle's ``inference.json`` takes from those of the weights.

    Args:
        root: folder of the bundle.

    Returns:
        Ids.
    """
    content = config_content(root / "configs" / "inference.json")
    return [name for name, one in content.items() if isinstance(one, str) and f"{TRAINED}.get(" in one]


def is_json(value: Any) -> bool:
    """Whether a value is JSON with text as keys."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(is_json(one) for one in value)
    return value is None or isinstance(value, str | int | float)


def config_content(path: Path) -> dict[str, Any]:
    """Entries of a config file; none if it is not there."""
    content: dict[str, Any] = read_json(path) if path.is_file() else {}
    return content


def _plain_part(parser: ConfigParser, value: Any, name: str, above: frozenset[str]) -> Any:
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key != "_desc_" and not _switched_by_weights(key, one)}
        return {key: _plain_part(parser, one, f"{name}#{key}", above) for key, one in kept.items()}
    if isinstance(value, list):
        return [_plain_part(parser, one, f"{name}#{place}", above) for place, one in enumerate(value)]
    if not isinstance(value, str) or value[:1] not in {"@", "$", "%"}:
        return value
    if value[0] == "@" and (target := value[1:].replace("::", "#")) not in above and target in parser:
        return _plain_part(parser, parser[target], target, above | {target})
    if not is_plain(value, parser):
        raise NotPlain(f"{name} is {value!r}, which needs more than settings.")
    names = [f"@{one}" for one in config_references(value)]
    found = _evaluated(parser, value, names)
    if not is_json(found):
        raise NotPlain(f"{name} is {value!r}, whose value {found!r} is no plain data.")
    return found


def _evaluated(parser: ConfigParser, expression: str, names: list[str]) -> Any:
    """Value of an expression of settings, resolved in a config that holds nothing else."""
    tops = {name[1:].partition("#")[0] for name in names}
    small = {key: one for key, one in parser.get().items() if key == "imports" or is_plain(one, parser) or key in tops}
    found = ConfigParser({**small, "_value_": expression}, globals=None).get_parsed_content("_value_")
    return list(found) if isinstance(found, tuple) else found


def _switched_by_weights(key: str, value: Any) -> bool:
    """Whether it switches off a part that the settings of the weights replace."""
    return key == "_disabled_" and isinstance(value, str) and TRAINED in value


def _origin(parser: ConfigParser, root: Path) -> tuple[list[str], dict[str, Any]]:
    """Overlays below ``configs`` that the config was made with, and plain overrides.

    The command line names them. Programs that merge by themselves do not say: of theirs, an overlay counts whose every
    entry is in the config, and an override is what neither the base nor an overlay has.
    """
    configs = root / "configs"
    command = parse_run_command(sys.argv)
    base = config_content(configs / "train.json")
    if command is not None and command.config_files:
        files = [Path(file).resolve() for file in command.config_files[1:]]
        known = [file for file in files if configs.resolve() in file.parents]
        overlays = [file.relative_to(configs.resolve()).with_suffix("").as_posix() for file in known]
        changed: Mapping[str, Any] = command.overrides
    else:
        places = [*sorted(configs.glob("demo.json")), *sorted(configs.glob("settings/*.json"))]
        found = {file: entries for file in places if (entries := _entries(config_content(file)))}
        used = [file for file, entries in found.items() if _holds(parser, entries) and not _holds_base(base, entries)]
        overlays = [file.relative_to(configs).with_suffix("").as_posix() for file in used]
        merged = {**base, **{key: one for file in used for key, one in found[file].items()}}
        changed = {key: one for key, one in parser.get().items() if key in base and merged.get(key) != one}
    overrides = {
        key.replace("::", "#"): value
        for key, value in changed.items()
        if key not in _NOT_OF_THE_MODEL and not key.startswith("_") and is_json(value) and not _refers(value)
        if not (isinstance(value, dict) and list(value) == ["_desc_"])
    }
    return overlays, overrides


def _entries(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in content.items() if not key.startswith(("_", "+"))}


def _holds(parser: ConfigParser, entries: Mapping[str, Any]) -> bool:
    return all(parser.get(key, _Nothing) == one for key, one in entries.items())


def _holds_base(base: Mapping[str, Any], entries: Mapping[str, Any]) -> bool:
    """Whether an overlay says only what the base says anyway."""
    return _holds(ConfigParser(dict(base)), entries)


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_refers(one) for one in value.values())
    if isinstance(value, list):
        return any(_refers(one) for one in value)
    return isinstance(value, str) and value[:1] in {"$", "@", "%"}


class _Nothing:
    """Stands for an id that is not there."""
