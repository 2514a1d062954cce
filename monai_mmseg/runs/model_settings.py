# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``settings.json`` beside the weights: with what they were trained, as plain data.

=================  ===================================================================================
``run``            id of the run
``state``          ``"training"``, ``"trained"`` or ``"packed"``
``bundle``         name of the bundle, ``method`` that of the method
``knobs``          plain values of the settings at the top of the config, overlays and overrides in them
``definitions``    the network and the transforms that inference needs, with all values put in
``overlays``       names of the overlays below ``configs``, in their order
``overrides``      what the command line changed besides
``datalist``       name, path and fingerprint of the data
``class_volumes``  smallest and largest volume of each class in the labels of a training that has ended, mL
``left_out``       of a packed network of one modality: the others that it was trained beside
``versions``       of Python and the packages
=================  ===================================================================================

Nothing in the file is ever evaluated: text that a config would take for an expression or a reference is an error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_mmseg.files import write_json

SETTINGS = "settings.json"
FORMAT = "monai_mmseg.settings/1"


def read_settings(ckpt_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of the ``settings.json`` of a folder of weights; empty if there is none.

    Args:
        ckpt_dir: the folder.

    Returns:
        The content.

    Raises:
        ValueError: the file is broken, of another format, or holds an expression.

    Examples:
        >>> read_settings("no/such/folder")
        {}
    """
    path = Path(ckpt_dir) / SETTINGS
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no JSON file ({error}); it says how model.pt was trained.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{path} must have the format {FORMAT!r}, got {found!r}.")
    for part in ("knobs", "definitions"):
        if not isinstance(content.get(part, {}), dict):
            raise ValueError(f"{path}: {part} must be an object, got {type(content[part]).__name__}.")
        if found := _expression(content.get(part, {}), part):
            raise ValueError(f"{path} must hold plain values, got an expression at {found}: nothing of it is used.")
    return content


def write_settings(ckpt_dir: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write the ``settings.json`` of a folder of weights.

    Args:
        ckpt_dir: the folder.
        content: without the format.

    Returns:
        The path.
    """
    return write_json(Path(ckpt_dir) / SETTINGS, {"format": FORMAT, **content})


def _expression(value: Any, name: str) -> str | None:
    """Place of the first text that MONAI's configs would evaluate."""
    if isinstance(value, str):
        return name if value[:1] in {"$", "@", "%"} else None
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, one in parts if (found := _expression(one, f"{name}#{key}"))), None)
