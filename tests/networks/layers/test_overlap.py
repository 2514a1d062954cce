# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice

from monai_mmseg.networks.layers import anatomy_overlap
from tests.reference_loading import image_of


@pytest.mark.parametrize("case", [0, 1, 2])
def test_equals_reference(reference, case):
    vectors = np.load(reference / "dafnet_costs.npz")
    a, b = (image_of(vectors[f"c{case}_anatomy_{name}"]) for name in "ab")
    for other, name in [(b, "ab"), (a, "aa"), (torch.zeros_like(a), "a0")]:
        expected = torch.as_tensor(vectors[f"c{case}_overlap_{name}"])[:, 0]
        torch.testing.assert_close(anatomy_overlap(a, other), expected, rtol=1e-5, atol=0)


def test_equals_reference_of_candidates(reference):
    vectors = np.load(reference / "dafnet_balancer.npz")
    overlaps = [anatomy_overlap(*(image_of(vectors[f"cand{i}"]) for i in (0, n))) for n in (1, 2, 3)]
    torch.testing.assert_close(torch.stack(overlaps, 1), torch.as_tensor(vectors["overlap"]), rtol=1e-5, atol=1e-6)


def test_equals_monai_dice_of_one_channel():
    a, b = (torch.rand(2, 5, 1, 8, 8) < 0.4).float()
    torch.testing.assert_close(anatomy_overlap(a, b), compute_dice(a, b)[:, 0])


def test_identical_and_empty():
    a = (torch.rand(3, 4, 6, 6, 6) < 0.3).float()
    assert anatomy_overlap(a, a).tolist() == [1.0, 1.0, 1.0]
    assert anatomy_overlap(torch.zeros_like(a), torch.zeros_like(a)).tolist() == [1.0, 1.0, 1.0]
    assert torch.equal(anatomy_overlap(a, a.flip(0)), anatomy_overlap(a.flip(0), a))


def test_half_precision_keeps_large_sums():
    a = torch.ones(1, 8, 64, 64, dtype=torch.bfloat16)
    b = a.clone()
    b[0, 0, 0, :32] = 0
    expected = 2 * (32768 - 32) / (32768 + 32768 - 32)
    assert anatomy_overlap(a, b).item() == pytest.approx(expected, rel=1e-6)


def test_gradient():
    a, b = (torch.rand(2, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(anatomy_overlap, (a, b))


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"a and b must have one shape, got \[1, 2, 3\] and \[1, 2, 4\]\."):
        anatomy_overlap(torch.rand(1, 2, 3), torch.rand(1, 2, 4))


def test_scripts():
    a, b = torch.rand(2, 3, 2, 4, 4)
    assert torch.equal(torch.jit.script(anatomy_overlap)(a, b), anatomy_overlap(a, b))
