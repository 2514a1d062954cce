# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np

from monai_mmseg.bundle.predict_inputs import Asked, find_inputs


def image(path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), str(path))


def test_letter_case_of_modalities_does_not_count(tmp_path):
    for name in ("p_T1", "p_FLAIR", "q_t1"):
        image(tmp_path / f"{name}.nii.gz")
    items = find_inputs(tmp_path, ["t1", "flair"], Asked(), tmp_path).items
    assert [(item["subject"], item["modality"]) for item in items] == [("p", "flair"), ("p", "t1"), ("q", "t1")]
    items = find_inputs(tmp_path, ["t1", "T1", "flair"], Asked(), tmp_path).items  # but where it tells two apart
    assert [(item["subject"], item["modality"]) for item in items] == [("p", "flair"), ("p", "T1"), ("q", "t1")]


def test_names_of_what_a_packed_network_left_out_are_told(tmp_path, caplog):
    image(tmp_path / "p_mr.nii.gz")
    (item,) = find_inputs(tmp_path, ["ct"], Asked(), tmp_path, known=["mr"]).items
    assert item["modality"] == "ct"
    (said,) = caplog.messages
    assert said == (
        "1 of 1 images are taken as ct, and their names say another modality: p_mr.nii.gz. It is the only one that "
        "this network takes."
    )
