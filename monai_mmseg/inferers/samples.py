# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Kinds of samples of a prediction: what is changed for each, and changed back in what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet
from monai_mmseg.networks.nets.disentangle.disentangle import DisentangleNet
from monai_mmseg.networks.nets.disentangle.downstream import DownstreamNet

SHIFT = 1 / 32  # of the image's size
GAIN, OFFSET = 1.25, 0.2  # of the contrast; the offset in standard deviations of the image


class Case(NamedTuple):
    """What samples are drawn of."""

    run: Callable[[Tensor, Any], Tensor]  # volumes and network to logits
    inputs: Tensor  # (B, C, X, Y, Z), NaN where a modality is absent
    network: Any
    draws: int
    seed: int


def shifts(case: Case) -> Iterator[Tensor]:
    """Images moved by a 32nd of their size, a voxel at least, along each axis of the slices, to both sides."""
    for axis in (2, 3):
        step = max(1, round(SHIFT * case.inputs.shape[axis]))
        for move in (step, -step):
            yield case.run(case.inputs.roll(move, axis), case.network).roll(-move, axis)


def mirrors(case: Case) -> Iterator[Tensor]:
    """Images mirrored along one axis of the slices, the other, and both."""
    for axes in ((2,), (3,), (2, 3)):
        yield case.run(case.inputs.flip(axes), case.network).flip(axes)


def contrasts(case: Case) -> Iterator[Tensor]:
    """Images of more and of less contrast, brighter and darker, about the mean of each channel.

    A value that tells a network where nothing is stays, and counts in no mean: else all of the image were an organ.
    """
    known = ~case.inputs.isnan()
    for layer in case.network.modules() if isinstance(case.network, nn.Module) else ():
        if isinstance(layer, DisentangleNet) and layer.background is not None:
            known &= case.inputs != layer.background
    flat = torch.where(known, case.inputs.nan_to_num(), 0).flatten(2).float()
    count = known.flatten(2).sum(2).clamp_min(1)
    mean = flat.sum(2) / count
    deviation = ((flat.square().sum(2) / count) - mean.square()).clamp_min(0).sqrt()
    mean, deviation = (one[:, :, None, None, None] for one in (mean, deviation))
    for gain, offset in ((GAIN, 0.0), (1 / GAIN, 0.0), (1.0, OFFSET), (1.0, -OFFSET)):
        changed = mean + gain * (case.inputs - mean) + offset * deviation
        yield case.run(torch.where(known, changed, case.inputs.to(changed.dtype)), case.network)


def subsets(case: Case) -> Iterator[Tensor]:
    """All present modalities but one, for each of them."""
    modalities: Any = getattr(case.network, "modalities", None)
    if modalities is None or not isinstance(case.network, DownstreamNet | DAFNet):
        raise _unfit("subsets", "a network that takes several modalities at a time", case.network)
    images = case.inputs.unflatten(1, (len(modalities), -1))
    present = ~images.flatten(2).isnan().any(2)
    for one in range(present.shape[1]):
        if bool((present[:, one] & (present.sum(1) > 1)).any()):
            left = images.clone()
            left[present.sum(1) > 1, one] = torch.nan
            yield case.run(left.flatten(1, 2), case.network)


def dropouts(case: Case) -> Iterator[Tensor]:
    """Drop-out as in training, as often as ``draws`` says (Gal and Ghahramani, ICML 2016)."""
    layers = [one for one in case.network.modules() if isinstance(one, nn.modules.dropout._DropoutNd) and one.p > 0]
    if not layers:
        raise _unfit("dropout", "a network with drop-out", case.network)
    device = case.inputs.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(case.seed)
        for _ in range(case.draws):
            before = [one.training for one in layers]
            for one in layers:
                one.train()
            try:
                drawn = case.run(case.inputs, case.network)
            finally:
                for one, mode in zip(layers, before, strict=True):
                    one.train(mode)
            yield drawn


