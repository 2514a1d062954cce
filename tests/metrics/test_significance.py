# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from itertools import product

import numpy as np
import pytest
from scipy import stats

from monai_mmseg.metrics import (
    bootstrap_interval,
    friedman_test,
    holm_correction,
    paired_permutation_test,
    paired_t_test,
    wilcoxon_test,
)

# Darwin's crossed minus self-fertilised maize in eighths of an inch: Fisher, The Design of Experiments, 1935, chapter 3
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)

# ranks of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets: Demsar, JMLR 2006, table 6
DEMSAR = np.array(
    [
        *([4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1]),
        *([2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5] * 4, [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2]),
    ]
)


def by_hand(differences):
    """Share of all sign patterns whose mean is at least as far from zero."""
    observed = abs(np.mean(differences))
    means = [abs(np.mean(differences * np.array(signs))) for signs in product([1, -1], repeat=len(differences))]
    return np.mean(np.array(means) >= observed - 1e-12)


@pytest.mark.parametrize("subjects", [2, 5, 9])
def test_exact(subjects):
    rng = np.random.default_rng(subjects)
    a, b = rng.random(subjects), rng.random(subjects)
    test = paired_permutation_test(a, b)
    assert test.exact
    assert test.subjects == subjects
    assert test.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert test.p_value == pytest.approx(by_hand(a - b))
    swapped = paired_permutation_test(b, a)
    assert (swapped.difference, swapped.p_value) == (pytest.approx(-test.difference), pytest.approx(test.p_value))


def test_all_subjects_agree():
    assert paired_permutation_test(np.arange(6) + 1.0, np.arange(6)).p_value == pytest.approx(2 / 2**6)


def test_no_difference():
    assert paired_permutation_test([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]).p_value == 1


def test_the_t_statistic_gives_the_same_p_value():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.4, 1, 8), rng.normal(0, 1, 8)
    other = stats.permutation_test(
        (a - b,),
        lambda d, axis: stats.ttest_1samp(d, 0, axis=axis).statistic,
        permutation_type="samples",
        vectorized=True,
    )
    assert paired_permutation_test(a, b).p_value == pytest.approx(other.pvalue)


def test_many_subjects_are_sampled_and_repeatable():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 30)
    b = a - rng.normal(0.3, 1, 30)
    first, again = (paired_permutation_test(a, b, resamples=2000, seed=1) for _ in range(2))
    assert not first.exact
    assert first == again
    assert first.p_value != paired_permutation_test(a, b, resamples=2000, seed=2).p_value
    assert first.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.03)
    assert paired_permutation_test(a + 9, b, resamples=99).p_value == pytest.approx(2 / 100)  # never 0


def test_sixteen_subjects_are_exact():
    assert paired_permutation_test(np.ones(16), np.zeros(16)).p_value == pytest.approx(2 / 2**16)


def test_published_permutation_test():
    # Fisher counts 863 of 2^15 patterns with a sum of at least 314 on either side
    assert paired_permutation_test(MAIZE, np.zeros(15)).p_value == pytest.approx(2 * 863 / 2**15)


def test_published_t_test():
    found = paired_t_test(MAIZE, np.zeros(15))
    assert found.difference == pytest.approx(314 / 15)
    assert abs(stats.t.ppf(found.p_value / 2, 14)) == pytest.approx(2.148, abs=5e-4)  # Fisher's t


def test_t_test_without_spread():
    assert paired_t_test([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]).p_value == 1
    assert paired_t_test([0.9, 0.8, 0.7], [0.8, 0.7, 0.6]).p_value == 0  # each 0.1, but for rounding


@pytest.mark.parametrize("subjects", [5, 12, 30, 60])
def test_wilcoxon_without_ties_is_scipys(subjects):
    rng = np.random.default_rng(subjects)
    a, b = rng.random(subjects) + 0.1, rng.random(subjects)
    found = wilcoxon_test(a, b)
    assert found.p_value == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert found.exact == (subjects <= 50)
    assert found.difference == pytest.approx((a - b).mean())


