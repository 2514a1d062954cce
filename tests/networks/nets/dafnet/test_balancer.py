# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.nets.dafnet.balancer import PairBalancer
from tests.networks.keras_weights import load_layers, weights_of
from tests.networks.network_tester import NetworkTester


class TestPairBalancer(NetworkTester):
    dims = (2,)

    def make(self, spatial_dims):
        return PairBalancer(num_candidates=3)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 3),)


def test_equals_reference(reference):
    vectors = np.load(reference / "dafnet_balancer.npz")
    balancer = PairBalancer()
    load_layers([balancer.hidden, balancer.out], weights_of(vectors, "bal"))
    weights = balancer(torch.as_tensor(vectors["overlap"]))
    torch.testing.assert_close(weights, torch.as_tensor(vectors["weights"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("candidates", "hidden", "count"), [(3, 5, 38), (1, 5, 16), (4, 2, 22)])
def test_parameter_count(candidates, hidden, count):
    assert sum(p.numel() for p in PairBalancer(candidates, hidden).parameters()) == count


def test_weights_are_positive_and_sum_to_one():
    weights = PairBalancer(4)(torch.rand(6, 4))
    assert weights.min() > 0
    torch.testing.assert_close(weights.sum(1), torch.ones(6))


def test_order_of_samples_is_kept():
    balancer, overlaps, order = PairBalancer(), torch.rand(5, 3), torch.randperm(5)
    torch.testing.assert_close(balancer(overlaps)[order], balancer(overlaps[order]))


def test_no_candidates():
    with pytest.raises(ValueError, match=r"num_candidates must be at least 1, got 0\."):
        PairBalancer(0)
