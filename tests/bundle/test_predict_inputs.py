# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np

from monai_mmseg.bundle.predict_inputs import Asked, find_inputs


def test_letter_case_of_modalities_does_not_count(tmp_path):
    for name in ("p_T1", "p_FLAIR", "q_t1"):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), str(tmp_path / f"{name}.nii.gz"))
    items = find_inputs(tmp_path, ["t1", "flair"], Asked(), tmp_path).items
    assert [(item["subject"], item["modality"]) for item in items] == [("p", "flair"), ("p", "t1"), ("q", "t1")]
    items = find_inputs(tmp_path, ["t1", "T1", "flair"], Asked(), tmp_path).items  # but where it tells two apart
    assert [(item["subject"], item["modality"]) for item in items] == [("p", "flair"), ("p", "T1"), ("q", "t1")]
