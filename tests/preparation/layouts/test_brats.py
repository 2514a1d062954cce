# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.brats import MODALITIES, read_brats
from monai_mmseg.preparation.layouts.steps import KeepSlices
from tests.preparation.layouts.public_sets import write_pair

OLD = ("t1", "t1ce", "t2", "flair")
NEW = ("t1n", "t1c", "t2w", "t2f")


def subject(folder, kinds=OLD, *, values=(1, 2, 4), mark="_", ending=".nii.gz", label=True):
    """Images of one subject and its label, named after the folder."""
    stem = f"{folder}/{folder.name}{mark}"
    for kind in kinds[1:]:
        write_pair(Path(f"{stem}{kind}{ending}"), None, [])
    return write_pair(
        Path(f"{stem}{kinds[0]}{ending}"), Path(f"{stem}seg{ending}") if label else None, values, np.uint8
    )


def test_2020_with_its_odd_label_and_the_validation_set(tmp_path):
    training = tmp_path / "MICCAI_BraTS2020_TrainingData"
    raw = {name: subject(training / name, ending=".nii") for name in ("BraTS20_Training_001", "BraTS20_Training_355")}
    odd = training / "BraTS20_Training_355"
    (odd / "BraTS20_Training_355_seg.nii").rename(odd / "W39_1998.09.19_Segm.nii")
    subject(tmp_path / "MICCAI_BraTS2020_ValidationData" / "BraTS20_Validation_001", label=False)
    layout = read_brats(tmp_path)
    assert list(layout.notes) == ["The label of BraTS20_Training_355 is W39_1998.09.19_Segm.nii."]
    assert layout.broken == {}
    out = import_layout(layout, tmp_path / "out" / "datalist.json")
    assert check_datalist(out).errors == []
    content = read_datalist(out)
    assert content.modalities == list(MODALITIES)
    assert content.labels == {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing tumour"}
    items = load_datalist(out)
    assert [(item["subject"], item["modality"]) for item in items] == [(one, m) for one in raw for m in MODALITIES]
    for item in items:
        expected = np.where(raw[item["subject"]] == 4, 3, raw[item["subject"]])
        np.testing.assert_array_equal(np.asarray(nib.load(item["label"]).dataobj), expected)
    test = load_datalist(out, "test")
    assert [item["subject"] for item in test] == ["BraTS20_Validation_001"] * 4
    assert not any("label" in item for item in test)


def test_2018_with_grades_and_2021_in_nested_folders_and_large_letters(tmp_path):
    for grade, name in (("HGG", "Brats18_CBICA_AAB_1"), ("HGG", "Brats18_2013_10_1"), ("LGG", "Brats18_TCIA09_141_1")):
        subject(tmp_path / "2018" / "MICCAI_BraTS_2018_Data_Training" / grade / name)
    layout = read_brats(tmp_path / "2018")
    assert list(layout.notes) == ["Grades: 2 HGG, 1 LGG."]
    assert [case.subject for case in layout.cases[::4]] == [
        "Brats18_2013_10_1",
        "Brats18_CBICA_AAB_1",
        "Brats18_TCIA09_141_1",
    ]
    folder = tmp_path / "2021" / "BraTS2021_00000"
    subject(folder, ending=".NII.GZ")
    # as some programs unpack: a folder with the name of the file
    (folder / "BraTS2021_00000_t2.NII.GZ").rename(folder / "file")
    (folder / "BraTS2021_00000_t2.nii").mkdir()
    (folder / "file").rename(folder / "BraTS2021_00000_t2.nii" / "BraTS2021_00000_t2.NII.GZ")
    out = import_layout(read_brats(tmp_path / "2021"), tmp_path / "datalist.json")
    assert check_datalist(out).errors == []
    assert [item["modality"] for item in load_datalist(out)] == list(MODALITIES)


def test_from_2023_on_with_visits_and_a_sequence_that_is_not_there(tmp_path):
    values = {"000": (1, 2, 3), "001": (1, 3)}
    raw = {one: subject(tmp_path / f"BraTS-GLI-00000-{one}", NEW, values=values[one], mark="-") for one in values}
    (tmp_path / "BraTS-GLI-00000-001" / "BraTS-GLI-00000-001-t2f.nii.gz").unlink()
    layout = read_brats(tmp_path)
    found = [(case.subject, case.visit, case.modality) for case in layout.cases]
    assert found == [
        *(("BraTS-GLI-00000", "000", one) for one in MODALITIES),
        *(("BraTS-GLI-00000", "001", one) for one in MODALITIES[:3]),
    ]
    assert layout.values == {0: 0, 1: 1, 2: 2, 3: 3}
    assert list(layout.notes) == ["BraTS-GLI-00000-001 has no flair."]
    for _ in range(2):  # what was written into the folder is not taken for data
        out = import_layout(read_brats(tmp_path), tmp_path / "datalist.json", overwrite=True)
    assert check_datalist(out).errors == []
    items = load_datalist(out)
    assert [(item["person"], item["visit"], item["modality"]) for item in items] == found
    for item in items:
        np.testing.assert_array_equal(np.asarray(nib.load(item["label"]).dataobj), raw[item["visit"]])


def test_cavity_after_treatment(tmp_path):
    subject(tmp_path / "BraTS-GLI-00005-100", NEW, values=(1, 2, 3, 4), mark="-")
    layout = read_brats(tmp_path)
    assert (layout.labels[4], layout.values) == ("resection cavity", {0: 0, 1: 1, 2: 2, 3: 3, 4: 4})
    assert read_brats(tmp_path, classes="core").values == {0: 0, 2: 0, 4: 0, 1: 1, 3: 1}


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        ("whole", {0: 0, 1: 1, 2: 1, 4: 1}),
        ("core", {0: 0, 1: 1, 2: 0, 4: 1}),
        ("enhancing", {0: 0, 1: 0, 2: 0, 4: 1}),
    ],
)
def test_one_region_as_the_only_class(tmp_path, classes, values):
    subject(tmp_path / "BraTS2021_00000")
    layout = read_brats(tmp_path, classes=classes)
    assert (layout.labels, layout.values) == ({0: "background", 1: f"{classes} tumour"}, values)


