# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric, HausdorffDistanceMetric

from monai_mmseg.metrics import SubjectDistance


def onehot(classes, num_classes=3):
    return torch.eye(num_classes)[classes].movedim(-1, 0)


@pytest.fixture
def subjects():
    """Two subjects: the first exact but for one organ two pixels off, the second without its second organ."""
    label = torch.zeros(30, 40, dtype=torch.long)
    label[2, 2], label[20, 20] = 1, 2
    near, missing = label.clone(), label.clone()
    near[20, 20], near[20, 22] = 0, 2
    missing[20, 20] = 0
    return [onehot(near), onehot(missing)], [onehot(label), onehot(label)]


@pytest.mark.parametrize("kind", ["hausdorff", "hausdorff95", "surface_distance"])
def test_a_miss_counts(subjects, kind):
    metric = SubjectDistance(kind)
    values = metric(*subjects)
    torch.testing.assert_close(values, torch.tensor([[0.0, 2.0], [0.0, 50.0]]))  # the diagonal is 50
    assert metric.aggregate().item() == 13
    torch.testing.assert_close(metric.aggregate("mean_batch"), torch.tensor([0.0, 26.0]))


@pytest.mark.filterwarnings("ignore:the prediction of class")
@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges.always_return_as_numpy:FutureWarning")
def test_monais_own_mean_leaves_the_miss_out(subjects):
    # the reason for this class; when it fails, MONAI's may serve
    metric = HausdorffDistanceMetric(percentile=95, reduction="mean_batch")
    metric(*subjects)
    assert metric.aggregate()[1].item() == 2


def test_stated_penalty_and_spacing(subjects):
    metric = SubjectDistance(penalty=7.0)
    torch.testing.assert_close(metric(*subjects, spacing=(1.0, 3.0)), torch.tensor([[0.0, 6.0], [0.0, 7.0]]))


def test_spacing_of_a_metatensor(subjects):
    affine = torch.diag(torch.tensor([2.0, 0.5, 1.0, 1.0]))
    label = [MetaTensor(y, affine=affine) for y in subjects[1]]
    assert SubjectDistance()(subjects[0], label)[0, 1].item() == 1


def test_volume():
    label = torch.zeros(6, 6, 6, dtype=torch.long)
    label[1, 1, 1] = 1
    pred = label.roll(3, 2)
    assert SubjectDistance()(onehot(pred, 2)[None], onehot(label, 2)[None], spacing=(1, 1, 4)).item() == 12


def test_in_an_evaluator(subjects):
    engine = Engine(lambda _, batch: [{"pred": p, "label": y} for p, y in zip(*batch, strict=True)])
    for name, metric in {
        "distance": SubjectDistance(),
        "dice": DiceMetric(include_background=False, ignore_empty=False),
    }.items():
        IgniteMetricHandler(metric_fn=metric, output_transform=from_engine(["pred", "label"])).attach(engine, name)
    engine.run([subjects])
    assert engine.state.metrics["distance"] == 13
    assert engine.state.metrics["dice"] == 0.5  # the first organ twice, the second never


def test_messages(subjects):
    with pytest.raises(
        ValueError, match=r"kind must be one of \('hausdorff', 'hausdorff95', 'surface_distance'\), got 'hd'"
    ):
        SubjectDistance("hd")
    with pytest.raises(
        ValueError, match=r"y must be one-hot labels of shape \(1, 3, 30, 40\), got shape \(1, 2, 30, 40\)"
    ):
        SubjectDistance()(subjects[0], [subjects[1][0][:2]])
    with pytest.raises(ValueError, match=r"aggregate\(\) needs at least one batch, got none\."):
        SubjectDistance().aggregate()
