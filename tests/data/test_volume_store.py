# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Lambdad, RandFlipd, RandGaussianNoised, ScaleIntensityd, SpatialPadd
from monai.utils import OptionalImportError

from monai_mmseg.data import (
    BalancedModalityBatchSampler,
    EpochRandomSampler,
    PairedSliceDataset,
    UnpairedSliceDataset,
    UnpairedVolumeDataset,
    WholeVolumeDataset,
    disk_arrays,
    remove_unused,
)
from monai_mmseg.data.disk_arrays import DiskArray, write_array
from monai_mmseg.data.volume_store import VolumeStore
from monai_mmseg.engines.seeding import seed_data, seeded_by_epoch
from monai_mmseg.files import write_nifti
from monai_mmseg.transforms import ForegroundPlacesd, LoadImageItemd, RandForegroundWindowd, RandSliceWindowd

needs_blosc2 = pytest.mark.skipif(importlib.util.find_spec("blosc2") is None, reason="blosc2 is not installed")
DISKS = [pytest.param("disk", marks=needs_blosc2), "disk_raw"]
READ = Compose([LoadImageItemd(default_modality="ct"), ScaleIntensityd("image")])


@pytest.fixture
def items(tmp_path):
    """Four volumes of 10 to 13 slices; the third has no label."""
    rng, found = np.random.default_rng(0), []
    for number in range(4):
        shape = (40, 36, 10 + number)
        item = {"modality": "ct" if number % 2 else "mr", "subject": f"s{number}"}
        item["image"] = str(write_nifti(tmp_path / f"i{number}.nii.gz", rng.random(shape), np.eye(4)))
        if number != 2:
            label = np.zeros(shape, np.uint8)
            label[10:20, 10:20, 3:6] = 1
            item["label"] = str(write_nifti(tmp_path / f"l{number}.nii.gz", label, np.eye(4)))
        found.append(item)
    return found


def slices(items, **arguments):
    noise = RandGaussianNoised("image", prob=1.0)
    return UnpairedSliceDataset(items, READ, modalities=["ct", "mr"], slice_transform=noise, **arguments)


def windows(items, **arguments):
    cut = Compose([RandSliceWindowd(["image", "label"], 4), RandFlipd(["image", "label"], prob=0.5, spatial_axis=2)])
    return UnpairedVolumeDataset(items, READ, modalities=["ct", "mr"], patch_transform=cut, **arguments)


def padded(items, **arguments):
    pad = SpatialPadd(["image", "label"], (48, -1, -1))  # needs the whole volume
    return UnpairedVolumeDataset(items, READ, modalities=["ct", "mr"], patch_transform=pad, **arguments)


class Stack:
    """Two modalities on one lattice, made of the subject's name."""

    def __call__(self, item):
        generator = torch.Generator().manual_seed(int(item["subject"][1:]))
        image = torch.rand((2, 40, 36, 9), generator=generator)
        label = (torch.rand((2, 40, 36, 9), generator=generator) > 0.9).long()
        present = torch.rand((2, 9), generator=generator) > 0.2
        return {"image": image, "label": label, "present": present, "labelled": torch.tensor([True, False])}


def paired(items, **arguments):
    return PairedSliceDataset(items, Stack(), modalities=["mr", "ct"], num_slices=3, min_content=0.1, **arguments)


def whole(items, **arguments):
    cut = [RandFlipd(["image", "label"], prob=0.5, spatial_axis=2, allow_missing_keys=True)]
    return WholeVolumeDataset(items, Compose([READ, *cut]), **arguments)


def cut_windows(items, **arguments):
    cut = [ForegroundPlacesd(), RandForegroundWindowd(["image", "label"], (20, 16, 3), share=0.7)]
    return WholeVolumeDataset([one for one in items if "label" in one], Compose([READ, *cut]), **arguments)


def same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == other[key].dtype
            torch.testing.assert_close(value, other[key], rtol=0, atol=0, equal_nan=True)
        else:
            assert str(value) == str(other[key])


def entries(folder):
    return sorted(path.parent.name for path in Path(folder).glob("*/*/notes.pkl"))


@pytest.mark.parametrize("cache", DISKS)
@pytest.mark.parametrize("make", [slices, windows, padded, paired, whole, cut_windows])
def test_samples_from_disk_are_those_from_memory(items, tmp_path, make, cache):
    first = make(items)
    for _ in range(2):  # made, and found again
        second = make(items, cache=cache, cache_dir=tmp_path / "cache")
        assert len(first) == len(second)
        for data in (first, second):
            data.set_epoch(3, 4)
        for number in range(len(first)):
            same(first[number], second[number])
    assert len(entries(tmp_path / "cache")) == len(first.data)


@pytest.mark.parametrize("make", [slices, windows, paired])
def test_memory_holds_what_an_index_needs(items, tmp_path, make):
    data = make(items, cache="disk_raw", cache_dir=tmp_path / "cache")
    for volume in data._volumes.values():
        assert isinstance(volume.image, DiskArray)
        kept = [value for value in volume if isinstance(value, torch.Tensor)]
        assert sum(value.untyped_storage().nbytes() for value in kept) < 1000


