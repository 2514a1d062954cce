# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import (
    Compose,
    FgBgToIndicesd,
    NormalizeIntensityd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandGaussianNoised,
    ResizeWithPadOrCropd,
    ScaleIntensityRangePercentilesd,
)

from monai_mmseg.data import BalancedModalityBatchSampler, UnpairedSliceDataset, UnpairedVolumeDataset, load_datalist
from monai_mmseg.data.balanced_sampler import RepeatedIndex
from monai_mmseg.engines import seed_data
from monai_mmseg.transforms import ByModalityd, LoadImageItemd, OrientSlicesd, RandSliceWindowd, SafeSpacingd
from tests.synthetic_volumes import body, centered_affine, write

KEYS = ["image", "label"]
MODALITIES = ["ct", "mr"]
GRIDS = {"ct": ((30, 28, 9), (3.0, 3.2, 8.0)), "mr": ((24, 26, 6), (3.6, 3.4, 9.0))}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Two CT and one MR of three patients; the second CT has no label."""
    folder = tmp_path_factory.mktemp("unpaired")
    listed = []
    for subject, modality in (("a", "ct"), ("b", "ct"), ("c", "mr")):
        shape, spacing = GRIDS[modality]
        affine = centered_affine(shape, spacing)
        image, label = body(shape, affine)
        item = {"image": f"{subject}.nii.gz", "modality": modality, "subject": subject}
        write(folder / item["image"], image, affine)
        if subject != "b":
            item["label"] = f"{subject}_label.nii.gz"
            write(folder / item["label"], label, affine)
        listed.append(item)
    content = {"modalities": MODALITIES, "labels": {"0": "background", "1": "shell", "2": "core"}, "training": listed}
    (folder / "datalist.json").write_text(json.dumps(content))
    return load_datalist(folder / "datalist.json")


def volumes(depth=-1, default=None):
    percentiles = ScaleIntensityRangePercentilesd("image", 1, 99, 0, 1, clip=True)
    return Compose(
        [
            LoadImageItemd(labels=[0, 1, 2], default_modality=default),
            OrientSlicesd(KEYS, "axial", allow_missing_keys=True),
            SafeSpacingd(KEYS, (4.0, 4.0, -1), mode=["bilinear", "nearest"], allow_missing_keys=True),
            ResizeWithPadOrCropd(KEYS, (24, 24, depth), allow_missing_keys=True),
            ByModalityd({"ct": NormalizeIntensityd("image"), "mr": percentiles}, default_modality="ct"),
        ]
    )


def slices(items, **kwargs):
    return UnpairedSliceDataset(items, volumes(), modalities=MODALITIES, **kwargs)


def test_samples_are_what_the_contract_says(items):
    data = slices(items)
    assert len(data) == 9 + 9 + 6
    assert data.modality_indices == [0] * 18 + [1] * 6
    loader = DataLoader(data, batch_sampler=BalancedModalityBatchSampler(data, 2))
    assert len(loader) == 9
    for batch in loader:
        assert (batch["image"].shape, batch["image"].dtype) == ((4, 3, 24, 24), torch.float32)
        assert (batch["label"].shape, batch["label"].dtype) == ((4, 1, 24, 24), torch.int64)
        assert (batch["modality"].tolist(), batch["modality"].dtype) == ([0, 0, 1, 1], torch.int64)
        assert (batch["labelled"].shape, batch["labelled"].dtype) == ((4,), torch.bool)
        assert not any(isinstance(value, MetaTensor) for value in batch.values())
        assert batch["labelled"].tolist() == [name != "b" for name in batch["subject"]]
        assert not batch["label"][~batch["labelled"]].any()


@pytest.mark.parametrize("num_slices", [1, 3, 5])
def test_slices_with_neighbours_are_those_of_the_volume(items, num_slices):
    data = slices(items, num_slices=num_slices)
    volume = volumes()(dict(items[2]))
    half = num_slices // 2
    padded = np.pad(volume["image"][0].numpy(), [(0, 0), (0, 0), (half, half)], mode="edge")
    for place in range(6):
        sample = data[18 + place]
        np.testing.assert_array_equal(sample["image"].numpy(), np.moveaxis(padded, -1, 0)[place : place + num_slices])
        np.testing.assert_array_equal(sample["label"].numpy(), volume["label"][..., place].numpy())
        assert sample["slice"] == place


def test_a_slice_costs_a_view(items):
    data = slices(items)
    first, second = data[3]["image"], data[4]["image"]
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
    assert first.is_contiguous()
    # but what augments may write into its input
    data = slices(items, slice_transform=lambda one: {**one, "image": one["image"].zero_()})
    data[3]
    assert data._volume(0).image[3:6].any()


def test_items_of_monai_label_are_of_the_default_modality(items):
    bare = [{key: items[2][key] for key in KEYS}]
    with pytest.raises(
        ValueError, match=r"default_modality must be one of \['ct', 'mr'\] where items name no modality"
    ):
        slices(bare)
    data = slices(bare, default_modality="mr")
    assert data[0]["modality"].item() == 1
    assert torch.equal(data[2]["image"], slices(items)[20]["image"])  # scaled as MR
    one = UnpairedSliceDataset(bare, volumes(), modalities=["ct"])
    assert one[0]["modality"].item() == 0


def test_what_is_kept(items):
    foreground = slices(items, keep="foreground")
    kept = slices_of_each(foreground)
    labels = [volumes()(dict(items[place]))["label"][0] for place in (0, 2)]
    assert kept == {
        "a": int(labels[0].flatten(0, 1).any(0).sum()),
        "b": 9,
        "c": int(labels[1].flatten(0, 1).any(0).sum()),
    }
    assert slices_of_each(slices(items, keep="labelled")) == {"a": 9, "c": 6}


def slices_of_each(data):
    names = [data[place]["subject"] for place in range(len(data))]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def test_augmentation_follows_seed_epoch_item_and_draw(items):
    moves = Compose(
        [
            RandAffined(KEYS, prob=1.0, rotate_range=0.5, mode=["bilinear", "nearest"], padding_mode="border"),
            RandGaussianNoised("image", prob=1.0),
        ]
    )
    data = slices(items, slice_transform=moves)
    data.set_epoch(1, 0)
    first, again, next_draw = data[4], data[RepeatedIndex(4)], data[RepeatedIndex(4, 1)]
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], next_draw["image"])
    assert (first["label"].dtype, first["label"].shape) == (torch.int64, (1, 24, 24))
    assert set(first["label"].unique().tolist()) <= {0, 1, 2}
    data.set_epoch(1, 1)
    assert not torch.equal(first["image"], data[4]["image"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_is_the_same_whatever_the_workers(items, workers):
    def epoch(number, workers):
        noise = RandGaussianNoised("image", prob=1.0)
        data = slices(items, slice_transform=noise)
        loader = DataLoader(data, num_workers=workers, batch_sampler=BalancedModalityBatchSampler(data, 2, seed=7))
        seed_data(loader, 7, number)
        return torch.cat([batch["image"] for batch in loader])

    torch.testing.assert_close(epoch(3, workers), epoch(3, 0), rtol=0, atol=0)


def test_repeats_of_a_short_list_are_not_one_picture(items):
    data = slices(items, slice_transform=RandGaussianNoised("image", prob=1.0))
    loader = DataLoader(data, batch_sampler=BalancedModalityBatchSampler(data, 2))
    seed_data(loader, 0, 0)
    rows = torch.cat([batch["image"][2:] for batch in loader]).flatten(1)
    assert len(rows) == 18  # of 6 slices
    assert len(torch.unique(rows, dim=0)) == 18


def test_without_a_cache_samples_are_the_same(items):
    kept, read = slices(items), slices(items, cache=False)
    for place in (0, 20, 10, 11):
        assert torch.equal(kept[place]["image"], read[place]["image"])
    assert len(read._volumes) == 1  # the last one only


def test_windows_of_volumes(items):
    cut = RandSliceWindowd(KEYS, 4)
    data = UnpairedVolumeDataset(items, volumes(8), modalities=MODALITIES, patch_transform=cut)
    sampler = BalancedModalityBatchSampler(data, 2, epoch_length=12, seed=1)
    loader = DataLoader(data, batch_sampler=sampler)
    seed_data(loader, 1, 0)
    batches = list(loader)
    assert len(batches) == 12
    for batch in batches:
        assert batch["image"].shape == batch["label"].shape == (4, 1, 24, 24, 4)
        assert (batch["label"].dtype, batch["modality"].tolist()) == (torch.int64, [0, 0, 1, 1])
        assert batch["labelled"].tolist() == [name != "b" for name in batch["subject"]]
    windows = torch.cat([batch["image"][2:] for batch in batches]).flatten(1)
    assert 2 <= len(torch.unique(windows, dim=0)) <= 5  # of one volume of 8 slices: not one picture


def test_crops_of_monai_that_give_several(items):
    steps = Compose([volumes(8), FgBgToIndicesd("label", allow_missing_keys=True)])
    crop = RandCropByPosNegLabeld(
        KEYS, "label", (8, 8, 4), num_samples=3, fg_indices_key="label_fg_indices", bg_indices_key="label_bg_indices"
    )
    data = UnpairedVolumeDataset(
        [items[0], items[2]],
        steps,
        modalities=MODALITIES,
        patch_transform=crop,
        extra_keys=["label_fg_indices", "label_bg_indices"],
    )
    batch = next(iter(DataLoader(data, batch_sampler=BalancedModalityBatchSampler(data, 1))))
    assert batch["image"].shape == (6, 1, 8, 8, 4)
    assert batch["modality"].tolist() == [0, 0, 0, 1, 1, 1]


def test_whole_volumes(items):
    data = UnpairedVolumeDataset(items, volumes(8), modalities=MODALITIES, cache=False)
    assert data.modality_indices == [0, 0, 1]
    torch.testing.assert_close(data[2]["image"], volumes(8)(dict(items[2]))["image"].as_tensor())
    assert not data[1]["label"].any()
    assert data[1]["labelled"].item() is False


def test_a_modality_that_loses_all_its_slices_is_named():
    """A sampler of balanced batches would leave it out, and the network would never see it."""

    def volume(item):
        return {"image": torch.rand(1, 4, 4, 2), "label": torch.full((1, 4, 4, 2), float(item["modality"] == "ct"))}

    items = [{"image": f"{name}.nii", "modality": name} for name in ("ct", "mr")]
    with pytest.raises(ValueError, match="no slice of modality 'mr' is left with keep='foreground': its labels are"):
        UnpairedSliceDataset(items, volume, modalities=["ct", "mr"], keep="foreground")


def made(**tensors):
    return lambda item: {**item, "label": None, **tensors}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda items: slices([]), "data must hold one item at least"),
        (lambda items: slices(items, keep="some"), "got 'some'"),
        (lambda items: slices(items, num_slices=2), "num_slices must be an odd number from 1, got 2"),
        (lambda items: slices(items, default_modality="pet"), r"default_modality must be one of .* got 'pet'"),
        (
            lambda items: slices([{**items[0], "modality": "pet"}]),
            r"a.nii.gz' must be one of \['ct', 'mr'\], got 'pet'",
        ),
        (lambda items: slices(items[1:2], keep="labelled"), "no slice of 1 volumes is left with keep='labelled'"),
        (lambda items: UnpairedSliceDataset(items, dict, modalities=MODALITIES), "must read image, as LoadImageItemd"),
        (lambda items: UnpairedSliceDataset(items, None, modalities=MODALITIES), "transform must be a callable"),
        (lambda items: UnpairedSliceDataset(items, volumes(), modalities=["ct", "ct"]), "distinct names"),
        (
            lambda items: UnpairedSliceDataset(items, LoadImageItemd(), modalities=MODALITIES),
            "slices of one size, got .*ResizeWithPadOrCropd",
        ),
        (
            lambda items: UnpairedSliceDataset(items, made(image=torch.zeros(2, 4, 4, 3)), modalities=MODALITIES),
            r"must give image \(1, X, Y, Z\), got \(2, 4, 4, 3\)",
        ),
        (
            lambda items: UnpairedSliceDataset(items, made(image=torch.zeros(4, 4)), modalities=MODALITIES),
            r"must give image \(C, X, Y, Z\), got \(4, 4\) for .*a.nii.gz",
        ),
        (
            lambda items: UnpairedSliceDataset(
                items, made(image=torch.zeros(1, 4, 4, 3), label=torch.zeros(1, 4, 4, 2)), modalities=MODALITIES
            ),
            r"on the grid of the image \(1, 4, 4, 3\), got \(1, 4, 4, 2\)",
        ),
        (
            lambda items: UnpairedVolumeDataset(
                items, made(image=torch.full((1, 2, 2, 2), torch.nan)), modalities=MODALITIES
            ),
            "a.nii.gz' holds NaN or infinite values after the transform",
        ),
        (
            lambda items: UnpairedVolumeDataset(items, volumes(), modalities=MODALITIES, extra_keys=["x"]),
            r"extra_keys must be made by transform, .*\['x'\]",
        ),
    ],
)
def test_errors(items, make, message):
    with pytest.raises(ValueError, match=message):
        make(items)


def test_unknown_classes_are_in_every_sample_or_in_none():
    def volumes(item):
        return {"image": torch.rand(1, 4, 4, 2), **({"label": torch.ones(1, 4, 4, 2)} if "label" in item else {})}

    items = [
        {"image": "a", "label": "b", "unknown": [False, False, True]},
        {"image": "c", "label": "d"},
        {"image": "e"},
    ]
    words = {"modalities": ["ct"], "num_slices": 1}
    data = UnpairedSliceDataset(items, volumes, **words)
    found = [data[place]["unknown"].tolist() for place in (0, 2, 4)]
    assert found == [[False, False, True], [False] * 3, [False] * 3]
    assert "unknown" not in UnpairedSliceDataset(items[1:], volumes, **words)[0]
