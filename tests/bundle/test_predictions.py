# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classes on the image's grid, found in blocks, and volumes written while the next one is worked on."""

from __future__ import annotations

import errno
import os
import threading
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ignite.engine import Engine
from monai.data import Dataset, MetaTensor, NibabelWriter
from monai.transforms import AsDiscreted, Compose, Invertd, ScaleIntensityd, Spacingd

from monai_mmseg.bundle import AheadLoader, InvertClassesd, SaveImagePredictiond
from monai_mmseg.files import write_nifti
from monai_mmseg.transforms import OrientSlicesd, ResampleModalitiesd, ToSliceGridd


def turned(shape, spacing):
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -100, 50, 3
    angle = np.eye(4)
    angle[:2, :2] = [[0.98, -0.199], [0.199, 0.98]]
    volume = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1)) + 1
    return MetaTensor(volume, affine=torch.as_tensor(angle @ affine), meta={"filename_or_obj": "a/x.nii.gz"})


def probabilities(image):
    coarse = torch.randn(1, 4, *[max(2, edge // 4) for edge in image.shape[1:]])
    whole = F.interpolate(coarse, image.shape[1:], mode="trilinear")[0].mul(8).softmax(0)
    return MetaTensor(whole).copy_meta_from(image)


GRIDS = [
    lambda pixdim, size: Compose([ToSliceGridd("image", spatial_size=size, pixdim=pixdim)]),
    lambda pixdim, size: Compose([OrientSlicesd("image"), Spacingd("image", pixdim or [2.0, 2.0, 3.0])]),
    lambda pixdim, size: Compose([ScaleIntensityd("image"), ToSliceGridd("image", spatial_size=size, pixdim=pixdim)]),
]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("pixdim", [None, [1.5, 1.5], [1.5, 1.5, 8.0]])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 36, 14), (0.8, 0.9, 2.5)), ((6, 40, 30), (8, 0.8, 0.7)), ((20, 22, 6), (1.5, 1.5, 8))]
)
def test_classes_are_those_of_all_probabilities(shape, spacing, pixdim, grid):
    preprocessing = grid(pixdim, [32, 24, 8])
    item = preprocessing({"image": turned(shape, spacing)})
    item["pred"] = probabilities(item["image"])
    found = InvertClassesd("pred", preprocessing)(item)
    inverted = Invertd("pred", preprocessing, "image", nearest_interp=False)(item)
    wanted = AsDiscreted("pred", argmax=True)(inverted)["pred"]
    assert found["pred"].shape == (1, *shape)
    assert found["pred"].dtype == torch.uint8
    assert torch.equal(found["pred"].as_tensor().float(), wanted.as_tensor())
    np.testing.assert_allclose(found["pred"].affine, wanted.affine, atol=1e-9)
    assert found["pred"].meta.keys() == wanted.meta.keys()
    assert found["image"] is item["image"]


def test_classes_of_modalities_on_one_grid():
    frame = turned((20, 18, 12), (1.0, 1.2, 2.0))
    preprocessing = Compose(
        [ResampleModalitiesd(modalities=["t1"], pixdim=[1.5, 1.5, 1.5], spatial_size=[24, 20, -1], label_key=None)]
    )
    item = preprocessing({"image": frame, "frame": 0})
    item["pred"] = probabilities(item["image"])
    found = InvertClassesd("pred", preprocessing)(item)["pred"]
    inverted = Invertd("pred", preprocessing, "image", nearest_interp=False)(item)["pred"]
    assert torch.equal(found[0].as_tensor().long(), inverted.as_tensor().argmax(0))


@pytest.mark.parametrize(
    ("rows", "columns", "pixdim", "told"),
    [
        ((38, 52), (10, 30), None, "class 2 ends at the edge of the 24 x 32 pixels that the network sees of 40 x 64"),
        ((20, 44), (10, 30), None, None),  # all of it lies within
        ((38, 52), (10, 30), [2.0, 2.0], None),  # interpolated to 20 x 32: none is lost
    ],
)
def test_an_organ_that_the_grid_cuts_is_told(caplog, rows, columns, pixdim, told):
    volume = MetaTensor(torch.rand(1, 64, 40, 5), meta={"filename_or_obj": "a/x.nii.gz"})
    label = torch.zeros(1, 64, 40, 5)
    label[:, rows[0] : rows[1], columns[0] : columns[1]] = 2
    label[:, 20, 20, 2] = 1  # one voxel of another class, in the middle
    preprocessing = Compose([ToSliceGridd(["image", "label"], spatial_size=[24, 32], pixdim=pixdim)])
    item = preprocessing({"image": volume, "label": MetaTensor(label)})
    classes = item["label"].as_tensor()[0].long()
    item["pred"] = MetaTensor(F.one_hot(classes, 3).movedim(-1, 0).float()).copy_meta_from(item["image"])
    InvertClassesd("pred", preprocessing)(item)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == (told is not None)
    if told is not None:
        assert told in texts[0]
        assert texts[0].startswith("a/x.nii.gz")


