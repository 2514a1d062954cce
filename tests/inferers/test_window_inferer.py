# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Windows, as many at a time as fit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from monai.inferers import SlidingWindowInferer

from monai_mmseg.inferers import ModalitySliceInferer, WindowInferer

SETTINGS = {"roi_size": (4, 4), "overlap": 0.5, "mode": "gaussian"}


class Network:
    def __init__(self):
        self.sizes = []

    def __call__(self, image, condition=None, shift=0.0):
        self.sizes.append(len(image))
        return image * 2 + shift + (0 if condition is None else condition)


@pytest.mark.parametrize("sw_batch_size", [1, 3, "auto"])
def test_the_same_as_monai(sw_batch_size):
    image, network = torch.rand(2, 1, 9, 10), Network()
    found = WindowInferer(sw_batch_size=sw_batch_size, **SETTINGS)(image, network, shift=1.0)
    wanted = SlidingWindowInferer(sw_batch_size=3, **SETTINGS)(image, Network(), shift=1.0)
    torch.testing.assert_close(found, wanted)
    assert max(network.sizes) == (1 if sw_batch_size == "auto" else sw_batch_size)


def test_slices_one_at_a_time_on_a_cpu():
    image, network = torch.rand(1, 1, 4, 4, 5), Network()
    found = ModalitySliceInferer(spatial_dim=2, sw_batch_size="auto", roi_size=(4, 4))(image, network, shift=1.0)
    torch.testing.assert_close(found, image * 2 + 1)
    assert network.sizes == [1] * 5


def test_parts_that_fit_on_a_gpu(monkeypatch):
    """A device with 1000 bytes, of which a window takes 150."""
    seen = SimpleNamespace(
        memory_allocated=lambda _: 100,
        max_memory_allocated=lambda _: 250,
        reset_peak_memory_stats=lambda _: None,
        memory_reserved=lambda _: 200,
        mem_get_info=lambda _: (900, 1000),
    )
    for name, value in vars(seen).items():
        monkeypatch.setattr(torch.cuda, name, value)
    infer, network = WindowInferer(sw_batch_size="auto", **SETTINGS), Network()
    windows, condition = torch.rand(9, 1, 4, 4), torch.rand(9, 1, 4, 4)
    found = infer._in_parts(network, windows, (), {"condition": condition, "shift": 1.0})
    torch.testing.assert_close(found, windows * 2 + 1 + condition)
    assert network.sizes == [1, 3, 3, 2]  # half of 900 + 100 by 150
    several = infer._in_parts(lambda image: (image, {"a": image + 1}), windows[:4], (), {})
    torch.testing.assert_close(several[0], windows[:4])
    torch.testing.assert_close(several[1]["a"], windows[:4] + 1)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "all"])
def test_other_batches_are_refused(wrong):
    with pytest.raises(ValueError, match="sw_batch_size must be a whole number of at least 1"):
        WindowInferer(sw_batch_size=wrong, **SETTINGS)


@pytest.mark.parametrize("count", [1, 2, 3, "auto"])
@pytest.mark.parametrize(
    "infer",
    [
        lambda n: WindowInferer((4, 4, 2), n),
        lambda n: ModalitySliceInferer(roi_size=(4, 4), sw_batch_size=n, spatial_dim=2),
    ],
)
@pytest.mark.parametrize("modality", [torch.tensor([0, 1]), ["ct", "mr"]])
def test_windows_meet_what_is_told_of_their_own_volume(infer, count, modality):
    def network(image, modality, present):
        assert len(present) == len(image)
        there = present.float().reshape(-1, 2, *[1] * (image.ndim - 2))
        return (image + {0: 10, 1: 20, "ct": 10, "mr": 20}[modality]) * there

    volumes = torch.rand(2, 2, 8, 4, 4)
    present = torch.tensor([[True, False], [True, True]])
    found = infer(count)(volumes, network, modality=modality, present=present)
    torch.testing.assert_close(found[0, 0], volumes[0, 0] + 10)
    assert not found[0, 1].any()
    torch.testing.assert_close(found[1], volumes[1] + 20)
    with pytest.raises(
        ValueError, match=r"the network must be told of each of 2 volumes, got entries \{'modality': 1\}"
    ):
        infer(1)(volumes, network, modality=modality[:1])
