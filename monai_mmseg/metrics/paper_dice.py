# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""One Dice score of a label volume by the rule of a method's own paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from monai_mmseg.metrics.original_overlap import original_dice
from monai_mmseg.metrics.pooled_dice import pooled_dice
from monai_mmseg.metrics.segmentation import class_indices

#: Methods whose papers (or their code) have a rule.
PAPER_DICE = ("dafnet", "ummkd", "csa", "disentangle")


def paper_dice(pred: NDArray[Any], label: NDArray[Any], num_classes: int, rule: str, *, slice_axis: int = 2) -> float:
    """Dice score of one subject as a paper counts it.

    When to use: only beside published numbers; :func:`~monai_mmseg.metrics.segmentation_scores` is the score to report.

    * ``dafnet``: of each slice with all foreground classes in one sum, 1 where both are empty; the mean over slices.
    * ``ummkd``, ``csa``: of each class in the volume; the mean over the classes that are in the label or prediction.
    * ``disentangle``: of each class in the volume with one voxel added to both sides of the ratio; the mean.

    Args:
        pred: class indices from 0, the background, shape ``(X, Y, Z)``.
        label: the same shape.
        num_classes: background included.
        rule: one of :data:`PAPER_DICE`.
        slice_axis: of the volume, for ``dafnet``.

    Returns:
        Score in [0, 1]; NaN where ``ummkd`` and ``csa`` find no class at all, as the original does.

    Raises:
        ValueError: the rule is unknown, the shapes do not fit, or a number is no class.

    Reference:
        Chartsias et al., doi:10.1109/TMI.2020.3036584; Dou et al., arXiv:2001.03111; Ouyang et al., arXiv:2102.11456.
        Differs from the papers: on the grid of the label's file instead of that of the network.

    Examples:
        >>> import numpy as np
        >>> label = np.array([[[1, 0], [2, 0]]])  # two slices, the second is empty
        >>> pred = np.array([[[1, 0], [1, 0]]])
        >>> [round(paper_dice(pred, label, 3, rule), 3) for rule in ("dafnet", "ummkd", "disentangle")]
        [0.75, 0.333, 0.625]
    """
    if rule not in PAPER_DICE:
        raise ValueError(f"rule must be one of {list(PAPER_DICE)}, got {rule!r}.")
    arrays = {"pred": class_indices("pred", pred), "label": class_indices("label", label)}
    shapes = [one.shape for one in arrays.values()]
    if shapes[0] != shapes[1] or len(shapes[0]) != 3:
        raise ValueError(f"pred and label must have one shape (X, Y, Z), got {shapes[0]} and {shapes[1]}.")
    for name, one in arrays.items():
        if one.size and not 0 <= one.min() <= one.max() < num_classes:
            raise ValueError(f"{name} must hold classes 0 to {num_classes - 1}, got {one.min()} to {one.max()}.")
    classes = [torch.from_numpy(np.ascontiguousarray(one)).movedim(slice_axis, 0) for one in arrays.values()]
    if rule == "dafnet":
        return float(pooled_dice(*(_onehot(x, num_classes) for x in classes)).mean())
    volumes = [_onehot(x[None], num_classes) for x in classes]
    if rule == "disentangle":
        return float(original_dice(volumes[0][:, 1:], classes[1][None, None]))
    scores = compute_dice(*volumes, include_background=False, ignore_empty=False)
    somewhere = (volumes[0] + volumes[1])[:, 1:].flatten(2).any(2)
    return float(scores.where(somewhere, torch.nan).nanmean())


def _onehot(classes: Tensor, num_classes: int) -> Tensor:
    return one_hot(classes, num_classes).movedim(-1, 1).float()
