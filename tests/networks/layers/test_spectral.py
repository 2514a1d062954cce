# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.layers.spectral import spectral_penalty


@pytest.mark.parametrize("case", [0, 1])
def test_equals_reference(reference, case):
    vectors = np.load(reference / "dafnet_costs.npz")
    weight = torch.as_tensor(vectors[f"spectral{case}_W"]).requires_grad_()
    matrix, start = weight.reshape(-1, weight.shape[-1]), torch.as_tensor(vectors[f"spectral{case}_u"])
    penalty = spectral_penalty(matrix, start)
    penalty.backward()
    torch.testing.assert_close(penalty, torch.as_tensor(vectors[f"spectral{case}_penalty"]), rtol=1e-5, atol=0)
    torch.testing.assert_close(weight.grad, torch.as_tensor(vectors[f"spectral{case}_grad"]), rtol=1e-5, atol=1e-8)
    # with many iterations the norm is the exact one, which is known as well
    exact = (weight / vectors[f"spectral{case}_true_sigma"].item() - weight).abs().mean() * 10
    torch.testing.assert_close(spectral_penalty(matrix, start, iterations=200), exact, rtol=1e-4, atol=0)


def test_does_not_depend_on_the_order_of_rows():
    matrix, start, order = torch.randn(20, 5), torch.randn(20), torch.randperm(20)
    torch.testing.assert_close(spectral_penalty(matrix, start), spectral_penalty(matrix[order], start[order]))


def test_is_zero_at_unit_norm():
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    assert spectral_penalty(rotation, torch.rand(6), weight=1).item() == pytest.approx(0, abs=1e-12)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"shapes \(n, m\) and \(n,\), got \(4, 3\) and \(3,\)\."):
        spectral_penalty(torch.rand(4, 3), torch.rand(3))
    with pytest.raises(ValueError, match=r"iterations must be at least 1, got 0\."):
        spectral_penalty(torch.rand(4, 3), torch.rand(4), iterations=0)
