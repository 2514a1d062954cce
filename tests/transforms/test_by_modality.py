# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, MetaTensor
from monai.transforms import (
    Compose,
    Flipd,
    Invertd,
    NormalizeIntensityd,
    RandFlipd,
    RandGaussianNoised,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
)

from monai_mmseg.transforms import ByModalityd, LoadImageItemd, RandByModalityd

CONFIG = {
    "intensity": {
        "_target_": "monai_mmseg.transforms.ByModalityd",
        "transforms": {
            "_desc_": "CT in a window, MR between percentiles",
            "ct": {
                "_target_": "Compose",
                "transforms": [
                    {
                        "_target_": "ScaleIntensityRanged",
                        **{"keys": "image", "a_min": -160, "a_max": 240, "b_min": 0.0, "b_max": 1.0, "clip": True},
                    },
                    {"_target_": "NormalizeIntensityd", "keys": "image"},
                ],
            },
            "mr": {
                "_target_": "ScaleIntensityRangePercentilesd",
                **{"keys": "image", "lower": 1, "upper": 99, "b_min": -1.0, "b_max": 1.0, "clip": True},
            },
        },
    }
}


def test_one_config_for_both_modalities():
    scale = ConfigParser(CONFIG).get_parsed_content("intensity")
    image = torch.randn(1, 8, 8, 8) * 300
    ct, mr = (scale({"image": image, "modality": name})["image"] for name in ("ct", "mr"))
    window = ScaleIntensityRanged("image", a_min=-160, a_max=240, b_min=0, b_max=1, clip=True)
    torch.testing.assert_close(ct, NormalizeIntensityd("image")(window({"image": image}))["image"])
    expected = ScaleIntensityRangePercentilesd("image", 1, 99, -1.0, 1.0, clip=True)({"image": image})["image"]
    torch.testing.assert_close(mr, expected)
    assert ct.mean().abs() < 1e-5
    assert mr.abs().max() <= 1


def test_default_and_none():
    scale = ByModalityd({"ct": Flipd("image", 0), "mr": None}, default_modality="ct")
    image = torch.rand(1, 3, 3)
    assert torch.equal(scale({"image": image})["image"], image.flip(1))
    assert torch.equal(scale({"image": image, "modality": "mr"})["image"], image)


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_inversion_takes_the_transform_that_was_applied(modality):
    steps = Compose(
        [
            LoadImageItemd(),
            ByModalityd(
                {
                    "ct": Compose([Spacingd(["image", "label"], 2.0, allow_missing_keys=False), Flipd("image", 0)]),
                    "mr": Flipd(["image", "label"], 1),
                }
            ),
        ]
    )
    image = MetaTensor(torch.rand(1, 6, 8, 4))
    data = steps({"image": image, "label": MetaTensor(torch.ones(1, 6, 8, 4)), "modality": modality})
    assert (data["image"].shape == image.shape) == (modality == "mr")
    pred = Invertd("pred", steps, "image")({**data, "pred": MetaTensor(data["image"].as_tensor().clone())})["pred"]
    assert pred.shape == image.shape
    assert torch.equal(pred.affine, image.affine)
    if modality == "mr":
        assert torch.equal(pred.as_tensor(), image.as_tensor())
    assert "modality" not in image.meta


def test_volumes_are_cached_behind_it_but_not_behind_what_draws():
    seen = []

    def count(data):
        seen.append(data["modality"])
        return data

    class Count(Flipd):
        def __call__(self, data, lazy=None):
            return count(dict(data))

    items = [{"image": torch.rand(1, 3, 3), "modality": "ct"}]
    for switch, calls in ((ByModalityd({"ct": Flipd("image", 0)}), 1), (RandByModalityd({"ct": None}), 3)):
        seen.clear()
        data = CacheDataset(items, Compose([switch, Count("image")]), progress=False)
        for _ in range(3):
            data[0]
        assert len(seen) == calls


def test_seeds_reach_the_transforms():
    noise = RandByModalityd({name: Compose([RandGaussianNoised("image", prob=1.0)]) for name in ("ct", "mr")})
    image = torch.zeros(1, 4, 4)
    draws = []
    for _ in range(2):
        noise.set_random_state(5)
        draws.append([noise({"image": image, "modality": name})["image"] for name in ("ct", "mr")])
    assert torch.equal(draws[0][0], draws[1][0])
    assert torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[0][1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ByModalityd({}), "one modality at least, got none"),
        (lambda: ByModalityd({"_desc_": "x"}), "got none"),
        (lambda: ByModalityd({"ct": None}, default_modality="mr"), r"one of \['ct'\], got 'mr'"),
        (lambda: ByModalityd({"ct": None, "mr": Compose([RandFlipd("x")])}), r"\['mr'\] draw at random; RandBy"),
        (lambda: ByModalityd({"ct": None}, hounsfield="ct"), r"hounsfield must list some of \['ct'\], got 'ct'"),
        (lambda: ByModalityd({"ct": None}, hounsfield=["mr"]), r"hounsfield must list some of \['ct'\], got \['mr'\]"),
        (lambda: ByModalityd({"ct": None})({"modality": "mr"}), r"must be one of \['ct'\], got 'mr'"),
        (lambda: ByModalityd({"ct": None})({}), "the item has no 'modality' and there is no default_modality"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_ct_that_is_not_in_hounsfield_units_is_told_once(caplog):
    """Stored with 1024 added, or an MR image taken for CT; not a soft window, nor the other modality."""
    window = {"a_max": 240, "b_min": 0.0, "b_max": 1.0, "clip": True}
    wide, bone = (ScaleIntensityRanged("image", a_min=low, **window) for low in (-160, 100))
    scale = ByModalityd({"ct": Compose([wide, NormalizeIntensityd("image")]), "mr": None, "bone": bone})
    air = MetaTensor(torch.tensor([[[-1024.0, 40.0]]]), meta={"filename_or_obj": "p1.nii.gz"})
    for name, image in (("ct", air), ("mr", air + 1024), ("bone", air + 1024)):
        scale({"image": image, "modality": name})
    assert caplog.text == ""
    for _ in range(2):
        scale({"image": air + 1024, "modality": "ct"})
    assert caplog.text.count("p1.nii.gz is taken as ct in Hounsfield units") == 1
    assert "but its least value is 0: stored with 1000 or 1024 added" in caplog.text


def test_units_that_the_window_does_not_show(caplog):
    """Of an abdomen's organs alone a window begins above fat; beside it, an image of MR that holds air is CT."""
    window = ScaleIntensityRanged("image", a_min=4, a_max=240, b_min=0.0, b_max=1.0, clip=True)
    scale = ByModalityd({"ct": window, "mr": None}, hounsfield=["ct"])
    hu = MetaTensor(torch.tensor([[[-1024.0, 40.0]]]), meta={"filename_or_obj": "p1.nii.gz"})
    scale({"image": hu, "modality": "ct"})
    scale({"image": hu + 1024, "modality": "mr"})
    assert caplog.text == ""
    scale({"image": hu, "modality": "mr"})
    assert "p1.nii.gz is taken as mr, but its least value is -1024, as of air in CT" in caplog.text
    other = MetaTensor(torch.tensor([[[0.0, 900.0]]]), meta={"filename_or_obj": "p2.nii.gz"})
    scale({"image": other, "modality": "ct"})
    assert "p2.nii.gz is taken as ct in Hounsfield units" in caplog.text
