# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The volume chain, written as a bundle would write it, on real scans."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

pytestmark = pytest.mark.real_data


def pipeline(modalities, target, pixdim, size, **stack):
    keys = ["image", "label"]
    modes = {"allow_missing_keys": True, "keys": keys}
    package = "monai_mmseg.transforms"
    config = {
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": f"{package}.LoadImageModalitiesd", "modalities": modalities, "target": target},
                {"_target_": f"{package}.OrientSlicesd", **modes},
                {"_target_": f"{package}.SpacingInPlaned", "pixdim": pixdim, "mode": ["bilinear", "nearest"], **modes},
                {
                    "_target_": "ResizeWithPadOrCropd",
                    "spatial_size": [*size, -1],
                    "mode": ["edge", "constant"],
                    **modes,
                },
                {"_target_": f"{package}.StackModalitiesd", "modalities": modalities, "target": target, **stack},
                {"_target_": f"{package}.ScaleIntensitySlicesd", "keys": "image", "lower": 0.5, "upper": 99.5},
            ],
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": True,
                }
            ],
        },
    }
    parser = ConfigParser(config)
    return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("postprocessing")


def correlation(a, b):
    return float(np.corrcoef(np.asarray(a).ravel(), np.asarray(b).ravel())[0, 1])


def test_sequences_of_a_brain_on_their_own_grids(real_data):
    folder = real_data / "brain_ms_raw" / "patient01"
    modalities = ["t1", "t2", "flair"]
    before, after = pipeline(modalities, "flair", [1.8, 1.8], [128, 128], num_candidates=3, candidates="nearest")
    out = before({"subject": "p", "image": {name: str(folder / f"{name}.nii.gz") for name in modalities}})
    assert out["image"].shape == (9, 128, 128, 36)
    # 39 slices of 3 mm cover 117 of the 144 mm of the frame
    assert out["present"].float().mean(1).tolist() == pytest.approx([117 / 144, 1, 1], abs=0.06)
    inner = out["present"].all(0)
    heads = [(out["image"][row][..., inner] > -0.7).float() for row in (0, 3, 6)]
    for one, other in ((0, 2), (1, 2)):
        dice = float(2 * (heads[one] * heads[other]).sum() / (heads[one].sum() + heads[other].sum()))
        assert dice > 0.85  # the head lies in the same place on all three
    pred = MetaTensor(out["image"][6:7].as_tensor().clone())
    restored = after({**out, "pred": pred})["pred"][0]
    file = nib.load(folder / "flair.nii.gz")
    assert restored.shape == file.shape
    assert correlation(restored, np.asarray(file.dataobj)) > 0.85


def test_an_oblique_short_axis_stack(real_data):
    """Its axes lie near 45 degrees to the scanner's."""
    folder = real_data / "cardiac_mr_cine" / "SC-N-2"
    before, after = pipeline(["cine"], "cine", [2.0, 2.0], [144, 144])
    out = before({"image": str(folder / "ed.nii.gz"), "label": str(folder / "ed_seg.nii.gz"), "image_path": "x"})
    assert out["image"].shape == (1, 144, 144, 5)
    assert out["label"].any()
    restored = after({**out, "pred": MetaTensor(out["label"].as_tensor().clone())})["pred"][0]
    truth = nib.load(folder / "ed_seg.nii.gz")
    mask = torch.as_tensor(np.asarray(truth.dataobj)) == 1
    assert restored.shape == truth.shape
    assert float(2 * ((restored == 1) & mask).sum() / ((restored == 1).sum() + mask.sum())) > 0.93


def test_contrasts_of_a_spinal_cord_on_one_grid(real_data):
    folder = real_data / "spinal_cord_mr" / "sub-unf01"
    modalities = ["t1", "t2star"]
    before, _ = pipeline(modalities, "t2star", [1.0, 1.0], [96, 96])
    data = {
        "image": {name: str(folder / f"{name}.nii.gz") for name in modalities},
        "label": {name: str(folder / f"{name}_seg.nii.gz") for name in modalities},
    }
    out = before(data)
    assert out["image"].shape == (2, 96, 96, 16)
    assert out["present"].all()
    label = out["label"].as_tensor()
    assert int((label[0] != label[1]).sum()) == 0  # the masks of all contrasts are one mask on one grid
    assert int(label[0].sum()) == 1227
