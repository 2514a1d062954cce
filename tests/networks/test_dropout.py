# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_mmseg.networks.dropout import ValueDropout, value_dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_and_mean(p, dtype):
    torch.manual_seed(0)
    image = torch.ones(1001, 999, dtype=dtype)
    dropped = ValueDropout(p)(image)
    assert dropped.dtype == dtype
    assert abs(float((dropped == 0).float().mean()) - p) < 0.002  # four standard deviations of a million draws
    assert dropped[dropped > 0].unique().numel() == 1
    assert abs(float(dropped.float().mean()) - 1) < 0.013


def test_values_are_independent():
    torch.manual_seed(0)
    dropped = (ValueDropout(0.25)(torch.ones(1_000_000)) == 0).double() - 0.25
    for lag in range(1, 9):  # four of them share a random number
        assert abs(float((dropped[lag:] * dropped[:-lag]).mean() / dropped.square().mean())) < 0.004


def test_same_seed_same_mask():
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(ValueDropout(0.5)(torch.ones(64, 64)))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3, 5, 7), (1, 2, 3, 4, 5)])
def test_gradient_has_the_same_mask(shape):
    image = torch.rand(shape).add(1).requires_grad_()
    dropped = ValueDropout(0.5)(image)
    dropped.sum().backward()
    assert torch.equal(image.grad, dropped.detach() / image.detach())


def test_layout_stays():
    whole = torch.rand(2, 8, 4, 5).contiguous(memory_format=torch.channels_last)
    assert ValueDropout(0.5)(whole).stride() == whole.stride()
    part = torch.rand(2, 8, 4, 5)[:, ::2, 1:]
    dropped = ValueDropout(0.5)(part)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], part[kept] * 2)


def test_elsewhere_it_is_that_of_torch():
    layer, image = ValueDropout(0.5), torch.rand(8, 8)
    torch.manual_seed(0)
    scripted = torch.jit.script(layer)(image)
    torch.manual_seed(0)
    assert torch.equal(scripted, F.dropout(image, 0.5))
    assert torch.equal(layer.eval()(image), image)
    assert torch.equal(ValueDropout(0.0)(image), image)
    assert not ValueDropout(1.0)(image).any()
    assert torch.equal(nn.Dropout(0.5, inplace=True).eval()(image), image)


def test_other_layers_stay_those_of_monai():
    assert type(value_dropout(0.25)) is ValueDropout
    assert type(value_dropout(("dropout", {"p": 0.25}))) is ValueDropout
    assert type(value_dropout(("alphadropout", {"p": 0.25}))) is nn.AlphaDropout
    assert type(value_dropout(("dropout", {"p": 0.25, "inplace": True}))) is nn.Dropout
