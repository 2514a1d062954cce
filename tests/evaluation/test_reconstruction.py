# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from monai_mmseg.evaluation import OTHERS, reconstruction_scores
from monai_mmseg.metrics import image_similarity, original_image_similarity

NAN = float("nan")


def subject(seed=0, neighbours=3):
    """Images of three modalities, 4 slices with neighbours; flair lacks slices, t2 is not there at all."""
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randn(4, neighbours, 20, 16, generator=generator) for name in ("t1", "t2", "flair")}
    images["t2"][:] = NAN
    images["flair"][:2] = NAN
    made = {(a, b): torch.randn(4, neighbours, 20, 16, generator=generator) for a in (*images, OTHERS) for b in images}
    return images, made


def scores_of(images, made, **more):
    found = reconstruction_scores(images, made, subject="s01", method="ours", **more)
    return {(score.case["source"], score.case["target"]): score.values for score in found}


def test_pairs_without_both_images_have_no_score_and_slices_are_counted():
    scores = scores_of(*subject())
    assert {pair: values["slices"] for pair, values in scores.items()} == {
        ("t1", "t1"): 4,
        ("t1", "flair"): 2,
        ("flair", "t1"): 2,
        ("flair", "flair"): 2,
        (OTHERS, "t1"): 2,
        (OTHERS, "flair"): 2,
    }
    assert all(math.isfinite(values["psnr"] + values["ssim"]) for values in scores.values())


def test_middle_slice_and_range_of_the_target():
    images, made = subject()
    truth = images["t1"][:, 1]
    values = scores_of(images, made)["flair", "t1"]
    low_high = (float(truth.min()), float(truth.max()))  # of all slices, also those that flair lacks
    expected = image_similarity(made["flair", "t1"][2:, 1], truth[2:], low_high)
    assert (values["psnr"], values["ssim"]) == expected
    old = original_image_similarity(made["flair", "t1"][2:, 0], images["t1"][2:, 0])
    assert values["original_psnr"] == pytest.approx(float(old.psnr.mean()))
    assert values["original_ssim"] == pytest.approx(float(old.ssim.mean()))


def test_given_ranges_and_mask():
    images, made = subject(neighbours=1)
    mask = torch.zeros(4, 20, 16, dtype=torch.bool)
    mask[:, 6:14, 6:10] = True
    ranges = {"t1": (-5.0, 5.0), "flair": (-3.0, 3.0)}
    values = scores_of(images, made, mask=mask, ranges=ranges, original=False)["t1", "flair"]
    expected = image_similarity(made["t1", "flair"][2:, 0], images["flair"][2:, 0], (-3.0, 3.0), mask[2:])
    assert (values["psnr"], values["ssim"]) == expected
    assert "original_psnr" not in values


def test_constant_target_or_empty_mask_has_no_score():
    images, made = subject()
    images["t1"][:] = 2.0
    assert {target for _, target in scores_of(images, made)} == {"flair"}
    assert scores_of(images, made, mask=torch.zeros(4, 20, 16, dtype=torch.bool)) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({("pd", "t1"): torch.zeros(4, 3, 20, 16)}, r"pairs of \['flair', 't1', 't2'\], got \('pd', 't1'\)"),
        ({("t1", "t2"): torch.zeros(4, 1, 20, 16)}, r"t1 -> t2 must have shape \(4, 3, 20, 16\)"),
        ({("t1", "t2"): torch.zeros(20, 16)}, r"must have shape \(D, H, W\) or \(D, S, H, W\)"),
    ],
)
def test_errors(change, message):
    images, made = subject()
    with pytest.raises(ValueError, match=message):
        scores_of(images, {**made, **change})


def test_range_of_every_modality_is_needed():
    with pytest.raises(ValueError, match="one entry for each modality"):
        scores_of(*subject(), ranges={"flair": (0.0, 1.0)})
