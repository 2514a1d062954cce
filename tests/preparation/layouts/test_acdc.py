# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.acdc import read_acdc
from tests.preparation.layouts.public_sets import write_pair


def patient(folder, end_of_systole=12, *, group="DCM", label=True):
    """Both phases of one patient, and the whole film."""
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text(
        f"ED: 1\nES: {end_of_systole}\nGroup: {group}\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n"
    )
    write_pair(folder / f"{folder.name}_4d.nii.gz", None, [])
    for frame in (1, end_of_systole):
        stem = f"{folder.name}_frame{frame:02d}"
        write_pair(folder / f"{stem}.nii.gz", folder / f"{stem}_gt.nii.gz" if label else None, (1, 2, 3))


@pytest.fixture
def acdc(tmp_path):
    folder = tmp_path / "testing" / "ACDC"  # a folder of the user, whose name says nothing
    patient(folder / "training" / "patient001")
    patient(folder / "training" / "patient002", 9, group="NOR")
    patient(folder / "testing" / "patient101", 14, label=False)
    return folder


def test_both_phases_are_visits_of_a_person(acdc):
    layout = read_acdc(acdc)
    found = [(case.subject, case.visit, case.image.name, case.section) for case in layout.cases]
    assert found == [
        ("patient001", "ed", "patient001_frame01.nii.gz", "training"),
        ("patient001", "es", "patient001_frame12.nii.gz", "training"),
        ("patient002", "ed", "patient002_frame01.nii.gz", "training"),
        ("patient002", "es", "patient002_frame09.nii.gz", "training"),
        ("patient101", "ed", "patient101_frame01.nii.gz", "test"),
        ("patient101", "es", "patient101_frame14.nii.gz", "test"),
    ]
    assert [case.label and case.label.name for case in layout.cases[3:5]] == ["patient002_frame09_gt.nii.gz", None]
    names = {1: "RV", 2: "myocardium", 3: "LV"}  # of the values in the files
    assert {value: layout.labels[layout.values[value]] for value in names} == names
    assert list(layout.notes) == ["Groups of training: 1 DCM, 1 NOR.", "Groups of test: 1 DCM."]
    assert layout.broken == {}


def test_voxels(acdc, tmp_path):
    out = import_layout(read_acdc(acdc), tmp_path / "out" / "datalist.json")
    assert check_datalist(out).errors == []
    items = load_datalist(out)
    assert [(item["person"], item["visit"]) for item in items[1:3]] == [("patient001", "es"), ("patient002", "ed")]
    raw = np.asarray(nib.load(acdc / "training" / "patient001" / "patient001_frame12_gt.nii.gz").dataobj)
    np.testing.assert_array_equal(np.asarray(nib.load(items[1]["label"]).dataobj), np.array([0, 3, 2, 1])[raw])


def test_one_phase(acdc):
    assert {case.visit for case in read_acdc(acdc, phases=["es"]).cases} == {"es"}
    for wrong in (["es", "end"], []):
        with pytest.raises(ValueError, match=r"phases must be some of \['ed', 'es'\], got"):
            read_acdc(acdc, phases=wrong)


def test_patients_that_are_not_complete(acdc, tmp_path):
    training = acdc / "training"
    (training / "patient001" / "patient001_frame12_gt.nii.gz").unlink()
    (training / "patient002" / "patient002_frame01.nii.gz").unlink()
    patient(training / "patient003")
    (training / "patient003" / "Info.cfg").write_text("ED: 1\n")
    patient(training / "patient004")
    (training / "patient004" / "Info.cfg").unlink()
    layout = read_acdc(acdc)
    assert layout.broken == {
        "patient001": "patient001_frame12_gt.nii.gz is missing.",
        "patient002": "patient002_frame01.nii.gz is missing.",
        "patient003": "Info.cfg of patient003 does not say which frame is ES.",
        "patient004": f"{training / 'patient004' / 'Info.cfg'} is missing, which says what frames the phases are.",
    }
    assert {case.subject for case in layout.cases} == {"patient101"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="wanted are files such as training/patient001/patient001_frame01"):
        read_acdc(tmp_path / "empty")