@pytest.mark.parametrize(("make", "depth"), [(windows, 4), (cut_windows, 3)])
def test_an_access_reads_the_window_and_not_the_volume(items, tmp_path, monkeypatch, make, depth):
    data = make(items, cache="disk_raw", cache_dir=tmp_path / "cache")
    read = []
    get = DiskArray.__getitem__
    monkeypatch.setattr(DiskArray, "__getitem__", lambda self, places: read.append(places) or get(self, places))
    data[0]
    assert [places.stop - places.start for places in read if places.stop - places.start > 1] == [depth, depth]


def test_what_augmentation_writes_stays_out_of_the_cache(items, tmp_path):
    def scribble(item):
        item["image"].zero_()
        return item

    data = UnpairedSliceDataset(
        items,
        READ,
        modalities=["ct", "mr"],
        slice_transform=scribble,
        cache="disk_raw",
        cache_dir=tmp_path / "cache",
    )
    data[3]
    assert slices(items, cache="disk_raw", cache_dir=tmp_path / "cache")[3]["image"].abs().sum() > 0


def test_a_changed_file_or_setting_never_reads_an_older_entry(items, tmp_path):
    where = {"cache": "disk_raw", "cache_dir": tmp_path / "cache"}
    before = slices(items, **where)[0]["image"]
    slices(items, num_slices=5, **where)  # of the same volumes
    assert len(entries(tmp_path / "cache")) == 4
    write_nifti(Path(items[0]["image"]), np.random.default_rng(1).random((40, 36, 10)), np.eye(4))
    data, fresh = slices(items, **where), slices(items)
    for one in (data, fresh):
        one.set_epoch(0, 0)
    same(data[0], fresh[0])
    assert not torch.equal(before, data[0]["image"])
    assert len(entries(tmp_path / "cache")) == 5
    other = Compose([LoadImageItemd(default_modality="ct"), ScaleIntensityd("image", maxv=2.0)])
    data = UnpairedSliceDataset(items, other, modalities=["ct", "mr"], **where)
    assert data[0]["image"].max() > 1
    assert len(entries(tmp_path / "cache")) == 9


def test_links_share_an_entry_and_keep_their_names(items, tmp_path):
    many = [{**item, "subject": f"{item['subject']}_{copy}"} for item in items for copy in range(50)]
    for number, item in enumerate(many):
        for key in {"image", "label"} & item.keys():
            link = tmp_path / f"{key}_{number}.nii.gz"
            os.link(item[key], link)
            item[key] = str(link)
    data = windows(many, cache="disk_raw", cache_dir=tmp_path / "cache")
    assert len(entries(tmp_path / "cache")) == 4
    assert [data[place]["subject"] for place in (0, 49, 50, 199)] == ["s0_0", "s0_49", "s1_0", "s3_49"]
    # a transform of another project may use the name
    assert len({VolumeStore(tmp_path, Stack(), compress=False).key(item) for item in many}) == 200


def test_whole_volumes_keep_metadata_and_the_way_back(items, tmp_path):
    data = whole(items, cache="disk_raw", cache_dir=tmp_path / "cache")
    data.set_epoch(0, 0)
    image = data[1]["image"]
    assert isinstance(image, MetaTensor)
    assert image.meta["filename_or_obj"] == items[1]["image"]
    torch.testing.assert_close(image.affine, whole(items)[1]["image"].affine)
    flip = Compose([RandFlipd("image", prob=1.0, spatial_axis=2)])
    read = WholeVolumeDataset(items, READ, cache="disk_raw", cache_dir=tmp_path / "cache")[1]
    torch.testing.assert_close(flip.inverse(flip(read))["image"], read["image"])


def test_a_loop_over_whole_volumes_ends(items):
    assert len(list(whole(items))) == 4


def test_what_has_no_description_is_made_at_each_access(items, tmp_path):
    transform = Compose([READ, Lambdad("image", lambda image: image + 1)])
    data = WholeVolumeDataset(items, transform, cache="disk_raw", cache_dir=tmp_path / "cache")
    assert len(data.kept.transforms) == 2
    assert data[0]["image"].min() == 1
    with pytest.raises(ValueError, match="transform begins with Lambdad"):
        WholeVolumeDataset(items, Lambdad("image", lambda image: image), cache="disk_raw", cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cache": "ram"}, "cache must be 'memory', 'disk', 'disk_raw' or false, got 'ram'"),
        ({"cache": "disk_raw"}, "cache_dir must name a folder for cache 'disk_raw', got None"),
    ],
)
def test_a_cache_without_a_place_is_refused(items, arguments, message):
    with pytest.raises(ValueError, match=message):
        slices(items, **arguments)


