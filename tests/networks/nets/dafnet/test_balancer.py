# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.networks.nets import PairBalancer
from tests.networks.network_tester import NetworkTester, num_parameters
from tests.reference_loading import fill, listed_layers_of


class TestPairBalancer(NetworkTester):
    dims = (2,)

    def make(self, spatial_dims):
        return PairBalancer(num_candidates=3)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 3),)


def test_equals_reference(reference):
    vectors = np.load(reference / "dafnet_balancer.npz")
    balancer = PairBalancer()
    fill([balancer.hidden, balancer.out], listed_layers_of(vectors, "bal"))
    weights = balancer(torch.as_tensor(vectors["overlap"]))
    torch.testing.assert_close(weights, torch.as_tensor(vectors["weights"]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("candidates", "hidden", "count"), [(3, 5, 38), (1, 5, 16), (4, 2, 22)])
def test_parameter_count(candidates, hidden, count):
    assert num_parameters(PairBalancer(candidates, hidden)) == count


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
