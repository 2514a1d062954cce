# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Metadata of a packed bundle: what its configs say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def describe(
    metadata: dict[str, Any],
    train: Mapping[str, Any],
    all_modalities: Sequence[str],
    modality: str | None,
    data: str | None = None,
) -> None:
    """Make the metadata of a bundle say what its merged configs say.

    Args:
        metadata: content of ``metadata.json``, which is changed.
        train: values of the knobs: ``modalities``, ``spatial_size`` and, where there are, ``labels``,
            ``num_slices``, ``num_candidates``.
        all_modalities: those of the bundle before anything was laid over it.
        modality: the only one that is left, if it was taken out.
        data: name of what it was trained on; ``None`` for what the bundle says itself.
    """
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    together, others = " or ", modality is None and list(train["modalities"]) != list(all_modalities)
    if list(image["channel_def"].values()) == list(all_modalities):
        channels, together = _paired_channels(train), ", "
    elif _names_modalities(image["channel_def"].values(), all_modalities):
        together, channels = (
            ", ",
            [f"{name}, {place}" for name in train["modalities"] for place in _slice_channels(train["num_slices"])],
        )
    elif "num_slices" in train:
        channels = _slice_channels(int(train["num_slices"]))
    elif others:
        channels = [together.join(train["modalities"])]
    else:
        channels = [modality or str(name) for name in image["channel_def"].values()]
    image.update(num_channels=len(channels), spatial_shape=list(train["spatial_size"]))
    image["channel_def"] = {str(i): channel for i, channel in enumerate(channels)}
    pred["spatial_shape"] = list(train["spatial_size"])
    if pred["format"] == "segmentation":
        classes = list(train["labels"].values())
        if others or pred["channel_def"] != train["labels"]:
            metadata["task"] = f"Segmentation of {', '.join(classes[1:])} in {together.join(train['modalities'])}"
        if pred["channel_def"] != train["labels"]:
            metadata["label_classes"] = (
                f"single channel: {', '.join(f'{i} {classes[i]}' for i in range(1, len(classes)))}"
            )
            metadata["pred_classes"] = f"{len(classes)} channels: {', '.join(classes)}"
        pred.update(num_channels=len(classes), channel_def=dict(train["labels"]))
    elif list(pred["channel_def"].values()) == _slice_channels(pred["num_channels"]):  # an image of the input's slices
        drawn = _slice_channels(int(train["num_slices"]))
        pred.update(num_channels=len(drawn), channel_def={str(i): channel for i, channel in enumerate(drawn)})
    if others:
        image["modality"] = together.join(train["modalities"])
        metadata["image_classes"] = f"{image['modality']}; channels: {'; '.join(channels)}"
    if data is not None:
        metadata["data_source"] = data
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
