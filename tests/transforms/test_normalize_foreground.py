# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity

from monai_mmseg.transforms import ForegroundIntensityd, NormalizeForeground, NormalizeForegroundd


def brain(channels=2, seed=0):
    """Positive inside, 0 outside."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(channels, 6, 7, 5, generator=generator) * 300 + 20
    return values * (torch.rand(1, 6, 7, 5, generator=generator) > 0.5)


def test_equal_to_monai_where_it_can():
    image = brain()
    expected = NormalizeIntensity(nonzero=True, channel_wise=True)(image.clone()).as_tensor()  # writes into it
    torch.testing.assert_close(NormalizeForeground()(image), expected, rtol=1e-5, atol=1e-5)


def test_background_of_the_paper():
    image = brain()
    found = NormalizeForeground(background=-10)(image).numpy()
    for channel, raw in zip(found, image.numpy(), strict=True):
        inside = raw[raw > 0].astype(np.float64)
        np.testing.assert_allclose(channel[raw > 0], (inside - inside.mean()) / inside.std(), rtol=1e-4, atol=1e-5)
        assert (channel[raw == 0] == -10).all()


def test_z_scores_of_z_scores_are_the_same_image():
    """A brain that was normalised before is half negative, and stays a brain."""
    raw = brain(channels=1)
    once = NormalizeForeground()(raw)
    assert (once < 0).any()
    torch.testing.assert_close(NormalizeForeground()(once), once, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(NormalizeForeground(-10)(once), NormalizeForeground(-10)(raw), rtol=1e-5, atol=1e-5)


def block(seed=0):
    """A brain in a box, and where it is."""
    inside = torch.zeros(1, 16, 16, 16, dtype=torch.bool)
    inside[:, 3:11, 4:12, 3:12] = True
    noise = torch.randn(inside.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(inside, 500 + 100 * noise, 0.0), inside


@pytest.mark.parametrize("make", ["rounding", "rounded zero", "padded", "padded by less", "cut at a corner"])
def test_backgrounds_of_z_scores(make):
    """Whatever was written around a brain, its z-scores are those of the scanner's values."""
    raw, inside = block()
    noise = 1e-6 * torch.randn(raw.shape, generator=torch.Generator().manual_seed(1))
    scores = (raw - raw.mean()) / raw.std()
    if make == "rounded zero":
        image = torch.where(inside, (raw - 500) / 100, 0.0) + noise
    elif make == "rounding":
        image = scores + noise
    else:
        image = scores
    if make == "cut at a corner":
        image, raw, inside = (one[:, 3:, 4:, 3:] for one in (image, raw, inside))
    if make.startswith("padded"):
        pad = [5] * 6
        image = torch.nn.functional.pad(image, pad, value=0.0 if make == "padded" else -9.0)
        raw, inside = (torch.nn.functional.pad(one, pad) for one in (raw, inside))
    found = NormalizeForeground(-10)(image)
    assert torch.equal(found == -10, ~inside)
    values = raw[inside].double()
    expected = ((values - values.mean()) / values.std(correction=0)).float()
    torch.testing.assert_close(found[inside], expected, rtol=1e-3, atol=1e-3)


def test_what_is_absent_stays_absent():
    image = brain()
    image[1] = torch.nan
    found = NormalizeForeground(-10)(image)
    assert found[1].isnan().all()
    assert torch.equal(found[0], NormalizeForeground(-10)(brain())[0])


def test_threshold_constant_and_empty_images():
    image = torch.tensor([[5.0, 5.0, 1.0, -3.0], [0.0, 0.0, 0.0, -2.0]])
    found = NormalizeForeground(-1.0, threshold=2.0)(image)
    assert found.tolist() == [[0.0, 0.0, -1.0, -1.0], [-1.0] * 4]


def test_metadata_and_types_stay():
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    image = MetaTensor(brain().double(), affine=affine)
    found = NormalizeForegroundd("image")({"image": image, "other": 1})
    assert found["image"].dtype == torch.float32
    assert torch.equal(found["image"].affine, image.affine)
    assert NormalizeForegroundd("a", allow_missing_keys=True)({"b": 1}) == {"b": 1}


@pytest.mark.parametrize("background", [0.0, -10.0])
def test_a_drawn_image_can_stand_in_for_a_real_one(background):
    """Normalising what is written gives what was drawn."""
    image = NormalizeForeground(background)(brain())
    image[1] = torch.nan
    drawn = torch.where(image[:1] != background, image[:1], 7.0)  # a network draws something outside as well
    data = {"image": image, "pred": drawn}
    written = ForegroundIntensityd("pred", background=background, mean=500, std=100)(data)["pred"]
    outside = image[:1] == background
    assert (written[outside] == 0).all()
    assert (written[~outside] > 0).all()
    torch.testing.assert_close(NormalizeForeground(background)(written), image[:1], atol=1e-4, rtol=0)


def test_the_body_is_where_any_modality_has_something():
    image = torch.tensor([[1.0, 0.0, 0.0], [float("nan")] * 3, [0.0, -2.0, 0.0]])
    data = {"image": image, "pred": torch.full((1, 3), -9.0)}
    assert ForegroundIntensityd("pred", mean=500, std=100)(data)["pred"].tolist() == [[1.0, 1.0, 0.0]]
    stacked = {"image": image[:, None].expand(3, 3, 3).flatten(0, 1).clone(), "pred": data["pred"]}
    stacked["image"][0] = 9.0  # a neighbour of the slice
    assert ForegroundIntensityd("pred", num_slices=3)(stacked)["pred"].tolist() == [[1.0, 1.0, 0.0]]
    bare = ForegroundIntensityd("pred", mean=0, std=1, lowest=None)(data)["pred"]
    assert bare.tolist() == [[-9.0, -9.0, 0.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalizeForeground(eps=0), "eps must be positive, got 0"),
        (lambda: NormalizeForeground()(torch.zeros(3)), r"must have shape .* got \(3,\)"),
        (lambda: ForegroundIntensityd("pred", std=0), "std must be positive, got 0"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("outside", [-1000.0, -1.0, 7.0])
def test_the_background_is_what_the_corners_say(outside):
    raw = torch.zeros(2, 8, 8, 8)
    raw[:, 2:6, 1:7, 1:7] = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0)) * 50 + 400
    other = torch.where(raw == 0, outside, raw / 100 - 4)
    torch.testing.assert_close(NormalizeForeground(-10)(other), NormalizeForeground(-10)(raw), rtol=1e-4, atol=1e-4)
    noise = torch.rand(1, 8, 8, 8) + 1  # no background at all
    torch.testing.assert_close(NormalizeForeground()(noise)[0].mean(), torch.tensor(0.0), rtol=0, atol=1e-4)
