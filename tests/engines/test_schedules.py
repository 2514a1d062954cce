# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from monai_mmseg.engines.schedules import HoldThenCosine


def test_values_worked_out_by_hand():
    factor = HoldThenCosine(steps=10, hold=0.2, final=0.1)
    assert [factor(0), factor(2)] == [1.0, 1.0]
    assert factor(6) == pytest.approx(0.55)  # half way: the mean of 1 and 0.1
    assert factor(10) == factor(99) == pytest.approx(0.1)
    held = HoldThenCosine(steps=10, hold=1.0, final=0.1)  # all of the run: there is no cosine, also behind its end
    assert [held(10), held(11)] == [1.0, 1.0]


def test_settings_travel_in_the_state_of_lambda_lr():
    parameter = torch.nn.Parameter(torch.zeros(1))
    scheduler = torch.optim.lr_scheduler.LambdaLR(torch.optim.SGD([parameter], lr=1.0), HoldThenCosine(10))
    assert scheduler.state_dict()["lr_lambdas"] == [{"steps": 10, "hold": 0.5, "final": 0.02, "first": 0}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 5, "hold": 1.5}, r"hold must be in \[0, 1\], got 1.5"),
        ({"steps": 5, "final": -1}, r"final must be in \[0, 1\], got -1"),
    ],
)
def test_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        HoldThenCosine(**settings)
