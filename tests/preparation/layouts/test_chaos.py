# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import import_layout, read_chaos
from tests.preparation.layouts.public_sets import write_dicom, write_pictures

GREY = {0: 0, 1: 63, 2: 126, 3: 189, 4: 252}
DEPTH, SIZE = 4, (7, 6)


def volumes(seed):
    """Slices whose mean grows from feet to head, and classes."""
    rng = np.random.default_rng(seed)
    image = (rng.integers(0, 50, (DEPTH, *SIZE)) + 100 * np.arange(DEPTH)[:, None, None]).astype(np.int16)
    classes = rng.integers(0, 5, image.shape)
    return image, classes


def patient(folder, seed, *, head_first=False, ending="T2SPIR", ground=True):
    """One patient; names of the files run from the feet or from the head."""
    image, classes = volumes(seed)
    names = [f"IMG-0004-{place:05d}" for place in range(1, DEPTH + 1)]
    names = names[::-1] if head_first else names
    slices = folder / ending / "DICOM_anon" if ending == "T2SPIR" else folder / ending / "DICOM_anon" / "InPhase"
    write_dicom(slices, image, [f"{name}.dcm" for name in names])
    if ground:
        write_pictures(
            folder / ending / "Ground", np.vectorize(GREY.get)(classes), [f"liver_{name}.png" for name in names]
        )
    return image, classes


@pytest.fixture
def chaos(tmp_path):
    train = tmp_path / "CHAOS" / "Train_Sets" / "MR"
    truth = {"1": patient(train / "1", 1), "10": patient(train / "10", 2, head_first=True)}
    patient(tmp_path / "CHAOS" / "Test_Sets" / "MR" / "4", 3, ground=False)
    return tmp_path / "CHAOS", truth


