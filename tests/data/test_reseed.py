# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Seeding in place draws what ``set_random_state`` draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import (
    Compose,
    OneOf,
    Rand2DElasticd,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    Randomizable,
    RandShiftIntensityd,
)

from monai_mmseg.data.reseed import Reseeder
from monai_mmseg.transforms import RandByModalityd


class Odd(Randomizable):
    """Takes another seed than it is given."""

    def set_random_state(self, seed=None, state=None):
        return super().set_random_state(None if seed is None else (7 * seed + 1) % 2**32, state)

    def randomize(self, data=None):
        pass

    def __call__(self, data):
        return {**data, "image": data["image"] + self.R.standard_normal()}


class Shared(Odd):
    """Two parts with one state."""

    def __init__(self):
        self.part = RandFlipd("image")

    def set_random_state(self, seed=None, state=None):
        Randomizable.set_random_state(self, seed, state)
        self.part.R = self.R
        return self


def plain():
    affine = RandAffined("image", prob=0.9, rotate_range=0.3, translate_range=3)
    return [affine, RandGaussianNoised("image", prob=0.5), RandAdjustContrastd("image"), RandFlipd("image", 0.5)]


CASES = {
    "plain": (lambda: Compose(plain()), True),
    "nested": (lambda: Compose([Compose(plain()), RandShiftIntensityd("image", 0.2, prob=0.7)]), True),
    "alone": (lambda: RandAffined("image", prob=1.0, rotate_range=0.3), True),
    "elastic": (lambda: Compose([Rand2DElasticd("image", (4, 4), (1, 2), prob=1.0)]), True),
    "one of": (lambda: Compose([OneOf(plain())]), None),
    "by modality": (lambda: Compose([RandByModalityd({"ct": None, "mr": plain()[1]})]), None),
    "odd": (lambda: Compose([*plain(), Odd()]), False),
    "shared": (lambda: Compose([*plain(), Shared()]), False),
}


@pytest.mark.parametrize(("make", "in_place"), CASES.values(), ids=CASES)
def test_the_same_is_drawn(make, in_place):
    slow, fast = make(), make()
    reseed = Reseeder(fast)
    item = {"image": torch.rand(1, 12, 12), "modality": "mr"}
    for seed in (0, 5, 2**32 - 1, 5, *np.random.RandomState(0).randint(2**32, size=20, dtype="uint32").tolist()):
        reseed(seed)
        slow.set_random_state(seed)
        for _ in range(2):
            assert torch.equal(torch.as_tensor(fast(item)["image"]), torch.as_tensor(slow(item)["image"]))
    assert in_place is None or reseed._in_place is in_place


def test_no_state_is_made_anew():
    transform = Compose(plain())
    reseed = Reseeder(transform)
    reseed(1)
    states = [one.R for one in transform.transforms]
    reseed(2)
    assert all(one.R is state for one, state in zip(transform.transforms, states, strict=True))
