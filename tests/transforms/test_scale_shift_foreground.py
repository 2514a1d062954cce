# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.transforms import RandScaleShiftForegroundd


@pytest.mark.parametrize("background", [0.0, -10.0])
def test_a_line_of_each_channel_inside_of_the_body(background):
    image = torch.randn(3, 6, 5, 4)
    image[:, :2] = background
    image[1] = torch.nan
    given = MetaTensor(image.clone(), meta={"name": "a"})
    change = RandScaleShiftForegroundd("image", scale=0.1, shift=0.2, background=background).set_random_state(3)
    out = change({"image": given})["image"]
    assert out.meta["name"] == "a"
    out = out.as_tensor()
    assert (out[[0, 2], :2] == background).all()
    assert out[1].isnan().all()
    lines = []
    for channel in (0, 2):
        x, y = image[channel, 2:].flatten(), out[channel, 2:].flatten()
        solved = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y[:, None]).solution.flatten()
        torch.testing.assert_close(solved[0] * x + solved[1], y, rtol=1e-4, atol=1e-5)
        assert 0.9 <= solved[0] <= 1.1
        assert -0.2 <= solved[1] <= 0.2
        lines.append(solved)
    assert not torch.allclose(lines[0], lines[1])
    torch.testing.assert_close(given.as_tensor(), image, equal_nan=True)


def test_draws():
    image = {"image": torch.rand(2, 4)}
    change = RandScaleShiftForegroundd("image").set_random_state(0)
    first, second = change(image)["image"], change(image)["image"]
    assert not torch.equal(first, second)
    change.set_random_state(0)
    assert torch.equal(change(image)["image"], first)
    assert torch.equal(RandScaleShiftForegroundd("image", prob=0.0)(image)["image"], image["image"])
    assert RandScaleShiftForegroundd("other", allow_missing_keys=True)(image).keys() == {"image"}


def test_messages():
    with pytest.raises(ValueError, match="scale must not be negative, got -0.1"):
        RandScaleShiftForegroundd("image", scale=-0.1)
    with pytest.raises(ValueError, match="shift must not be negative, got -1"):
        RandScaleShiftForegroundd("image", shift=-1)


def test_whole_numbers_become_floating_point():
    image = torch.tensor([[100, 50, 0]], dtype=torch.int16)
    whole, float_ = (
        RandScaleShiftForegroundd("image", scale=0.1).set_random_state(3)({"image": one})["image"]
        for one in (image, image.float())
    )
    torch.testing.assert_close(whole, float_)
    assert whole[0, 0] != 100
