# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.evaluation import (
    MethodInfo,
    Score,
    evaluate_subsets,
    hide_modalities,
    image_scores,
    label_scores,
    modality_subsets,
    score_volume,
    subset_names,
    subset_text,
)
from monai_mmseg.metrics import image_similarity

NAMES = ["t1", "t1gd", "t2", "flair"]
LABELS = {"0": "background", "1": "core", "2": "oedema"}
NAN = float("nan")


def test_all_subsets_once_and_large_ones_first():
    found = modality_subsets(NAMES)
    assert len(found) == len(set(found)) == 15
    assert found[0] == tuple(NAMES)
    assert [len(subset) for subset in found] == [4] + 4 * [3] + 6 * [2] + 4 * [1]
    with pytest.raises(ValueError, match="different names"):
        modality_subsets(["t1", "t1"])


def test_hiding_leaves_the_rest_as_it_is():
    image = torch.rand(8, 3, 3, 3)
    found = hide_modalities(image, NAMES, ["t2", "t1"])
    assert found[2:4].isnan().all()
    assert found[6:].isnan().all()
    torch.testing.assert_close(found[[0, 1, 4, 5]], image[[0, 1, 4, 5]])
    assert not image.isnan().any()
    with pytest.raises(ValueError, match=r"got \['pd'\]"):
        hide_modalities(image, NAMES, ["pd"])
    with pytest.raises(ValueError, match="multiple of 4 channels"):
        hide_modalities(image[:7], NAMES, ["t1"])


def sample(subject, absent=(), **more):
    image = torch.rand(4, 12, 12, 6)
    image[[NAMES.index(name) for name in absent]] = NAN
    label = torch.zeros(1, 12, 12, 6)
    label[:, 2:6, 2:6, 1:3], label[:, 7:10, 7:10, 2:5] = 1, 2
    return {"image": image, "label": label, "subject": subject, "labelled": torch.tensor([True]), **more}


def test_predictor_gets_each_subset_and_incomplete_subjects_are_counted():
    seen = []

    def predict(image):
        assert image.shape == (1, 4, 12, 12, 6)
        seen.append(tuple(n for n, channel in zip(NAMES, image[0], strict=True) if not channel.isnan().any()))
        return image.nan_to_num().sum(1, keepdim=True)

    samples = [sample("s01"), sample("s02", ["t2"]), sample("s03", labelled=torch.tensor([False]))]
    table = evaluate_subsets(
        predict, samples, NAMES, lambda found, _: [Score("", "", {}, {"dice": min(1.0, float(found.mean()) / 4)})]
    )
    assert seen[:15] == modality_subsets(NAMES)
    assert seen[15:] == [subset for subset in modality_subsets(NAMES) if "t2" not in subset]
    assert table.methods["prediction"] == MethodInfo(modalities=tuple(NAMES))
    lines = {subset_names(line.case["subset"]): line for line in table.means("subset")}
    assert (lines["t1", "flair"].subjects, lines["t1", "flair"].left_out) == (2, 0)
    assert (lines[tuple(NAMES)].subjects, lines[tuple(NAMES)].left_out) == (1, 1)
    assert all(math.isfinite(line.measures["dice"].mean) for line in lines.values())


def test_a_mask_says_what_is_absent_whatever_stands_in_the_image():
    blank = sample("s01", present=torch.tensor([True, False, True, True]))
    blank["image"][1] = 0
    table = evaluate_subsets(lambda image: image, [blank], NAMES, lambda *_: [Score("", "", {}, {"dice": 1.0})])
    assert {one.case["subset"] for one in table} == {
        " + ".join(subset) for subset in modality_subsets(NAMES) if NAMES[1] not in subset
    }


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="at least one labelled subject"):
        evaluate_subsets(lambda x: x, [sample("s01", labelled=False)], NAMES, lambda *_: [])


@pytest.mark.parametrize("meta", [False, True])
def test_scores_of_labels_are_those_of_the_evaluator(meta):
    one = sample("s01")
    torch.manual_seed(0)
    logits = torch.nn.functional.one_hot(one["label"][0].long(), 3).permute(3, 0, 1, 2) + torch.randn(3, 12, 12, 6)
    spacing = (2.0, 2.0, 3.0)
    if meta:
        one["label"] = MetaTensor(one["label"], affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))
    found = label_scores(LABELS, spacing=None if meta else spacing)(logits, one)
    volumes = logits.argmax(0).numpy(), one["label"][0].numpy().astype(int)
    assert found == score_volume(*volumes, labels={1: "core", 2: "oedema"}, spacing=spacing)
    with pytest.raises(ValueError, match="spacing must be given"):
        label_scores(LABELS)(logits, sample("s01"))


def psnr_ssim(scores):
    (score,) = scores
    return score.values["psnr"], score.values["ssim"]


def test_scores_of_images():
    target = torch.rand(1, 16, 14, 5)
    made = target + 0.1 * torch.rand(target.shape)
    found = image_scores(value_range=(0.0, 1.0))(made, {"target": target})
    assert psnr_ssim(found) == image_similarity(made[0].movedim(-1, 0), target[0].movedim(-1, 0), (0.0, 1.0))
    own = image_scores()(made[..., 0], {"target": MetaTensor(target[..., 0])})
    limits = (float(target[..., 0].min()), float(target[..., 0].max()))
    assert psnr_ssim(own) == image_similarity(made[..., 0], target[..., 0], limits)
    target[:, :8] = -10.0
    inside = image_scores(background=-10.0)(made, {"target": target})
    rest = target[:, 8:]
    truth, mask = target[0].movedim(-1, 0), target[0].movedim(-1, 0) != -10.0
    limits = (float(rest.min()), float(rest.max()))
    assert psnr_ssim(inside) == image_similarity(made[0].movedim(-1, 0), truth, limits, mask)
    with pytest.raises(ValueError, match="must have one shape"):
        image_scores()(made[:, :8], {"target": target})


def test_images_that_are_not_there_have_no_score():
    target = torch.full((1, 16, 14, 5), NAN)
    assert image_scores()(torch.rand(1, 16, 14, 5), {"target": target}) == []


def test_names_of_subsets():
    assert subset_text(["flair", "t1"], NAMES) == "t1 + flair"
    assert subset_names("t1 + flair") == ("t1", "flair")
    for subset in (["pd"], [], ["t1", "t1"]):
        with pytest.raises(ValueError, match=r"of the modalities \['t1', 't1gd', 't2', 'flair'\], got \["):
            subset_text(subset, NAMES)
