# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from monai_mmseg.metrics import pooled_dice


@pytest.fixture(params=[0, 1, 2])
def case(request, reference):
    with np.load(reference / "dafnet_costs.npz") as stored:
        prefix = f"c{request.param}_"
        case = {k.removeprefix(prefix): torch.from_numpy(stored[k]) for k in stored.files if k.startswith(prefix)}
    for name in ("true", "pred"):
        case[name] = case[name].movedim(-1, 1).roll(1, dims=1)  # background first
    return case


def test_original(case):
    soft, hard = pooled_dice(case["pred"], case["true"], binarise=False), pooled_dice(case["pred"], case["true"])
    torch.testing.assert_close(soft.mean().double(), case["np_dice_soft"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(hard.mean().double(), case["np_dice_binarised"], rtol=1e-5, atol=1e-7)


def test_single_organs_of_the_original_are_monais_scores(case):
    metric = DiceMetric(include_background=False, reduction="mean_batch", ignore_empty=False)
    metric(case["pred"].round(), case["true"])
    torch.testing.assert_close(metric.aggregate(), case["np_dice_binarised_per_label"], rtol=1e-5, atol=1e-7)


CASES = [  # predicted and true class of four pixels, score by hand
    ("identical", [0, 1, 2, 2], [0, 1, 2, 2], 1.0),
    ("both empty", [0, 0, 0, 0], [0, 0, 0, 0], 1.0),
    ("missed", [0, 0, 0, 0], [0, 1, 2, 2], 0.0),
    ("spurious", [0, 1, 0, 0], [0, 0, 0, 0], 0.0),
    ("pooled", [0, 0, 2, 2], [0, 1, 2, 2], 4 / 5),
]


@pytest.mark.parametrize(("name", "pred", "true", "expected"), CASES)
def test_known_value(name, pred, true, expected):
    pred, true = (torch.eye(3)[torch.tensor([classes])].movedim(-1, 1) for classes in (pred, true))
    torch.testing.assert_close(pooled_dice(pred, true), torch.tensor([expected]))
    torch.testing.assert_close(pooled_dice(pred[..., None], true[..., None], binarise=False), torch.tensor([expected]))


def test_half_is_no_class():
    probs = torch.full((1, 2, 4), 0.5)  # rounds half to even, as the original
    assert pooled_dice(probs, torch.eye(2)[torch.tensor([[0, 0, 0, 0]])].movedim(-1, 1)) == 1


def test_has_no_gradient():
    assert not pooled_dice(torch.rand(1, 2, 4, requires_grad=True), torch.rand(1, 2, 4)).requires_grad


def test_logits_are_refused():
    onehot = torch.eye(2)[torch.tensor([[0, 1]])].movedim(-1, 1)
    with pytest.raises(ValueError, match=r"probs must hold probabilities, got numbers from -3 to 3; apply a softmax"):
        pooled_dice(torch.tensor([[[3.0, -3.0], [-3.0, 3.0]]]), onehot)
