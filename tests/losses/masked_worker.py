# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One process of the distributed test: its share of the rows, gradients averaged as DistributedDataParallel does."""

from __future__ import annotations

import torch
import torch.distributed as dist

from monai_mmseg.losses import (
    SegmentationLoss,
    frequency_weighted_cross_entropy,
    group_means,
    knowledge_distillation_loss,
    masked_mean,
    mean_of_columns,
    squared_dice_loss,
    weighted_cross_entropy,
)
from monai_mmseg.losses.cross_entropy import class_weights_from_counts, frequency_weights_from_counts
from monai_mmseg.losses.masked import class_counts

ROWS, CLASSES = 6, 3
# by row: the second process (rows 3 to 5) has no row that counts
MASK = torch.tensor([True, True, False, False, False, False])
GROUP = torch.tensor([0, 1, 1, 2, 2, 1])
# by group, here both processes have rows of group 1 and only the second of group 2
PRESENT = torch.tensor([True, True, False, True, True, True])


def terms(weight, image, labels, rows):
    """Every reduction on some rows of one fixed batch, as functions of a shared parameter."""
    logits = torch.einsum("kc,nchw->nkhw", weight, image[rows])
    onehot = torch.eye(CLASSES, dtype=logits.dtype)[labels[rows, 0]].movedim(-1, 1)
    probs, mask, group, present = logits.softmax(1), MASK[rows], GROUP[rows], PRESENT[rows]
    values = logits.square().flatten(1).mean(1)
    result = {
        "mean": masked_mean(values, mask),
        "mean of all": masked_mean(values),
        "segmentation": SegmentationLoss(softmax=True, to_onehot_y=True)(logits, labels[rows], mask),
        "segmentation, swapped": SegmentationLoss(softmax=True, to_onehot_y=True, swapped=True)(
            logits, labels[rows], mask
        ),
    }
    columns = image[rows].flatten(1)[:, :4] * weight.flatten()[:4]
    result["columns"] = mean_of_columns(columns, (GROUP[rows, None] != torch.arange(4)) & mask[:, None])
    result["dice"] = squared_dice_loss(probs, onehot, present, group=group, num_groups=4).sum()
    for absent in ("uniform", "skip"):
        name = "kd" if absent == "uniform" else "kd, skip"
        result[name] = knowledge_distillation_loss(logits, labels[rows], group, 4, present, absent=absent)
    weights = frequency_weights_from_counts(class_counts(onehot, group, 4, present))[group]
    row_loss = frequency_weighted_cross_entropy(probs, onehot, present, class_weights=weights)
    result["cross-entropy by frequency"] = group_means(row_loss, group, 4, present).sum()
    for swapped in (False, True):
        counts = class_counts(probs if swapped else onehot, group, 4, present, differentiable=swapped)
        row_loss = weighted_cross_entropy(
            probs, onehot, class_weights=class_weights_from_counts(counts)[group], swapped=swapped
        )
        means = group_means(row_loss, group, 4, present)
        result |= {f"group {g}, swapped={swapped}": mean for g, mean in enumerate(means)}
    return result


def batch():
    """The joined batch and the parameter, equal in every process."""
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(ROWS, 2, 4, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (ROWS, 1, 4, 4), generator=generator)
    weight = torch.randn(CLASSES, 2, generator=generator, dtype=torch.float64).requires_grad_()
    return weight, image, labels


def gradients(rows):
    """Value and gradient of every term on the given rows."""
    weight, image, labels = batch()
    return {
        name: (value.detach(), torch.autograd.grad(value, weight, retain_graph=True)[0])
        for name, value in terms(weight, image, labels, rows).items()
    }


def main(rank: int, store: str, out: str) -> None:
    """Run as one of two processes; the first writes what both found on average."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = gradients(slice(3 * rank, 3 * rank + 3))
    for pair in found.values():
        for tensor in pair:
            dist.all_reduce(tensor)
            tensor /= 2
    if rank == 0:
        torch.save(found, out)
    dist.destroy_process_group()
