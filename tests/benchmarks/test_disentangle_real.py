# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from benchmarks.accuracy.disentangle_real import compare, markdown
from benchmarks.accuracy.redraw_baselines import Stack, matched, mean_image, stack_of, trivial
from monai_mmseg.evaluation import OTHERS, Score, ScoreTable


def person(seed, shift=0, absent=()):
    """A block of brain in a larger image."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(8, 4, 32, 32)
    image[1:7, :, 6 + shift : 24 + shift, 8:28] = 1 + torch.rand(6, 4, 18, 20, generator=generator)
    for m in absent:
        image[:, m] = float("nan")
    return stack_of(image, ["t1", "t1gd", "t2", "flair"], 0.0)


def test_people_and_their_sequences():
    one = person(0, absent=[1])
    assert list(one.images) == ["t1", "t2", "flair"]
    assert int(one.mask.sum()) == 6 * 18 * 20


def test_matching_keeps_the_order_and_takes_the_histogram():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 12, 12, generator=generator)
    mask = torch.rand(3, 12, 12, generator=generator) > 0.3
    assert torch.equal(matched(3 * target**3 - 1, target, mask), torch.where(mask, target, 0.0))
    reversed_order = matched(-target, target, mask)
    assert torch.equal(reversed_order[mask].sort().values, target[mask].sort().values)


def test_mean_image_is_stretched_to_the_test():
    test, first, second = person(0), person(1, shift=4), person(2)
    made = mean_image([first, second, person(3, absent=[3])], "flair", test)
    boxes = [one.images["flair"][1:7, 6 + s : 24 + s, 8:28] for one, s in ((first, 4), (second, 0))]
    torch.testing.assert_close(made[1:7, 6:24, 8:28], (boxes[0] + boxes[1]) / 2)
    assert not made[~test.mask].any()
    with pytest.raises(ValueError, match="nobody that was trained on has 't1gd'"):
        mean_image([person(3, absent=[1])], "t1gd", test)


def test_trivial_predictors_and_comparison():
    test = person(0)
    same = Stack({name: values**2 for name, values in test.images.items()}, test.mask)
    copied = Stack({**test.images, "t2": same.images["t1"]}, test.mask)  # T2 is T1 after matching
    table = trivial(copied, [person(1), person(2)], "s01")
    assert len(table) == 4 + 12
    scores = [
        Score("ours", "s01", {"source": source, "target": "t2"}, {"psnr": psnr, "ssim": 0.5})
        for source, psnr in (("t1", 20.0), ("flair", 23.0), ("t2", 40.0), (OTHERS, 21.0))
    ]
    found = compare(ScoreTable(scores), table)["t2"]
    assert found["mean of pairs"] == {"psnr": 21.5, "ssim": 0.5}
    assert (found["best pair"]["source"], found["best pair"]["psnr"]) == ("flair", 23.0)
    assert found["all others"]["psnr"] == 21.0
    assert (found["best other"]["source"], found["best other"]["psnr"]) == ("t1", float("inf"))
    text = markdown({"subject": "s01", "seconds": 1.0, "targets": {"t2": found}})
    assert "| t2 | 21.50 / 0.500 | 23.00 / 0.500 (flair) | 21.00 / 0.500 |" in text