def anatomies(case: Case) -> Iterator[Tensor]:
    """DAFNet: own anatomy alone, the moved ones alone and both fused, where there is more than one modality."""
    network = _dafnet("anatomies", case)
    images = case.inputs.unflatten(1, (network.num_modalities, -1))
    if int((~images.flatten(2).isnan().any(2)).sum(1).max()) < 2:
        return
    asked = network.inference
    for kind in ("fused", "single", "deformed"):
        if kind != asked:
            network.inference = kind
            try:
                drawn = case.run(case.inputs, network)
            finally:
                network.inference = asked
            yield drawn


def styles(case: Case) -> Iterator[Tensor]:
    """DAFNet: images drawn again from their anatomy and a modality factor of the posterior, then segmented.

    A factor is drawn for each modality, not for each slice, so that the slices of a volume stay alike.
    """
    network = _dafnet("style", case)
    generator = torch.Generator().manual_seed(case.seed)
    for _ in range(case.draws):
        noise = torch.randn(network.num_modalities, network.style_channels, generator=generator)

        def restyled(image: Tensor, noise: Tensor = noise, **kwargs: Any) -> Tensor:
            logits: Tensor = network(redrawn(network, image, noise.to(image.device)), **kwargs)
            return logits

        yield case.run(case.inputs, restyled)


def redrawn(network: DAFNet, image: Tensor, noise: Tensor) -> Tensor:
    """Slices as a DAFNet draws them from their own anatomies.

    Args:
        network: in eval mode.
        image: slices as the network takes them, ``(B, M * k * channels, H, W)``, NaN where absent.
        noise: standard normal, ``(M, Z)``; 0 is the mean of the posterior.

    Returns:
        Shape of `image`; absent ones are as they were.

    Examples:
        >>> net = DAFNet(2, 1, 3, modalities=("a", "b"), target="a", spatial_size=(64, 64), features=(4, 8, 16)).eval()
        >>> image = torch.rand(1, 2, 64, 64)
        >>> image[:, 1] = torch.nan
        >>> redrawn(net, image, torch.zeros(2, 8)).isnan().flatten(2).all(2).tolist()
        [[False, True]]
    """
    images = image.unflatten(1, (network.num_modalities, network.num_candidates, network.in_channels))
    seen = ~images.flatten(3).isnan().any(3)
    rows = []
    for modality in range(network.num_modalities):
        some = torch.where(seen[:, modality, :, None, None, None], images[:, modality], 0.0).flatten(0, 1)
        anatomy = network.anatomy(some, modality)
        found = network.style(anatomy, some)
        drawn = network.decode(anatomy, found.mu + (0.5 * found.logvar).exp() * noise[modality])
        rows.append(drawn.unflatten(0, seen.shape[::2]))
    new = torch.stack(rows, 1).to(image.dtype)
    return torch.where(seen[..., None, None, None], new, images).flatten(1, 3)


@contextmanager
def other_weights(network: nn.Module, state: Mapping[str, Any]) -> Iterator[None]:
    """A network with other weights for a while.

    Args:
        network: whose weights come back, bit for bit.
        state: a state dict, or one under the key ``model``.
    """
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        network.load_state_dict(state.get("model", state))
        yield
    finally:
        network.load_state_dict(before)


KINDS: dict[str, Callable[[Case], Iterator[Tensor]]] = {
    "shift": shifts,
    "mirror": mirrors,
    "contrast": contrasts,
    "subsets": subsets,
    "dropout": dropouts,
    "anatomies": anatomies,
    "style": styles,
}
"""Kinds of samples by name."""

RANDOM = ("dropout", "style")
"""Kinds that are drawn as often as asked for."""


def _dafnet(kind: str, case: Case) -> DAFNet:
    if not isinstance(case.network, DAFNet):
        raise _unfit(kind, "a DAFNet", case.network)
    return case.network


def _unfit(kind: str, wanted: str, network: Any) -> ValueError:
    return ValueError(f"samples {kind!r} need {wanted}, got {type(network).__name__}; leave {kind!r} out.")