@pytest.mark.parametrize(
    ("shape", "spacing", "told"),
    [
        ((40, 36, 14), 1e-3, "is 1 x 1 x 14 voxels (rows, columns, slices) of 24 x 32 x 14, too few"),  # metres
        ((40, 1, 14), 1.0, "is 1 x 32 x 14 voxels (rows, columns, slices) of 24 x 32 x 14, too few"),  # another plane
        ((12, 14, 1), 1.0, None),  # small, and one slice: a patch may be so
    ],
)
def test_an_image_that_is_nearly_nothing_on_the_grid_is_told(caplog, shape, spacing, told):
    preprocessing = Compose([ToSliceGridd("image", slice_axis="axial", spatial_size=[24, 32], pixdim=[1.0, 1.0])])
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0]))
    item = preprocessing({"image": MetaTensor(torch.rand(1, *shape), affine, {"filename_or_obj": "a/x.nii.gz"})})
    item["pred"] = MetaTensor(torch.zeros(2, *item["image"].shape[1:])).copy_meta_from(item["image"])
    InvertClassesd("pred", preprocessing)(item)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == (told is not None)
    if told is not None:
        assert texts[0].startswith("a/x.nii.gz: on the network's grid the image")
        assert told in texts[0]


class Writing:
    """An engine that 'predicts' volumes and saves them."""

    def __init__(self, folder, count=3):
        self.save = SaveImagePredictiond("pred", folder)
        self.threads, self.items = [], range(count)

        def step(engine, index):
            meta = {"filename_or_obj": f"s{index}.nii.gz"}
            self.save({"pred": MetaTensor(torch.full((1, 4, 4, 2), index), meta=meta)})

        self.engine = Engine(step)
        self.save.attach(self.engine)

    def run(self):
        return self.engine.run(self.items)


def test_an_engine_writes_all_in_another_thread(tmp_path, monkeypatch):
    writing, threads = Writing(tmp_path), []
    write = NibabelWriter.write

    def watched(self, *arguments, **named):
        threads.append(threading.current_thread().name)
        write(self, *arguments, **named)

    monkeypatch.setattr(NibabelWriter, "write", watched)
    for _ in range(2):  # an engine may run again
        writing.run()
        assert sorted(os.listdir(tmp_path)) == ["s0_seg.nii.gz", "s1_seg.nii.gz", "s2_seg.nii.gz"]
    assert len(threads) == 6
    assert all(name.startswith("mmseg_write") for name in threads)


@pytest.mark.parametrize("last", [False, True])
def test_a_full_disk_ends_the_engine(tmp_path, monkeypatch, last):
    write, failing = NibabelWriter.write, "s2" if last else "s0"

    def full(self, filename, *arguments, **named):
        if failing in str(filename):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, filename, *arguments, **named)

    monkeypatch.setattr(NibabelWriter, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        Writing(tmp_path).run()
    assert os.listdir(tmp_path) == (["s0_seg.nii.gz", "s1_seg.nii.gz"] if last else []) or last


def test_what_was_predicted_before_an_error_is_written(tmp_path):
    writing = Writing(tmp_path)
    step = writing.engine._process_function

    def failing(engine, index):
        if index == 1:
            raise KeyError("broken")
        step(engine, index)

    writing.engine._process_function = failing
    with pytest.raises(KeyError, match="broken"):
        writing.run()
    assert os.listdir(tmp_path) == ["s0_seg.nii.gz"]


def test_a_large_volume_is_read_when_it_is_asked_for(tmp_path):
    read = []
    for name, slices in (("a", 1), ("b", 4), ("c", 1), ("d", 1)):
        write_nifti(tmp_path / f"{name}.nii.gz", np.zeros((16, 16, slices), np.uint8), np.eye(4))
    items = [{"image": {"ct": tmp_path / f"{name}.nii.gz"}} for name in "abcd"]

    def transform(item):
        read.append(item["image"]["ct"].name[0])
        return torch.tensor(len(read))

    loader = AheadLoader(Dataset(items, transform), batch_size=1, ahead_mb=2e-3)
    seen = []
    for _ in loader:
        time.sleep(0.05)  # what is read ahead is there by now
        seen.append("".join(read))
    assert seen == ["a", "abc", "abcd", "abcd"]


def test_one_batch_is_read_ahead():
    read = []

    def transform(index):
        read.append((index, threading.current_thread().name))
        if index == 3:
            raise ValueError("cannot be read")
        return torch.tensor(index)

    batches = iter(AheadLoader(Dataset([0, 1, 2, 3], transform), batch_size=1))
    assert read == []
    assert next(batches).item() == 0
    assert next(batches).item() == 1
    assert next(batches).item() == 2  # the error of the last one waits for its turn
    with pytest.raises(RuntimeError) as error:
        next(batches)
    assert "cannot be read" in str(error.value.__cause__)
    assert [index for index, _ in read] == [0, 1, 2, 3]
    assert all(name.startswith("mmseg_read") for _, name in read)
