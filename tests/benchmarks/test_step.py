# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The measurement of steps: every row builds from its bundle, and bare convolutions are those of the step."""

import argparse

import pytest
import torch
from torch import nn

from benchmarks.speed import step

SMALL = {"batch_size": 1, "settings": "../demo"}
SMALL_3D = {**SMALL, "spatial_size": [32, 32, 8], "features": [4, 8, 8, 8]}  # some CPUs emulate bfloat16


def test_bare_convolutions_are_the_calls_of_the_step_forward_and_backward():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.ConvTranspose2d(2, 1, 2))
    image = torch.rand(2, 1, 8, 8)
    bare, calls = step.bare_convolutions(lambda: network(image).sum().backward())
    assert calls == 4
    with step.Convolutions() as again:
        bare()
    assert [func for func, _ in again.calls].count(torch.ops.aten.convolution_backward.default) == 2


@pytest.mark.parametrize(
    ("row", "settings"), [("ummkd_3d", SMALL_3D), pytest.param("disentangle", SMALL, marks=pytest.mark.overlays)]
)
def test_a_row_is_measured(monkeypatch, row, settings):
    monkeypatch.setitem(step.ROWS, row, (step.ROWS[row][0], settings))
    arguments = argparse.Namespace(device=torch.device("cpu"), threads=1, steps=1)
    found = {variant: step.measure(row, variant, arguments) for variant in ("kept", "bf16")}
    assert found["kept"]["gflop"] == found["bf16"]["gflop"] > 0
    assert found["kept"]["convolutions"] == found["bf16"]["convolutions"] > 0
    text = step.table({"rows": {row: {"fp32": found["kept"], **found}}})
    assert text.count("\n") == 4
    assert "| 1.00 |" in text
