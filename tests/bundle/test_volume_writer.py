# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import errno
import os

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, NibabelWriter
from monai.transforms import SaveImage

import monai_mmseg.bundle.volume_writer as module
from monai_mmseg.bundle.predictions import SaveImagePredictiond
from monai_mmseg.bundle.volume_writer import VolumeWriter
from monai_mmseg.files import write_nifti


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 1), (1, 5, 1), (6, 1, 1)])
def test_a_volume_keeps_its_shape_and_place(shape, tmp_path):
    affine = np.array([[0, 2, 0, 3.0], [-1.5, 0, 0, -7], [0, 0, 9, 11], [0, 0, 0, 1]])
    values = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    volume = MetaTensor(torch.from_numpy(values)[None], affine=torch.from_numpy(affine))
    save = SaveImage(
        tmp_path,
        "seg",
        writer=VolumeWriter,
        output_dtype="uint8",
        resample=False,
        separate_folder=False,
        print_log=False,
    )
    save(volume)
    (path,) = tmp_path.iterdir()
    written = nib.load(path)
    assert written.shape == shape
    np.testing.assert_array_equal(np.asarray(written.dataobj), values)
    np.testing.assert_allclose(written.affine, affine)


def test_a_sheared_affine_has_no_qform(tmp_path):
    """Programs that take the qform first would put the slices elsewhere."""
    affine = np.diag([2.0, 2.0, 8.0, 1.0])
    affine[1, 2] = 2.9
    for name, place, code in (("sheared", affine, 0), ("straight", np.diag([-2.0, 2.0, 8.0, 1.0]), 1)):
        writer = VolumeWriter(output_dtype=np.uint8)
        writer.set_data_array(torch.zeros(1, 20, 20, 12))
        writer.set_metadata({"affine": place})
        writer.write(tmp_path / f"{name}.nii.gz")
        write_nifti(tmp_path / f"{name}_2.nii.gz", np.zeros((20, 20, 12), np.uint8), place)
        for file in (f"{name}.nii.gz", f"{name}_2.nii.gz"):
            image = nib.load(tmp_path / file)
            assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (code, 1)
            np.testing.assert_allclose(image.affine, place, atol=1e-6)


def test_a_file_that_fails_half_way_is_not_there(tmp_path, monkeypatch):
    target = tmp_path / "a_seg.nii.gz"
    target.write_text("old")
    writer = VolumeWriter(output_dtype=np.uint8)
    writer.set_data_array(torch.zeros(1, 4, 4, 2))
    writer.set_metadata({"affine": np.eye(4)})

    def full(self, filename, **_):
        assert filename != target
        filename.write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(module.NibabelWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(target)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a_seg.nii.gz", "old")]
    monkeypatch.undo()
    writer.write(target)
    assert nib.load(target).shape == (4, 4, 2)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    left = tmp_path / ".s00_seg.nii.gz.elsewhere@1-0a.part.nii.gz"
    left.touch()
    os.utime(left, (0, 0))
    save = SaveImagePredictiond("pred", tmp_path)
    assert left.exists()  # nothing is touched before something is saved
    save({"pred": MetaTensor(torch.zeros(1, 4, 4, 2), meta={"filename_or_obj": "s01.nii.gz"})})
    assert [path.name for path in tmp_path.iterdir()] == ["s01_seg.nii.gz"]


def test_a_full_disk_is_what_is_said(tmp_path, monkeypatch):
    """MONAI says that a package for writing is missing."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(NibabelWriter, "write", full)
    pred = MetaTensor(torch.zeros(1, 4, 4, 1), meta={"filename_or_obj": "s01/lge.nii.gz", "subject": "s01"})
    with pytest.raises(OSError, match="No space left on device"):
        SaveImagePredictiond("pred", tmp_path)({"pred": pred})
    assert list(tmp_path.iterdir()) == []
