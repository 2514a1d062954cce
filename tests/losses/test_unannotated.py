# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Pixels that nobody annotated: a loss of an image with a part left out is that of the image without this part."""

from __future__ import annotations

import pytest
import torch

from monai_mmseg.losses import (
    ForegroundDiceLoss,
    SegmentationLoss,
    class_weighted_cross_entropy,
    foreground_dice_loss,
    frequency_weighted_cross_entropy,
    squared_dice_loss,
    squared_foreground_dice,
    weighted_cross_entropy,
)
from monai_mmseg.losses.class_affinity import class_affinities
from monai_mmseg.losses.class_logits import class_logit_sums
from monai_mmseg.losses.dice import segmentation_loss
from monai_mmseg.losses.inputs import mask_unannotated, onehot_labels
from monai_mmseg.unannotated import UNANNOTATED

KEPT = 12  # of 16 columns
WEIGHTS = torch.tensor([0.5, 2.0, 3.0])
GROUP = torch.tensor([0, 1])


def of_groups(probs, onehot, swapped=False):
    return segmentation_loss(probs, onehot, group=GROUP, num_groups=2, swapped=swapped)


LOSSES = [  # name, loss of probabilities and one-hot labels, whether its mean over pixels counts those left out
    ("dice of rows", foreground_dice_loss, False),
    ("dice of squares", lambda p, t: squared_dice_loss(mask_unannotated(p, t), t), False),
    ("dice of foreground squares", squared_foreground_dice, False),
    ("class weights", lambda p, t: class_weighted_cross_entropy(p.log(), t, class_weights=[1, 5, 5]), False),
    ("rarity", lambda p, t: weighted_cross_entropy(p, t, class_weights=WEIGHTS), True),
    ("swapped", lambda p, t: weighted_cross_entropy(p, t, class_weights=WEIGHTS, swapped=True), True),
    ("frequency", lambda p, t: frequency_weighted_cross_entropy(p, t), True),
    ("sums", class_logit_sums, False),
]


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 16, generator=generator)
    return logits, torch.randint(3, (2, 1, 8, 16), generator=generator)


def without_the_end(labels):
    labels = labels.clone()
    labels[..., KEPT:] = UNANNOTATED
    return labels


@pytest.mark.parametrize(("loss", "counts"), [one[1:] for one in LOSSES], ids=[one[0] for one in LOSSES])
def test_what_is_left_out_counts_nowhere(images, loss, counts):
    logits, labels = images
    found = loss(logits.softmax(1), onehot_labels(without_the_end(labels), 3))
    cut = loss(logits.softmax(1)[..., :KEPT], onehot_labels(labels[..., :KEPT], 3))
    torch.testing.assert_close(found, cut * (KEPT / 16 if counts else 1))


@pytest.mark.parametrize("swapped", [False, True])
def test_neither_value_nor_gradient(images, swapped):
    logits, labels = images
    onehot, totals, gradients = onehot_labels(without_the_end(labels), 3), [], []
    for shift in (0.0, 3.0):
        changed = logits.clone()
        changed[:, 1, :, KEPT:] += shift
        changed.requires_grad_()
        totals.append(of_groups(changed.softmax(1), onehot, swapped).sum())
        totals[-1].backward()
        gradients.append(changed.grad)
    torch.testing.assert_close(totals[0], totals[1])
    assert all(gradient[..., KEPT:].abs().sum() == 0 for gradient in gradients)
    assert gradients[0][..., :KEPT].abs().sum() > 0


def test_affinities_of_what_is_annotated(images):
    labels = images[1]
    features, lone = torch.randn(2, 4, 8, 16), torch.tensor([0, 0])
    found = class_affinities(features, features, without_the_end(labels), 3, lone, 1)
    cut = class_affinities(features[..., :KEPT], features[..., :KEPT], labels[..., :KEPT], 3, lone, 1)
    torch.testing.assert_close(found.matrices, cut.matrices)


@pytest.mark.parametrize("loss", [ForegroundDiceLoss, SegmentationLoss])
def test_modules_take_255_and_no_other_value(images, loss):
    logits, labels = images
    module = loss(softmax=True, to_onehot_y=True)
    assert module(logits, without_the_end(labels)).isfinite()
    labels[0, 0, 0, 0] = 3
    with pytest.raises(ValueError, match="target must hold classes 0 to 2, got 0 to 3"):
        module(logits, without_the_end(labels))
