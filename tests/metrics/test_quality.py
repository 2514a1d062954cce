# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Foretold quality: closed forms, all outcomes counted, orders worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from monai_mmseg.metrics.quality import (
    expected_calibration_error,
    expected_dice,
    fit_calibration,
    interval_radius,
    label_dice,
    left_out_errors,
    normalised_entropy,
    risk_coverage,
)


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)])
@pytest.mark.parametrize("classes", [2, 5])
def test_entropy_of_even_and_of_sure_probabilities(shape, classes):
    even = torch.full((2, classes, *shape), 1 / classes)
    sure = torch.nn.functional.one_hot(torch.zeros(2, *shape).long(), classes).movedim(-1, 1).float()
    torch.testing.assert_close(normalised_entropy(even), torch.ones(2, 1, *shape))
    assert not normalised_entropy(sure).any()


def test_entropy_of_two_classes():
    p = 0.11  # 0.49991... bit
    expected = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert normalised_entropy(torch.tensor([[[p], [1 - p]]])).item() == pytest.approx(expected, rel=1e-6)


def test_expected_dice_is_the_ratio_of_expectations():
    """All 16 outcomes of four voxels, each with its probability."""
    p, labels = [0.9, 0.6, 0.3, 0.2], [1, 1, 0, 0]
    numerator = denominator = 0.0
    for outcome in itertools.product((0, 1), repeat=4):
        weight = math.prod(q if one else 1 - q for q, one in zip(p, outcome, strict=True))
        numerator += weight * 2 * sum(a and b for a, b in zip(outcome, labels, strict=True))
        denominator += weight * (sum(outcome) + sum(labels))
    probs = torch.tensor([[1 - q for q in p], p])
    assert expected_dice(probs, torch.tensor(labels))[1].item() == pytest.approx(numerator / denominator, rel=1e-6)


def test_expected_dice_of_sure_probabilities_is_that_of_the_labels():
    first, second = torch.randint(3, (2, 4, 4, 3), generator=torch.Generator().manual_seed(0))
    sure = torch.nn.functional.one_hot(first, 4).movedim(-1, 0).double()
    torch.testing.assert_close(expected_dice(sure, second), label_dice(first, second, 4))
    for one in range(3):
        a, b = first == one, second == one
        assert label_dice(first, second, 4)[one] == pytest.approx(float(2 * (a & b).sum() / (a.sum() + b.sum())))
    assert label_dice(first, second, 4)[3] == 1  # in neither


def test_line_of_three_points():
    line = fit_calibration([0.0, 0.5, 1.0], [0.1, 0.2, 0.6])  # slope 0.25 / 0.5, through (0.5, 0.3)
    assert line.slope == pytest.approx(0.5)
    assert line.intercept == pytest.approx(0.05)
    assert line([-1.0, 0.5, 9.0]).tolist() == [0.0, pytest.approx(0.3), 1.0]


@pytest.mark.parametrize("signal", [[0.5, 0.5, 0.5], [0.9, 0.5, 0.1]], ids=["constant", "falling"])
def test_a_signal_that_says_nothing_foretells_the_mean(signal):
    assert fit_calibration(signal, [0.2, 0.4, 0.9])(0.3) == pytest.approx(0.5)


def test_left_out_errors_of_a_line_and_of_a_constant():
    np.testing.assert_allclose(left_out_errors([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6], "abcd"), 0, atol=1e-12)
    # each foretold by the mean of the other three: 0.4, 0.4, 0.4 and 0
    np.testing.assert_allclose(left_out_errors([0.5] * 4, [0, 0, 0, 1.2], "abcd"), [0.4, 0.4, 0.4, 1.2])
    # two values of one subject leave together, so that the line of the others passes both by
    np.testing.assert_allclose(left_out_errors([0.1, 0.2, 0.3, 0.4, 0.4], [0.1, 0.2, 0.3, 0, 0.8], "abcdd")[3:], 0.4)


def test_radius_is_the_quantile_with_one_more_group_at_infinity():
    errors = [0.3, 0.1, 0.2, 0.4, 0.9]
    groups = "aabbc"  # weights 1/8 each for a and b, 1/4 for c, 1/4 at infinity
    assert [interval_radius(errors, groups, level) for level in (0.1, 0.125, 0.3, 0.5, 0.51, 0.75)] == [
        *(0.1, 0.1, 0.3, 0.4, 0.9, 0.9)
    ]
    assert interval_radius(errors, groups, 0.76) == math.inf


@pytest.mark.parametrize("each", [1, 3])
def test_new_groups_lie_within_as_often_as_asked(each):
    """Errors of nine groups, those of one group alike; with a single error each the share is 8 of 10."""
    rng = np.random.default_rng(0)
    errors = np.abs(rng.normal(size=(1500, 10, 1)) + 0.5 * rng.normal(size=(1500, 10, each)))
    names = np.repeat(list("abcdefghi"), each)
    share = np.mean([np.mean(one[9] <= interval_radius(one[:9].ravel(), names)) for one in errors])
    assert 0.78 < share < (0.82 if each == 1 else 0.9)


def test_curve_with_ties_is_the_mean_over_orders():
    dice = [1.0, 0.2, 0.6, 0.8]
    found = risk_coverage([0.9, 0.5, 0.5, 0.1], dice)
    orders = [[0, 1, 2, 3], [0, 2, 1, 3]]
    curves = [np.cumsum([1 - dice[at] for at in order]) / np.arange(1, 5) for order in orders]
    np.testing.assert_allclose(found.risk, np.mean(curves, 0))
    assert found.area == pytest.approx(np.mean(curves))
    assert found.best == pytest.approx((0 + 0.2 / 2 + 0.6 / 3 + 1.4 / 4) / 4)
    assert found.random == pytest.approx(0.35)
    np.testing.assert_allclose(risk_coverage([0.5] * 4, dice).risk, 0.35)  # nothing is known


def test_calibration_error_of_two_bins():
    # two voxels of 0.9, both right: gap 0.1 each; two of 0.6, one right: |1 - 1.2| together
    probs = torch.tensor([[[0.9, 0.9, 0.6, 0.6], [0.1, 0.1, 0.4, 0.4]]])
    assert expected_calibration_error(probs, torch.tensor([[0, 0, 0, 1]]), bins=10) == pytest.approx(0.4 / 4, abs=1e-6)


ERRORS = [
    (lambda: normalised_entropy(torch.ones(2, 1, 3)), "probs must have the shape"),
    (lambda: fit_calibration([1, 2], [1, 2]), "must be 3 or more pairs"),
    (lambda: interval_radius([0.1, 0.2], "a"), r"one length, got \(2,\) and \(1,\)"),
    (lambda: interval_radius([0.1], "a", 1.0), "coverage must lie between 0 and 1, got 1.0"),
    (lambda: risk_coverage([1.0, 2.0], [1.0]), r"got shapes \(2,\) and \(1,\)"),
    (lambda: risk_coverage([math.nan], [1.0]), "must be finite"),
    (lambda: expected_calibration_error(torch.ones(1, 2, 3), torch.ones(1, 4)), r"shape \(1, 3\), got \(1, 4\)"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
