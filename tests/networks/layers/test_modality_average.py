# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Shared weights are averaged, and what is a modality's own comes from where it was learned."""

import pytest
import torch
from torch import nn

from monai_mmseg.networks.layers import average_sites, convert_modality_norm, modality_of_key

SITES = [{"ct": 1}, {"mr": 3}, {"mr": 1, "ct": 0}]


def states():
    """Three networks whose every number is 1, 2 and 4."""
    net = convert_modality_norm(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), ["ct", "mr"])
    return [{key: torch.full_like(value, number) for key, value in net.state_dict().items()} for number in (1, 2, 4)]


def test_means_worked_out_by_hand():
    mean = average_sites(states(), SITES)
    values = {key: set(value.flatten().tolist()) for key, value in mean.items()}
    shared = (1 * 1 + 3 * 2 + 1 * 4) / 5
    for name in ("weight", "bias"):
        assert list(values.pop(f"network.0.{name}")) == pytest.approx([shared])
    for key, found in values.items():
        own = {"ct": 1.0, "mr": (3 * 2 + 1 * 4) / 4}[modality_of_key(key, ["ct", "mr"])]
        assert found == ({own} if "batches" not in key else {max(1, 4 * (own > 1))}), key
    assert mean["network.1.norms.mr.num_batches_tracked"].dtype == torch.int64


def test_a_site_may_leave_out_what_it_has_not_learned():
    given = states()
    for state, one in zip(given, SITES, strict=True):
        for key in [key for key in state if not one.get(modality_of_key(key, ["ct", "mr"]) or next(iter(one)))]:
            del state[key]
    left, whole = average_sites(given, SITES), average_sites(states(), SITES)
    assert left.keys() == whole.keys()
    assert all(torch.equal(value, whole[key]) for key, value in left.items())


def test_one_site_and_a_modality_that_nobody_has():
    (state, *_) = states()
    state["network.0.weight"] = torch.tensor([0.1], dtype=torch.float16)
    assert all(torch.equal(value, state[key]) for key, value in average_sites([state], [{"ct": 7, "mr": 0}]).items())


@pytest.mark.parametrize("samples", [[{"ct": 1}], [{"ct": 1}, {"mr": 0}, {"mr": -1}], [{}, {}, {"mr": 0}]])
def test_samples_that_fit_no_sites(samples):
    with pytest.raises(ValueError, match="samples must give numbers from 0 by modality for each of 3 sites, got"):
        average_sites(states(), samples)