def test_slices_and_pictures_become_volumes_on_one_grid(chaos, tmp_path):
    folder, truth = chaos
    out = import_layout(read_chaos(folder, sequence="t2spir"), tmp_path / "mr" / "datalist.json")
    assert check_datalist(out).errors == []
    content = read_datalist(out)
    assert (content.name, content.modalities) == ("chaos_t2spir", ["mr"])
    items = load_datalist(out)
    assert [item["subject"] for item in items] == ["chaos_mr_1", "chaos_mr_10"]
    for item, (image, classes) in zip(items, truth.values(), strict=True):
        volume, label = (nib.load(item[key]) for key in ("image", "label"))
        # NIfTI is (X, Y, Z) and points to left and back in DICOM are negative here
        np.testing.assert_array_equal(np.asarray(volume.dataobj).transpose(2, 1, 0), image)
        np.testing.assert_array_equal(np.asarray(label.dataobj).transpose(2, 1, 0), classes)
        expected = np.array([[-0.7, 0, 0, 10], [0, -0.9, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])
        for one in (volume, label):
            np.testing.assert_allclose(one.affine, expected, atol=1e-5)
    test = load_datalist(out, "test")
    assert [(item["subject"], "label" in item) for item in test] == [("chaos_mr_4", False)]


@pytest.mark.parametrize("part", [".", "Train_Sets"])
def test_folders_that_a_user_may_name(chaos, part):
    cases = read_chaos(chaos[0] / part, sequence="t2spir").cases
    assert [case.subject for case in cases if case.section == "training"] == ["chaos_mr_1", "chaos_mr_10"]


def test_in_phase_images(tmp_path):
    patient(tmp_path / "Train_Sets" / "MR" / "2", 1, ending="T1DUAL")
    out = import_layout(read_chaos(tmp_path, sequence="t1dual_in"), tmp_path / "datalist.json")
    assert check_datalist(out).errors == []
    other = read_chaos(tmp_path, sequence="t1dual_out")
    assert other.cases == []
    assert list(other.broken) == ["chaos_mr_2"]
    assert other.broken["chaos_mr_2"].endswith("OutPhase is not there")


def test_what_is_missing_or_wrong(chaos, tmp_path):
    folder, _ = chaos
    ground = folder / "Train_Sets" / "MR" / "1" / "T2SPIR" / "Ground"
    pictures = sorted(ground.iterdir())
    write_pictures(ground, np.full((1, *SIZE), 100), [pictures[0].name])
    out = tmp_path / "datalist.json"
    with pytest.raises(ValueError, match=r"Ground: label values must be some of .*, found \[100\]"):
        import_layout(read_chaos(folder, sequence="t2spir"), out)
    write_pictures(ground, np.zeros((1, 3, 3)), [pictures[0].name])
    with pytest.raises(ValueError, match=r"a picture of \(3, 3\) pixels for slices of \(7, 6\)"):
        import_layout(read_chaos(folder, sequence="t2spir"), out)
    pictures[0].unlink()
    with pytest.raises(ValueError, match="3 pictures for 4 slices"):
        import_layout(read_chaos(folder, sequence="t2spir"), out)
    for one in (folder / "Train_Sets" / "MR" / "10" / "T2SPIR" / "DICOM_anon").iterdir():
        one.unlink()
    layout = read_chaos(folder, sequence="t2spir")
    with pytest.raises(ValueError, match="10/T2SPIR/DICOM_anon: none of the files in this folder is a DICOM image"):
        import_layout(replace(layout, cases=layout.cases[1:2]), out)
    assert not out.exists()
    for one in pictures[1:]:
        one.unlink()
    ground.rmdir()
    assert read_chaos(folder, sequence="t2spir").broken["chaos_mr_1"].endswith("1/T2SPIR/Ground is not there")
    with pytest.raises(FileNotFoundError, match=r"such as Train_Sets/CT/1/DICOM_anon/\*.dcm"):
        read_chaos(folder, sequence="ct")
    with pytest.raises(ValueError, match="sequence must be one of .* got 't2'"):
        read_chaos(folder, sequence="t2")
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        read_chaos(tmp_path / "nowhere")


def test_real_ct_runs_from_head_to_feet(real_data, tmp_path):
    folder = real_data / "chaos_ct"
    if not folder.is_dir():
        pytest.skip("no CHAOS slices among the real images")
    out = import_layout(read_chaos(folder, sequence="ct"), tmp_path / "datalist.json")
    item = load_datalist(out)[0]
    image, label = (nib.as_closest_canonical(nib.load(item[key])) for key in ("image", "label"))
    known = [nib.as_closest_canonical(nib.load(folder / "nifti" / name)) for name in ("ct.nii.gz", "seg.nii.gz")]
    mask, pixels = np.asarray(label.dataobj), np.asarray(image.dataobj, dtype=np.float64)
    assert mask.sum() == 551920
    np.testing.assert_array_equal(mask[::2, ::2], np.asarray(known[1].dataobj))
    # the copy was made smaller with a filter of its own: every slice is nearest to the slice of the same place
    apart = np.abs(pixels[::2, ::2, :, None] - np.asarray(known[0].dataobj, dtype=np.float64)[:, :, None]).mean((0, 1))
    assert apart.argmin(1).tolist() == list(range(16))
    # and each is a file of the series, read by another library: sorted by z the last name comes first
    files = sorted((folder / "Train_Sets" / "CT" / "3" / "DICOM_anon").iterdir(), reverse=True)
    for place, header in enumerate(map(pydicom.dcmread, files)):
        values = header.pixel_array * float(header.RescaleSlope) + float(header.RescaleIntercept)
        # rows run to the back and columns to the left of the patient, in the canonical volume to the front and right
        np.testing.assert_array_equal(pixels[::-1, ::-1, place].T, values)
    assert np.corrcoef(pixels[::2, ::2].ravel(), np.asarray(known[0].dataobj).ravel())[0, 1] > 0.99


def pair_of(folder, number, counts, *, head_first=(False, True)):
    """T1 and T2 of a patient; slices hold the number in their file's name, which runs from the feet or the head."""
    base = folder / "Train_Sets" / "MR" / str(number)
    places = ("T1DUAL/DICOM_anon/OutPhase", "T2SPIR/DICOM_anon")
    for place, count, first in zip(places, counts, head_first, strict=True):
        numbers = list(range(1, count + 1))[:: -1 if first else 1]
        pixels = np.array(numbers, dtype=np.int16)[:, None, None] * np.ones((2, 3), dtype=np.int16)
        write_dicom(base / place, pixels, [f"IMG-4-{one:05d}.dcm" for one in numbers])
        (base / place.partition("/")[0] / "Ground").mkdir()


def slice_names(path):
    """Number in the name of the file from which each slice came."""
    return np.asarray(nib.load(path).dataobj)[0, 0].tolist()


@pytest.mark.parametrize("head_first", [(False, True), (True, False)], ids=["T2 against", "T1 against"])
def test_slices_of_a_pair_are_those_of_the_table(tmp_path, head_first):
    pair_of(tmp_path / "in", 20, (25, 23), head_first=head_first)
    found = read_chaos(tmp_path / "in")
    assert (found.modalities, found.target) == (["t1", "t2"], "t2")
    assert [(case.subject, case.modality, case.image.name) for case in found.cases] == [
        ("chaos_mr_20", "t1", "OutPhase"),
        ("chaos_mr_20", "t2", "DICOM_anon"),
    ]
    unlabelled = replace(found, cases=[case._replace(label=None) for case in found.cases])
    import_layout(unlabelled, tmp_path / "out" / "d.json")
    t1, t2 = (slice_names(tmp_path / "out" / "images" / f"chaos_mr_20_{name}.nii.gz") for name in ("t1", "t2"))
    # the table says 2-20 of both, where 0 is the last name: of 25 names of T1, of 23 names of T2
    expected = {(25 - place, 23 - place) for place in range(2, 21)}
    assert {(t1[one], t2[other]) for one, other in found.cases[0].pairs["t2"].items()} == expected
    assert {(t1[other], t2[one]) for one, other in found.cases[1].pairs["t1"].items()} == expected
    assert found.notes[1].endswith("program: 1.")


def test_a_file_that_is_no_dicom_breaks_its_patient_alone(tmp_path):
    for number in (20, 4):
        pair_of(tmp_path / "in", number, (3, 3))
    (tmp_path / "in/Train_Sets/MR/20/T2SPIR/DICOM_anon/IMG-4-00002.dcm").write_text(
        "version https://git-lfs.github.com"
    )
    found = read_chaos(tmp_path / "in")
    unlabelled = replace(found, cases=[case._replace(label=None) for case in found.cases])
    with pytest.raises(ValueError, match=r"(?s)a subject cannot be used.*chaos_mr_20: .*00002.dcm: .*Git LFS pointer"):
        import_layout(unlabelled, tmp_path / "out")


def test_ranges_to_the_end_and_series_of_other_lengths(tmp_path):
    pair_of(tmp_path, 33, (30, 26))  # 7..N-6 and 3-11, 15..N-3
    pair_of(tmp_path, 38, (22, 24))  # 9-23 needs 24 slices of T1
    pair_of(tmp_path, 22, (27, 23))  # two slices must follow 25
    pair_of(tmp_path, 4, (3, 3))
    found = read_chaos(tmp_path)
    tables = {case.subject: case.pairs for case in found.cases if case.modality == "t1"}
    assert [name for name, table in tables.items() if table] == ["chaos_mr_33"]
    # T1 runs with the names: the place p of the descending table is slice 29 - p; T2 runs against them
    places = zip(range(7, 25), [*range(3, 12), *range(15, 24)], strict=True)
    assert tables["chaos_mr_33"]["t2"] == {29 - one: other for one, other in places}
    assert found.notes[1].endswith("not those of the table: 4, 22, 38.")


def test_splits_of_the_paper(tmp_path):
    numbers = [1, 2, 3, 5, 8, 10, 13, 15, 19, 20, 21, 22, 31, 32, 33, 34, 36, 37, 38]
    for number in numbers:
        for name in ("T2SPIR/DICOM_anon", "T2SPIR/Ground", "T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"):
            (tmp_path / "Train_Sets" / "MR" / str(number) / name).mkdir(parents=True)
    (tmp_path / "Test_Sets" / "MR" / "4" / "T2SPIR" / "DICOM_anon").mkdir(parents=True)
    found = read_chaos(tmp_path, sequence="t2spir", split="1")
    members = {}
    for case in found.cases:
        members.setdefault((case.section, case.fold), []).append(int(case.subject.rpartition("_")[2]))
    assert members[("training", 0)] == [3, 13, 20]
    assert members[("test", None)] == [5, 15]
    assert members[("training", 1)] == [1, 2, 8, 10, 19, 21, 22, 31, 32, 33, 34, 36, 37, 38]
    assert found.broken == {"chaos_mr_39": "not there, but part of split 1"}
    inside = read_chaos(tmp_path, phase="in")
    assert {case.image.name for case in inside.cases if case.modality == "t1"} == {"InPhase"}
    assert "in phase" in inside.notes[0]
    # incomplete in the pair, and the unlabelled patient of the challenge stays out of the paper's splits
    assert list(inside.broken) == ["chaos_mr_4"]
    assert len(inside.broken["chaos_mr_4"]) > 0


def test_liver_in_both_parts(chaos):
    folder, _ = chaos
    for name in ("DICOM_anon", "Ground"):
        (folder / "Train_Sets" / "CT" / "7" / name).mkdir(parents=True)
    patient(folder / "Train_Sets" / "MR" / "30", 5)
    found = read_chaos(folder, parts=["mr", "ct"])
    assert (found.modalities, found.labels) == (["t1", "t2", "ct"], {0: "background", 1: "liver"})
    assert (found.values[63], found.values[126], found.values[252]) == (1, 0, 0)
    assert [(case.subject, case.values) for case in found.cases] == [("chaos_ct_7", {0: 0, 255: 1})]
    assert sorted(found.broken) == ["chaos_mr_1", "chaos_mr_10", "chaos_mr_30", "chaos_mr_4"]
    patient(folder / "copy" / "Train_Sets" / "MR" / "30", 5)
    twice = read_chaos(folder, sequence="t2spir").broken
    assert list(twice) == ["chaos_mr_30"]
    assert twice["chaos_mr_30"].endswith("Train_Sets/MR/30 is a second copy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "off"}, "phase must be 'in' or 'out', got 'off'"),
        ({"parts": ["us"]}, r"parts must be some of \['mr', 'ct'\], got \['us'\]"),
        ({"split": "3"}, "split must be '0', '1' or '2', got '3'"),
        ({"sequence": "t2spir", "phase": "in"}, "phase and parts are of sequence 'pair'"),
        ({"sequence": "ct", "split": "0"}, "split is of the MR part"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_chaos(tmp_path, **options)


def test_what_is_still_packed(tmp_path):
    (tmp_path / "CHAOS_Train_Sets.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"holds no images .* Unpack CHAOS_Train_Sets.zip first\."):
        read_chaos(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"CHAOS_Train_Sets.zip is a file; unpack it first"):
        read_chaos(tmp_path / "CHAOS_Train_Sets.zip")
