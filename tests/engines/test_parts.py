# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The small parts of the trainer."""

import random

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import RandGaussianNoised

from monai_mmseg.engines import seed_data
from monai_mmseg.engines.batch import prepare_training_batch
from monai_mmseg.engines.iteration_output import IterationOutput
from monai_mmseg.engines.loss_averages import LossAverages
from monai_mmseg.engines.seeding import epoch_seed, seed_random_state


def test_batch_leaves_masks_on_the_host_and_the_callers_dictionary_alone():
    batch = {
        "image": MetaTensor(torch.rand(1, 1, 4, 4)),
        "volume": torch.rand(1, 1, 2, 2, 2),
        "present": torch.ones(1, 1).bool(),
        "subject": ["s01"],
    }
    out = prepare_training_batch(batch, "cpu", memory_format=torch.channels_last)
    assert type(out["image"]) is torch.Tensor
    assert type(batch["image"]) is MetaTensor
    assert out["subject"] == ["s01"]
    on_meta = prepare_training_batch(batch, "meta")
    assert {key: on_meta[key].device.type for key in ("image", "volume", "present")} == {
        "image": "meta",
        "volume": "meta",
        "present": "cpu",
    }
    with pytest.raises(TypeError, match="must be a dictionary of tensors, got list"):
        prepare_training_batch([1], "cpu")


def test_seeds_differ_and_repeat():
    seeds = {epoch_seed(s, e, r) for s in range(5) for e in range(5) for r in range(3)}
    assert len(seeds) == 75
    draws = []
    for _ in range(2):
        seed_random_state(epoch_seed(1, 2))
        draws.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert draws[0] == draws[1]


def test_seed_data_reaches_transforms_generator_and_epochs():
    told = []

    class Data(Dataset):
        def set_epoch(self, seed, epoch):
            told.append((seed, epoch))

    data = Data([{"x": torch.zeros(1, 2)}] * 3, RandGaussianNoised("x", prob=1.0))
    loader = DataLoader(data, batch_size=1, shuffle=True, generator=torch.Generator())
    drawn = []
    for epoch in (0, 1, 0):
        seed_data(loader, 4, epoch)
        drawn.append(torch.cat([batch["x"] for batch in loader]).flatten().tolist())
    assert told == [(4, 0), (4, 1), (4, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    seed_data([1, 2], 0, 0)  # any iterable will do


def test_monitor_finds_the_first_bad_iteration_of_each_term():
    monitor = LossAverages()
    for iteration, (a, b) in enumerate([(1.0, 2.0), (1.0, float("inf")), (float("nan"), 3.0), (float("nan"), 3.0)]):
        monitor.update("fit", {"a": torch.tensor(a), "b": torch.tensor(b)}, iteration)
    assert monitor.not_finite() == [("fit", "b", 1), ("fit", "a", 2)]
    monitor.reset()
    assert monitor.not_finite() == []
    assert monitor.means() == {}


def test_output_of_rows_that_are_no_samples():
    output = IterationOutput({"image": torch.rand(2, 3), "rows": torch.rand(5, 3), "loss": torch.tensor(1.0)})
    assert len(output) == 2
    assert output[0]["rows"].shape == (5, 3)
    assert output[-1]["image"] is not output["image"]
    assert list(output.scalars()) == ["loss"]
