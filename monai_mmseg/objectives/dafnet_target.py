# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Further teachers of DAFNet's target where it has few labels or none; not of the paper, each off by default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from monai_mmseg.losses.dice import foreground_dice_loss, segmentation_loss
from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import group_means, masked_mean
from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet
from monai_mmseg.objectives.rows import PairedRows
from monai_mmseg.transforms.intensity_maps import random_intensity_maps

OPTIONAL = ("randomised", "own_supervision", "agreement")


@contextmanager
def still_statistics(network: nn.Module, still: bool = True) -> Iterator[None]:
    """Batch normalisation with the statistics of the batch, as in training, whose running ones stay as they are.

    Args:
        network: holds the layers.
        still: ``False`` changes nothing.

    Examples:
        >>> norm = nn.BatchNorm1d(1)
        >>> with still_statistics(norm):
        ...     _ = norm(torch.ones(4, 1))
        >>> norm.running_mean, norm.momentum
        (tensor([0.]), 0.1)
    """
    layers = [one for one in network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)] if still else []
    kept = [one.momentum for one in layers]
    for one in layers:
        one.momentum = 0.0
    try:
        yield
    finally:
        for one, momentum in zip(layers, kept, strict=True):
            one.momentum = momentum


class Stage(NamedTuple):
    """Where in the training a step is."""

    pretrains: bool  # supervised terms alone
    align: bool  # anatomies are deformed


class TargetParts(NamedTuple):
    """What the terms of the target are made of."""

    network: DAFNet
    image: Tensor  # (B, M, 1, H, W), candidate 0 of each modality
    anatomy: Tensor  # (N, C, H, W), own and moved ones, as the rows
    probs: Tensor  # (N, K, H, W), of these
    label: Tensor  # (B, M, H, W) class maps
    labelled: Tensor  # bool (B, M), on the device
    rows: PairedRows

    @property
    def target(self) -> int:
        """Index of the target among the modalities."""
        return self.network.modalities.index(self.network.target)


def target_terms(parts: TargetParts, asked: Sequence[str], stage: Stage) -> dict[str, Tensor]:
    """The terms of :data:`OPTIONAL` that are asked for, scalars.

    Args:
        parts: of the batch.
        asked: names of terms.
        stage: while it pretrains, running statistics may learn from random contrasts; until anatomies are aligned, the
            terms of the target's own images are zero.
    """
    terms = dict.fromkeys(asked, parts.probs.new_zeros(()))
    if "randomised" in terms:
        terms["randomised"] = randomised_supervision(parts, still=not stage.pretrains)
    if "own_supervision" in terms and stage.align:
        terms["own_supervision"] = own_supervision(parts)
    if "agreement" in terms and stage.align:
        terms["agreement"] = target_agreement(parts)
    return terms


def randomised_supervision(parts: TargetParts, *, still: bool) -> Tensor:
    """Segmentation loss of the sources' images in random contrasts, seen through the *target's* encoder.

    Args:
        parts: of the batch.
        still: leave running statistics alone.

    Returns:
        Sum over the sources of the mean over their labelled images; zero without any.
    """
    net, encode, count = parts.network, parts.rows.encode, len(parts.network.modalities)
    sources = [m for m in range(count) if m != parts.target]
    sample = torch.cat([encode[m] for m in sources])
    frame = torch.cat([torch.full_like(encode[m], m) for m in sources])
    copies = random_intensity_maps(parts.image[sample, frame])
    with still_statistics(net, still):
        probs = at_least_float32(net.segment(net.anatomy(copies, parts.target))).softmax(1)
    onehot, mask = (
        onehot_labels(parts.label[sample, frame].unsqueeze(1), net.out_channels),
        parts.labelled[sample, frame],
    )
    error = segmentation_loss(probs, onehot, mask, group=frame, num_groups=count)
    return group_means(error, frame, count, mask).sum()


def own_supervision(parts: TargetParts) -> Tensor:
    """Segmentation loss of the target's own anatomy, with what each moved source anatomy gives as the label.

    A source's label is right in its own frame only; what its anatomy gives after it was moved onto the target is that
    label in the target's frame. It teaches, and is not taught.

    Returns:
        Sum over the sources of the mean over target images without a label; zero without any.
    """
    rows, probs, target = parts.rows, parts.probs, parts.target
    moved = rows.frames[target][len(rows.encode[target]) :]
    own = probs[rows.fixed_own[moved - len(rows.own)]]
    onehot = onehot_labels(probs[moved].detach().argmax(1, keepdim=True), probs.shape[1])
    mask, group = ~parts.labelled[rows.sample[moved], target], rows.branch[moved]
    error = segmentation_loss(own, onehot, mask, group=group, num_groups=rows.num_branches)
    return group_means(error, group, rows.num_branches, mask).sum()


def target_agreement(parts: TargetParts) -> Tensor:
    """How far three predictions of a target image without a label lie from their mean.

    They are those of its own anatomy, of the fused one, and of its copy in a random contrast.

    Returns:
        Mean over these images of Dice error and symmetric Kullback-Leibler divergence to the (detached) mean, averaged
        over the three; zero without any.
    """
    net, rows, target = parts.network, parts.rows, parts.target
    index, sample = rows.frames[target], rows.encode[target]
    own = parts.probs[index[: len(sample)]]
    with still_statistics(net):
        copies = random_intensity_maps(parts.image[sample, target])
        logits = net.segment(net.anatomy(copies, target)), net.segment(_fused(parts))
    views = [own, *(at_least_float32(one).softmax(1) for one in logits)]
    mean = torch.stack(views).mean(0).detach()
    error = torch.stack([foreground_dice_loss(view, mean) + _symmetric_kl(view, mean) for view in views]).mean(0)
    return masked_mean(error, ~parts.labelled[sample, target])


def _fused(parts: TargetParts) -> Tensor:
    """Fused anatomies of the samples that have a target image."""
    rows, target = parts.rows, parts.target
    index, sample = rows.frames[target], rows.encode[target]
    source = moving_modality(rows)[index[len(sample) :] - len(rows.own)]
    place = rows.sample[index], torch.cat([torch.full_like(sample, target), source])
    anatomy = parts.anatomy
    anatomies = anatomy.new_zeros(*parts.labelled.shape, *anatomy.shape[1:]).index_put(place, anatomy[index])
    there = torch.zeros_like(parts.labelled).index_put(place, torch.ones_like(index, dtype=torch.bool))
    return parts.network.fuse(anatomies, there)[sample]


def moving_modality(rows: PairedRows) -> Tensor:
    """The modality that each row of a pair comes from, ``(N_pair * k,)``.

    Examples:
        >>> from monai_mmseg.objectives.rows import paired_rows
        >>> moving_modality(paired_rows(torch.ones(1, 3, dtype=torch.bool))).tolist()
        [0, 0, 1, 1, 2, 2]
    """
    modalities = len(rows.encode)
    return (rows.branch[len(rows.own) :] - modalities) // max(modalities - 1, 1)


def _symmetric_kl(a: Tensor, b: Tensor) -> Tensor:
    """``KL(a || b) + KL(b || a)`` per row, the mean over pixels."""
    ratio = a.clamp(min=1e-6).log() - b.clamp(min=1e-6).log()
    return ((a - b) * ratio).sum(1).flatten(1).mean(1)
