# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How good is a prediction whose truth nobody knows: Dice foretold by samples, and how far to believe it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def normalised_entropy(probs: Tensor) -> Tensor:
    """Entropy of class probabilities in [0, 1]: 0 where one class is certain, 1 where all are alike.

    When to use: as a map of where a prediction is unsure. It is ``-sum_k p_k log p_k / log K``.

    Args:
        probs: shape ``(B, K, *spatial)`` with K of at least 2, sums to one along K.

    Returns:
        Shape ``(B, 1, *spatial)``.

    Raises:
        ValueError: for fewer than two classes.

    Examples:
        >>> probs = torch.tensor([[[0.25, 1.0], [0.25, 0.0], [0.25, 0.0], [0.25, 0.0]]])
        >>> normalised_entropy(probs).flatten().tolist()
        [1.0, 0.0]
    """
    if probs.ndim < 2 or probs.shape[1] < 2:
        raise ValueError(f"probs must have the shape (B, K, *spatial) with K of 2 or more, got {tuple(probs.shape)}.")
    return (torch.special.entr(probs).sum(1, keepdim=True) / np.log(probs.shape[1])).clamp(0, 1)


def expected_dice(probs: Tensor, labels: Tensor) -> Tensor:
    """Dice that a segmentation would have, were the probabilities right: ``2 sum_k p [l = k] / (sum p + |l = k|)``.

    When to use: to foretell Dice from one prediction. It is the ratio of the expected numerator and denominator, which
    for many voxels is the expected Dice.

    Args:
        probs: class probabilities of one subject, shape ``(K, *spatial)``.
        labels: its segmentation, integers, shape ``spatial``.

    Returns:
        Shape ``(K,)``, double; 1 for a class that is in neither, as in the evaluation.

    Examples:
        >>> expected_dice(torch.tensor([[0.2, 0.9], [0.8, 0.1]]), torch.tensor([1, 0])).tolist()[1]  # 1.6 / (0.9 + 1)
        0.842...
    """
    mass, found = probs.double().flatten(1), labels.flatten().long()
    hits = mass.new_zeros(len(mass)).index_add(0, found, mass.gather(0, found[None])[0])
    total = mass.sum(1) + torch.bincount(found, minlength=len(mass))
    return torch.where(total > 0, 2 * hits / total.clamp_min(1e-30), 1.0)


def label_dice(first: Tensor, second: Tensor, classes: int) -> Tensor:
    """Dice of every class of two segmentations.

    Args:
        first: integers, any shape.
        second: the same shape.
        classes: K.

    Returns:
        Shape ``(K,)``, double; 1 for a class that is in neither.

    Examples:
        >>> label_dice(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 3).tolist()
        [0.666..., 0.666..., 1.0]
    """
    one, two = first.flatten(), second.flatten()
    sizes = torch.bincount(one, minlength=classes) + torch.bincount(two, minlength=classes)
    hits = torch.bincount(one[one == two], minlength=classes)
    return torch.where(sizes > 0, 2 * hits.double() / sizes.clamp_min(1), 1.0)


class Calibration(NamedTuple):
    """A straight line from a signal to Dice, cut off at 0 and 1."""

    slope: float
    intercept: float

    def __call__(self, signal: ArrayLike) -> NDArray[np.float64]:
        """Dice foretold for values of the signal."""
        return np.clip(self.slope * np.asarray(signal, dtype=float) + self.intercept, 0.0, 1.0)


def fit_calibration(signal: ArrayLike, dice: ArrayLike) -> Calibration:
    """Line of least squares from a signal to the true Dice, never falling.

    When to use: on validation subjects, of which labels are there. Where the signal says nothing (one value, or a line
    that falls) the mean Dice is foretold for all.

    Args:
        signal: shape ``(n,)``.
        dice: true values, shape ``(n,)``.

    Returns:
        The line.

    Raises:
        ValueError: shapes differ, fewer than three values, or one is not finite.

    Examples:
        >>> line = fit_calibration([0.5, 0.7, 0.9], [0.2, 0.4, 0.6])
        >>> round(line.slope, 6), round(line.intercept, 6), float(line(2.0))
        (1.0, -0.3, 1.0)
    """
    x, y = _pair(signal, dice, 3)
    spread = float(((x - x.mean()) ** 2).sum())
    slope = max(0.0, float(((x - x.mean()) * (y - y.mean())).sum()) / spread) if spread > 0 else 0.0
    return Calibration(slope, float(y.mean()) - slope * float(x.mean()))


def left_out_errors(signal: ArrayLike, dice: ArrayLike, groups: Sequence[str]) -> NDArray[np.float64]:
    """Absolute errors of Dice, each group foretold by the line of all others.

    When to use: to choose between signals on few validation subjects, and to say how far off a new one may be.

    Args:
        signal: shape ``(n,)``.
        dice: true values.
        groups: subject of each value.

    Returns:
        The errors, shape ``(n,)``.

    Raises:
        ValueError: as :func:`fit_calibration` for what is left, so with a single subject.

    Examples:
        >>> left_out_errors([0.5] * 4, [0.3, 0.3, 0.3, 0.6], "abcd").round(2).tolist()  # by means: 0.4, 0.4, 0.4, 0.3
        [0.1, 0.1, 0.1, 0.3]
    """
    x, y = _pair(signal, dice, 3)
    names = np.asarray(list(groups))
    errors = np.empty(len(x))
    for one in np.unique(names):
        out = names == one
        errors[out] = np.abs(fit_calibration(x[~out], y[~out])(x[out]) - y[out])
    return errors


