# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.preparation import write_stacks
from tests.synthetic_volumes import body, edit, permuted, rotation, write, write_study

GRIDS = {"cine": ((24, 22, 6), (3.0, 3.2, 9.0)), "lge": ((20, 24, 7), (3.6, 3.0, 8.0))}


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path, GRIDS, axes=rotation(40, 30, 20))


@pytest.mark.parametrize("store", [((0, 1, 2), ()), ((2, 0, 1), (0, 1))])
def test_stacks_lie_on_the_grid_of_the_target(study, tmp_path, store):
    for name in ("images", "labels"):
        path = study.parent / name / "s1_lge.nii.gz"
        image = nib.load(path)
        write(path, *permuted(np.asarray(image.dataobj), image.affine, *store))
    edit(study, lambda content: content["training"].pop(2))  # s2 has no cine
    written, skipped = write_stacks(study, target="lge", out=tmp_path / "out")
    assert ([path.name for path in written], skipped) == (["s1.nii.gz", "s2.nii.gz"], [])
    stack, lge = nib.load(written[0]), nib.load(study.parent / "images" / "s1_lge.nii.gz")
    assert stack.shape == (*lge.shape, 2)
    np.testing.assert_allclose(stack.affine, lge.affine, atol=1e-4)
    values = np.asarray(stack.dataobj)
    np.testing.assert_allclose(values[..., 1], np.asarray(lge.dataobj), rtol=1e-5)
    truth = body(lge.shape, lge.affine)[0]
    assert np.corrcoef(values[..., 0].ravel(), truth.ravel())[0, 1] > 0.95
    assert np.isnan(np.asarray(nib.load(written[1]).dataobj)[..., 0]).all()
    label = nib.load(tmp_path / "out" / "labels" / "final" / "s1.nii.gz")
    np.testing.assert_array_equal(
        np.asarray(label.dataobj), np.asarray(nib.load(study.parent / "labels" / "s1_lge.nii.gz").dataobj)
    )
    _, lost = write_stacks(study, target="cine", out=tmp_path / "other")
    assert lost == ["s2"]
    with pytest.raises(ValueError, match="target must be one of"):
        write_stacks(study, target="pet", out=tmp_path)


def test_images_of_the_list_are_not_replaced(study, tmp_path):
    folder = study.parent / "images"
    (folder / "s1_lge.nii.gz").rename(folder / "s1.nii.gz")
    edit(study, lambda content: content["training"][1].update(image="images/s1.nii.gz"))
    with pytest.raises(ValueError, match=r"s1.nii.gz is read, .* write elsewhere"):
        write_stacks(study, target="lge", out=folder, overwrite=True)


def test_everything_broken_is_named_and_nothing_is_written(study, tmp_path):
    for name, change in (("s1_cine", "nan"), ("s2_lge", "cut")):
        path = study.parent / "images" / f"{name}.nii.gz"
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        values[0, 0, 0] = np.nan
        write(path, values if change == "nan" else np.asarray(image.dataobj)[:-1], image.affine)
    wanted = (
        r"(?s)2 broken items; .*subject 's1': .*s1_cine.nii.gz: 1 of 3168 values are NaN.*subject 's2': .*another grid"
    )
    with pytest.raises(ValueError, match=wanted):
        write_stacks(study, target="lge", out=tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_a_subject_that_leads_elsewhere(study, tmp_path):
    edit(study, lambda content: [one.update(subject="../x") for one in content["training"] if one["subject"] == "s1"])
    with pytest.raises(ValueError, match="subject '../x' names files, but it holds a slash; call it 'x'"):
        write_stacks(study, target="lge", out=tmp_path / "deep" / "out")
    assert not list((tmp_path / "deep").rglob("*.nii.gz"))


def test_a_list_that_leaks_makes_no_stacks(study, tmp_path):
    edit(study, lambda content: content.update(test=[content["training"].pop()]))
    with pytest.raises(ValueError, match=r"subject 's2' is in several sections"):
        write_stacks(study, target="lge", out=tmp_path / "out")
