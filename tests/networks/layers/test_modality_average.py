# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Shared weights are averaged, and what is a modality's own comes from where it was learned."""

import pytest
import torch
from torch import nn

from monai_mmseg.networks.layers import average_sites, convert_modality_norm, modality_of_key
from monai_mmseg.networks.nets import DilatedResidualNet, ModalityStreams

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


def test_stages_of_a_modality_are_its_own():
    net = ModalityStreams(DilatedResidualNet(2, 1, 3, features=[2] * 8), ["ct", "mr"], separate=["group_1", "output"])
    given = [{key: torch.full_like(value, number) for key, value in net.state_dict().items()} for number in (1, 3)]
    found = {(modality_of_key(key, ["ct", "mr"]), float(value.flatten()[0])) for key, value in _rates(given).items()}
    assert found == {("ct", 1.0), ("mr", 3.0), (None, 2.0)}


def _rates(given):
    mean = average_sites(given, [{"ct": 5}, {"mr": 5}])
    return {key: value for key, value in mean.items() if value.is_floating_point()}


def test_a_modality_spelt_otherwise_is_not_averaged_over_all_sites():
    with pytest.raises(ValueError, match=r"as the network does, got 'CT'; .* entries of \['ct', 'mr'\]"):
        average_sites(states(), [{"CT": 1}, {"mr": 3}, {"mr": 1}])
    shared = [{key: one for key, one in state.items() if ".norms." not in key} for state in states()]
    assert average_sites(shared, [{"CT": 1}, {"mr": 3}, {"mr": 1}]).keys() == shared[0].keys()
    lists = {"norms.0.weight": torch.ones(1), "streams.0.first.weight": torch.ones(1)}
    assert average_sites([lists, lists], [{"ct": 1}, {"mr": 1}]) == lists


def test_a_modality_spelt_otherwise_of_which_nothing_was_sent_is_no_site_without_it():
    north, south, west = states()
    shared = {key: one for key, one in north.items() if ".norms." not in key}
    mr = [{key: one for key, one in state.items() if ".norms.ct." not in key} for state in (south, west)]
    with pytest.raises(ValueError, match=r"got 'CT'; the weights that were sent have entries of \['mr'\]: send"):
        average_sites([shared, *mr], [{"CT": 1}, {"mr": 3}, {"mr": 1}])
    with pytest.raises(ValueError, match=r"got 'CT'; .* entries of \['ct', 'mr'\]"):  # another site spells it right
        average_sites([shared, south, north], [{"CT": 1}, {"mr": 3}, {"ct": 1}])
    assert average_sites([shared, *mr], [{"CT": 0}, {"mr": 3}, {"mr": 1}]).keys() == mr[0].keys()


def test_sites_with_other_classes_or_broken_weights_are_named():
    first, second, third = states()
    with pytest.raises(ValueError, match=r"got 'network.0.weight' as {0: \(2, 1, 1, 1\), 1: \(3, 1, 1, 1\),"):
        average_sites([first, {**second, "network.0.weight": torch.ones(3, 1, 1, 1)}, third], SITES)
    with pytest.raises(ValueError, match="got NaN or infinity in 'network.0.bias' of site 2"):
        average_sites([first, second, {**third, "network.0.bias": torch.tensor([1.0, torch.nan])}], SITES)
    unasked = {**second, "network.1.norms.ct.bias": torch.full((2,), torch.nan)}  # it has no CT
    assert average_sites([first, unasked, third], SITES)["network.1.norms.ct.bias"].tolist() == [1.0, 1.0]


def test_a_site_with_another_network_is_named():
    """Else the mean would be of the others alone, and nobody would know."""
    first, second, third = states()
    other = {f"module.{key}": one for key, one in second.items()}
    with pytest.raises(ValueError, match=r"got no 'network.0.weight' from site 1 .*, which has samples for it"):
        average_sites([first, other, third], SITES)
    with pytest.raises(ValueError, match=r"got no 'module.network.0.weight' from site 0 "):
        average_sites([first, {**second, **other}, third], SITES)
    forgotten = {key: one for key, one in second.items() if ".norms." not in key}
    with pytest.raises(ValueError, match=r"got no 'network.1.norms.mr.weight' from site 1 "):
        average_sites([first, forgotten, third], SITES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8, torch.float64])
def test_a_site_that_sends_another_type_is_named(dtype):
    """Weights in whole numbers would be taken for counters, of which the largest counts."""
    first, second, third = states()
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=rf"got 'network.0.bias' as {{0: '{name}', 1: 'float32', 2: 'float32'}}"):
        average_sites([{**first, "network.0.bias": torch.ones(2, dtype=dtype)}, second, third], SITES)


@pytest.mark.parametrize(
    "samples",
    [
        [{"ct": 1}],
        [{"ct": 1}, {"mr": 0}, {"mr": -1}],
        [{}, {}, {"mr": 0}],
        [{"ct": 1}, {"mr": float("nan")}, {"mr": 1}],
        [{"ct": 1}, {"mr": "3"}, {"mr": 1}],
        [4, 2, 1],
        {"north": {"ct": 1}, "south": {"mr": 1}, "west": {"mr": 1}},
    ],
)
def test_samples_that_fit_no_sites(samples):
    with pytest.raises(ValueError, match="samples must give numbers from 0 by modality for each of 3 sites, got"):
        average_sites(states(), samples)
