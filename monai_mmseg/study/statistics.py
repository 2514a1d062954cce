# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers of a study: means with the spread of trainings and of subjects kept apart, tests of all pairs, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.metrics.significance import (
    Interval,
    friedman_test,
    holm_correction,
    paired_permutation_test,
    paired_t_test,
    wilcoxon_test,
)
from monai_mmseg.study.sample import Sample

TESTS = {"permutation": paired_permutation_test, "wilcoxon": wilcoxon_test, "t": paired_t_test}
RESAMPLES = 10_000


class Summary(NamedTuple):
    """Mean of one method and what it varies with."""

    mean: float  # over subjects, each with its mean over trainings
    sd_trainings: float  # of the means of each training; NaN: one training
    sd_subjects: float  # of the subjects' means over trainings; NaN: one subject
    interval: Interval | None  # hierarchical bootstrap; None: one subject
    trainings: int
    subjects: int


class Comparison(NamedTuple):
    """Two methods on the subjects that both have."""

    a: str
    b: str
    subjects: int
    difference: float  # mean of a - b
    interval: Interval  # of the difference
    p: Mapping[str, float]  # of TESTS
    p_holm: Mapping[str, float]  # each corrected for all comparisons


class Ranking(NamedTuple):
    """Order of the methods on the subjects that all have."""

    ranks: Mapping[str, float]  # mean rank, best first
    p_value: float  # Friedman
    subjects: int
    critical_difference: float
    groups: Sequence[Sequence[str]]  # methods that no difference of ranks tells apart, largest groups, best first


def summarise(values: NDArray[np.float64], *, confidence: float | None = 0.95, seed: int = 0) -> Summary:
    """Mean of a method with both of its spreads.

    Args:
        values: shape ``(trainings, subjects)``, NaN where a training did not score a subject.
        confidence: level of the interval; ``None``: without one.
        seed: of the resampling.

    Returns:
        The summary.

    Raises:
        ValueError: no value at all.

    Examples:
        >>> found = summarise(np.array([[0.8, 0.6], [0.9, 0.7]]))
        >>> round(found.mean, 2), round(found.sd_trainings, 3), round(found.sd_subjects, 3)
        (0.75, 0.071, 0.141)
    """
    known = np.isfinite(values)
    values = values[known.any(axis=1)][:, known.any(axis=0)]
    if not values.size:
        raise ValueError("values must hold at least one finite score, got none.")
    subjects, trainings = np.nanmean(values, axis=0), np.nanmean(values, axis=1)
    interval = (
        hierarchical_interval(values, confidence=confidence, seed=seed) if confidence and len(subjects) > 1 else None
    )
    return Summary(float(subjects.mean()), _sd(trainings), _sd(subjects), interval, trainings.size, subjects.size)


def hierarchical_interval(
    a: NDArray[np.float64],
    b: NDArray[np.float64] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a method, or difference of two, with an interval that knows of trainings and of subjects.

    Each resample draws trainings (of each method by itself) and subjects (the same for all trainings and both methods)
    with replacement. Subjects are not drawn anew for each training: all trainings are scored on the same ones, and what
    is hard for one training is hard for the next. Percentile method. With two or three trainings their part of the
    interval is too short; with one it is not in it at all.

    Args:
        a: shape ``(trainings, subjects)``, NaN where a training did not score a subject.
        b: of another method, the same subjects.
        confidence: level of the interval.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        Mean over the subjects, or over their differences, and both ends of its interval.

    Raises:
        ValueError: fewer than two subjects, one without a score, other subjects, or an impossible level.

    Reference:
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007, doi:10.1214/07-AOAS122.

    Examples:
        >>> hierarchical_interval(np.array([[0.5, 0.5], [0.75, 0.75]]))
        Interval(mean=0.625, low=0.5, high=0.75)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    both = [a] if b is None else [a, b]
    subjects = a.shape[1]
    if subjects < 2 or any(x.shape[1] != subjects for x in both):
        raise ValueError(f"methods must have at least two subjects, the same ones, got {[x.shape[1] for x in both]}.")
    if not all(np.isfinite(x).any(axis=0).all() for x in both):
        raise ValueError("every subject must have a score of each method, got some without.")
    rng = np.random.default_rng(seed)
    drawn = [_subject_means(x, rng.multinomial(len(x), np.full(len(x), 1 / len(x)), size=resamples)) for x in both]
    found = drawn[0] if b is None else drawn[0] - drawn[1]
    weights = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples) * np.isfinite(found)
    totals = weights.sum(axis=1)
    means = (weights * np.nan_to_num(found)).sum(axis=1)[totals > 0] / totals[totals > 0]
    center = [float(np.nanmean(x, axis=0).mean()) for x in both]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(center[0] - (center[1] if b is not None else 0.0), float(low), float(high))