@pytest.mark.parametrize(
    ("name", "kinds", "mark", "values", "message"),
    [
        ("BraTS2021_00000", OLD, "_", (1, 2, 3), r"must be some of 0-2, 4, found \[3\]"),
        ("BraTS2021_00000", OLD, "_", (1, 2, 3, 4), r"must be some of 0-2, 4, found \[3\]"),
        ("BraTS-GLI-00000-000", NEW, "-", (1, 2, 4), r"must be some of 0-3, found \[4\]"),
    ],
)
def test_labels_of_the_other_kind(tmp_path, name, kinds, mark, values, message):
    subject(tmp_path / name, kinds, mark=mark, values=values)
    with pytest.raises(ValueError, match=rf"{name}{mark}seg.nii.gz: .*{message}"):
        import_layout(read_brats(tmp_path), tmp_path / "datalist.json")


def test_a_range_of_slices(tmp_path):
    subject(tmp_path / "BraTS2021_00000")
    assert read_brats(tmp_path, slices="50-104").steps == [KeepSlices(50, 104)]
    for wrong in ("50", "104-50", "a-b", "-1-3"):
        with pytest.raises(ValueError, match="slices must be two numbers such as '50-104', got "):
            read_brats(tmp_path, slices=wrong)


def test_what_is_missing_or_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no images of this data set; wanted are files such as BraTS20"):
        read_brats(tmp_path)
    subject(tmp_path / "BraTS2021_00001")
    subject(tmp_path / "BraTS2021_00002", label=False)
    subject(tmp_path / "BraTS2021_00003")
    for one in OLD:
        (tmp_path / "BraTS2021_00003" / f"BraTS2021_00003_{one}.nii.gz").unlink()
    layout = read_brats(tmp_path)
    assert layout.broken == {
        "BraTS2021_00002": "BraTS2021_00002 has no label.",
        "BraTS2021_00003": f"{tmp_path / 'BraTS2021_00003' / 'BraTS2021_00003_seg.nii.gz'} has no image.",
    }
    assert {case.subject for case in layout.cases} == {"BraTS2021_00001"}
    with pytest.raises(
        ValueError, match=r"classes must be one of \['tissues', 'whole', 'core', 'enhancing'\], got 'x'"
    ):
        read_brats(tmp_path, classes="x")
    subject(tmp_path / "BraTS-GLI-00009-000", NEW, mark="-")
    with pytest.raises(ValueError, match="holds sets until 2021 and from 2023 on, which share their subjects"):
        read_brats(tmp_path)
    for name, kind in (("BraTS-PED-00001-000", "PED"), ("BraTS-MEN-RT-0001-1", "MEN-RT")):
        subject(tmp_path / kind / name, NEW, mark="-")
        with pytest.raises(ValueError, match=f"{name}: labels of BraTS {kind} are not known here"):
            read_brats(tmp_path / kind)


def test_a_validation_set_alone(tmp_path):
    subject(tmp_path / "BraTS2021_00001", label=False)
    assert {case.section for case in read_brats(tmp_path).cases} == {"test"}


@pytest.mark.parametrize("new", [False, True])
def test_real_tumour(real_data, tmp_path, new):
    folder = real_data / "brain_tumour_tcga" / "TCGA-FG-6692_2mm"
    if not folder.is_dir():
        pytest.skip("no tumour among the real images")
    name = "BraTS-GLI-00000-000" if new else "Brats18_TCIA_6692_1"
    made = tmp_path / "HGG" / name
    made.mkdir(parents=True)
    label = nib.load(folder / "seg.nii.gz")
    classes = np.asarray(label.dataobj)
    if new:
        classes = np.where(classes == 4, 3, classes)
    for old, kind in zip(OLD, NEW if new else OLD, strict=True):
        (made / f"{name}{'-' if new else '_'}{kind}.nii.gz").symlink_to(folder / f"{old}.nii.gz")
    nib.save(nib.Nifti1Image(classes, label.affine), made / f"{name}{'-' if new else '_'}seg.nii.gz")
    out = import_layout(read_brats(tmp_path, slices="20-39" if new else None), tmp_path / "out" / "datalist.json")
    assert check_datalist(out).errors == []
    kept = slice(20, 40) if new else slice(None)
    for item, source in zip(load_datalist(out), OLD, strict=True):
        image, label = (nib.load(item[key]) for key in ("image", "label"))
        np.testing.assert_array_equal(np.asarray(label.dataobj), np.where(classes == 4, 3, classes)[:, :, kept])
        whole = nib.load(folder / f"{source}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(whole.dataobj)[:, :, kept])
        expected = whole.slicer[:, :, kept].affine
        for one in (image, label):
            np.testing.assert_allclose(one.affine, expected, atol=1e-4)
