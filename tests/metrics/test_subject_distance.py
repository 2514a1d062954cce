# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor, list_data_collate
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


def test_each_row_of_a_batch_has_its_own_spacing(subjects):
    pred, label = (torch.stack(both) for both in subjects)
    affines = [torch.diag(torch.tensor([1.0, size, 1, 1])) for size in (2.0, 3.0)]
    alone = [MetaTensor(one, affine=affine) for one, affine in zip(label, affines, strict=True)]
    batch = list_data_collate(alone)
    assert batch.affine.shape == (2, 4, 4)
    torch.testing.assert_close(SubjectDistance()(pred, batch), SubjectDistance()(list(pred), alone))
    one_affine = MetaTensor(label, affine=affines[0])
    assert SubjectDistance()(pred, one_affine)[0].tolist() == [0.0, 4.0]


def test_spacing_of_a_tilted_slice():
    slanted = torch.tensor(
        [[0.0, 0, 1, 0], [3.0, 0, 0, 0], [4.0, 2, 0, 0], [0.0, 0, 0, 1]]
    )  # 5 mm along the first axis
    pred, label = onehot(torch.eye(4, dtype=torch.long)[:1].T), onehot(torch.eye(4, dtype=torch.long)[2:3].T)
    found = SubjectDistance()(pred[None], MetaTensor(label[None], affine=slanted))
    assert found[0, 0] == 10


@pytest.mark.parametrize("channels", [slice(1, 2), slice(0, 1)])
def test_one_channel_is_refused(subjects, channels):
    pred, label = (torch.stack(both)[:, channels] for both in subjects)
    with pytest.raises(ValueError, match=r"y must be one-hot labels \(B, K, \*spatial\), background first, got \(2, 1"):
        SubjectDistance()(pred, label)
