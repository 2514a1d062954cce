# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_mmseg.transforms import LoadImageItemd, VolumeError
from tests.synthetic_volumes import body, centered_affine, write

SHAPE = (12, 10, 5)


@pytest.fixture
def files(tmp_path):
    affine = centered_affine(SHAPE, (5, 6, 9))
    image, label = body(SHAPE, affine)
    return write(tmp_path / "i.nii.gz", image, affine), write(tmp_path / "l.nii.gz", label, affine), image, label


def test_image_and_label(files):
    path, label_path, image, label = files
    out = LoadImageItemd(labels={"0": "background", "1": "shell", "2": "core"})(
        {"image": path, "label": label_path, "modality": "mr", "subject": "s1"}
    )
    np.testing.assert_array_equal(out["image"][0].numpy(), image)
    np.testing.assert_array_equal(out["label"][0].numpy(), label)
    assert (out["labelled"], out["modality"], out["subject"], out["image"].meta["subject"]) == (True, "mr", "s1", "s1")


def test_what_monai_label_gives(files):
    out = LoadImageItemd(default_modality="ct")({"image": files[0]})
    assert (out["labelled"], out["modality"], out["subject"]) == (False, "ct", files[0])
    assert "label" not in out
    array = LoadImageItemd()({"image": np.zeros(SHAPE, np.float32), "label": None})
    assert array["image"].shape == (1, *SHAPE)
    assert "modality" not in array
    assert array["labelled"] is False


def test_refuses_what_cannot_be_used(files, tmp_path):
    path, label_path, image, label = files
    affine = centered_affine(SHAPE, (5, 6, 9))
    broken = write(tmp_path / "nan.nii.gz", np.where(label == 2, np.nan, image).astype(np.float32), affine)
    moved = write(tmp_path / "moved.nii.gz", label, centered_affine(SHAPE, (5, 6, 9), shift=(3, 0, 0)))
    stack = write(tmp_path / "stack.nii.gz", np.stack([image, image], -1), affine)
    load = LoadImageItemd(labels=[0, 1])
    for item, message in (
        ({"image": broken}, r"nan.nii.gz: \d+ of 600 values are NaN"),
        ({"image": path, "label": moved}, "moved.nii.gz: the label lies on another grid"),
        ({"image": path, "label": label_path}, r"l.nii.gz: label values must be one of the declared \[0, 1\], found"),
        ({"image": stack}, "stack.nii.gz: expected one 3D volume, got 2 volumes"),
        ({"image": {"ct": path}}, "an item names one image and one label"),
        ({"image": torch.zeros(2, 3, 3, 3)}, "expected one 3D volume, got 2"),
    ):
        with pytest.raises(VolumeError, match=message):
            load(item)
    with pytest.raises(FileNotFoundError, match=r"none.nii.gz: no such file"):
        load({"image": str(tmp_path / "none.nii.gz")})
    with pytest.raises(ValueError, match="keys must name one image"):
        LoadImageItemd(["a", "b"])
