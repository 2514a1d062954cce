# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a site sends to the others."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks.accuracy.federated import train_round

WEIGHTS = {key: torch.zeros(1) for key in ("conv.weight", "1.norms.ct.bias", "1.norms.mr.bias")}


class Site:
    """A client that trains nothing."""

    def train(self, _given):
        """Nothing."""

    def get_weights(self):
        """As they came."""
        return SimpleNamespace(weights=WEIGHTS)


def test_a_site_sends_what_is_shared_and_its_own():
    assert list(train_round(Site(), WEIGHTS, ["mr"])) == ["conv.weight", "1.norms.mr.bias"]


def test_a_modality_that_the_network_has_not_is_no_silence():
    with pytest.raises(ValueError, match=r"modalities must be of the network's, \['ct', 'mr'\], got \['CT'\]"):
        train_round(Site(), WEIGHTS, ["CT"])