def test_a_transform_that_cannot_be_recognised_is_refused(items, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be recognised, so cache must be 'memory' or false: .*<lambda>"):
        VolumeStore(tmp_path, Lambdad("image", lambda image: image), compress=False)


def test_without_blosc2_the_error_names_the_extra(items, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_arrays, "optional_import", lambda name: (None, False))
    with pytest.raises(OptionalImportError, match=r"monai-mmseg\[disk\].*disk_raw"):
        slices(items, cache="disk", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("compress", [pytest.param(True, marks=needs_blosc2), False])
def test_arrays_of_any_shape_and_type_come_back(tmp_path, compress):
    kinds = (torch.float32, torch.int16, torch.uint8, torch.bool, torch.int64)
    for number, (shape, dtype) in enumerate(
        zip([(7,), (5, 70, 70), (3, 2, 64, 65), (1, 9, 9), (4, 1)], kinds, strict=True)
    ):
        values = (torch.rand(shape) * 5).to(dtype)
        array = DiskArray(write_array(tmp_path / str(number), values, compress=compress), shape)
        assert array.shape == values.shape
        assert array[:].dtype == dtype
        assert torch.equal(array[:], values)
        assert torch.equal(array[1:3], values[1:3])


def fill(folder, items, seconds=0.0, done=None):
    def make(place):
        time.sleep(seconds)
        if done is not None:
            done.append(place)
        return {"image": torch.full((4, 40, 40), float(place))}

    store = VolumeStore(folder, READ, compress=False)
    keys = [store.key(item) for item in items]
    list(store.fill(keys, make))
    return [float(store.read(key)["image"][0:1].mean()) for key in keys]


def test_several_processes_share_the_work(tmp_path):
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        done = manager.list()
        items = [{"image": f"{number}.nii", "subject": str(number)} for number in range(12)]
        several = [context.Process(target=fill, args=(tmp_path, items, 0.1, done)) for _ in range(3)]
        for process in several:
            process.start()
        for process in several:
            process.join(30)
        assert [process.exitcode for process in several] == [0, 0, 0]
        assert set(done) == set(range(12))
        assert len(done) < 24  # without sharing it would be 36
    assert fill(tmp_path, items) == list(range(12))
    assert not list(tmp_path.glob("*/.*"))


def test_a_killed_process_leaves_nothing_half_and_its_leftovers_go(tmp_path):
    context = multiprocessing.get_context("fork")
    items = [{"image": f"{number}.nii", "subject": str(number)} for number in range(3)]
    process = context.Process(target=fill, args=(tmp_path, items, 60.0))
    process.start()
    deadline = time.time() + 30
    while not list(tmp_path.glob("*/.*.part")) and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert list(tmp_path.glob("*/.*.part"))
    assert entries(tmp_path) == []
    assert fill(tmp_path, items) == [0, 1, 2]
    assert not list(tmp_path.glob("*/.*"))


def test_a_failed_volume_leaves_nothing(items, tmp_path):
    Path(items[2]["image"]).write_bytes(b"no volume")
    with pytest.raises(RuntimeError, match="LoadImageItemd"):
        slices(items, cache="disk_raw", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/.*"))
    assert len(entries(tmp_path / "cache")) == 2


def test_entries_that_nobody_uses_go(items, tmp_path):
    folder = tmp_path / "cache"
    slices(items[:2], cache="disk_raw", cache_dir=folder)
    assert (folder / ".gitignore").read_text() == "*\n"
    for path in folder.glob("*/*"):
        os.utime(path, (0, 0))
    slices(items[1:], cache="disk_raw", cache_dir=folder)  # the second is used again
    assert len(remove_unused(folder, days=30)) == 1
    assert len(entries(folder)) == 3
    assert len(remove_unused(folder, days=0)) == 3
    assert entries(folder) == []
    with pytest.raises(RuntimeError, match="was removed while it was in use"):
        DiskArray(folder / "ab" / "image.npy", (2, 2))[:]


@pytest.mark.parametrize(  # each way to cut with one cache; with the others where -m overlays asks for it
    ("make", "cache"),
    [
        pytest.param(make, cache, marks=[*marks, *([pytest.mark.overlays] if number != other else [])])
        for number, make in enumerate((slices, windows, whole))
        for other, (cache, marks) in enumerate((("memory", []), ("disk", [needs_blosc2]), ("disk_raw", [])))
    ],
)
def test_workers_that_live_on_draw_what_one_process_draws(items, tmp_path, make, cache):
    def epochs(workers, numbers):
        data = make([one for one in items if "label" in one], cache=cache, cache_dir=tmp_path / "cache")
        order = {"batch_size": 1, "sampler": EpochRandomSampler(data, seed=7, num_samples=5)}
        if make is not whole:
            order = {"batch_sampler": BalancedModalityBatchSampler(data, 1, seed=7, epoch_length=3)}
            data.augment = data.augment if make is windows else RandGaussianNoised("image", prob=1.0)
        loader = DataLoader(data, num_workers=workers, persistent_workers=workers > 0, **order)
        assert seeded_by_epoch(loader)
        found = []
        for number in numbers:
            seed_data(loader, 7, number)
            found.append([batch["image"].clone() for batch in loader])
        return found

    first = epochs(0, [0, 1, 2])
    for workers in (1, 2):
        for numbers in ([0, 1, 2], [1, 2]):
            for number, batches in zip(numbers, epochs(workers, numbers), strict=True):
                for one, other in zip(batches, first[number], strict=True):
                    assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    assert not all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*first[:2], strict=True))
