# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Augmentation of a batch on its device: what the same transforms do sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, Flipd, RandFlipd, RandGaussianNoised, RandScaleIntensityd, RandShiftIntensityd
from torch.utils.data import default_collate

from monai_mmseg.data import EpochRandomSampler, PairedSliceDataset
from monai_mmseg.engines.batch import PrepareAugmentedBatch, prepare_training_batch
from monai_mmseg.engines.seeding import seed_data
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.transforms import (
    RandAffineSlicesd,
    RandAppearanced,
    RandConvolutionIntensityd,
    RandDropModalityd,
    SliceAugmentation,
)

KEYS = ["image", "label"]


def affine(**kwargs):
    return RandAffineSlicesd(KEYS, 20, 0.15, 0.1, mode=["bilinear", "nearest"], **kwargs)


def samples(count=6, channels=2, height=40, width=30):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = [
        torch.stack([torch.sin(y / (6 + n)) + torch.cos(x / (4 + c)) for c in range(channels)]) for n in range(count)
    ]
    return [{"image": image, "label": (image > 0.5).long() * 3} for image in images]


def both(transforms, items):
    """The batch made in the loader and on the device; item `n` is seeded by `n`."""
    batches = []
    for on in ("loader", "device"):
        augment = SliceAugmentation(transforms(), on=on)
        drawn = [augment.set_random_state(n)(item) for n, item in enumerate(items)]
        batches.append(augment.apply(default_collate([{k: plain(v) for k, v in one.items()} for one in drawn])))
    return batches


def plain(value):
    return plain_tensor(value) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize(
    "transforms",
    [
        lambda: [affine()],
        lambda: [affine(prob=0.5)],
        lambda: [RandFlipd(KEYS, 0.5, 0), RandFlipd(KEYS, 0.5, [-1])],
        lambda: [RandFlipd(KEYS, 0.5)],
        lambda: [RandFlipd(KEYS, 0.5, 1), affine(prob=0.5)],
        lambda: [
            RandScaleIntensityd("image", 0.3, prob=0.7, channel_wise=True),
            RandShiftIntensityd("image", 0.2, prob=0.7),
            Compose([affine(), RandScaleIntensityd("image", 0.1, prob=1.0)]),
        ],
        lambda: [
            affine(),
            RandConvolutionIntensityd("image", 0.7),
            RandScaleIntensityd("image", (-2.0, -2.0), prob=0.5),
        ],
    ],
    ids=["affine", "some", "flips", "both axes", "flip, affine", "intensity", "network"],
)
def test_same_as_sample_by_sample(transforms):
    loader, device = both(transforms, samples())
    torch.testing.assert_close(device["image"], loader["image"], atol=2e-5, rtol=0)
    assert (device["label"] != loader["label"]).float().mean() < 1e-3  # ties of the nearest neighbour
    assert device["label"].dtype == torch.int64
    assert set(device["label"].unique().tolist()) == {0, 3}
    assert set(device) == {"image", "label"}


def test_flips_alone_are_exact():
    loader, device = both(lambda: [RandFlipd(KEYS, 0.5, 1), RandFlipd(KEYS, 0.5, 0)], samples(12))
    assert torch.equal(device["image"], loader["image"])
    assert torch.equal(device["label"], loader["label"])


def test_nothing_drawn_changes_nothing():
    items = samples()
    _, device = both(lambda: [affine(prob=0.0), RandFlipd(KEYS, 0.0), RandGaussianNoised("image", 0.0)], items)
    assert torch.equal(device["image"], torch.stack([one["image"] for one in items]))
    assert torch.equal(device["label"], torch.stack([one["label"] for one in items]))


def test_image_and_label_move_alike_and_the_input_stays():
    image = torch.zeros(2, 40, 40)
    image[:, 10:20, 12:30] = 1
    items = [{"image": image, "label": image.long()}] * 4
    _, device = both(lambda: [RandFlipd(KEYS, 0.5, 1), affine()], items)
    assert ((device["image"] > 0.5).long() != device["label"]).float().mean() < 0.01
    assert not torch.equal(device["image"][0], device["image"][1])
    assert image.sum() == 2 * 180


