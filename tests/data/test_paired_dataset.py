# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, ResizeWithPadOrCropd

from monai_mmseg.data import PairedSliceDataset, load_datalist
from monai_mmseg.data.annotations import mask_labels
from monai_mmseg.preparation import write_stacks
from monai_mmseg.transforms import (
    LoadImageModalitiesd,
    OrientSlicesd,
    RandAffineSlicesd,
    RandDropModalityd,
    ScaleIntensitySlicesd,
    SpacingInPlaned,
    StackModalitiesd,
)
from tests.synthetic_volumes import rotation, write_study

MODALITIES = ["cine", "lge"]
KEYS = ["image", "label"]
ROTATION = {"keys": KEYS, "rotate": 20, "mode": ["bilinear", "nearest"]}
GRIDS = {"cine": ((32, 30, 8), (3.0, 3.2, 9.0)), "lge": ((26, 29, 10), (3.6, 3.4, 8.0))}


def volumes(modalities=MODALITIES, **stack):
    return Compose(
        [
            LoadImageModalitiesd(modalities=modalities, target="lge"),
            OrientSlicesd(KEYS, allow_missing_keys=True),
            SpacingInPlaned(KEYS, (4.0, 4.0), mode=["bilinear", "nearest"], allow_missing_keys=True),
            ResizeWithPadOrCropd(KEYS, (32, 32, -1), mode=["edge", "constant"], allow_missing_keys=True),
            StackModalitiesd(modalities=modalities, target="lge", **stack),
            ScaleIntensitySlicesd("image"),
        ]
    )


