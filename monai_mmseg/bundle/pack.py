# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle and its overlays as one bundle, for tools that read ``train.json`` and ``inference.json`` only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from monai_mmseg.bundle.checks import check_overrides
from monai_mmseg.bundle.data_place import moved_data_place
from monai_mmseg.bundle.json_text import json_text
from monai_mmseg.bundle.pack_configs import (
    inline_network,
    merged,
    named,
    resolved,
    without_trained,
)
from monai_mmseg.bundle.pack_metadata import describe
from monai_mmseg.bundle.pack_weights import find_weights
from monai_mmseg.bundle.packed_settings import (
    check_agreement,
    packed_settings,
    started_definitions,
    training_overlays,
    training_overrides,
)
from monai_mmseg.bundle.settings import plain_definition, trained_knobs
from monai_mmseg.bundle.weights_fit import check_fit, read_weights
from monai_mmseg.evaluation.quality import CALIBRATION
from monai_mmseg.files import atomic_folder, read_json, write_json
from monai_mmseg.networks.layers import specialize
from monai_mmseg.runs.model_settings import SETTINGS, read_settings

_ONE_MODALITY = "one_modality"
"""Overlay of bundles whose network serves several modalities: the plain network of one of them."""
_KEPT = ("LICENSE", "docs", "configs/logging.conf", "configs/multi_gpu_train.json", "configs/evaluate.json")


