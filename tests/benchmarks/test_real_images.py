# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes are cut where the slabs say, whichever way they are stored, and labels of the target only test."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from benchmarks.real_images import FOLDS, IGNORE, SETS, RealSet, Slabs, slab, slabs_of_fold, write_set
from monai_mmseg.data import read_datalist

SLABS = Slabs(train=[(0, 2)], validation=[(3, 4)], test=[(5, 6)])
DEPTH = 8


def volumes(folder, monkeypatch):
    """A t1 from below and a t2 from above; the value of a voxel is its slice from below."""
    monkeypatch.setenv("MMSEG_REAL_DATA", str(folder))
    values = np.broadcast_to(np.arange(DEPTH, dtype=np.uint8), (3, 3, DEPTH))
    for name, stored, step in (("t1", values, 2.0), ("t2", values[..., ::-1], -2.0)):
        affine = np.diag([1.0, 1, step, 1])
        affine[2, 3] = 0 if step > 0 else 2.0 * (DEPTH - 1)
        for kind in ("", "_seg"):
            nib.save(nib.Nifti1Image(np.ascontiguousarray(stored), affine), folder / f"{name}{kind}.nii.gz")
    files = {one: (one, f"{one}_seg") for one in ("t1", "t2")}
    return RealSet(files, {value: f"c{value}" for value in range(DEPTH)}, dict.fromkeys(files, SLABS), target="t2")


def test_one_person(tmp_path, monkeypatch):
    images = volumes(tmp_path, monkeypatch)
    listed = read_datalist(write_set(images, tmp_path / "out", moved=(6.0, -4.0)))
    training, test = (listed.items(section) for section in ("training", "test"))
    assert {(i["subject"], i["modality"], i["fold"], "label" in i) for i in training} == {
        ("slices_00_01", "t1", 1, True),
        ("slices_00_01", "t2", 1, False),
        ("slices_03_03", "t1", 0, True),
        ("slices_03_03", "t2", 0, False),
    }
    assert [(i["subject"], "label" in i) for i in test] == [("slices_05_05", True)] * 2
    source, target = (nib.load(item["label"]) for item in test)
    assert np.unique(source.dataobj) == np.unique(target.dataobj) == 5
    np.testing.assert_allclose(target.affine[:3, 3] - source.affine[:3, 3], (6, -4, 0))
    assert source.affine[2, 3] == 10.0


def test_different_people_are_tested_on_held_out_slices(tmp_path, monkeypatch):
    images = volumes(tmp_path, monkeypatch)._replace(
        target="", labels={0: "background", 1: "low", 2: "high"}, classes={1: (1, 2, 3), 2: (4, 5)}
    )
    path = write_set(images, tmp_path / "out", fold=1)
    listed = read_datalist(path)
    slabs = {(i["subject"].partition("_")[2], i["fold"]) for i in listed.items("training")}
    assert slabs == {("03_03", 0), ("07_07", 1)}
    assert json.loads(path.read_text(encoding="utf-8"))["ignore"] == listed.ignore == IGNORE
    assert all("label" in item for item in listed.items("training"))
    for item in listed.items("test"):
        assert item["subject"] == f"{item['modality']}_01_01_and_05_05"
        values = np.asarray(nib.load(item["label"]).dataobj)[0, 0]
        expected = [IGNORE, 1, *[IGNORE] * 3, 2, *[IGNORE] * 2]
        assert values.tolist() == (expected if item["modality"] == "t1" else expected[::-1])


def test_slices_count_from_below(tmp_path, monkeypatch):
    volumes(tmp_path, monkeypatch)
    for name in ("t1", "t2"):
        assert set(np.unique(slab(nib.load(tmp_path / f"{name}.nii.gz"), 5, 7).dataobj)) == {5, 6}


def test_no_slice_is_both_trained_on_and_tested():
    for images in SETS.values():
        for slabs in images.slabs.values():
            used = [at for part in slabs for first, end in part for at in range(first, end)]
            assert len(used) == len(set(used))


@pytest.mark.parametrize("depth", [8, 20, 30, 47, 52])
def test_every_slice_is_held_out_once_beside_slices_that_nobody_uses(depth):
    held = []
    for fold in range(FOLDS):
        slabs = slabs_of_fold(depth, fold)
        train, watch, test = ([at for piece in part for at in range(*piece)] for part in slabs)
        used = [*train, *watch, *test]
        assert len(used) == len(set(used))
        assert set(used) <= set(range(depth))
        assert train
        assert watch
        assert all(abs(mine - other) > 1 for mine in test for other in [*train, *watch])
        held += test
    assert sorted(held) == list(range(depth))
