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
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.unannotated import is_foreground
from monai_mmseg.visualize import affinity_figure, class_feature_figure


class _Cuts(NamedTuple):
    """What the network gets of one modality: slices, or windows of several."""

    image: Tensor  # (N, S, H, W), or (N, 1, H, W, D)
    label: Tensor  # (N, 1, H, W), or (N, 1, H, W, D)


def describe_affinities(
    recorder: RunRecorder,
    network: nn.Module,
    samples: Iterable[Mapping[str, Any]],
    *,
    layer_pairs: Sequence[Sequence[str]],
    modalities: Sequence[str],
    labels: Mapping[int, str] | Mapping[str, str],
    spatial_size: Sequence[int] = (),
    device: torch.device | str = "cpu",
    per_volume: int = 4,
) -> dict[str, Affinities]:
    """Write figures of the affinities between layers, and of single channels, into a run folder.

    One figure a layer pair: the affinity matrices (cosines, not divided by the size of the region) of every class in
    every modality with their difference; and one of the channel of the first layer that tells each class best, over one
    slice of each modality. The slices (of a 3D network: windows) with most foreground of each volume are used.

    Args:
        recorder: of the run folder.
        network: takes slices ``(N, S, H, W)`` or windows ``(N, 1, H, W, D)`` and, where it has ``modalities``, a
            modality.
        samples: preprocessed volumes, such as a data set of the bundle: ``image (S, H, W, D)``, ``label (1, H, W, D)``
            and ``modality``, a name. Volumes without a label are left out.
        layer_pairs: names of the modules.
        modalities: names.
        labels: value to name, background included.
        spatial_size: of what the network takes; a third number is the slices of a window.
        device: where the network is.
        per_volume: slices or windows of each volume.

    Returns:
        Affinities of each pair, by ``"first - second"``; empty if there is no labelled volume.

    Raises:
        ValueError: if a module does not exist.
    """
    names = {int(value): str(name) for value, name in labels.items()}
    cuts = _most_labelled(samples, modalities, per_volume, spatial_size[2] if len(spatial_size) > 2 else None)
    if not cuts:
        return {}
    tapped = list(dict.fromkeys(name for pair in layer_pairs for name in pair))
    features = {m: _features(network, m, part.image, tapped, device) for m, part in cuts.items()}
    truths = [part.label for part in cuts.values()]
    found: dict[str, Affinities] = {}
    for number, (first, second) in enumerate(layer_pairs):
        maps_1, maps_2 = ([features[m][name] for m in cuts] for name in (first, second))
        affinities = class_affinities(maps_1, maps_2, truths, len(names), size_norm="none")
        matrices = affinities.matrices.masked_fill((affinities.pixels == 0)[..., None, None], float("nan"))
        found[f"{first} - {second}"] = affinities
        recorder.add_figure(
            affinity_figure(matrices.numpy(), list(cuts), list(names.values()), title=f"Affinity {first} - {second}"),
            f"affinity_{number}",
            f"Cosine similarity between the channels of {first} (rows) and {second} (columns) within each class, for "
            "each modality, and the difference between the modalities.",
        )
    layer = layer_pairs[0][0]
    shown = {m: _best_slice(part, features[m][layer]) for m, part in cuts.items()}
    recorder.add_figure(
        class_feature_figure(
            {m: image.numpy() for m, (image, _, _) in shown.items()},
            {m: maps.numpy() for m, (_, _, maps) in shown.items()},
            {m: label.numpy().astype(int) for m, (_, label, _) in shown.items()},
            names,
            title=f"Channels of {layer}",
        ),
        "class_features",
        f"The channel of {layer} that tells each class best from the rest, over one slice of each modality.",
    )
    return found


def _most_labelled(
    samples: Iterable[Mapping[str, Any]], modalities: Sequence[str], per_volume: int, window: int | None
) -> dict[str, _Cuts]:
    """Slices or windows with most classes, and then most foreground; by modality, in the order of the names."""
    parts: dict[str, list[_Cuts]] = {}
    for sample in samples:
        if not bool(torch.as_tensor(sample.get("labelled", True)).all()) or "label" not in sample:
            continue
        image, label = (torch.as_tensor(np.asarray(sample[key])) for key in ("image", "label"))
        if window is None:
            image, label = image.movedim(-1, 0), label.movedim(-1, 0)  # slices become rows
        else:
            image, label = (x.unfold(-1, window, max(1, window // 2)).movedim(-2, 0) for x in (image, label))
        best = _present(label).argsort(descending=True)[:per_volume]
        parts.setdefault(str(sample["modality"]), []).append(_Cuts(image[best].float(), label[best]))
    return {m: _Cuts(*(torch.cat(same) for same in zip(*parts[m], strict=True))) for m in modalities if m in parts}


def _best_slice(cuts: _Cuts, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image ``(H, W)``, label ``(H, W)`` and features ``(P, h, w)`` of the slice that shows most."""
    row = int(_present(cuts.label).argmax())
    image, label, maps = cuts.image[row], cuts.label[row], features[row]
    if label.ndim == 4:
        depth = int(_present(label.movedim(-1, 0)).argmax())
        maps = maps[..., depth * maps.shape[-1] // label.shape[-1]]
        image, label = image[..., depth], label[..., depth]
    return image[image.shape[0] // 2], label[0], maps


def _present(label: Tensor) -> Tensor:
    """How much a row shows: number of classes, then the share of foreground."""
    rows = label.flatten(1)
    shown = [(rows == value).any(1) for value in rows.unique() if is_foreground(value)] or [rows[:, 0] < 0]
    return torch.stack(shown).sum(0) + is_foreground(rows).float().mean(1)


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
