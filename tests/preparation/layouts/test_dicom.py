# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.data import load_datalist
from monai_mmseg.preparation.layouts.dicom import read_dicom
from monai_mmseg.transforms.dicom_series import read_dicom_series
from tests.preparation.layouts.dicom_files import read_files, uid, write_series

SMALL = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def patient(folder, name, *, study="a", **tags):
    """An MR of two sequences and a scout."""
    common = {"PatientID": name, "StudyInstanceUID": uid(name, study), **tags}
    for number, (words, echo) in enumerate((("T2W_SPIR", 70), ("T1 DUAL", 2.3)), 1):
        place = folder / f"S{number}"
        series = (name, study, number)
        write_series(
            place, SMALL + number, series=series, SeriesDescription=words, EchoTime=echo, SeriesNumber=number, **common
        )
    write_series(folder / "S3", SMALL, series=(name, study, 3), SeriesDescription="Survey", SeriesNumber=3, **common)


def shown(layout):
    return [(case.subject, case.visit, case.modality, case.image.name, len(case.series)) for case in layout.cases]


def test_patients_with_rules(tmp_path):
    patient(tmp_path / "x" / "one", "P1")
    patient(tmp_path / "x" / "two", "P2")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "notes.txt").write_text("nothing")
    found = read_dicom(tmp_path, rule=["t1=SeriesDescription~dual & EchoTime<10", "t2=SeriesDescription~SPIR"])
    assert found.modalities == ["t1", "t2"]
    assert shown(found) == [
        ("P1", None, "t2", "S1", 4),
        ("P1", None, "t1", "S2", 4),
        ("P2", None, "t2", "S1", 4),
        ("P2", None, "t1", "S2", 4),
    ]
    np.testing.assert_array_equal(read_files(found.cases[1].series), SMALL + 2)
    assert found.notes == ["Left out, localizers: MR, 'Survey', 4 files (2 times)."]
    assert (dict(found.broken), dict(found.labels)) == ({}, {0: "background"})


def test_two_series_of_a_modality_wait_for_a_rule(tmp_path):
    patient(tmp_path / "one", "P1")
    found = read_dicom(tmp_path)
    assert (found.modalities, found.cases) == (["mr"], [])
    first, second = "MR, 'T2W_SPIR', 4 files, number 1, echo time 70 ms", "MR, 'T1 DUAL', 4 files, number 2"
    assert found.broken["P1"].startswith(f"2 images are mr: {first}; {second}, echo time 2.3 ms: say which is meant")
    one = read_dicom(tmp_path, rule=["t2=SeriesDescription~SPIR"])
    assert shown(one) == [("P1", None, "t2", "S1", 4)]
    assert one.notes[-1] == "No rule takes MR, 'T1 DUAL', 4 files."
    # of two rules for one modality the first decides
    ranked = read_dicom(tmp_path, rule=["mr=SeriesDescription~nothing", "mr=EchoTime<10", "mr=Modality=mr"])
    assert shown(ranked) == [("P1", None, "mr", "S2", 4)]
    # a keyword that the list of series does not have is read
    assert shown(read_dicom(tmp_path, rule=["t1=SliceThickness<3&EchoTime<3"])) == [("P1", None, "t1", "S2", 4)]
    patient(tmp_path / "two", "P2")
    some = read_dicom(tmp_path, rule=["t2=SeriesDescription~SPIR&PatientID=P1"])
    assert some.notes[-1] == "Patients of whom no rule takes a series: P2."
    shutil.rmtree(tmp_path / "two")
    with pytest.raises(ValueError, match=r"no rule takes one of the 2 series: MR, 'T2W_SPIR', 4 files; MR"):
        read_dicom(tmp_path, rule=["ct=Modality~CT"])


def test_patients_that_an_anonymiser_made_one(tmp_path):
    for name in ("first", "second"):
        for part in ("T1", "T2"):
            place = tmp_path / name / part
            write_series(
                place, SMALL, series=(name, part), PatientID="ANON", StudyInstanceUID=uid(name), SeriesDescription=part
            )
    rules = ["t1=SeriesDescription~T1", "t2=SeriesDescription~T2"]
    found = read_dicom(tmp_path, rule=rules)
    assert {case.subject for case in found.cases} == {"first", "second"}
    assert "the PatientID is 'ANON' in all 2 of them. If that is one person, say --subject id" in found.notes[0]
    as_said = read_dicom(tmp_path, rule=rules, subject="id")
    assert {(case.subject, case.visit) for case in as_said.cases} == {("ANON", "study1"), ("ANON", "study2")}
    # below a folder of one patient there is nothing to tell apart
    assert {case.subject for case in read_dicom(tmp_path / "first", rule=rules).cases} == {"ANON"}
    deeper = read_dicom(tmp_path, rule=["mr=Modality~MR"], subject="folder:2")
    assert {case.subject for case in deeper.cases} == {"T1", "T2"}


