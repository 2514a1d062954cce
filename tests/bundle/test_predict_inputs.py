# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which files are images of which subject and modality."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

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


def test_the_longest_modality_that_fits_is_meant(tmp_path):
    image(tmp_path / "p_t2_flair.nii.gz")
    for modalities in (["flair", "t2_flair"], ["t2_flair", "flair"]):
        (item,) = find_inputs(tmp_path, modalities, Asked(), tmp_path).items
        assert (item["subject"], item["modality"]) == ("p", "t2_flair")


def test_one_modality_for_names_that_say_others_is_told(tmp_path, caplog):
    """Each sequence of a subject would be a subject, segmented as T1."""
    for name in ("n6_t1", "n6_T2", "n6_flair", "n7"):
        image(tmp_path / f"{name}.nii.gz")
    found = find_inputs(tmp_path, ["t1", "t2"], Asked(modality="t1"), tmp_path, known=["t1", "t2", "flair"])
    assert [one["modality"] for one in found.items] == ["t1"] * 4
    (said,) = caplog.messages
    assert said.startswith(
        "2 of 4 images are taken as t1, and their names say another modality: n6_T2.nii.gz, n6_flair.nii.gz. "
    )


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("p_t1", "scan"), Asked(modality="t1")),
        (("p_t2_FLAIR",), Asked(modality="t2_flair")),  # the longest name that fits, in any case
        (("p_t1", "p_t2"), Asked()),
        (("flair-p_t2",), Asked(pattern="{modality}-{subject}")),
    ],
)
def test_names_that_say_the_modality_are_not_told(names, asked, tmp_path, caplog):
    for name in names:
        image(tmp_path / f"{name}.nii.gz")
    find_inputs(tmp_path, ["t1", "t2", "flair", "t2_flair"], asked, tmp_path)
    assert not caplog.messages
