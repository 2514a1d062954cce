# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Further teachers of DAFNet's target where it has few labels or none; not of the paper, each off by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from monai_mmseg.losses.dice import foreground_dice_loss, segmentation_loss
from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import group_means, masked_mean
from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet
from monai_mmseg.objectives.rows import PairedRows
from monai_mmseg.transforms.intensity_maps import random_intensity_maps


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


def randomised_supervision(
    network: DAFNet, image: Tensor, label: Tensor, labelled: Tensor, rows: PairedRows, *, still: bool
) -> Tensor:
    """Segmentation loss of the sources' images in random contrasts, seen through the *target's* encoder.

    Args:
        network: DAFNet.
        image: ``(B, M, 1, H, W)``, candidate 0 of each modality.
        label: class maps ``(B, M, H, W)``.
        labelled: bool ``(B, M)``, on the device.
        rows: of the batch.
        still: leave running statistics alone.

    Returns:
        Sum over the sources of the mean over their labelled images; zero without any.
    """
    target = network.modalities.index(network.target)
    sources = [m for m in range(len(network.modalities)) if m != target]
    sample = torch.cat([rows.encode[m] for m in sources])
    frame = torch.cat([torch.full_like(rows.encode[m], m) for m in sources])
    copies = random_intensity_maps(image[sample, frame])
    with still_statistics(network, still):
        probs = at_least_float32(network.segment(network.anatomy(copies, target))).softmax(1)
    onehot, mask = onehot_labels(label[sample, frame].unsqueeze(1), network.out_channels), labelled[sample, frame]
    count = len(network.modalities)
    error = segmentation_loss(probs, onehot, mask, group=frame, num_groups=count)
    return group_means(error, frame, count, mask).sum()


def own_supervision(probs: Tensor, labelled: Tensor, rows: PairedRows, target: int) -> Tensor:
    """Segmentation loss of the target's own anatomy, with what each moved source anatomy gives as the label.

    A source's label is right in its own frame only; what its anatomy gives after it was moved onto the target is that
    label in the target's frame. It teaches, and is not taught.

    Args:
        probs: of own and moved anatomies, ``(N, K, H, W)``.
        labelled: bool ``(B, M)``, on the device; a labelled target image has no need of it.
        rows: of the batch.
        target: index of the target.

    Returns:
        Sum over the sources of the mean over target images without a label; zero without any.
    """
    moved = rows.frames[target][len(rows.encode[target]) :]
    own = probs[rows.fixed_own[moved - len(rows.own)]]
    onehot = onehot_labels(probs[moved].detach().argmax(1, keepdim=True), probs.shape[1])
    mask, group = ~labelled[rows.sample[moved], target], rows.branch[moved]
    error = segmentation_loss(own, onehot, mask, group=group, num_groups=rows.num_branches)
    return group_means(error, group, rows.num_branches, mask).sum()


def target_agreement(
    network: DAFNet, image: Tensor, anatomy: Tensor, probs: Tensor, labelled: Tensor, rows: PairedRows
) -> Tensor:
    """How far three predictions of a target image without a label lie from their mean.

    They are those of its own anatomy, of the fused one, and of its copy in a random contrast.

    Args:
        network: DAFNet.
        image: ``(B, M, 1, H, W)``, candidate 0 of each modality.
        anatomy: own and moved anatomies, ``(N, C, H, W)``.
        probs: of these, ``(N, K, H, W)``.
        labelled: bool ``(B, M)``, on the device.
        rows: of the batch.

    Returns:
        Mean over these images of Dice error and symmetric Kullback-Leibler divergence to the (detached) mean, averaged
        over the three; zero without any.
    """
    target = network.modalities.index(network.target)
    index, sample = rows.frames[target], rows.encode[target]
    modality = torch.cat([torch.full_like(sample, target), moving_modality(rows)[index[len(sample) :] - len(rows.own)]])
    place = rows.sample[index], modality
    anatomies = anatomy.new_zeros(*labelled.shape, *anatomy.shape[1:]).index_put(place, anatomy[index])
    there = torch.zeros_like(labelled).index_put(place, torch.ones_like(modality, dtype=torch.bool))
    fused = network.segment(network.fuse(anatomies, there)[sample])
    with still_statistics(network):
        copied = network.segment(network.anatomy(random_intensity_maps(image[sample, target]), target))
    own = probs[index[: len(sample)]]
    views = [own, at_least_float32(fused).softmax(1), at_least_float32(copied).softmax(1)]
    mean = torch.stack(views).mean(0).detach()
    error = torch.stack([foreground_dice_loss(view, mean) + _symmetric_kl(view, mean) for view in views]).mean(0)
    return masked_mean(error, ~labelled[sample, target])


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
