# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import PSNRMetric, SSIMMetric
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from monai_mmseg.metrics import image_similarity, original_image_similarity
from tests.reference_cases import arrays_of, cases_of

CASES = cases_of("disentangle_targets_metrics")


def images(count=3, size=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(count, size, size + 4, generator=generator, dtype=torch.float64)
    return target + 0.3 * torch.randn(target.shape, generator=generator, dtype=torch.float64), target


@pytest.mark.parametrize("case", CASES)
def test_released_metric_is_that_of_the_original(case):
    arrays = arrays_of("disentangle_targets_metrics", case)
    found = original_image_similarity(arrays["metric_pred"][None], arrays["metric_target"][None])
    for name in ("psnr", "ssim", "mse"):
        torch.testing.assert_close(getattr(found, name)[0], arrays[name], rtol=1e-6, atol=1e-8)


def test_released_metric_is_scikit_image_on_moved_images():
    prediction, target = images()
    found = original_image_similarity(prediction, target)
    for row, (x, y) in enumerate(zip(prediction.numpy(), target.numpy(), strict=True)):
        x, y = x - x.min(), y - y.min()
        assert found.psnr[row] == pytest.approx(peak_signal_noise_ratio(y, x, data_range=y.max()))
        assert found.ssim[row] == pytest.approx(structural_similarity(y, x, data_range=y.max()))


def test_released_metric_does_not_see_constants():
    prediction, target = images()
    moved = original_image_similarity(prediction + 5, target - 3)
    for one, other in zip(moved, original_image_similarity(prediction, target), strict=True):
        torch.testing.assert_close(one, other)


def test_released_metric_of_equal_and_of_constant_targets():
    _, target = images(2)
    target[1] = 4.0
    found = original_image_similarity(target, target)
    assert (found.psnr[0], found.ssim[0]) == (math.inf, pytest.approx(1))
    assert all(part[1].isnan() for part in found)


def test_a_low_background_flatters_the_released_metric():
    prediction, target = images(1)
    low = [torch.cat([image, torch.full_like(image, -10.0)], 2) for image in (prediction, target)]
    assert original_image_similarity(*low).psnr > original_image_similarity(prediction, target).psnr + 5


def test_ours_is_monai_with_the_given_range():
    prediction, target = images()
    found = image_similarity(prediction, target, (-4.0, 5.0))
    moved = [((image + 4) / 9).float().unsqueeze(1) for image in (prediction, target)]
    whole = [image.permute(1, 0, 2, 3).contiguous() for image in moved]  # all slices as one image
    assert found.psnr == pytest.approx(float(PSNRMetric(1.0)(*whole)), rel=1e-5)
    assert found.ssim == pytest.approx(float(SSIMMetric(2, data_range=1.0)(*moved).mean()), rel=1e-5)


@pytest.mark.parametrize(("shift", "scale"), [(7.0, 1.0), (0.0, 3.0), (-10.0, 0.5)])
def test_ours_depends_on_the_range_and_not_on_units(shift, scale):
    prediction, target = images()
    first = image_similarity(prediction, target, (-4.0, 5.0))
    moved = image_similarity(
        prediction * scale + shift, target * scale + shift, (-4 * scale + shift, 5 * scale + shift)
    )
    np.testing.assert_allclose(moved, first, rtol=1e-5)


def test_mask_counts_its_pixels_only():
    prediction, target = images()
    mask = torch.zeros_like(target, dtype=torch.bool)
    mask[:2, 8:16, 8:18] = True
    prediction[~mask] += 100.0
    error = (prediction - target)[mask].square().mean().item()
    found = image_similarity(prediction, target, (0.0, 9.0), mask)
    assert found.psnr == pytest.approx(10 * math.log10(81 / error))
    prediction = torch.where(mask, target, prediction)
    assert image_similarity(prediction, target, (0.0, 9.0), mask).psnr == math.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_types(dtype):
    _, target = images()
    target = target.to(dtype)
    assert image_similarity(target, target, (-4.0, 4.0)) == (math.inf, pytest.approx(1, abs=1e-6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": torch.zeros(3, 24, 24)}, r"one shape \(N, H, W\) with N > 0, got \(3, 24, 24\)"),
        ({"value_range": (1.0, 1.0)}, r"value_range must be two finite numbers, the lower first, got \(1.0, 1.0\)"),
        ({"mask": torch.zeros(3, 24, 28)}, "mask must be bool of shape"),
        ({"mask": torch.zeros(3, 24, 28) > 0}, "5 or more from the border of the image, got none"),
        ({"prediction": torch.full((3, 24, 28), math.nan)}, "prediction must be finite"),
    ],
)
def test_errors(change, message):
    prediction, target = images()
    given = {"prediction": prediction, "target": target, "value_range": (0.0, 1.0), **change}
    with pytest.raises(ValueError, match=message):
        image_similarity(**given)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match=r"at least 11 x 11 pixels, got \(10, 12\)"):
        image_similarity(torch.zeros(1, 10, 12), torch.zeros(1, 10, 12), (0, 1))
    with pytest.raises(ValueError, match="at least 7 x 7"):
        original_image_similarity(torch.zeros(1, 6, 12), torch.zeros(1, 6, 12))
