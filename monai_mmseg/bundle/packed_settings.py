# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The settings that lie beside the weights: read for a bundle that is packed, and written into it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.bundle.trained import PATHS
from monai_mmseg.runs.model_settings import SETTINGS

LEFT_OUT = "left_out"
"""Key of the settings of a network of one modality: the others that it was trained beside, which it does not take."""
_NO_KNOBS = ("multi_gpu_train",)
"""Overlays that say how a training runs, not what it makes; a packed bundle keeps their files."""
_STARTING = "settings/new_modality"
"""Overlay of a training that takes its network and images from other weights, and of its own ids what follows."""
_STARTED_BY = ("new_modality", "like", "freeze")


def training_overlays(settings: Mapping[str, Any], given: Sequence[str] | None) -> list[str]:
    """Overlays of the training, by name.

    Args:
        settings: content of the settings; may be empty.
        given: what was asked for, ``None`` for what the training had.

    Returns:
        Names below ``configs``, without ending, in the order of the training.

    Examples:
        >>> training_overlays({"overlays": ["demo", "multi_gpu_train"]}, None)
        ['demo']
        >>> training_overlays({"overlays": ["demo"]}, ["settings/film"])
        ['settings/film']
    """
    names = given or settings.get("overlays", ())
    return [name for name in names if name not in (*_NO_KNOBS, _STARTING)] if settings else list(names)


def training_overrides(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides of the training that mean the same on every machine.

    Args:
        settings: content of the settings; may be empty.

    Returns:
        Values by id, without paths.

    Examples:
        >>> training_overrides({"overrides": {"seed": 3, "stage_one": "/data/run/model.pt"}})
        {'seed': 3}
    """
    given = _without_paths(settings.get("overrides", {}))
    return {name: value for name, value in given.items() if name not in _STARTED_BY}


def started_definitions(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Components of a network that took in one more modality, which no overlay of its own training says.

    Args:
        settings: content of the settings; may be empty.

    Returns:
        Definitions by id, with that of the ``backbone``; none for another training.

    Examples:
        >>> network = {"_target_": "share_network", "network": {"_target_": "UNet"}}
        >>> settings = {"overlays": ["settings/new_modality"], "definitions": {"network_def": network}}
        >>> started_definitions(settings)["backbone"], started_definitions({**settings, "overlays": []})
        ({'_target_': 'UNet'}, {})
    """
    if _STARTING not in settings.get("overlays", ()):
        return {}
    found = dict(settings["definitions"])
    return {**found, "backbone": found["network_def"]["network"]}


def check_agreement(settings: Mapping[str, Any], overrides: Mapping[str, Any], folder: str | os.PathLike[str]) -> None:
    """Check that overlays and overrides say what the training said.

    Args:
        settings: content of the settings; may be empty.
        overrides: values by id.
        folder: where the settings lie, for the message.

    Raises:
        ValueError: a knob has another value.

    Examples:
        >>> check_agreement({"knobs": {"pixdim": [1, 1]}}, {"pixdim": [2, 2]}, "models")
        Traceback (most recent call last):
        ValueError: pixdim is [2, 2], but the weights were trained with [1, 1] (models/settings.json); leave it out.
    """
    for name, value in overrides.items():
        knobs = settings.get("knobs", {})
        if name in knobs and knobs[name] != value:
            raise ValueError(
                f"{name} is {value!r}, but the weights were trained with {knobs[name]!r} "
                f"({Path(folder).as_posix()}/{SETTINGS}); leave it out."
            )


def packed_settings(settings: Mapping[str, Any], modality: str | None) -> dict[str, Any]:
    """What a packed bundle says about its weights: overlays and overrides are in its configs now.

    It is made to be handed on, so it does not say where data and folders lay; name and fingerprint tell the data.

    Args:
        settings: content of the settings; empty settings stay empty.
        modality: the only one that is left, if it was taken out; the others stand under :data:`LEFT_OUT`.

    Returns:
        The content for the packed bundle.

    Examples:
        >>> packed_settings({"state": "trained", "overlays": ["demo"], "overrides": {}, "knobs": {}}, None)
        {'state': 'packed', 'overlays': [], 'overrides': {}, 'knobs': {}, 'merged': {'overlays': ['demo']}}
    """
    if not settings:
        return {}
    merged = dict(
        settings.get("merged") or {key: settings[key] for key in ("overlays", "overrides") if settings.get(key)}
    )
    packed = {**settings, "state": "packed", "overlays": [], "overrides": {}, "merged": merged}
    if merged.get("overrides"):
        merged["overrides"] = _without_paths(merged["overrides"])
    if settings.get("datalist"):
        packed["datalist"] = {key: value for key, value in settings["datalist"].items() if key != "path"}
    packed["knobs"] = _without_paths(settings.get("knobs", {}))
    if modality is not None:
        knobs = {key: value for key, value in packed["knobs"].items() if key != "separate"}
        packed["knobs"] = {**knobs, "modalities": [modality], "default_modality": modality}
        packed[LEFT_OUT] = [name for name in settings.get("knobs", {}).get("modalities", ()) if name != modality]
        packed["definitions"] = dict(settings.get("definitions", {}))
    return packed


def _without_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in PATHS}