def test_wilcoxon_with_ties_and_zeros_by_hand():
    assert wilcoxon_test(MAIZE, np.zeros(15)).p_value == pytest.approx(0.041259765625)  # of R's wilcox.test
    # differences 0.1, 0.1, 0.1, -0.1, 0.2 and two zeros: ranks 2.5 four times, and 5
    a, b = np.array([0.9, 0.8, 0.7, 0.5, 0.8, 0.4, 0.4]), np.array([0.8, 0.7, 0.6, 0.6, 0.6, 0.4, 0.4])
    assert wilcoxon_test(a, b).p_value == pytest.approx(by_hand(np.array([2.5, 2.5, 2.5, -2.5, 5.0])))
    assert wilcoxon_test(a, b).subjects == 7
    assert wilcoxon_test([0.5, 0.6], [0.5, 0.6]).p_value == 1
    assert wilcoxon_test([0.5, 0.7], [0.5, 0.6]).p_value == 1  # one that differs says nothing


def test_published_ranks():
    found = friedman_test(DEMSAR, higher=False)
    assert found.ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.p_value == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).pvalue)
    assert friedman_test(-DEMSAR) == found


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])  # Demsar, table 5a
def test_critical_values(methods, q):
    scores = np.random.default_rng(0).random((6, methods))
    wanted = q * np.sqrt(methods * (methods + 1) / 36)
    assert friedman_test(scores).critical_difference == pytest.approx(wanted, rel=3e-4)


def test_ranks_of_equal_methods_and_of_one_subject():
    equal = friedman_test(np.ones((4, 3)))
    assert (equal.ranks, equal.p_value) == ([2.0, 2.0, 2.0], 1.0)
    assert np.isnan(friedman_test([[0.9, 0.8]]).critical_difference)


def test_holm_by_hand():
    # sorted: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06, 0.04 * 1 -> not below the one before
    corrected = holm_correction({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.005})
    assert list(corrected) == ["a", "b", "c", "d"]
    assert corrected == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06, "d": 0.02})
    assert holm_correction({"a": 0.7, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm_correction({"a": 0.03}) == {"a": 0.03}
    assert holm_correction({}) == {}


def test_interval():
    values = np.random.default_rng(5).normal(0.8, 0.1, 200)
    interval = bootstrap_interval(values, resamples=2000)
    half = stats.norm.ppf(0.975) * values.std() / np.sqrt(200)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.002)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.002)
    assert interval == bootstrap_interval(values, resamples=2000)
    narrow = bootstrap_interval(values, confidence=0.5, resamples=2000)
    assert interval.low < narrow.low < narrow.mean < narrow.high < interval.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_permutation_test([1, 2], [1, 2, 3]), "a and b must score the same subjects, got 2 and 3."),
        (
            lambda: paired_permutation_test([1], [1]),
            "a must hold one number for each of at least two subjects, got shape (1,).",
        ),
        (lambda: paired_permutation_test([1, 2], [1, np.nan]), "b must be finite, got 1 values that are not."),
        (lambda: paired_permutation_test([1, 2], [1, 2], resamples=0), "resamples must be at least 1, got 0."),
        (lambda: wilcoxon_test([1, 2], [1, 2, 3]), "a and b must score the same subjects, got 2 and 3."),
        (lambda: paired_t_test([1], [1]), "a must hold one number for each of at least two subjects, got shape (1,)."),
        (lambda: friedman_test([[1.0]]), "scores must be of at least one subject and two methods, got shape (1, 1)."),
        (lambda: friedman_test([[1.0, np.nan]]), "scores must be finite, got 1 values that are not."),
        (lambda: friedman_test([[1.0, 2.0]], level=5), "level must lie between 0 and 1, got 5."),
        (lambda: holm_correction({"a": 1.5}), "p_values must lie in [0, 1], got 1.5 for 'a'."),
        (lambda: holm_correction({"a": np.nan}), "got nan for 'a'."),
        (lambda: bootstrap_interval([1, 2], confidence=95), "confidence must lie between 0 and 1, got 95."),
        (
            lambda: bootstrap_interval([[1, 2]]),
            "values must hold one number for each of at least two subjects, got shape (1, 2).",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
