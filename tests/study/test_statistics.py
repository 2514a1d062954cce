# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers of a study: against hand-worked values, SciPy and a published ranking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from monai_mmseg.study.sample import Sample
from monai_mmseg.study.statistics import compare, hierarchical_interval, rank, summarise


def sample(measure="dice", **values):
    arrays = {name: np.atleast_2d(np.asarray(found, dtype=float)) for name, found in values.items()}
    subjects = [f"s{at}" for at in range(next(iter(arrays.values())).shape[1])]
    return Sample(
        measure, subjects, arrays, {name: [f"seed {at}" for at in range(len(x))] for name, x in arrays.items()}
    )


def test_both_spreads_by_hand():
    found = summarise(np.array([[0.8, 0.6, 0.7], [0.9, 0.7, 0.8]]))
    assert found[:3] == pytest.approx((0.75, math.sqrt(0.005), 0.1))  # of 0.7, 0.8; of 0.85, 0.65, 0.75
    assert (found.trainings, found.subjects) == (2, 3)


def test_missing_scores_are_no_zeros():
    found = summarise(np.array([[0.8, np.nan, np.nan], [0.6, 0.5, np.nan], [np.nan, np.nan, np.nan]]))
    assert found.mean == pytest.approx((0.7 + 0.5) / 2)
    assert found.sd_trainings == pytest.approx(np.std([0.8, 0.55], ddof=1))
    assert (found.trainings, found.subjects) == (2, 2)


def test_one_training_and_one_subject():
    found = summarise(np.array([[0.8]]))
    assert found.mean == 0.8
    assert math.isnan(found.sd_trainings)
    assert math.isnan(found.sd_subjects)
    assert found.interval is None
    found = summarise(np.array([[0.8, 0.8]]))
    assert (found.interval.low, found.interval.high) == (0.8, 0.8)


def test_interval_has_both_variances():
    # of a sum of effects the two resamplings add: var(trainings) / R + var(subjects) / S, exactly
    rng = np.random.default_rng(0)
    trainings, subjects = rng.normal(0, 0.06, 25), rng.normal(0.7, 0.1, 40)
    found = hierarchical_interval(trainings[:, None] + subjects[None])
    half = stats.norm.ppf(0.975) * math.sqrt(trainings.var() / 25 + subjects.var() / 40)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.03)
    # and it is not that of 25 * 40 numbers
    assert found.high - found.low > 3 * 2 * 1.96 * math.hypot(trainings.std(), subjects.std()) / math.sqrt(1000)


def test_interval_of_one_training_is_that_of_subjects():
    values = np.random.default_rng(1).normal(0.7, 0.1, 30)
    wanted = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, random_state=0)
    found = hierarchical_interval(values[None])
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval), abs=0.002)


def test_difference_is_paired():
    rng = np.random.default_rng(2)
    subjects, noise = rng.normal(0, 0.2, 20), rng.normal(0, 0.01, (4, 20))
    a, b = 0.5 + subjects + noise, np.atleast_2d(0.4 + subjects)
    found = hierarchical_interval(a, b)
    assert found.mean == pytest.approx((a.mean(0) - b[0]).mean())
    assert 0.08 < found.low < found.high < 0.12  # the subjects' own spread of 0.2 is not in it


def test_comparisons_are_scipys_and_corrected_together():
    rng = np.random.default_rng(3)
    copy = rng.normal(0.6, 0.1, 12)
    unet, ours = copy + rng.normal(0.05, 0.05, (3, 12)), copy + rng.normal(0.1, 0.05, (3, 12))
    found = compare(sample(copy=copy, unet=unet, ours=ours))
    assert [(one.a, one.b) for one in found] == [("copy", "unet"), ("copy", "ours"), ("unet", "ours")]
    first = found[0]
    assert first.subjects == 12
    assert first.difference == pytest.approx((copy - unet.mean(0)).mean())
    assert first.p["t"] == pytest.approx(stats.ttest_rel(copy, unet.mean(0)).pvalue)
    assert first.p["wilcoxon"] == pytest.approx(stats.wilcoxon(copy, unet.mean(0)).pvalue)
    least = min(found, key=lambda one: one.p["t"])
    assert least.p_holm["t"] == pytest.approx(3 * least.p["t"])  # Holm: the smallest of three times three
    against = compare(sample(copy=copy, unet=unet, ours=ours), ours="ours")
    assert [(one.a, one.b) for one in against] == [("ours", "copy"), ("ours", "unet")]
    least = min(against, key=lambda one: one.p["t"])
    assert least.p_holm["t"] == pytest.approx(2 * least.p["t"])


def test_only_common_subjects_are_compared():
    nan = np.nan
    found = compare(sample(a=[0.9, 0.8, 0.7, nan], b=[0.8, 0.7, 0.6, 0.1], c=[nan, nan, nan, 0.5]))
    assert [(one.a, one.b, one.subjects) for one in found] == [("a", "b", 3)]
    assert found[0].difference == pytest.approx(0.1)
    assert rank(sample(a=[0.9, 0.8, nan], b=[nan, 0.7, 0.6])) is None
    assert rank(sample(a=[0.9, 0.8])) is None


def test_equal_methods():
    found = compare(sample(a=[0.5, 0.6], b=[0.5, 0.6]))[0]
    assert (found.difference, *found.p.values()) == (0, 1, 1, 1)
    assert found.interval[:] == (0, 0, 0)


def test_unknown_method_of_interest():
    with pytest.raises(ValueError, match=r"ours must be one of the methods \['a'\], got 'b'\."):
        compare(sample(a=[0.5, 0.6]), ours="b")
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        hierarchical_interval(np.ones((1, 2)), confidence=95)
    with pytest.raises(ValueError, match=r"at least two subjects, the same ones, got \[2, 3\]"):
        hierarchical_interval(np.ones((1, 2)), np.ones((1, 3)))


def test_published_ranking():
    # ranks of table 6 of Demsar, JMLR 2006, as scores of which less is better: see tests/metrics/test_significance.py
    a = [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3]
    b = [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1]
    c = [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4]
    d = [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2]
    found = rank(sample("hausdorff95", a=a, b=b, c=c, d=d))
    assert list(found.ranks) == ["d", "b", "c", "a"]
    assert list(found.ranks.values()) == pytest.approx([1.964, 2.0, 2.893, 3.143], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.groups == [["d", "b", "c", "a"]]  # 1.18 apart: none differs
    ten = rank(sample("hausdorff95", a=a, b=b, c=c, d=d), level=0.1)
    assert ten.critical_difference == pytest.approx(1.12, abs=5e-3)  # the paper's at 10 %
    assert ten.groups == [["d", "b", "c"], ["c", "a"]]