def test_moments_of_many_draws():
    """A noisy, scaled and shifted constant: mean and spread over samples and pixels as MONAI's transforms give them."""
    items = [{"image": torch.ones(1, 16, 16)}] * 300

    def transforms():
        noise = RandGaussianNoised("image", prob=0.5, mean=0.1, std=0.4)
        return [RandShiftIntensityd("image", 0.2, prob=1.0), noise, RandScaleIntensityd("image", (0.0, 0.5), prob=0.5)]

    found = [batch["image"].flatten(1) for batch in both(transforms, items)]
    means, spreads = [one.mean().item() for one in found], [one.std(1) for one in found]
    assert means[0] == pytest.approx(means[1], abs=0.01)
    assert found[0].mean(1).std().item() == pytest.approx(found[1].mean(1).std().item(), rel=0.1)
    quiet = [(one < 1e-6).float().mean().item() for one in spreads]
    assert quiet[0] == pytest.approx(quiet[1], abs=0.08)
    assert spreads[0].mean().item() == pytest.approx(spreads[1].mean().item(), rel=0.12)
    assert spreads[0].max().item() == pytest.approx(spreads[1].max().item(), rel=0.1)
    noisy = found[1][spreads[1].topk(2).indices].numpy()
    assert abs(np.corrcoef(noisy)[0, 1]) < 0.3  # samples have noise of their own


def test_absent_modalities_keep_their_fill():
    items = [{**one, "present": torch.tensor([True, n % 2 == 0])} for n, one in enumerate(samples(4))]
    for one in items:
        one["image"][~one["present"]] = -7.0
    augment = SliceAugmentation(
        [affine(), RandGaussianNoised("image", 1.0), RandShiftIntensityd("image", 1, prob=1)], "device"
    )
    batch = augment.apply(default_collate([augment(one) for one in items]))
    assert (batch["image"][1::2, 1] == -7).all()
    assert (batch["image"][::2] != -7).all()


def test_appearance_is_the_loaders():
    items = samples(3)
    augment = SliceAugmentation([affine(prob=0.0), RandAppearanced("image", parts=2)], "device")
    drawn = [augment.set_random_state(n)(item) for n, item in enumerate(items)]
    expected = [plain(one["image"]) for one in drawn]
    batch = augment.apply(default_collate([{k: plain(v) for k, v in one.items()} for one in drawn]))
    assert torch.equal(batch["image"], torch.stack(expected))
    assert all((new - old["image"]).abs().max() > 0.1 for new, old in zip(expected, items, strict=True))


def volumes(item):
    generator = torch.Generator().manual_seed(int(item["subject"]))
    image, label = torch.rand(2, 12, 10, 4, generator=generator), torch.ones(2, 12, 10, 4)
    return {"image": image, "label": label, "present": torch.ones(2, 4).bool(), "labelled": torch.ones(2).bool()}


@pytest.mark.parametrize("workers", [0, 2])
def test_equal_for_any_workers_and_after_a_resume(workers):
    """Epoch 2 of a fresh start is the one in the loader's way, without workers."""
    found = []
    for on, count in (("loader", 0), ("device", workers)):
        augment = SliceAugmentation([RandFlipd(KEYS, 0.5, 1), affine(), RandDropModalityd("image", 0.5)], on)
        data = PairedSliceDataset(
            [{"image": "a", "subject": str(n)} for n in range(3)],
            volumes,
            modalities=["a", "b"],
            slice_transform=augment,
            fill=float("nan"),
        )
        loader = DataLoader(data, batch_size=4, sampler=EpochRandomSampler(data, seed=3), num_workers=count)
        seed_data(loader, 3, 2)
        prepare = PrepareAugmentedBatch(augment)
        found.append([prepare(batch, "cpu") for batch in loader])
    for one, other in zip(*found, strict=True):
        assert one["present"].tolist() == other["present"].tolist()
        torch.testing.assert_close(one["image"], other["image"], atol=2e-5, rtol=0, equal_nan=True)
        assert set(one) == set(other) == set(prepare_training_batch(one))


@pytest.mark.parametrize(
    ("transforms", "on", "message"),
    [
        ([], "gpu", "on must be 'loader' or 'device', got 'gpu'."),
        ([Flipd("image")], "device", "on='device' does not know Flipd; on='loader' does any transform."),
        ([RandGaussianNoised("image"), RandFlipd(KEYS)], "device", "RandGaussianNoised must follow"),
        ([RandConvolutionIntensityd("image"), affine()], "device", "RandConvolutionIntensityd must follow"),
        ([RandConvolutionIntensityd("image")] * 2, "device", "takes one RandConvolutionIntensityd"),
        ([affine(), RandFlipd("image")], "device", "on='device' needs the same keys"),
        ([RandShiftIntensityd("image", 1, factor_key="f")], "device", "knows no factor_key"),
    ],
)
def test_errors(transforms, on, message):
    with pytest.raises(ValueError, match=message):
        SliceAugmentation(transforms, on)
