# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_mmseg.metrics import distance_correlation, distance_covariance, distance_variance

CASES = ["gauss_indep", "gauss_dep", "quadratic", "wide", "similarity", "factorial", "binary"]


@pytest.fixture(scope="module")
def stored(reference):
    with np.load(reference / "dafnet_distance_correlation.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.mark.parametrize("case", CASES)
def test_original_and_dcor(stored, case):
    a, b = stored[f"{case}_a"], stored[f"{case}_b"]
    found = distance_correlation(a, b)
    torch.testing.assert_close(found, stored[f"{case}_original"], rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(found, stored[f"{case}_dcor"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(distance_covariance(a, b), stored[f"{case}_dcov"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(distance_variance(a), stored[f"{case}_dvar_a"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(distance_variance(b), stored[f"{case}_dvar_b"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", ["similarity", "factorial", "binary"])
def test_analytic(stored, case):
    found = distance_correlation(stored[f"{case}_a"], stored[f"{case}_b"])
    torch.testing.assert_close(found, stored[f"{case}_analytic"], rtol=1e-9, atol=1e-12)


def test_full_factorial_design_is_exactly_zero():
    a = torch.arange(4.0).repeat_interleave(6)[:, None]
    b = torch.arange(6.0).repeat(4)[:, None] ** 2
    assert distance_correlation(a, b) == 0


def test_binary_variables_give_the_phi_coefficient():
    # 6 times (1, 1), 2 times (1, 0), 1 time (0, 1), 5 times (0, 0)
    a = torch.tensor([1.0] * 8 + [0.0] * 6)[:, None]
    b = torch.tensor([1.0] * 6 + [0.0] * 2 + [1.0] + [0.0] * 5)[:, None]
    phi = (6 * 5 - 2 * 1) / math.sqrt(8 * 6 * 7 * 7)
    assert distance_correlation(a, b).item() == pytest.approx(phi)


@pytest.mark.slow  # the library compiles itself at import
@pytest.mark.overlays
def test_another_library():
    dcor = pytest.importorskip("dcor")
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(30, 200, generator=generator).double(), torch.randn(30, 8, generator=generator).double()
    b[:, 0] += a[:, 0]
    assert distance_correlation(a, b).item() == pytest.approx(dcor.distance_correlation(a.numpy(), b.numpy()), rel=1e-9)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 12), p=st.integers(1, 4), q=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_properties(seed, n, p, q):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(n, p, generator=generator), torch.randn(n, q, generator=generator)
    found = distance_correlation(a, b)
    assert 0 <= found <= 1
    torch.testing.assert_close(distance_correlation(b, a), found)
    rotation = torch.linalg.qr(torch.randn(p, p, generator=generator).double())[0]
    moved = -3 * a.double() @ rotation + 7
    torch.testing.assert_close(distance_correlation(a, moved).item(), 1.0, rtol=1e-9, atol=0)
    torch.testing.assert_close(distance_correlation(moved, b), found, rtol=1e-6, atol=1e-8)


def test_constant_sample_is_zero_and_not_nan():
    a = torch.full((5, 3), 0.1)
    assert distance_variance(a) == 0
    assert distance_correlation(a, torch.randn(5, 2)) == 0
    assert distance_correlation(a, a) == 0


def test_anatomies_are_flattened():
    a, b = torch.rand(6, 8, 4, 4).round(), torch.randn(6, 8)
    torch.testing.assert_close(distance_correlation(a, b), distance_correlation(a.flatten(1), b))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(3, 1), torch.zeros(4, 1), "a and b must pair, got 3 and 4 samples."),
        (torch.zeros(3), torch.zeros(3, 1), "a must hold at least two samples, shape (n, p), got (3,)."),
        (torch.zeros(2, 1), torch.zeros(1, 1), "b must hold at least two samples, shape (n, p), got (1, 1)."),
        (torch.zeros(2, 1), torch.tensor([[0.0], [math.nan]]), "b must be finite, got NaN or Inf."),
    ],
)
def test_messages(a, b, message):
    with pytest.raises(ValueError) as error:
        distance_correlation(a, b)
    assert message in str(error.value)
