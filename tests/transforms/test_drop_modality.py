# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.transforms import RandDropModalityd


def sample(present=(True, True, False)):
    mask = torch.tensor(present)
    image = torch.arange(6.0)[:, None, None].expand(6, 2, 2).clone()
    image[~mask.repeat_interleave(2)] = torch.nan
    return {"image": image, "present": mask}


def test_as_often_as_asked_and_each_as_often():
    drop = RandDropModalityd(prob=0.2).set_random_state(0)
    gone = [(sample()["present"] & ~drop(sample())["present"]).nonzero()[:, 0].tolist() for _ in range(2000)]
    counts = [gone.count([m]) for m in range(3)]
    assert gone.count([]) == pytest.approx(1600, abs=60)
    assert counts[2] == 0
    assert counts[0] == pytest.approx(200, abs=45)
    assert counts[1] == pytest.approx(200, abs=45)


def test_every_subset_is_left_as_often():
    drop = RandDropModalityd(prob=0.5, mode="subset").set_random_state(0)
    data = sample((True, True, True))
    left = [tuple(drop(data)["present"].tolist()) for _ in range(2800)]
    assert len(set(left)) == 7
    # all three: half of the time nothing is done, and one subset in seven of the other half
    assert left.count((True, True, True)) == pytest.approx(1600, abs=80)
    assert all(left.count(one) == pytest.approx(200, abs=45) for one in set(left) - {(True, True, True)})
    after = RandDropModalityd(prob=1.0, mode="subset").set_random_state(1)(sample((True, False, True)))
    assert torch.equal(after["present"].repeat_interleave(2), after["image"].isfinite().flatten(1).all(1))


def test_absent_in_the_mask_and_in_the_image():
    before = sample()
    drop = RandDropModalityd(prob=1.0).set_random_state(3)
    for _ in range(10):
        after = drop(before)
        assert torch.equal(after["present"].repeat_interleave(2), after["image"].isfinite().flatten(1).all(1))
        kept = after["image"].isfinite()
        assert torch.equal(after["image"][kept], before["image"][kept])
        assert int(after["present"].sum()) == 1
    assert torch.equal(before["image"].isnan(), sample()["image"].isnan())  # the caller's tensors are not touched
    assert torch.equal(before["present"], sample()["present"])


def test_the_last_one_stays():
    drop = RandDropModalityd(prob=1.0).set_random_state(0)
    for present in ((False, True, False), (False, False, False)):
        after = drop(sample(present))
        assert after["present"].tolist() == list(present)


def test_several_keys_lose_the_same():
    data = {**sample((True, True, True)), "other": torch.zeros(3, 4)}
    after = RandDropModalityd(["image", "other"], prob=1.0).set_random_state(1)(data)
    assert torch.equal(after["other"].isnan().any(1), ~after["present"])
    assert torch.equal(after["image"].isnan().flatten(1).any(1), ~after["present"].repeat_interleave(2))


def test_refuses():
    with pytest.raises(ValueError, match="mode must be 'one' or 'subset', got 'all'"):
        RandDropModalityd(mode="all")
    with pytest.raises(ValueError, match="same number of channels for each of 3 modalities, got 4"):
        RandDropModalityd()({"image": torch.zeros(4, 2, 2), "present": torch.ones(3) > 0})
    with pytest.raises(KeyError, match="'present' must say which modalities are there"):
        RandDropModalityd()({"image": torch.zeros(4, 2, 2)})


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            {"present": torch.ones(2, 3, dtype=torch.bool)},
            r"present must have an entry for each modality, shape \(M,\)",
        ),
        ({"image": torch.zeros(2, 4, dtype=torch.int16)}, r"a tensor of floating point.* got torch.int16"),
        ({"image": np.zeros((2, 4), np.float32)}, r"a tensor of floating point.* got ndarray"),
    ],
)
def test_what_cannot_become_absent_is_refused(item, message):
    whole = {"image": torch.zeros(2, 4), "present": torch.ones(2, dtype=torch.bool)}
    with pytest.raises(ValueError, match=message):
        RandDropModalityd(prob=1.0, mode="subset")({**whole, **item})
