# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Real images in the forms of other tools: imported, exported, and every voxel compared."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import read_datalist
from monai_mmseg.preparation import check_datalist, merge_datalists
from monai_mmseg.preparation.export_nnunet import export_nnunet
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.folder import read_folder
from monai_mmseg.preparation.layouts.msd import read_msd
from monai_mmseg.preparation.layouts.nnunet import read_nnunet
from tests.preparation.layouts.other_tools import put_json

pytestmark = pytest.mark.real_data

ORGANS = ["liver", "right kidney", "left kidney", "spleen"]
ABDOMEN = {"ct": ("ct/ct", "ct/seg"), "mr": ("mr/mr", "mr/seg")}
SPINE = {"ct": ("ct/ct", "ct/subreg"), "t2": ("mri/t2", "mri/subreg")}
PARTS = "arch=41-48, body=49-50, others=background"


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def assert_same(datalist, folder, files, table=None):
    """Images and labels are those of the files, voxel by voxel and mm by mm."""
    report = check_datalist(datalist)
    assert report.errors == []
    items = [item for items in read_datalist(datalist).sections.values() for item in items]
    assert sorted(item["modality"] for item in items) == sorted(files)
    for item in items:
        for key, name in zip(("image", "label"), files[item["modality"]], strict=True):
            made, known = nib.load(item[key]), nib.load(folder / f"{name}.nii.gz")
            array = np.asarray(known.dataobj)
            if key == "label" and table:
                array = np.vectorize(lambda value: table.get(value, 0))(array)
            np.testing.assert_array_equal(np.asarray(made.dataobj), array)
            np.testing.assert_allclose(made.affine, known.affine, atol=1e-4)


def test_nnunet_of_mixed_modalities(real_data, tmp_path):
    source, raw = real_data / "abdomen_ct_mr", tmp_path / "Dataset001_Abdomen"
    for modality, (image, label) in ABDOMEN.items():
        copy(source / f"{image}.nii.gz", raw / "imagesTr" / f"{modality}_001_0000.nii.gz")
        copy(source / f"{label}.nii.gz", raw / "labelsTr" / f"{modality}_001.nii.gz")
    labels = {name: value for value, name in enumerate(["background", *ORGANS])}
    head = {"channel_names": {"0": "CT or MR"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    put_json(raw / "dataset.json", head)
    made = import_layout(read_nnunet(raw, modality_from="ct=^ct_, mr=^mr_"), tmp_path / "data")
    assert_same(made, source, ABDOMEN)
    assert list(read_datalist(made).labels.values()) == ["background", *ORGANS]
    (one,) = export_nnunet(made, tmp_path / "raw", number=1, form="mixed")
    back = import_layout(read_nnunet(one.folder, modality_from="cases.csv"), tmp_path / "back")
    assert_same(back, source, ABDOMEN)
    for one in export_nnunet(made, tmp_path / "raw", number=2, form="each"):
        assert (one.training, one.test) == (1, 0)


def test_two_tasks_of_the_decathlon(real_data, tmp_path):
    source, lists = real_data / "spine_ct_mr", []
    for number, (modality, (image, label)) in enumerate(SPINE.items(), 1):
        task = tmp_path / f"Task{number:02d}_Spine"
        copy(source / f"{image}.nii.gz", task / "imagesTr" / f"spine_{number}.nii.gz")
        copy(source / f"{label}.nii.gz", task / "labelsTr" / f"spine_{number}.nii.gz")
        values = {str(value): f"part {value}" for value in (*range(41, 51), 60, 61, 62, 100)}
        training = [{key: f"./{key}sTr/spine_{number}.nii.gz" for key in ("image", "label")}]
        content = {"labels": {"0": "background", **values}, "training": training, "test": []}
        put_json(task / "dataset.json", {"modality": {"0": modality.upper()}, **content})
        lists.append(import_layout(read_msd(task, labels=PARTS), tmp_path / modality))
    merged = merge_datalists(lists, tmp_path / "spine.json")
    assert_same(merged, source, SPINE, {**dict.fromkeys(range(41, 49), 1), 49: 2, 50: 2})


def test_channels_of_a_4d_file(real_data, tmp_path):
    known = nib.load(real_data / "abdomen_ct_mr" / "mr" / "mr.nii.gz")
    voxels = np.asarray(known.dataobj)
    both = nib.Nifti1Image(np.stack([voxels, 1000 - voxels], axis=-1), known.affine)
    (tmp_path / "task" / "imagesTr").mkdir(parents=True)
    nib.save(both, tmp_path / "task" / "imagesTr" / "a_1.nii.gz")
    copy(real_data / "abdomen_ct_mr" / "mr" / "seg.nii.gz", tmp_path / "task" / "labelsTr" / "a_1.nii.gz")
    training = [{"image": "./imagesTr/a_1.nii.gz", "label": "./labelsTr/a_1.nii.gz"}]
    labels = {str(value): name for value, name in enumerate(["background", *ORGANS])}
    content = {"modality": {"0": "T1", "1": "Dark"}, "labels": labels, "training": training, "test": []}
    put_json(tmp_path / "task" / "dataset.json", content)
    made = import_layout(read_msd(tmp_path / "task"), tmp_path / "data")
    assert check_datalist(made).errors == []
    items = read_datalist(made).items("training")
    assert [item["modality"] for item in items] == ["t1", "dark"]
    for item, array in zip(items, (voxels, 1000 - voxels), strict=True):
        np.testing.assert_array_equal(np.asarray(nib.load(item["image"]).dataobj), array)
        np.testing.assert_allclose(nib.load(item["image"]).affine, known.affine, atol=1e-4)
    (one,) = export_nnunet(made, tmp_path / "raw", number=1)
    assert one.channels == ("t1", "dark")


def test_a_plain_folder(real_data, tmp_path):
    source = real_data / "spine_ct_mr"
    found = read_folder(
        source,
        image=["{subject}/{modality}.nii.gz"],
        label=["{subject}/subreg.nii.gz"],
        labels=PARTS,
        modalities=["ct", "t2"],
    )
    assert found.notes == ["2 of 6 images fit no pattern: ct/vert.nii.gz, mri/vert.nii.gz"]
    made = import_layout(found, tmp_path / "data")
    assert_same(made, source, SPINE, {**dict.fromkeys(range(41, 49), 1), 49: 2, 50: 2})
