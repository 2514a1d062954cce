# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Is the difference between methods more than chance: paired tests over subjects, and ranks of several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import ArrayLike, NDArray

stats, _ = optional_import("scipy.stats")

# `random_state` below is the older name of `rng`: SciPy before 1.15 knows no other
EXACT_UP_TO = 16  # subjects: 65,536 sign patterns
DIGITS = 12  # of scores: 0.9 - 0.8 and 0.8 - 0.7 are one difference
NOISE = 0.5 * 10.0**-DIGITS


class PairedTest(NamedTuple):
    """Result of a paired test of two methods."""

    difference: float  # mean of a - b over subjects
    p_value: float  # two-sided
    subjects: int
    exact: bool  # every pattern of signs was counted


class Ranks(NamedTuple):
    """Result of :func:`friedman_test`."""

    ranks: list[float]  # mean rank of each method, 1 is the best
    p_value: float
    subjects: int
    critical_difference: float  # of mean ranks; NaN: of one subject


class Interval(NamedTuple):
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float


def paired_permutation_test(a: ArrayLike, b: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> PairedTest:
    """Returns the two-sided p-value of the mean difference under random exchange of the two methods within a subject.

    When to use: to compare two methods on the same subjects (one number a subject: average its slices and organs
    first). The signs of the differences are flipped in all ways up to 16 subjects, at random above. The paired t
    statistic gives the same p-value, as it grows with the absolute mean when only signs change.

    Args:
        a: scores of the first method, shape ``(n,)``.
        b: scores of the second method for the same subjects.
        resamples: number of random patterns of signs above 16 subjects.
        seed: seed of the random patterns.

    Returns:
        Mean difference, p-value, number of subjects, and whether all patterns were tried. The smallest p-value that n
        subjects can give is 2 / 2**n.

    Raises:
        ValueError: when the scores do not pair, there are fewer than two, or a value is not finite.

    Reference:
        Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584: best against second best method.

    Examples:
        >>> import torch
        >>> test = paired_permutation_test([0.8, 0.9, 0.7, 0.85], [0.7, 0.8, 0.65, 0.8])
        >>> round(test.difference, 3), test.p_value, test.exact  # all four agree: 2 of 16 patterns
        (0.075, 0.125, True)
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")
    differences = _differences(a, b)
    p_value = _sign_flips(differences, resamples, seed)
    return PairedTest(float(differences.mean()), p_value, differences.size, differences.size <= EXACT_UP_TO)


def wilcoxon_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Returns the two-sided p-value of Wilcoxon's signed-rank test of two methods on the same subjects.

    When to use: beside published tests of this kind, and where a few outliers must not decide. Subjects with no
    difference are left out of the ranks; equal differences share a mean rank. Exact up to 16 subjects, and up to 50
    without equal differences; the normal distribution above.

    Args:
        a: scores of the first method, shape ``(n,)``.
        b: scores of the second method for the same subjects.

    Returns:
        Mean difference, p-value (1 where no subject differs), number of subjects, and whether it is exact.

    Raises:
        ValueError: as :func:`paired_permutation_test`.

    Reference:
        Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1945, doi:10.2307/3001968.

    Examples:
        >>> import torch
        >>> wilcoxon_test([0.8, 0.9, 0.7, 0.85], [0.7, 0.8, 0.65, 0.8]).p_value  # all four agree: 2 of 16 patterns
        0.125
    """
    differences = _differences(a, b)
    kept = differences[differences != 0]
    sizes = np.abs(kept)
    exact = kept.size <= EXACT_UP_TO or (kept.size <= 50 and np.unique(sizes).size == kept.size)
    if kept.size <= EXACT_UP_TO:
        p_value = _sign_flips(np.sign(kept) * stats.rankdata(sizes)) if kept.size > 1 else 1.0
    else:
        p_value = float(stats.wilcoxon(kept).pvalue)
    return PairedTest(float(differences.mean()), p_value, int(differences.size), exact)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Returns the two-sided p-value of Student's paired t-test of two methods on the same subjects.

    When to use: beside published tests of this kind. It takes the differences for normally distributed, which those of
    Dice rarely are.

    Args:
        a: scores of the first method, shape ``(n,)``.
        b: scores of the second method for the same subjects.

    Returns:
        Mean difference, p-value (1 where no subject differs, 0 where all differ alike), number of subjects.

    Raises:
        ValueError: as :func:`paired_permutation_test`.

    Reference:
        Student, "The probable error of a mean", Biometrika 1908, doi:10.2307/2331554.

    Examples:
        >>> import torch
        >>> round(paired_t_test([0.8, 0.9, 0.7, 0.85], [0.7, 0.8, 0.65, 0.8]).p_value, 4)  # t = 5.196
        0.0138
    """
    differences = _differences(a, b)
    mean, spread = float(differences.mean()), float(differences.std(ddof=1))
    if spread < NOISE:  # no t statistic
        p_value = float(abs(mean) < NOISE)
    else:
        p_value = float(stats.ttest_1samp(differences, 0.0).pvalue)
    return PairedTest(mean, p_value, int(differences.size), False)


def friedman_test(scores: ArrayLike, *, higher: bool = True, level: float = 0.05) -> Ranks:
    """Returns mean ranks of several methods on the same subjects, Friedman's test and Nemenyi's critical difference.

    When to use: to order many methods. Two of them differ at the level where their mean ranks are further apart than
    the critical difference. Equal scores share a mean rank, and the statistic is corrected for them.

    Args:
        scores: shape ``(subjects, methods)``, finite.
        higher: whether a higher score is better.
        level: of the critical difference.

    Returns:
        Mean rank of each method, p-value of all methods being alike, number of subjects, critical difference.

    Raises:
        ValueError: a score is not finite, or there are fewer than two methods or no subject.

    Reference:
        Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006, sections 3.2.1 and 3.2.2.

    Examples:
        >>> import torch
        >>> friedman_test([[0.9, 0.8, 0.7], [0.9, 0.7, 0.7]]).ranks
        [1.0, 2.25, 2.75]
    """
    table = np.round(np.asarray(scores, dtype=np.float64), DIGITS)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise ValueError(f"scores must be of at least one subject and two methods, got shape {table.shape}.")
    if not np.isfinite(table).all():
        raise ValueError(f"scores must be finite, got {int((~np.isfinite(table)).sum())} values that are not.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")
    subjects, methods = table.shape
    ranks = stats.rankdata(-table if higher else table, axis=1)
    means, middle = ranks.mean(axis=0), (methods + 1) / 2
    # the variance of the ranks that are there: with ties less than (k^2 - 1) / 12
    spread = float(((ranks - middle) ** 2).sum()) / (subjects * (methods - 1))
    statistic = subjects * float(((means - middle) ** 2).sum()) / spread if spread else 0.0
    q = float(stats.studentized_range.ppf(1 - level, methods, np.inf)) / np.sqrt(2)
    difference = q * np.sqrt(methods * (methods + 1) / (6 * subjects)) if subjects > 1 else np.nan
    p_value = float(stats.chi2.sf(statistic, methods - 1))
    return Ranks([float(value) for value in means], p_value, subjects, float(difference))


def holm_correction(p_values: Mapping[str, float]) -> dict[str, float]:
    """Returns p-values corrected for their number, by Holm's step-down method.

    When to use: whenever more than one comparison is reported. The chance of any false finding stays below the level.

    Args:
        p_values: name of each comparison and its p-value.

    Returns:
        Corrected p-values under the same names, in the same order, at most 1.

    Raises:
        ValueError: when a p-value is outside of [0, 1].

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Examples:
        >>> import torch
        >>> holm_correction({"unet": 0.01, "copy": 0.04, "register": 0.03})
        {'unet': 0.03, 'copy': 0.06, 'register': 0.06}
    """
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise ValueError(f"p_values must lie in [0, 1], got {p} for {name!r}.")
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def bootstrap_interval(
    values: Sequence[float] | ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Returns the mean over subjects and its confidence interval, by resampling subjects.

    When to use: beside a mean in a table, for a score or for the paired difference of two methods. Percentile method,
    so that a constant score has an interval of length 0 and not NaN.

    Args:
        values: one number a subject, shape ``(n,)``.
        confidence: level of the interval.
        resamples: number of samples with replacement.
        seed: seed of the random samples.

    Returns:
        Mean and both ends of its interval.

    Raises:
        ValueError: when there are fewer than two values, one is not finite, or the level is outside of (0, 1).

    Examples:
        >>> import torch
        >>> bootstrap_interval([0.5, 0.5, 0.5])
        Interval(mean=0.5, low=0.5, high=0.5)
    """
    sample = _finite_vector("values", values)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    result = stats.bootstrap(
        (sample,),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    interval = result.confidence_interval
    return Interval(float(sample.mean()), float(interval.low), float(interval.high))


def _differences(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    first, second = _finite_vector("a", a), _finite_vector("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must score the same subjects, got {first.size} and {second.size}.")
    return np.round(first - second, DIGITS)


def _sign_flips(differences: NDArray[np.float64], resamples: int = 10_000, seed: int = 0) -> float:
    """Share of the patterns of signs whose sum is as far from zero; all of them where their number allows."""
    if differences.size <= EXACT_UP_TO:  # SciPy takes a hundred times longer
        count = differences.size - 1  # turning all signs changes nothing, so the last one stays
        signs = 1.0 - 2.0 * (np.arange(2**count)[:, None] >> np.arange(count + 1) & 1)
        sums, noise = np.abs(signs @ differences), NOISE * max(1.0, float(np.abs(differences).sum()))
        return float((sums >= abs(differences.sum()) - noise).mean())
    result = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",  # of one sample: sign flips
        vectorized=True,
        n_resamples=resamples,
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(np.mean(values, axis=axis))


def _finite_vector(name: str, values: ArrayLike) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size < 2:
        raise ValueError(f"{name} must hold one number for each of at least two subjects, got shape {vector.shape}.")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(vector)).sum())} values that are not.")
    return vector