def test_patients_without_id_and_names_that_no_file_can_have(tmp_path):
    write_series(tmp_path / "p1", SMALL, series=1, PatientID="", StudyInstanceUID=uid(1))
    write_series(tmp_path / "p2", SMALL, series=2, PatientID="A/7", StudyInstanceUID=uid(2))
    found = read_dicom(tmp_path)
    assert [case.subject for case in found.cases] == ["p1", "p2"]
    assert "1 of 2 series have no PatientID" in found.notes[0]
    with pytest.raises(ValueError, match=r"1 of 2 series have no PatientID; name patients by --subject folder"):
        read_dicom(tmp_path, subject="id")
    write_series(tmp_path / "p1", SMALL, series=1, PatientID="A_7", StudyInstanceUID=uid(1))
    with pytest.raises(ValueError, match=r"patients \['A_7', 'A/7'\] cannot be told apart"):
        read_dicom(tmp_path)
    shutil.rmtree(tmp_path / "p1")
    only = read_dicom(tmp_path)
    assert ([case.subject for case in only.cases], only.notes) == (["A_7"], ["As names of files: 'A/7' is 'A_7'."])


def test_studies_are_visits_where_a_modality_comes_again(tmp_path):
    for number, date in enumerate(("20200302", "20190101", "20190101")):
        write_series(tmp_path / f"{number}", SMALL, series=number, StudyInstanceUID=uid(number), StudyDate=date)
    write_series(tmp_path / "q1", SMALL, series="q1", StudyInstanceUID=uid("q1"), PatientID="P2", Modality="CT")
    write_series(tmp_path / "q2", SMALL, series="q2", StudyInstanceUID=uid("q2"), PatientID="P2")
    found = read_dicom(tmp_path)
    visits = {(case.subject, case.visit, case.modality) for case in found.cases}
    mine = {("P1", visit, "mr") for visit in ("20190101", "20190101-2", "20200302")}
    assert visits == {*mine, ("P2", None, "ct"), ("P2", None, "mr")}
    assert [note.rpartition(": ")[2] for note in found.notes] == ["P2.", "P1."]


def test_phases_of_a_cine(tmp_path):
    names = [[f"s{place}p{time}" for place in range(3)] for time in range(4)]
    for time, row in enumerate(names):
        # later phases have lower numbers: the time decides
        each = [{"TriggerTime": 40 * time, "InstanceNumber": 99 - 4 * place - time} for place in range(3)]
        write_series(tmp_path, SMALL[:, :, :3] + 100 * time, names=row, each=each, SeriesDescription="CINE")
    waiting = read_dicom(tmp_path)
    assert waiting.cases == []
    assert waiting.broken["P1"] == (
        "MR, 'CINE', 12 files: 4 images lie at each of 3 places, by TriggerTime; say which by --frame first, last, or "
        "a number from 0 to 3."
    )
    for frame, place in (("first", 0), ("2", 2), ("last", 3)):
        case = read_dicom(tmp_path, frame=frame).cases[0]
        np.testing.assert_array_equal(read_files(case.series), SMALL[:, :, :3] + 100 * place)
    assert read_dicom(tmp_path, frame="4").broken["P1"].endswith("there is no image number 4.")
    (tmp_path / "s0p0").unlink()
    assert "3 to 4 images lie at one place" in read_dicom(tmp_path, frame="0").broken["P1"]
    with pytest.raises(ValueError, match="frame must be 'first', 'last' or a number from 0, got 'ed'"):
        read_dicom(tmp_path, frame="ed")


@pytest.mark.parametrize("patient", ["", "anonymous"])
def test_other_pixels_under_overwritten_identifiers_are_no_copies(tmp_path, patient):
    for name in ("A", "B"):  # an anonymiser wrote one identifier everywhere
        write_series(tmp_path / name / "s", SMALL + ord(name), SOPInstanceUID="1.2.9", PatientID=patient)
    if patient:  # nothing but their folders tells two persons from two scans of one
        found = read_dicom(tmp_path, subject="folder")
        assert "2 images are mr" in read_dicom(tmp_path).broken["anonymous"]
    else:
        found = read_dicom(tmp_path)
    assert [case.subject for case in found.cases] == ["A", "B"]
    np.testing.assert_array_equal(read_files(found.cases[1].series), SMALL + ord("B"))
    assert "Identifiers were overwritten: series of several folders are not taken together." in found.notes[0]