def interval_radius(errors: ArrayLike, groups: Sequence[str], coverage: float = 0.8) -> float:
    """How far from what is foretold the truth of a new group lies at most, with a given probability.

    When to use: on errors of groups that were left out, such as :func:`left_out_errors`. It is the quantile of the
    errors, all groups of one weight, among them one more of infinite errors: so it needs ``coverage / (1 - coverage)``
    groups, and few groups give wide intervals. Nothing is assumed but that new groups are like these. Exact for a rule
    that was fitted on other groups; for the rule of all groups, beside the errors of those left out, close to it.

    Args:
        errors: absolute, shape ``(n,)``.
        groups: subject of each error; values of one subject may depend on each other.
        coverage: share of new values that shall lie within.

    Returns:
        The radius; infinite for too few groups.

    Raises:
        ValueError: the shapes differ, or `coverage` is not between 0 and 1.

    Reference:
        Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023 (arXiv:2306.06342).

    Examples:
        >>> interval_radius([0.1, 0.2, 0.3, 0.4], "abcd"), interval_radius([0.1, 0.2, 0.3], "abc")  # 0.8 of 5, of 4
        (0.4, inf)
    """
    values = np.asarray(errors, dtype=float)
    _, which, counts = np.unique(np.asarray(list(groups)), return_inverse=True, return_counts=True)
    if values.shape != which.shape:
        raise ValueError(f"errors and groups must have one length, got {values.shape} and {which.shape}.")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must lie between 0 and 1, got {coverage}.")
    order = values.argsort()
    share = np.cumsum(1 / counts[which][order]) / (len(counts) + 1)
    at = int(np.searchsorted(share, coverage - 1e-9))
    return float(values[order][at]) if at < len(values) else math.inf


class RiskCoverage(NamedTuple):
    """Mean error of what is kept when the least trusted predictions are handed to a reader."""

    coverage: NDArray[np.float64]  # (n,) share kept, 1/n to 1
    risk: NDArray[np.float64]  # (n,) mean of 1 - Dice of what is kept
    area: float  # mean risk over all coverages (AURC)
    best: float  # area, were the true order known
    random: float  # area of a random order: the mean risk of all


def risk_coverage(predicted: ArrayLike, dice: ArrayLike) -> RiskCoverage:
    """Risk-coverage curve of a foretold Dice; where values tie, the mean over their orders.

    When to use: to see what sending the worst to a human buys, and whether the order is right where the values are off.

    Args:
        predicted: foretold, shape ``(n,)``; only the order counts.
        dice: true values.

    Returns:
        Curve and areas.

    Raises:
        ValueError: shapes differ, no value, or one is not finite.

    Reference:
        Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017 (arXiv:1705.08500).

    Examples:
        >>> found = risk_coverage([0.9, 0.5, 0.7], [1.0, 0.4, 0.7])
        >>> found.risk.round(3).tolist(), round(found.area, 3), round(found.random, 3)  # 0, 0.3 / 2, 0.9 / 3
        ([0.0, 0.15, 0.3], 0.15, 0.3)
    """
    x, y = _pair(predicted, dice, 1)
    return RiskCoverage(
        np.arange(1, len(y) + 1) / len(y),
        _kept_risk(x, y),
        float(_kept_risk(x, y).mean()),
        float(_kept_risk(y, y).mean()),
        float((1 - y).mean()),
    )


def _kept_risk(order: NDArray[np.float64], dice: NDArray[np.float64]) -> NDArray[np.float64]:
    _, group = np.unique(-order, return_inverse=True)
    means = np.bincount(group, 1 - dice) / np.bincount(group)
    return np.asarray(np.cumsum(means[np.sort(group)]) / np.arange(1, len(dice) + 1))


def expected_calibration_error(probs: Tensor, labels: Tensor, *, bins: int = 15) -> float:
    """How far the certainty of voxels is from how often they are right, over bins of the largest probability.

    When to use: to see whether probabilities mean what they say. Most voxels of an image are sure background: give
    those near the organs.

    Args:
        probs: class probabilities, shape ``(B, K, *spatial)``.
        labels: true classes, integers, shape ``(B, *spatial)``.
        bins: of equal width from 0 to 1.

    Returns:
        ``sum_b |right_b - sure_b|`` over all voxels, divided by their number.

    Raises:
        ValueError: the shapes do not fit.

    Reference:
        Guo et al., "On calibration of modern neural networks", ICML 2017 (arXiv:1706.04599).

    Examples:
        >>> expected_calibration_error(torch.tensor([[[0.75, 0.75], [0.25, 0.25]]]), torch.tensor([[0, 1]]))
        0.25
    """
    if probs[:, 0].shape != labels.shape:
        raise ValueError(f"labels must have the shape {tuple(probs[:, 0].shape)}, got {tuple(labels.shape)}.")
    sure, found = probs.max(1)
    at = (sure * bins).long().clamp(0, bins - 1).flatten()
    gap = ((found == labels).double() - sure.double()).flatten()
    return float(torch.bincount(at, gap, minlength=bins).abs().sum() / max(1, gap.numel()))


def _pair(first: ArrayLike, second: ArrayLike, least: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < least:
        raise ValueError(f"foretold and true Dice must be {least} or more pairs, got shapes {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("foretold and true Dice must be finite, got NaN or infinity.")
    return x, y