def compare(sample: Sample, *, ours: str | None = None) -> list[Comparison]:
    """Paired tests on subjects, each with its mean over trainings.

    Args:
        sample: scores of one measure.
        ours: compare this method with each other one; ``None``: all pairs.

    Returns:
        Comparisons of pairs with at least two common subjects, corrected together by Holm's method.

    Raises:
        ValueError: ``ours`` is not a method of the sample.
    """
    if ours is not None and ours not in sample.values:
        raise ValueError(f"ours must be one of the methods {list(sample.values)}, got {ours!r}.")
    pairs = [(ours, name) for name in sample.values if name != ours] if ours else combinations(sample.values, 2)
    found: list[Comparison] = []
    for a, b in pairs:
        common = np.isfinite(sample.values[a]).any(axis=0) & np.isfinite(sample.values[b]).any(axis=0)
        if common.sum() < 2:
            continue
        first, second = sample.values[a][:, common], sample.values[b][:, common]
        first, second = (x[np.isfinite(x).any(axis=1)] for x in (first, second))
        means = np.nanmean(first, axis=0), np.nanmean(second, axis=0)
        p = {name: test(*means).p_value for name, test in TESTS.items()}
        about = int(common.sum()), float((means[0] - means[1]).mean()), hierarchical_interval(first, second)
        found.append(Comparison(a, b, *about, p, {}))
    holm = {name: holm_correction({str(at): one.p[name] for at, one in enumerate(found)}) for name in TESTS}
    return [one._replace(p_holm={name: holm[name][str(at)] for name in TESTS}) for at, one in enumerate(found)]


def rank(sample: Sample, *, level: float = 0.05) -> Ranking | None:
    """Mean ranks of the methods on the subjects that all of them have.

    Args:
        sample: scores of one measure.
        level: of the critical difference.

    Returns:
        The ranking; ``None`` where there are fewer than two methods or than two common subjects.
    """
    methods = list(sample.values)
    means = np.stack([_means(sample.values[name]) for name in methods], axis=1)
    means = means[np.isfinite(means).all(axis=1)]
    if len(methods) < 2 or len(means) < 2:
        return None
    found = friedman_test(means, higher=MEASURES[sample.measure].higher, level=level)
    order = sorted(range(len(methods)), key=lambda at: found.ranks[at])
    ranks = {methods[at]: found.ranks[at] for at in order}
    return Ranking(
        ranks, found.p_value, found.subjects, found.critical_difference, _groups(ranks, found.critical_difference)
    )


def _groups(ranks: Mapping[str, float], difference: float) -> list[list[str]]:
    """Runs of methods whose ranks span less than the critical difference and that lie in no longer run."""
    names, groups, reached = list(ranks), [], 0
    for start, first in enumerate(names):
        stop = max(at for at in range(start, len(names)) if ranks[names[at]] - ranks[first] < difference) + 1
        if stop - start > 1 and stop > reached:
            groups.append(names[start:stop])
            reached = stop
    return groups


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each subject over the trainings; NaN where none scored it."""
    return _subject_means(values, np.ones((1, len(values)), dtype=np.int64))[0]


def _subject_means(values: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over trainings, each as often as drawn: ``(draws, subjects)``, NaN where none of the drawn has a score."""
    known = counts @ np.isfinite(values)
    sums = counts @ np.nan_to_num(values)
    return np.asarray(np.divide(sums, known, out=np.full(sums.shape, np.nan), where=known > 0))


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")