def test_what_is_left_out_and_files_in_many_folders(tmp_path):
    names = ["a", "b", "c", "d"]
    write_series(tmp_path / "in", SMALL, names=names)
    (tmp_path / "on").mkdir()
    shutil.copy(tmp_path / "in" / "a", tmp_path / "on" / "a")  # a copy of a file ...
    shutil.move(tmp_path / "in" / "d", tmp_path / "on" / "d")  # ... and half a series elsewhere
    write_series(tmp_path / "seg", SMALL, series=2, Modality="SEG", SeriesDescription="liver")
    write_series(tmp_path / "scout", SMALL[..., :1], series=3)
    write_series(tmp_path / "shot", SMALL, series=4, Modality="US")
    found = read_dicom(tmp_path)
    assert sorted(one.name for one in found.cases[0].series) == names
    assert found.cases[0].image == tmp_path.resolve()
    assert "1 files are copies of others and are left out." in found.notes
    assert "Left out, not read; convert them to NIfTI: SEG, 'liver', 4 files." in found.notes
    assert "Left out, of fewer than 3 slices: MR, without description, 1 file." in found.notes
    assert "Left out, no volumes: US, without description, 4 files." in found.notes
    for folder in ("in", "on"):
        shutil.rmtree(tmp_path / folder)
    with pytest.raises(FileNotFoundError, match="holds no images of this data set; wanted are files such as PATIENT"):
        read_dicom(tmp_path)


def test_labels_beside(tmp_path):
    patient(tmp_path / "one", "P1")
    patient(tmp_path / "two", "P2")
    (tmp_path / "labels").mkdir()
    for name in ("P1_t1", "P1_t2", "P2_t2"):
        (tmp_path / "labels" / f"{name}.nii.gz").write_bytes(b"a label")
    rule = ["t1=SeriesDescription~T1", "t2=SeriesDescription~SPIR"]
    pattern = "labels/{subject}_{modality}.nii.gz"
    found = read_dicom(tmp_path, rule=rule, label=pattern, labels="liver=1, spleen=5")
    labels = {(case.subject, case.modality): case.label and case.label.name for case in found.cases}
    assert labels[("P1", "t1")] == "P1_t1.nii.gz"
    assert labels[("P2", "t1")] is None
    assert (found.labels, found.values) == ({0: "background", 1: "liver", 2: "spleen"}, {0: 0, 1: 1, 5: 2})
    assert found.notes[-1] == "1 of 4 images have no label: P2 t1."
    for given, message in (
        ("masks/{subject}_{modality}.nii.gz", "no label is where .* looked for one of P1 t2, P1 t1, P2 t2"),
        ("{patient}/{modality}.nii.gz", r"has the field {patient}, known are \['modality', 'subject', 'visit'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            read_dicom(tmp_path, rule=rule, label=given, labels="liver=1")
    twice = (
        read_dicom(tmp_path, rule=rule, label="labels/{subject}*t*.{modality}*", labels="liver=1") if False else None
    )
    assert twice is None
    with pytest.raises(ValueError, match="labels must name the classes"):
        read_dicom(tmp_path, label=pattern)
    with pytest.raises(ValueError, match="label must say where"):
        read_dicom(tmp_path, labels="liver=1")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("SPIR", "rule must be like .* got 'SPIR'"),
        ("t2=SeriesDescription", "rule must be like"),
        ("t/2=Modality~MR", "rule must be like"),
        ("t2=SeriesDescription~(", r"'\(' is no regular expression"),
        ("t2=EchoTime<short", "< compares with a number, got 'short'"),
        ("t2=SeriesDescripton~x", "'SeriesDescripton' is no keyword of DICOM. Did you mean SeriesDescription"),
    ],
)
def test_rules_that_cannot_be(tmp_path, rule, message):
    with pytest.raises(ValueError, match=message):
        read_dicom(tmp_path, rule=[rule])


def check_same_voxels(case, known):
    """The series of a case holds the values of a NIfTI file, each at the same place."""
    volume = read_dicom_series(case.series)
    # its slices may run the other way
    moved = np.linalg.solve(known.affine, volume.affine)
    flipped = moved[2, 2] < 0
    expected = np.diag([1.0, 1, -1 if flipped else 1, 1])
    expected[2, 3] = known.shape[2] - 1 if flipped else 0
    np.testing.assert_allclose(moved, expected, atol=2e-3)
    array = np.asarray(known.dataobj)
    np.testing.assert_array_equal(volume.array, array[..., ::-1] if flipped else array)


@pytest.mark.real_data
def test_real_cine_of_a_scanner(real_data):
    folder = real_data / "cardiac_mr_cine" / "SC-N-2"
    if not folder.is_dir():
        pytest.skip("no cine among the real images")
    found = read_dicom(folder, rule=["cine=SeriesDescription~^CINESAX$&ScanOptions~FAST_GEMS"])
    assert [(case.subject, case.visit, case.modality) for case in found.cases] == [("SCD0003701", None, "cine")]
    check_same_voxels(found.cases[0], nib.load(folder / "ed.nii.gz"))