@pytest.fixture(scope="module")
def datalist(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study"), GRIDS, axes=rotation(40, 30, 20))


def dataset(data, **kwargs):
    return PairedSliceDataset(data, volumes(), modalities=MODALITIES, **kwargs)


def test_items_are_what_the_contract_says(datalist):
    data = dataset(load_datalist(datalist))
    assert isinstance(data, Dataset)
    assert len(data.data) == 2
    assert len(data) == 20
    batch = next(iter(DataLoader(data, batch_size=5)))
    assert batch["image"].shape == (5, 2, 32, 32)
    assert batch["label"].shape == (5, 2, 32, 32)
    assert (batch["image"].dtype, batch["label"].dtype) == (torch.float32, torch.int64)
    assert batch["present"].shape == batch["labelled"].shape == (5, 2)
    assert batch["present"].dtype == batch["labelled"].dtype == torch.bool
    assert torch.isfinite(batch["image"]).all()
    assert batch["image"].abs().max() <= 1
    assert not isinstance(data[0]["image"], MetaTensor)


def test_candidates_of_every_slice_are_there(datalist):
    transform = volumes(num_candidates=3, candidates="random")
    data = PairedSliceDataset(load_datalist(datalist), transform, modalities=MODALITIES)
    item = data[3]
    assert item["image"].shape == (6, 32, 32)
    assert all(not torch.equal(item["image"][3], item["image"][row]) for row in (4, 5))


def test_what_is_absent_is_marked_not_guessed(datalist):
    items = [one for one in load_datalist(datalist) if (one["subject"], one["modality"]) != ("s1", "cine")]
    data = dataset(mask_labels(items, "lge", 0.0))
    first = data[0]
    assert first["present"].tolist() == [False, True]
    assert first["labelled"].tolist() == [False, False]
    assert not first["image"][0].any()
    assert not first["label"].any()
    second = data[len(data) - 3]
    assert second["present"].tolist() == [True, True]
    assert second["labelled"].tolist() == [True, False]


def test_absent_candidates_repeat_the_paired_slice():
    image = torch.rand(4, 6, 6, 2)
    image[1, :, :, 0] = torch.nan
    image[2:, :, :, 1] = torch.nan
    present = torch.tensor([[True, True], [True, True]])
    data = PairedSliceDataset([{}], lambda _: {"image": image, "present": present}, modalities=MODALITIES)
    torch.testing.assert_close(data[0]["image"][1], image[0, :, :, 0])
    assert data[1]["present"].tolist() == [True, False]
    assert not data[1]["image"][2:].any()


def test_which_slices_are_kept(datalist):
    items = load_datalist(datalist)
    everything = len(dataset(items))
    foreground = dataset(items, keep="foreground")
    assert 0 < len(foreground) < everything
    assert all(item["label"].any() for item in foreground)
    unlabelled = [{k: v for k, v in one.items() if k != "label"} for one in items]
    assert len(dataset(unlabelled, keep="foreground")) == everything  # no label says nothing about the organ
    with pytest.raises(ValueError, match="no slice of 2 subjects is left with keep='labelled'"):
        dataset(unlabelled, keep="labelled")
    lonely = [one for one in items if one["modality"] == "lge"]
    with pytest.raises(ValueError, match="keep='paired'"):
        dataset(lonely, keep="paired")


def test_draws_depend_on_seed_epoch_and_item_alone(datalist):
    items = load_datalist(datalist)

    def read(order, workers=0, epoch=1, seed=7):
        data = dataset(items, slice_transform=RandAffineSlicesd(**ROTATION))
        data.set_epoch(seed, epoch)
        loader = torch.utils.data.DataLoader(data, batch_size=None, sampler=order, num_workers=workers)
        return dict(zip(order, (item["image"] for item in loader), strict=True))

    forward, backward = read(list(range(6))), read(list(range(5, -1, -1)), workers=2)
    assert all(torch.equal(forward[place], backward[place]) for place in range(6))
    assert not torch.equal(forward[0], read([0], epoch=2)[0])
    assert not torch.equal(forward[0], read([0], seed=8)[0])


def test_workers_that_live_on_see_the_next_epoch(datalist):
    data = dataset(load_datalist(datalist), slice_transform=RandAffineSlicesd(**ROTATION))
    loader = torch.utils.data.DataLoader(data, batch_size=20, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in (0, 1, 0):
        data.set_epoch(0, epoch)
        seen.append(next(iter(loader))["image"])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_without_epochs_draws_follow_the_seed_and_differ(datalist):
    data = dataset(load_datalist(datalist), slice_transform=RandAffineSlicesd(**ROTATION)).set_random_state(3)
    first, second = data[0]["image"], data[0]["image"]
    assert not torch.equal(first, second)
    assert torch.equal(data.set_random_state(3)[0]["image"], first)


def test_without_a_cache_items_are_the_same(datalist):
    items = load_datalist(datalist)
    kept, read = dataset(items), dataset(items, cache=False)
    for place in (0, 19, 2):
        assert torch.equal(kept[place]["image"], read[place]["image"])
    assert len(read._volumes) == 1  # the last one only


def test_whole_subjects_are_at_hand(datalist):
    data = dataset(load_datalist(datalist))
    whole = data.subject(1)
    assert whole["subject"] == "s2"
    assert whole["image"].shape == (2, 32, 32, 10)
    torch.testing.assert_close(whole["image"][..., 2], data[12]["image"])


def test_items_of_monai_label(datalist, tmp_path):
    written, skipped = write_stacks(datalist, target="lge", out=tmp_path)
    assert (len(written), skipped) == (2, [])
    items = [{"image": str(path), "label": str(tmp_path / "labels" / "final" / path.name)} for path in written]
    stacked, flat = dataset(items), dataset(load_datalist(datalist))
    assert len(stacked) == len(flat)
    assert stacked[0]["present"].tolist() == [True, True]
    assert stacked[0]["labelled"].tolist() == [False, True]  # the label of a stack is the target's
    torch.testing.assert_close(stacked[3]["image"][1], flat[3]["image"][1], atol=1e-4, rtol=0)
    assert torch.equal(stacked[3]["label"][1], flat[3]["label"][1])
    # cine is sampled twice, on the grid of the file and on the lattice: it may blur, not move
    inner = flat.subject(0)["present"][0]
    pair = [one.subject(0)["image"][0][..., inner].flatten().numpy() for one in (stacked, flat)]
    assert np.corrcoef(*pair)[0, 1] > 0.99


def test_a_grouped_list_and_an_empty_mask(datalist, tmp_path):
    from tests.synthetic_volumes import body, centered_affine, write

    affine = centered_affine((20, 20, 4), (4, 4, 9))
    image, label = body((20, 20, 4), affine)
    item = {
        "subject": "x",
        "image": {"lge": write(tmp_path / "i.nii.gz", image, affine)},
        "label": {"lge": write(tmp_path / "l.nii.gz", np.zeros_like(label), affine)},
    }
    data = dataset([item])
    assert len(data) == 4
    assert data[0]["labelled"].tolist() == [False, True]
    assert data[0]["subject"] == "x"


def made(subjects=3, depth=6, **arguments):
    """Subjects of known content: the value of a pixel says subject, modality and slice."""

    def volumes(item):
        number = item["number"]
        place = torch.arange(depth) + 10.0 * torch.arange(2)[:, None] + 100 * (number + 1)
        image = place[:, None, None].expand(2, 8, 8, depth).clone()
        image[:, : 8 - item.get("rows", 8)] = 0
        present = torch.tensor([True, number != 1])
        image[~present] = torch.nan
        label = torch.zeros(1, 8, 8, depth, dtype=torch.uint8)
        label[..., 2] = 1
        given = {"label": label * (number > 0), "labelled": torch.tensor(number > 0)}
        return {"image": image, "present": present, "target": image[:1] / 2, **given}

    rows = arguments.pop("item", {})
    items = [{"image": "x", "number": number, **(rows if number == 0 else {})} for number in range(subjects)]
    return PairedSliceDataset(items, volumes, modalities=MODALITIES, **arguments)


def test_neighbours_of_all_modalities_are_channels():
    data = made(num_slices=3, fill=float("nan"))
    values = {place: [v.item() for v in data[place]["image"][:, 0, 0]] for place in (0, 2, 5)}
    assert values == {
        0: [100, 100, 101, 110, 110, 111],  # the first slice stands in for what is before it
        2: [101, 102, 103, 111, 112, 113],
        5: [104, 105, 105, 114, 115, 115],
    }
    absent = data[8]  # of the second subject
    assert absent["present"].tolist() == [True, False]
    assert absent["image"][:3, 0, 0].tolist() == [201, 202, 203]
    assert absent["image"][3:].isnan().all()
    assert not made(num_slices=3)[8]["image"][3:].any()


def test_a_neighbour_that_is_absent_repeats_the_slice():
    image = torch.arange(8.0).reshape(2, 1, 1, 4).expand(2, 6, 6, 4).clone()
    image[1, ..., 1] = torch.nan
    present = torch.tensor([[True] * 4, [True, False, True, True]])
    data = PairedSliceDataset([{}], lambda _: {"image": image, "present": present}, modalities=MODALITIES, num_slices=3)
    assert data[2]["image"][:, 0, 0].tolist() == [1, 2, 3, 6, 6, 7]


def test_one_label_of_the_subject_a_target_and_numbers():
    data = made(num_slices=3, extra_keys=["target"])
    batch = next(iter(DataLoader(data, batch_size=8)))
    assert batch["label"].shape == (8, 1, 8, 8)
    assert batch["labelled"].tolist() == [False] * 6 + [True] * 2
    assert batch["subject_index"].tolist() == [0] * 6 + [1] * 2
    assert batch["subject_index"].dtype == torch.int64
    assert batch["target"][3, 0, 0, 0].item() == 51.5
    assert data.subject_indices == [0] * 6 + [1] * 6 + [2] * 6
    assert data.subject(0)["target"].shape == (1, 8, 8, 6)
    kept = made(keep="foreground")
    assert kept.index[6:] == [(1, 2), (2, 2)]
    assert len(kept) == 6 + 1 + 1
    assert len(made(keep="labelled")) == 12


def test_slices_with_little_content_are_left_out():
    data = made(item={"rows": 3}, min_content=0.4)
    assert data.subject_indices == [1] * 6 + [2] * 6
    assert len(made(item={"rows": 4}, min_content=0.5)) == 18
    with pytest.raises(ValueError, match=r"no slice of 1 subjects is left with keep='all' and min_content=0.9"):
        made(subjects=1, item={"rows": 3}, min_content=0.9)


def test_an_augmentation_may_make_a_modality_absent():
    data = made(num_slices=3, fill=float("nan"), slice_transform=RandDropModalityd(prob=1.0))
    data.set_epoch(0, 0)
    for item in (data[0], data[8]):
        assert item["present"].sum() == 1
        assert torch.equal(item["present"].repeat_interleave(3), item["image"].isfinite().flatten(1).all(1))
    assert data.subject(0)["present"].all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_slices": 2}, "num_slices must be an odd number from 1, got 2"),
        ({"min_content": 1.5}, r"min_content must lie in \[0, 1\], got 1.5"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda items: dataset([]), "data holds no item"),
        (lambda items: dataset(items, keep="some"), "got 'some'"),
        (lambda items: dataset([*items, {"image": "x"}]), "data mixes 4 flat items with 1"),
        (
            lambda items: PairedSliceDataset(items, Compose(volumes().transforms[:4]), modalities=MODALITIES),
            "is StackModalitiesd or ResampleModalitiesd part of it",
        ),
    ],
)
def test_errors(datalist, make, message):
    with pytest.raises(ValueError, match=message):
        make(load_datalist(datalist))


