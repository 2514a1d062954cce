# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Surface distance during validation, in which a missed organ counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from monai.utils import MetricReduction
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.metrics.segmentation import segmentation_scores

DistanceKind = Literal["hausdorff", "hausdorff95", "surface_distance"]


class SubjectDistance(CumulativeIterationMetric):
    """Surface distance per subject and foreground class, in mm, with a stated penalty for missed and spurious organs.

    When to use: in place of ``monai.metrics.HausdorffDistanceMetric``, whose mean leaves out missed organs; in an
    evaluator with ``monai.handlers.IgniteMetricHandler(metric_fn=SubjectDistance(), ...)``. For overlap, MONAI's own
    ``DiceMetric(include_background=False, ignore_empty=False)`` in the same handler is right as it is. (The
    ``MeanDice`` handler cannot set ``ignore_empty``.)

    Args:
        kind: ``"hausdorff95"``, ``"hausdorff"`` or ``"surface_distance"``; see :func:`segmentation_scores` for the
            rules.
        penalty: distance in mm of a missed or spurious class. ``None``: the image's diagonal.
        reduction: as in ``monai.metrics``.

    Raises:
        ValueError: when ``kind`` is none of these.

    Examples:
        >>> import torch
        >>> label = torch.zeros(1, 2, 30, 40)
        >>> label[:, 0], label[:, 0, 5, 5], label[:, 1, 5, 5] = 1, 0, 1
        >>> nothing = torch.stack([torch.ones(1, 30, 40), torch.zeros(1, 30, 40)], dim=1)
        >>> metric = SubjectDistance()
        >>> _ = metric(y_pred=nothing, y=label)  # missed: the diagonal
        >>> _ = metric(y_pred=label, y=label)
        >>> metric.aggregate().item()
        25.0
    """

    def __init__(
        self,
        kind: DistanceKind = "hausdorff95",
        *,
        penalty: float | None = None,
        reduction: MetricReduction | str = MetricReduction.MEAN,
    ) -> None:
        super().__init__()
        if kind not in get_args(DistanceKind):
            raise ValueError(f"kind must be one of {get_args(DistanceKind)}, got {kind!r}.")
        self.kind = kind
        self.penalty = penalty
        self.reduction = reduction

    def _compute_tensor(
        self, y_pred: Tensor, y: Tensor | None = None, spacing: Sequence[float] | None = None, **_: Any
    ) -> Tensor:
        """Distances of shape ``(B, K - 1)``; ``spacing`` defaults to that of each label's MetaTensor, else 1 mm."""
        if y is None or y.shape != y_pred.shape:
            wanted = "no labels" if y is None else f"shape {tuple(y.shape)}"
            raise ValueError(f"y must be one-hot labels of shape {tuple(y_pred.shape)}, got {wanted}.")
        if y.ndim < 3 or y.shape[1] < 2:
            raise ValueError(f"y must be one-hot labels (B, K, *spatial), background first, got {tuple(y.shape)}.")
        spacings = _spacings_of(y) if spacing is None else [spacing] * len(y)
        labels = {index: str(index) for index in range(1, y.shape[1])}
        rows = []
        classes = (plain_tensor(one).argmax(1) for one in (y_pred, y))
        for pred_classes, label_classes, own in zip(*classes, spacings, strict=True):
            scores = segmentation_scores(pred_classes, label_classes, labels, own, self.penalty)
            rows.append([getattr(score, self.kind) for score in scores])
        return torch.tensor(rows, device=y_pred.device)

    def aggregate(self, reduction: MetricReduction | str | None = None) -> Tensor:
        """Distances in mm of all subjects so far, with the ``reduction`` of the constructor or another one."""
        values = self.get_buffer()
        if not isinstance(values, Tensor):
            raise ValueError("aggregate() needs at least one batch, got none.")
        reduced: Tensor = do_metric_reduction(values, reduction or self.reduction)[0]
        return reduced


def _spacings_of(y: Tensor) -> list[list[float]]:
    """Spacing of each row; a batch has an affine for all or one for each."""
    rows, dims = len(y), y.ndim - 2
    if not isinstance(y, MetaTensor):
        return [[1.0] * dims] * rows
    affines = torch.as_tensor(y.affine).reshape(-1, *y.affine.shape[-2:]).expand(rows, -1, -1)
    found = (affine_to_spacing(affine, len(affine) - 1, dtype=torch.float64) for affine in affines)
    return [[float(s) for s in sizes[:dims]] for sizes in found]