@pytest.mark.real_data
def test_real_echoes_written_as_one_series(real_data, tmp_path):
    """Two echoes of one breath-hold under one SeriesInstanceUID, as scanners write them."""
    source = real_data / "kidney_mr_dual_echo" / "philips_10"
    if not source.is_dir():
        pytest.skip("no kidneys among the real images")
    known = {name: nib.load(source / f"echo{place}.nii.gz") for place, name in enumerate(("out", "in"), 1)}
    for image, time in zip(known.values(), (4.0, 5.76), strict=True):
        names = [f"{time:g}_{place}" for place in range(image.shape[2])]
        write_series(
            tmp_path / "dicom", np.asarray(image.dataobj), image.affine, names=names, EchoTime=time, PatientID="10"
        )
    assert "echo time 4 ms; MR, without description, 9 files, echo time 5.76 ms" in read_dicom(tmp_path).broken["10"]
    shutil.copy(source / "seg.nii.gz", tmp_path / "10.nii.gz")
    words = ["data", "import", "dicom", str(tmp_path), "--out", str(tmp_path / "made"), "--no-sheet"]
    words += ["--rule", "out=EchoTime<5", "in=EchoTime>5", "--label", "{subject}.nii.gz"]
    assert main([*words, "--labels", "right kidney=2, left kidney=3"]) == 0
    kidneys = np.asarray(nib.as_closest_canonical(nib.load(source / "seg.nii.gz")).dataobj)
    items = load_datalist(tmp_path / "made" / "datalist.json")
    assert [(item["subject"], item["modality"]) for item in items] == [("10", "out"), ("10", "in")]
    for item in items:
        image, label = (nib.as_closest_canonical(nib.load(item[key])) for key in ("image", "label"))
        wanted = nib.as_closest_canonical(known[item["modality"]])
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(wanted.dataobj))
        np.testing.assert_array_equal(np.asarray(label.dataobj), np.where(kidneys > 0, kidneys - 1, 0))
        for one in (image, label):
            np.testing.assert_allclose(one.affine, wanted.affine, atol=2e-3)


def test_files_that_are_no_dicom_break_their_patient(tmp_path):
    for name in ("P1", "P2", "P3"):
        write_series(tmp_path / name / "a", SMALL, series=name, PatientID=name)
    (tmp_path / "P1" / "a" / "X.DCM").write_text("version https://git-lfs.github.com/spec/v1")
    (tmp_path / "P2" / "b").mkdir()
    for name in ("1.dcm", "2.dcm"):  # a whole series that was never fetched, of a patient who has another one
        (tmp_path / "P2" / "b" / name).touch()
    (tmp_path / "P4").mkdir()
    (tmp_path / "P4" / "1.dcm").write_text("nothing")
    found = read_dicom(tmp_path)
    assert [case.subject for case in found.cases] == ["P3"]
    assert sorted(found.broken) == ["P1", "P2", "P4"]
    assert "X.DCM: cannot be read as an image (it is a Git LFS pointer" in found.broken["P1"]
    assert found.broken["P2"].endswith("it is empty, 0 bytes). So are 1 more.")
    shutil.rmtree(tmp_path / "P3")
    shutil.rmtree(tmp_path / "P1")
    shutil.rmtree(tmp_path / "P2" / "a")
    with pytest.raises(ValueError, match="is empty, 0 bytes"):
        read_dicom(tmp_path)


def test_an_empty_slice_without_ending_is_not_passed_by(tmp_path):
    """It would be the last of its volume, which would be shorter without a word."""
    write_series(tmp_path / "P1", SMALL)
    write_series(tmp_path / "P2", SMALL, series="t", PatientID="P2")
    (tmp_path / "P1" / "IM0003").write_bytes(b"")
    found = read_dicom(tmp_path)
    assert [case.subject for case in found.cases] == ["P2"]
    assert "IM0003: cannot be read as an image (it is empty, 0 bytes)" in found.broken["P1"]
    with pytest.raises(ValueError, match="IM0003"):
        read_dicom_series(tmp_path / "P1")


def test_labels_in_another_letter_case_and_labels_of_nobody(tmp_path):
    write_series(tmp_path / "P1", SMALL)
    write_series(tmp_path / "P2", SMALL, series="t", PatientID="P2")
    (tmp_path / "labels").mkdir()
    for name in ("P1_MR.NII.GZ", "P2_mr.nii.gz", "._P2_mr.nii.gz", "P22_mr.nii.gz"):
        (tmp_path / "labels" / name).touch()
    found = read_dicom(tmp_path, label="labels/*{subject}_{modality}.nii.gz", labels="liver=1")
    assert [case.label.name for case in found.cases] == ["P1_MR.NII.GZ", "P2_mr.nii.gz"]
    (spare,) = found.notes
    assert spare == "1 files at 'labels/*{subject}_{modality}.nii.gz' are of no image that is taken: P22_mr.nii.gz."
