# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import nn

from monai_mmseg.engines import WeightAveraging
from tests.engines.toy import ToyNetwork, toy_trainer


def test_reference_vectors(reference):
    vectors = np.load(reference / "dafnet_misc.npz")
    network = nn.Linear(5, 1, bias=False).double()
    averaging = WeightAveraging(network, start_epoch=int(vectors["swa_start"]))
    for epoch, (weights, average) in enumerate(
        zip(vectors["swa_weights_per_epoch"], vectors["swa_average_per_epoch"], strict=True)
    ):
        with torch.no_grad():
            network.weight.copy_(torch.from_numpy(weights)[None])
        averaging.update_iteration(epoch)
        averaging.update_epoch(epoch)
        with averaging.swapped():
            np.testing.assert_allclose(network.weight[0].detach().numpy(), average, rtol=0, atol=1e-7)


def test_moving_average_by_hand():
    network = nn.Linear(1, 1, bias=False)
    averaging = WeightAveraging(network, start_epoch=1, decay=0.75)
    for epoch, steps in enumerate([[8.0, 4.0], [8.0, 0.0]]):
        for value in steps:
            nn.init.constant_(network.weight, value)
            averaging.update_iteration(epoch)
        averaging.update_epoch(epoch)
    # 4 at the end of epoch 0; then 0.75 * 4 + 0.25 * 8 = 5; then 0.75 * 5 = 3.75
    with averaging.swapped():
        assert network.weight.item() == 3.75


def test_running_statistics_are_averaged():
    network = nn.BatchNorm1d(1)
    averaging = WeightAveraging(network, start_epoch=0)
    for epoch, value in enumerate([1.0, 2.0, 6.0]):
        network.running_mean.fill_(value)
        averaging.update_epoch(epoch)
    with averaging.swapped():
        assert network.running_mean.item() == 3.0
    assert network.running_mean.item() == 6.0


def test_weights_come_back_after_an_exception_and_nesting():
    network = ToyNetwork()
    averaging = WeightAveraging(network, start_epoch=0)
    averaging.update_epoch(0)
    own = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.no_grad():
        network.shared[3].weight += 1
    own["shared.3.weight"] += 1
    weight = network.shared[3].weight
    with pytest.raises(RuntimeError, match="inside"), averaging.swapped() as inner:  # noqa: PT012
        assert inner is network
        with averaging.swapped():
            assert not torch.equal(network.state_dict()["shared.3.weight"], own["shared.3.weight"])
        assert not torch.equal(network.state_dict()["shared.3.weight"], own["shared.3.weight"])
        raise RuntimeError("inside")
    assert network.shared[3].weight is weight
    assert all(torch.equal(own[k], v) for k, v in network.state_dict().items())


def test_without_an_update_the_network_is_left_alone():
    network = nn.Linear(1, 1)
    averaging = WeightAveraging(network)
    nn.init.constant_(network.weight, 5.0)
    with averaging.swapped():
        assert network.weight.item() == 5.0


def test_trainer_updates_it():
    trainer = toy_trainer(3, averaging={"start_epoch": 1})
    ends = []
    from ignite.engine import Events

    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: ends.append(engine.network.shared[3].weight.detach().clone())
    )
    trainer.run()
    with trainer.averaging.swapped():
        torch.testing.assert_close(trainer.network.shared[3].weight, (ends[1] + ends[2]) / 2, rtol=0, atol=1e-7)


def test_state_round_trip_and_mismatch():
    network = ToyNetwork()
    averaging = WeightAveraging(network, start_epoch=0)
    averaging.update_epoch(0)
    other = WeightAveraging(ToyNetwork(), start_epoch=0)
    other.load_state_dict(averaging.state_dict())
    assert int(other.averaged.n_averaged) == 1
    with pytest.raises(ValueError, match="start_epoch=0, this run has 2"):
        WeightAveraging(ToyNetwork(), start_epoch=2).load_state_dict(averaging.state_dict())


@pytest.mark.parametrize(("arguments", "message"), [({"start_epoch": -1}, "start_epoch"), ({"decay": 1.0}, "decay")])
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightAveraging(nn.Linear(1, 1), **arguments)
