# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.autograd import gradcheck

from monai_mmseg.losses import (
    modality_classification,
    modality_confusion,
    pair_discriminator_loss,
    pair_encoder_loss,
)
from tests.reference_cases import arrays_of, cases_of

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("case", cases_of("disentangle_adversarial"))
def test_original_pair(case):
    arrays = arrays_of("disentangle_adversarial", case)
    given = (arrays["logits0"], arrays["logits1"], arrays["mask"] > 0)
    torch.testing.assert_close(pair_discriminator_loss(*given), arrays["d_loss"].float(), **CLOSE)
    torch.testing.assert_close(pair_encoder_loss(*given), arrays["g_loss"].float(), **CLOSE)


@pytest.mark.parametrize("loss", [pair_discriminator_loss, pair_encoder_loss])
def test_absent_rows_of_a_pair(loss):
    first, second = torch.randn(4, 1), torch.randn(4, 1)
    present = torch.tensor([[True, True], [True, False], [True, True], [False, True]])
    expected = loss(first, second, present)
    first[3], second[1] = float("nan"), 1e30
    torch.testing.assert_close(loss(first, second, present), expected)
    torch.testing.assert_close(loss(first[:3], second[[0, 2, 3]]), expected)
    assert loss(first, second, present & False) == 0


def test_two_modalities_are_the_binary_cross_entropy():
    logits = torch.randn(6, 2)
    modality = torch.tensor([0, 1, 0, 1, 1, 0])
    difference = logits[:, 1] - logits[:, 0]
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    own = bce(difference, modality.float(), reduction="none")
    torch.testing.assert_close(modality_classification(logits, modality), own)
    other = bce(difference, 1 - modality.float(), reduction="none")
    torch.testing.assert_close(modality_confusion(logits, modality), other)


def test_confusion():
    logits, modality = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 2, 2])
    probs = logits.softmax(1)
    rows = torch.arange(5)
    expected = -(1 - probs[rows, modality]).log()
    torch.testing.assert_close(modality_confusion(logits, modality), expected)
    assert gradcheck(lambda x: modality_confusion(x, modality), logits.clone().requires_grad_())
    sure = torch.full((1, 3), -80.0).index_fill(1, torch.tensor([1]), 80.0)
    assert modality_confusion(sure, torch.tensor([1])).isfinite().all()
    alone = torch.randn(2, 1, requires_grad=True)
    found = modality_confusion(alone, torch.zeros(2, dtype=torch.long))
    found.sum().backward()
    assert not found.any()
    assert not alone.grad.any()
    half = modality_confusion(logits.half(), modality)
    assert half.dtype == torch.float32


def test_messages():
    with pytest.raises(ValueError, match=r"logits and modality must have shapes \(N, M\) and \(N,\)"):
        modality_classification(torch.zeros(2, 3), torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"logits and modality must have shapes \(N, M\) and \(N,\)"):
        modality_confusion(torch.zeros(2), torch.zeros(2).long())
    with pytest.raises(ValueError, match="first and second must hold one logit a row"):
        pair_encoder_loss(torch.zeros(2, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"present must be bool of shape \(2, 2\), got torch.float32"):
        pair_discriminator_loss(torch.zeros(2, 1), torch.zeros(2, 1), torch.ones(2, 2))


@pytest.mark.parametrize("loss", [pair_discriminator_loss, pair_encoder_loss])
def test_nan_of_the_absent_reaches_no_gradient(loss):
    first = torch.tensor([[1.0], [torch.nan]], requires_grad=True)
    loss(first, torch.zeros(2, 1), torch.tensor([[True, True], [False, True]])).backward()
    assert first.grad[0].isfinite()
    assert first.grad[1] == 0


@pytest.mark.parametrize("loss", [modality_classification, modality_confusion])
@pytest.mark.parametrize(
    ("modality", "message"),
    [
        (torch.tensor([0, 3]), r"modality must hold numbers from 0 to 2, got \[0, 3\]\."),
        (torch.tensor([0, -100]), r"modality must hold numbers from 0 to 2, got \[-100, 0\]\."),
        (torch.tensor([0, 1], dtype=torch.int32), r"modality must be torch\.int64, got torch\.int32\."),
    ],
)
def test_modalities_that_there_are_not(loss, modality, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(2, 3), modality)
