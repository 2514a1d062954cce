# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Configs of a packed bundle: overlays merged in, and plain values where the bundle asks the settings of a training."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.checks import ALWAYS_KNOWN
from monai_mmseg.bundle.references import config_references
from monai_mmseg.bundle.trained import NOT_OF_INFERENCE, OF_THE_MACHINE

_TRAINED = "trained"
"""Id under which inference and evaluation have the settings of the training."""
_WHOLE_REFERENCE = re.compile(r"@(\w+)")


def named(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Ids in MONAI's own spelling, without descriptions.

    Examples:
        >>> named({"a::b": 1, "_desc_": "why"})
        {'a#b': 1}
    """
    return {key.replace("::", "#"): value for key, value in changes.items() if not key.startswith("_")}


def merged(
    path: Path, changes: Mapping[str, Any], settings: Mapping[str, Any] | None = None, *, known_only: bool = False
) -> dict[str, Any]:
    """A config file with changes laid over it.

    Args:
        path: the file.
        changes: values by id.
        settings: of the training, whose values take the place of plain ones: modalities and labels come with the data.
        known_only: leave out ids that the file, an inference's, does not have.

    Returns:
        The content.
    """
    parser = ConfigParser()
    parser.read_config(str(path))
    for key, value in changes.items():
        if known_only and key not in parser and not isinstance(parser.get(key.rpartition("#")[0] or "-"), dict):
            continue
        parser[key] = value
    content: dict[str, Any] = parser.get()
    knobs, apart = (settings or {}).get("knobs", {}), NOT_OF_INFERENCE if known_only else OF_THE_MACHINE
    for name, value in content.items():
        if name in knobs and name not in apart and not _has_expression(value):
            content[name] = copy.deepcopy(knobs[name])
    return content


def _has_expression(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(_has_expression(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_expression(one) for one in value)
    return isinstance(value, str) and value[:1] in {"@", "$", "%"}


def resolved(content: Mapping[str, Any], name: str, root: str | Path) -> Any:
    """Value of a knob, its expression evaluated.

    Args:
        content: a config.
        name: top-level id.
        root: folder of the bundle.

    Examples:
        >>> resolved({"sizes": [4, 8], "last": "$@sizes[-1]"}, "last", ".")
        8
    """
    value = content[name]
    if not isinstance(value, str):
        return value
    return ConfigParser({**content, "bundle_root": str(root)}).get_parsed_content(name)


def inline_network(config: dict[str, Any]) -> None:
    """``network_def`` as a component of its own: MONAI Label sets arguments in it before references are resolved.

    Args:
        config: a config, which is changed.
    """
    network = config["network_def"]
    if isinstance(network, str) and network.startswith("@"):
        config["network_def"] = copy.deepcopy(config.pop(network[1:]))


def without_trained(
    inference: dict[str, Any], train: Mapping[str, Any], settings: Mapping[str, Any], modality: str | None
) -> dict[str, Any]:
    """Plain values and definitions where an inference config asks for the settings of the training.

    Args:
        inference: the config.
        train: the merged config of the training, which has the values where there are no settings.
        settings: of the training; may be empty.
        modality: the only one that is left, if it was taken out: its network is not that of the training.

    Returns:
        The config, without the id ``trained`` if nothing refers to it any more. Checks against the settings stay where
        there are settings.

    Examples:
        >>> config = {"trained": "$read(@ckpt_dir)", "size": "$@trained.get('size', 8)", "net": {"n": "@size"}}
        >>> without_trained(config, {"size": 4}, {}, None)
        {'size': 4, 'net': {'n': '@size'}}
    """
    content = dict(inference)
    knobs, definitions = settings.get("knobs", {}), settings.get("definitions", {})
    for name, value in inference.items():
        if name == _TRAINED or name in ALWAYS_KNOWN or not _asks(value):
            continue
        if isinstance(value, str) and name in knobs:
            content[name] = copy.deepcopy(knobs[name])
        elif name in definitions and not (modality is not None and name == "network_def"):
            content[name] = copy.deepcopy(definitions[name])
        elif name in train:
            content[name] = copy.deepcopy(train[name])
    for name in inference:  # after all: what a definition refers to may be taken from the training as well
        if content[name] is not inference[name]:
            content[name] = _known_references(content[name], content, train)
    if not settings and isinstance(content.get("initialize"), list):
        content["initialize"] = [one for one in content["initialize"] if not _asks(one)]
    if not any(_asks(value) for name, value in content.items() if name != _TRAINED):
        content.pop(_TRAINED, None)
    return content


def _asks(value: Any) -> bool:
    return any(name.partition("#")[0] == _TRAINED for name in config_references({"value": value}))


def _known_references(value: Any, content: Mapping[str, Any], train: Mapping[str, Any]) -> Any:
    """A definition of the training whose references inference lacks replaced by what they stand for."""
    if isinstance(value, dict):
        return {key: _known_references(one, content, train) for key, one in value.items()}
    if isinstance(value, list):
        return [_known_references(one, content, train) for one in value]
    match = _WHOLE_REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match and match[1] not in content and match[1] in train:
        return _known_references(copy.deepcopy(train[match[1]]), content, train)
    return value