def pack_bundle(
    bundle: str | Path,
    out: str | Path,
    *,
    overlays: Sequence[str] | None = None,
    model: str | Path | None = None,
    modality: str | None = None,
    no_model: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained bundle: overlays merged into its configs, weights and their settings beside them.

    Use it to serve what was trained with overlays in MONAI Label, NVIDIA FLARE or MONAI Deploy, which read
    ``train.json`` and ``inference.json`` and nothing else. Settings that inference does not have stay out of it.

    Args:
        bundle: folder of the bundle.
        out: folder to write; must not exist. It appears when it is whole.
        overlays: files below ``configs``, without ending, in the order of the training, e.g. ``["demo"]``; by default
            those that ``settings.json`` beside the weights names.
        model: weights to put into ``models/model.pt``; by default those of the bundle.
        modality: of a network for several modalities, pack the plain network of this one
            (:func:`~monai_mmseg.networks.layers.specialize`), with its part of the weights. What comes out knows no
            modalities, at inference and in training.
        no_model: pack no weights.
        overrides: further ids and values.

    Returns:
        ``out``.

    Raises:
        FileExistsError: if ``out`` exists.
        FileNotFoundError: if a config or the weights are missing.
        ConfigError: if an overlay or override names what the bundle does not have.
        ValueError: if the bundle does not have that modality, its network cannot be specialised, the weights are those
            of another network or no numbers, or they were trained with other settings.

    Examples:
        Weights of the demo, in a bundle that MONAI Label can serve (``mmseg bundle pack`` does the same)::

            pack_bundle("bundles/dafnet", "served/dafnet")
            pack_bundle("bundles/ummkd", "served/heart_mr", modality="mr")
            pack_bundle("bundles/dafnet", "served/older", overlays=["demo", "settings/target_0"], model="older.pt")
    """
    source, target, given = Path(bundle), Path(out), dict(overrides or {})
    if target.exists():
        raise FileExistsError(f"out must not exist, but {target} is there.")
    base, inference_file, metadata_file = (
        source / "configs" / f"{name}.json" for name in ("train", "inference", "metadata")
    )
    _check_there([base, inference_file, metadata_file])
    weights = find_weights(source, model, no_model)
    settings = {} if weights is None else read_settings(weights.parent)
    names = training_overlays(settings, overlays)
    files = [base, *(source / "configs" / f"{name}.json" for name in names)]
    _check_there(files)
    check_overrides([str(path) for path in files], given)

    changes: dict[str, Any] = {}
    for path in files[1:]:
        changes.update(read_json(path))
    changes.update({**started_definitions(settings), **training_overrides(settings), **given})
    if weights is not None:
        check_agreement(settings, _said(changes, merged(base, named(changes)), source), weights.parent)
    everything = merged(base, named(changes), settings)
    if modality is not None:
        changes.update(_one_modality(source, modality, resolved(everything, "modalities", source)))
    state = None if weights is None else _checked_weights(everything, weights, modality)
    settings = packed_settings(settings, modality)
    train = merged(base, named(changes), settings)
    if settings and modality is not None:
        settings["definitions"]["network_def"] = plain_definition(ConfigParser(dict(train)), "network_def")
    inference = without_trained(
        merged(inference_file, named(changes), settings, known_only=True), train, settings, modality
    )
    # what the weights know is no default any more, which a datalist would replace
    if isinstance(train.get("initialize"), list):
        train["initialize"] = [
            re.sub(r"check_data\((?:every=False(?:, )?)?", "check_data(fixed=True, ", one).replace(", )", ")")
            for one in map(str, train["initialize"])
        ]
    for config in (train, inference):
        config["bundle_root"] = f"$monai_mmseg.bundle.bundle_root('bundles/{target.name}')"
        config.pop("_meta_", None)
        if "dataset_dir" in config:
            config["dataset_dir"] = moved_data_place(config["dataset_dir"], source, target)
        inline_network(config)
    if weights is not None:
        _check_inference(inference, state, weights)
    metadata = read_json(metadata_file)
    wanted = ("modalities", "labels", "spatial_size", "num_slices", "num_candidates")
    knobs = {name: resolved(train, name, source) for name in wanted if name in train}
    data = None if settings.get("phantom") else (settings.get("datalist") or {}).get("name")
    describe(metadata, knobs, resolved(merged(base, {}), "modalities", source), modality, data)
    contents = {"train": train, "inference": inference, "metadata": metadata}
    with atomic_folder(target) as part:
        if modality is None:
            _write(part, source, contents, weights, settings, (*_KEPT, f"configs/{_ONE_MODALITY}.json"))
        else:
            _write(part, source, contents, state, settings, _KEPT)
    return target


def _said(changes: Mapping[str, Any], content: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """What overlays and overrides say of the settings that come with the weights."""
    own = {name.partition("#")[0] for name in named(changes)}
    return {name: resolved(content, name, source) for name in trained_knobs(source) if name in own and name in content}


def _write(
    folder: Path,
    source: Path,
    contents: Mapping[str, Mapping[str, Any]],
    weights: Path | Mapping[str, Tensor] | None,
    settings: Mapping[str, Any],
    kept: Sequence[str],
) -> None:
    (folder / "configs").mkdir()
    (folder / "models").mkdir()
    for name in kept:
        if (source / name).is_dir():
            shutil.copytree(source / name, folder / name)
        elif (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    for name, content in contents.items():
        (folder / "configs" / f"{name}.json").write_text(json_text(content), encoding="utf-8")
    if isinstance(weights, Path):
        shutil.copyfile(weights, folder / "models" / "model.pt")
        if (weights.parent / CALIBRATION).is_file():  # of these very weights, so not of those of one modality
            shutil.copyfile(weights.parent / CALIBRATION, folder / "models" / CALIBRATION)
    elif weights is not None:
        torch.save(weights, folder / "models" / "model.pt")
    if settings:
        write_json(folder / "models" / SETTINGS, settings)


def _check_there(files: Sequence[Path]) -> None:
    if missing := [str(path) for path in files if not path.is_file()]:
        raise FileNotFoundError(f"there is no {', '.join(missing)}.")


def _one_modality(source: Path, modality: str, modalities: Sequence[str]) -> dict[str, Any]:
    path = source / "configs" / f"{_ONE_MODALITY}.json"
    if not path.is_file():
        raise ValueError(
            f"modality must be left out for {source.name}: it has no configs/{_ONE_MODALITY}.json, so its network does "
            f"not serve several modalities one at a time; got {modality!r}."
        )
    if modality not in modalities:
        raise ValueError(f"modality must be one of {list(modalities)}, got {modality!r}.")
    return {**read_json(path), "modalities": [modality], "default_modality": modality}


def _checked_weights(train: Mapping[str, Any], path: Path, modality: str | None) -> Mapping[str, Tensor]:
    """State of the network of the training, or of the plain network of one modality."""
    network = ConfigParser(dict(train)).get_parsed_content("network_def")
    check_fit(path, network)
    network.load_state_dict(read_weights(path))
    state: Mapping[str, Tensor] = (network if modality is None else specialize(network, modality)).state_dict()
    return state


def _check_inference(inference: Mapping[str, Any], state: Mapping[str, Tensor] | None, path: Path) -> None:
    """The network of the packed inference is that of the weights."""
    network = ConfigParser(dict(inference)).get_parsed_content("network_def")
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in (state or {}).items()}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise ValueError(
            f"the network of configs/inference.json is not that of {path}: {len(wrong)} tensors differ, the first is "
            f"{wrong[0]}. A setting of the network must have the same value in train.json and inference.json."
        )
