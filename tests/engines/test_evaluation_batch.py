# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer, SlidingWindowInferer

from monai_mmseg.engines import PrepareModalityBatch
from monai_mmseg.inferers import ModalitySliceInferer
from monai_mmseg.transforms import AdjacentSlicesd


class Network(torch.nn.Module):
    """Predicts the number of the modality; ct where none is given."""

    def forward(self, image, modality=None):
        return image[:, :1] * 0 + {None: 1, "ct": 1, "mr": 2}[modality]


ITEMS = [{"modality": "ct"}, {"modality": "mr"}, {}]


@pytest.mark.parametrize(
    "inferer",
    [
        SimpleInferer(),
        SlidingWindowInferer((4, 4, 2), sw_batch_size=3),
        ModalitySliceInferer(roi_size=(4, 4), spatial_dim=2),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_evaluator_tells_the_network(inferer):
    data = [{"image": torch.rand(1, 4, 4, 5), "label": torch.zeros(1, 4, 4, 5), **item} for item in ITEMS]
    seen = []
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data, AdjacentSlicesd("image", 3)), batch_size=1),
        network=Network(),
        inferer=inferer,
        prepare_batch=PrepareModalityBatch(["ct", "mr"]),
        postprocessing=lambda one: seen.append((one["image"].shape[0], one["pred"].unique().tolist())) or one,
    )
    evaluator.run()
    assert seen == [(3, [1.0]), (3, [2.0]), (3, [1.0])]


def test_indices_names_and_missing_labels():
    prepare = PrepareModalityBatch(["ct", "mr"])
    image = torch.zeros(2, 1, 4, 4)
    for given in (torch.tensor([1, 1]), [1, 1], 1, "mr", ["mr", "mr"], ("mr",)):
        assert prepare({"image": image, "modality": given})[2:] == ((), {"modality": "mr"})
    assert prepare({"image": image})[1:] == (None, (), {})
    moved = prepare({"image": image, "label": image}, torch.device("meta"))
    assert moved[0].device.type == moved[1].device.type == "meta"
    assert PrepareModalityBatch()({"image": image, "modality": ["pet"]})[3] == {"modality": "pet"}


@pytest.mark.parametrize(
    ("modality", "message"),
    [
        (["ct", "mr"], r"must hold one modality, got \['ct', 'mr'\]"),
        (["pet"], r"one of \['ct', 'mr'\], got 'pet'"),
        (torch.tensor([2]), r"an index into modalities \['ct', 'mr'\], got 2"),
    ],
)
def test_refuses(modality, message):
    with pytest.raises(ValueError, match=message):
        PrepareModalityBatch(["ct", "mr"])({"image": torch.zeros(2, 1, 4, 4), "modality": modality})
