# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle and its overlays as one bundle, for tools that read ``train.json`` and ``inference.json`` only."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from monai_mmseg.bundle.checks import check_overrides
from monai_mmseg.bundle.json_text import json_text
from monai_mmseg.networks.layers import specialize

_ONE_MODALITY = "one_modality"
"""Overlay of bundles whose network serves several modalities: the plain network of one of them."""
_KEPT = ("LICENSE", "docs", "configs/logging.conf", "configs/multi_gpu_train.json", "configs/evaluate.json")
_ROOT = (
    "$next((d for d in ('.', 'bundles/{name}') if os.path.isfile(os.path.join(d, 'configs', 'metadata.json'))), '.')"
)


def pack_bundle(
    bundle: str | Path,
    out: str | Path,
    *,
    overlays: Sequence[str] = (),
    model: str | Path | None = None,
    modality: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained bundle: overlays merged into its configs, weights beside them.

    Use it to serve what was trained with overlays in MONAI Label, NVIDIA FLARE or MONAI Deploy, which read
    ``train.json`` and ``inference.json`` and nothing else. Settings that inference does not have stay out of it.

    Args:
        bundle: folder of the bundle.
        out: folder to write; must not exist.
        overlays: files below ``configs``, without ending, in the order of the training, e.g. ``["demo"]``.
        model: weights to put into ``models/model.pt``.
        modality: of a network for several modalities, pack the plain network of this one
            (:func:`~monai_mmseg.networks.layers.specialize`), with its part of the weights. What comes out knows no
            modalities, at inference and in training.
        overrides: further ids and values.

    Returns:
        ``out``.

    Raises:
        FileExistsError: if ``out`` exists.
        FileNotFoundError: if a config or the weights are missing.
        ConfigError: if an overlay or override names what the bundle does not have.
        ValueError: if the bundle does not have that modality, its network cannot be specialised, or the weights are
            those of another network.

    Examples:
        Weights of the demo, in a bundle that MONAI Label can serve (``mmseg bundle pack`` does the same)::

            pack_bundle("bundles/dafnet", "served/dafnet", overlays=["demo", "settings/target_0"],
                        model="bundles/dafnet/models/model.pt")
            pack_bundle("bundles/ummkd", "served/heart_mr", model="bundles/ummkd/models/model.pt", modality="mr")
    """
    source, target = Path(bundle), Path(out)
    if target.exists():
        raise FileExistsError(f"out must not exist, but {target} is there.")
    files = [source / "configs" / f"{name}.json" for name in ("train", *overlays)]
    wanted = [*files, source / "configs" / "inference.json", source / "configs" / "metadata.json"]
    wanted += [] if model is None else [Path(model)]
    if missing := [str(path) for path in wanted if not path.is_file()]:
        raise FileNotFoundError(f"there is no {', '.join(missing)}.")
    check_overrides([str(path) for path in files], dict(overrides or {}))

    changes: dict[str, Any] = {}
    for path in files[1:]:
        changes.update(_content(path))
    changes.update(overrides or {})
    weights = None
    if modality is not None:
        weights = _specialised_weights(_merged(files[0], _named(changes)), modality, model)
        changes.update(_one_modality(source, modality))
    changes = _named(changes)
    train = _merged(files[0], changes)
    inference = _merged(wanted[len(files)], changes, known_only=True)
    metadata = _content(source / "configs" / "metadata.json")
    _describe(metadata, train, _content(files[0])["modalities"], modality)
    for config in (train, inference):
        config["bundle_root"] = _ROOT.format(name=target.name)
        config.pop("_meta_", None)
        _inline_network(config)

    (target / "configs").mkdir(parents=True)
    (target / "models").mkdir()
    for name in _KEPT:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    for name, content in (("train", train), ("inference", inference), ("metadata", metadata)):
        (target / "configs" / f"{name}.json").write_text(json_text(content), encoding="utf-8")
    if weights is not None:
        torch.save(weights, target / "models" / "model.pt")
    elif model is not None:
        shutil.copyfile(model, target / "models" / "model.pt")
    return target


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _named(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Ids in MONAI's own spelling, without descriptions."""
    return {key.replace("::", "#"): value for key, value in changes.items() if not key.startswith("_")}


def _one_modality(source: Path, modality: str) -> dict[str, Any]:
    path = source / "configs" / f"{_ONE_MODALITY}.json"
    if not path.is_file():
        raise ValueError(
            f"modality must be left out for {source.name}: it has no configs/{_ONE_MODALITY}.json, so its network does "
            f"not serve several modalities one at a time; got {modality!r}."
        )
    return {**_content(path), "modalities": [modality], "default_modality": modality}


def _specialised_weights(
    train: Mapping[str, Any], modality: str, model: str | Path | None
) -> Mapping[str, Tensor] | None:
    """State of the plain network of one modality, from that of the network for all."""
    if modality not in train["modalities"]:
        raise ValueError(f"modality must be one of {train['modalities']}, got {modality!r}.")
    if model is None:
        return None
    network = ConfigParser(dict(train)).get_parsed_content("network_def")
    try:
        network.load_state_dict(torch.load(model, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        raise ValueError(
            f"model must hold weights of the network of the configs, which those of {model} are not; give the overlays "
            f"that it was trained with. {error}"
        ) from error
    state: Mapping[str, Tensor] = specialize(network, modality).state_dict()
    return state


def _inline_network(config: dict[str, Any]) -> None:
    """``network_def`` as a component of its own: MONAI Label sets arguments in it before references are resolved."""
    network = config["network_def"]
    if isinstance(network, str) and network.startswith("@"):
        config["network_def"] = copy.deepcopy(config.pop(network[1:]))


def _merged(path: Path, changes: Mapping[str, Any], *, known_only: bool = False) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(str(path))
    for key, value in changes.items():
        if known_only and key not in parser and not isinstance(parser.get(key.rpartition("#")[0] or "-"), dict):
            continue
        parser[key] = value
    merged: dict[str, Any] = parser.get()
    return merged


def _describe(
    metadata: dict[str, Any], train: Mapping[str, Any], all_modalities: Sequence[str], modality: str | None
) -> None:
    """Make the metadata say what the merged configs say."""
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    if list(image["channel_def"].values()) == list(all_modalities):
        channels = _paired_channels(train)
    elif _names_modalities(image["channel_def"].values(), all_modalities):
        channels = [
            f"{name}, {place}" for name in train["modalities"] for place in _slice_channels(train["num_slices"])
        ]
    elif "num_slices" in train:
        channels = _slice_channels(int(train["num_slices"]))
    else:
        channels = [modality or str(name) for name in image["channel_def"].values()]
    image.update(num_channels=len(channels), spatial_shape=list(train["spatial_size"]))
    image["channel_def"] = {str(i): channel for i, channel in enumerate(channels)}
    pred["spatial_shape"] = list(train["spatial_size"])
    if pred["format"] == "segmentation":
        pred.update(num_channels=len(train["labels"]), channel_def=dict(train["labels"]))
    elif list(pred["channel_def"].values()) == _slice_channels(pred["num_channels"]):  # an image of the input's slices
        drawn = _slice_channels(int(train["num_slices"]))
        pred.update(num_channels=len(drawn), channel_def={str(i): channel for i, channel in enumerate(drawn)})
    if modality is not None:
        image["modality"] = modality.upper()
        metadata["image_classes"] = f"images of {modality}: {', '.join(channels)}"
        metadata["description"] = f"The plain network of {modality}, taken out of: {metadata['description']}"


def _names_modalities(channels: Iterable[str], modalities: Sequence[str]) -> bool:
    """Whether channels are the slices of each modality in turn."""
    found = [channel.split(", ") for channel in channels]
    return all(len(one) == 2 for one in found) and list(dict.fromkeys(one[0] for one in found)) == list(modalities)


def _paired_channels(train: Mapping[str, Any]) -> list[str]:
    """Modalities of one subject, each with its candidate slices."""
    candidates = range(int(train.get("num_candidates", 1)))
    return [name if c == 0 else f"{name}, candidate {c}" for name in train["modalities"] for c in candidates]


def _slice_channels(number: int) -> list[str]:
    """A slice among its neighbours."""
    places = range(-(number // 2), number // 2 + 1)
    return ["slice" if not p else f"slice {abs(p)} {'before' if p < 0 else 'behind'}" for p in places]