def test_labels_that_show_some_classes_are_refused():
    items = [{"image": "a.nii", "label": "b.nii", "modality": "t1", "subject": "s", "unknown": [False, True]}]
    with pytest.raises(ValueError, match=r"b.nii shows some classes only \('annotated'\), which this method cannot"):
        PairedSliceDataset(items, dict, modalities=["t1"])


def one_subject(**entries):
    """A data set of one subject with two modalities, of which the transform gives these entries."""
    given = {"image": torch.rand(2, 4, 4, 3), "present": torch.ones(2, dtype=torch.bool), **entries}
    item = [{"image": "a.nii", "subject": "a"}]
    return PairedSliceDataset(item, lambda _: {k: v for k, v in given.items() if v is not None}, modalities=["m", "n"])


@pytest.mark.parametrize("value", [-1, 256, 500, torch.nan])
def test_labels_that_do_not_fit_a_byte_are_refused(value):
    label = torch.zeros(2, 4, 4, 3)
    label[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"transform must give classes from 0, and 255 where nobody annotated, got"):
        one_subject(label=label, labelled=torch.ones(2, dtype=torch.bool))


def test_labels_are_rounded():
    data = one_subject(label=torch.full((2, 4, 4, 3), 1.9999), labelled=torch.ones(2, dtype=torch.bool))
    assert data[0]["label"].unique().tolist() == [2]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"label": torch.zeros(2, 5, 4, 3), "labelled": torch.ones(2)}, r"on the grid of image \(4, 4, 3\) with M=2"),
        ({"label": torch.zeros(2, 4, 4, 3)}, r"transform must give labelled, bool \(M,\), beside label"),
        ({"present": None}, r"transform must give image and present, got \['image'\]: no \['present'\]\."),
    ],
)
def test_what_the_transform_leaves_out_is_told(entries, message):
    with pytest.raises(ValueError, match=message):
        one_subject(**entries)
