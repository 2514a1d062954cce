# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Affinities between the layers of a trained network, as pictures for its run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from monai_mmseg.losses.class_affinity import Affinities, class_affinities
from monai_mmseg.networks.layers.feature_taps import FeatureTaps
from monai_mmseg.report.run_folder import RunRecorder
from monai_mmseg.visualize import affinity_figure, class_feature_figure

__all__ = ["describe_affinities"]


class _Slices(NamedTuple):
    """Slices of one modality."""

    image: Tensor  # (N, S, H, W)
    label: Tensor  # (N, 1, H, W)


def describe_affinities(
    recorder: RunRecorder,
    network: nn.Module,
    samples: Iterable[Mapping[str, Any]],
    *,
    layer_pairs: Sequence[Sequence[str]],
    modalities: Sequence[str],
    labels: Mapping[int, str] | Mapping[str, str],
    device: torch.device | str = "cpu",
    per_volume: int = 4,
) -> dict[str, Affinities]:
    """Write figures of the affinities between layers, and of single channels, into a run folder.

    One figure a layer pair: the affinity matrices (cosines, not divided by the size of the region) of every class in
    every modality with their difference; and one of the channel of the first layer that tells each class best, over one
    slice of each modality. The slices with most foreground of each volume are used.

    Args:
        recorder: of the run folder.
        network: takes slices ``(N, S, H, W)`` and, where it has ``modalities``, a modality.
        samples: preprocessed volumes, such as a data set of the bundle: ``image (S, H, W, D)``, ``label (1, H, W, D)``
            and ``modality``, a name. Volumes without a label are left out.
        layer_pairs: names of the modules.
        modalities: names.
        labels: value to name, background included.
        device: where the network is.
        per_volume: slices of each volume.

    Returns:
        Affinities of each pair, by ``"first - second"``; empty if there is no labelled volume.

    Raises:
        ValueError: if a module does not exist.
    """
    names = {int(value): str(name) for value, name in labels.items()}
    slices = _most_labelled(samples, modalities, per_volume)
    if not slices:
        return {}
    tapped = list(dict.fromkeys(name for pair in layer_pairs for name in pair))
    features = {m: _features(network, m, part.image, tapped, device) for m, part in slices.items()}
    truths = [part.label for part in slices.values()]
    found: dict[str, Affinities] = {}
    for number, (first, second) in enumerate(layer_pairs):
        maps_1, maps_2 = ([features[m][name] for m in slices] for name in (first, second))
        affinities = class_affinities(maps_1, maps_2, truths, len(names), size_norm="none")
        matrices = affinities.matrices.masked_fill((affinities.pixels == 0)[..., None, None], float("nan"))
        found[f"{first} - {second}"] = affinities
        recorder.add_figure(
            affinity_figure(matrices.numpy(), list(slices), list(names.values()), title=f"Affinity {first} - {second}"),
            f"affinity_{number}",
            f"Cosine similarity between the channels of {first} (rows) and {second} (columns) within each class, for "
            "each modality, and the difference between the modalities.",
        )
    layer = layer_pairs[0][0]
    chosen = {m: int(_present(part.label).argmax()) for m, part in slices.items()}
    recorder.add_figure(
        class_feature_figure(
            {m: part.image[chosen[m], part.image.shape[1] // 2].numpy() for m, part in slices.items()},
            {m: features[m][layer][chosen[m]].numpy() for m in slices},
            {m: part.label[chosen[m], 0].numpy().astype(int) for m, part in slices.items()},
            names,
            title=f"Channels of {layer}",
        ),
        "class_features",
        f"The channel of {layer} that tells each class best from the rest, over one slice of each modality.",
    )
    return found


def _most_labelled(
    samples: Iterable[Mapping[str, Any]], modalities: Sequence[str], per_volume: int
) -> dict[str, _Slices]:
    """Slices with most classes, and then most foreground, of each volume; by modality, in the order of the names."""
    parts: dict[str, list[_Slices]] = {}
    for sample in samples:
        if not bool(torch.as_tensor(sample.get("labelled", True)).all()) or "label" not in sample:
            continue
        image, label = (torch.as_tensor(np.asarray(sample[key])) for key in ("image", "label"))
        image, label = image.movedim(-1, 0), label.movedim(-1, 0)  # slices become rows
        best = _present(label).argsort(descending=True)[:per_volume]
        parts.setdefault(str(sample["modality"]), []).append(_Slices(image[best].float(), label[best]))
    return {m: _Slices(*(torch.cat(same) for same in zip(*parts[m], strict=True))) for m in modalities if m in parts}


def _present(label: Tensor) -> Tensor:
    """How much a slice shows: number of classes, then the share of foreground."""
    rows = label.flatten(1)
    classes = torch.stack([(rows == value).any(1) for value in rows.unique() if value > 0] or [rows[:, 0] < 0]).sum(0)
    return classes + (rows > 0).float().mean(1)


@torch.no_grad()
def _features(
    network: nn.Module, modality: str, image: Tensor, names: Sequence[str], device: torch.device | str
) -> dict[str, Tensor]:
    aware = {"modality": modality} if getattr(network, "modalities", None) else {}
    training = network.training
    network.eval()
    collected: dict[str, list[Tensor]] = {name: [] for name in names}
    for part in image.split(8):
        with FeatureTaps(network, names) as taps:
            network(part.to(device), **aware)
        for name in names:
            collected[name].append(taps[name].float().cpu())
    network.train(training)
    return {name: torch.cat(parts) for name, parts in collected.items()}
