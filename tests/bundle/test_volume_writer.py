# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage

from monai_mmseg.bundle.volume_writer import VolumeWriter


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
