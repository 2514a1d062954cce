# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Is the difference between two methods more than chance: paired tests over subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import ArrayLike, NDArray

stats, _ = optional_import("scipy.stats")

# `random_state` below is the older name of `rng`: SciPy before 1.15 knows no other
EXACT_UP_TO = 16  # subjects: 65,536 sign patterns


class PairedTest(NamedTuple):
    """Result of :func:`paired_permutation_test`."""

    difference: float  # mean of a - b over subjects
    p_value: float  # two-sided
    subjects: int
    exact: bool  # every pattern of signs was tried


class Interval(NamedTuple):
    """Result of :func:`bootstrap_interval`."""

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
    first, second = _finite_vector("a", a), _finite_vector("b", b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must score the same subjects, got {first.size} and {second.size}.")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}.")
    differences = first - second
    exact = differences.size <= EXACT_UP_TO
    result = stats.permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",  # of one sample: sign flips
        vectorized=True,
        n_resamples=np.inf if exact else resamples,
        random_state=np.random.default_rng(seed),
    )
    return PairedTest(float(differences.mean()), float(result.pvalue), int(differences.size), exact)


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


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(np.mean(values, axis=axis))


def _finite_vector(name: str, values: ArrayLike) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size < 2:
        raise ValueError(f"{name} must hold one number for each of at least two subjects, got shape {vector.shape}.")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite, got {int((~np.isfinite(vector)).sum())} values that are not.")
    return vector
