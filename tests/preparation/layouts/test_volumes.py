# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data sets that come as NIfTI volumes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import read_btcv, read_mmwhs, read_mscmrseg, import_layout
from monai_mmseg.preparation.layouts.write import map_values
from tests.preparation.layouts.public_sets import AFFINE, write_pair

MMWHS = {0: 0, 205: 1, 420: 2, 421: 2, 500: 3, 820: 4, 550: 0, 600: 0, 850: 0}
BTCV = {0: 0, 6: 1, 2: 2, 3: 3, 1: 4, **dict.fromkeys((4, 5, 7, 8, 9, 10, 11, 12, 13), 0)}


def mapped(array, table):
    return np.vectorize(table.__getitem__)(array)


def label_in(item):
    return np.asarray(nib.load(item["label"]).dataobj)


@pytest.fixture
def mmwhs(tmp_path):
    folder = tmp_path / "MM-WHS 2017"
    for modality in ("ct", "mr"):
        for number in (1001, 1002):
            stem = folder / f"{modality}_train" / f"{modality}_train_{number}"
            values = [value for value in MMWHS if value and (modality == "mr" or value != 421)]
            write_pair(Path(f"{stem}_image.nii.gz"), Path(f"{stem}_label.nii.gz"), values)
        write_pair(folder / f"{modality}_test" / f"{modality}_test_2001_image.nii.gz", None, [])
    return folder


def test_mmwhs(mmwhs, tmp_path):
    out = import_layout(read_mmwhs(mmwhs), tmp_path / "out" / "datalist.json")
    report = check_datalist(out)
    assert (report.errors, report.modalities) == ([], ["ct", "mr"])
    content = read_datalist(out)
    assert content.labels == {
        0: "background",
        1: "LV myocardium",
        2: "left atrium",
        3: "LV blood",
        4: "ascending aorta",
    }
    training = content.items("training")
    assert [item["subject"] for item in training] == ["ct_1001", "ct_1002", "mr_1001", "mr_1002"]
    assert [item["subject"] for item in content.items("test")] == ["ct_2001", "mr_2001"]
    assert not any("label" in item for item in content.items("test"))
    for item in training:
        modality, number = item["subject"].split("_")
        stem = mmwhs / f"{modality}_train" / f"{modality}_train_{number}"
        assert Path(item["image"]).resolve() == Path(f"{stem}_image.nii.gz")
        raw = np.asarray(nib.load(f"{stem}_label.nii.gz").dataobj)
        np.testing.assert_array_equal(label_in(item), mapped(raw, MMWHS))
        np.testing.assert_allclose(nib.load(item["label"]).affine, AFFINE, atol=1e-5)


def test_mmwhs_may_be_in_part_and_written_inside(mmwhs):
    out = import_layout(read_mmwhs(mmwhs / "mr_train"), mmwhs / "datalist.json")
    content = read_datalist(out)
    assert content.modalities == ["mr"]
    assert list(content.sections) == ["training"]
    assert all(Path(item["image"]).is_file() for item in content.items("training"))
    assert '"image": "mr_train/mr_train_1001_image.nii.gz"' in out.read_text(encoding="utf-8")
    assert len(read_mmwhs(mmwhs).cases) == 6  # what was written is not taken for data


def test_mmwhs_that_is_not_complete(mmwhs, tmp_path):
    (mmwhs / "ct_train" / "ct_train_1002_label.nii.gz").unlink()
    (mmwhs / "mr_train" / "mr_train_1001_image.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="2 files are missing: .*ct_train_1002_label.*mr_train_1001_image"):
        read_mmwhs(mmwhs)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no images .* wanted are files such as ct_train/ct_train_1001"):
        read_mmwhs(empty)
    with pytest.raises(FileNotFoundError, match="folder must be where the data set was unpacked, but .*nowhere"):
        read_mmwhs(tmp_path / "nowhere")


def test_a_file_that_is_there_twice(mmwhs):
    write_pair(mmwhs / "copy" / "ct_train_1001_image.nii", None, [])
    with pytest.raises(ValueError, match="holds ct_train_1001_image twice"):
        read_mmwhs(mmwhs)


def test_labels_that_cannot_be_used(mmwhs, tmp_path):
    label = mmwhs / "ct_train" / "ct_train_1001_label.nii.gz"
    write_pair(tmp_path / "i.nii.gz", label, [205, 421, 7, 100])
    with pytest.raises(ValueError, match=r"ct_train_1001_label.* values must be some of .*, found \[7, 100\]"):
        import_layout(read_mmwhs(mmwhs), tmp_path / "datalist.json")
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 3), np.int16), AFFINE), str(label))
    with pytest.raises(ValueError, match=r"label has shape \(6, 5, 3\), its image .* \(6, 5, 4\)"):
        import_layout(read_mmwhs(mmwhs), tmp_path / "datalist.json")
    assert not (tmp_path / "datalist.json").exists()


def test_values_as_numbers_of_any_type():
    table = {0: 0, 205: 1, -1: 3}
    for dtype in (np.int16, np.int32, np.float32, np.float64):
        given = np.array([[0, 205], [-1, 0]], dtype)
        assert map_values(given, table, "a").tolist() == [[0, 1], [3, 0]]
    assert map_values(np.array([205, 0], np.uint16), table, "a").dtype == np.uint8
    with pytest.raises(ValueError, match=r"a.nii: label values must be some of \[-1, 0, 204, 205\], found \[204.5\]"):
        map_values(np.array([0.0, 205.0, 204.5]), {**table, 204: 1}, "a.nii")


def test_btcv(tmp_path):
    raw = {}
    for number in ("0001", "0010", "0021", "0040"):
        folder = tmp_path / "Abdomen" / "RawData" / "Training"
        raw[number] = write_pair(
            folder / "img" / f"img{number}.nii.gz", folder / "label" / f"label{number}.nii.gz", range(1, 14), np.uint8
        )
    write_pair(tmp_path / "Abdomen" / "RawData" / "Testing" / "img" / "img0061.nii.gz", None, [])
    write_pair(tmp_path / "__MACOSX" / "img" / "img0001.nii.gz", None, [])
    out = import_layout(read_btcv(tmp_path), tmp_path / "datalist.json")
    assert check_datalist(out).errors == []
    items = load_datalist(out)
    assert [item["subject"] for item in items] == [f"btcv_{number}" for number in raw]
    assert read_datalist(out).labels == {0: "background", 1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
    for item, array in zip(items, raw.values(), strict=True):
        np.testing.assert_array_equal(label_in(item), mapped(array, BTCV))
    assert [item["subject"] for item in load_datalist(out, "test")] == ["btcv_0061"]
    (tmp_path / "Abdomen" / "RawData" / "Training" / "label" / "label0021.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="1 files are missing: .*label0021.nii.gz"):
        read_btcv(tmp_path)


def test_mscmrseg(tmp_path):
    table = {0: 0, 500: 1, 200: 2, 600: 3}
    raw = {}
    for patient in (2, 10):
        for kind in ("C0", "T2", "LGE"):
            name = f"patient{patient}_{kind}"
            labelled = patient == 2 or kind != "LGE"
            label = tmp_path / "labels" / f"{name}_manual.nii.gz" if labelled else None
            raw[patient, kind] = write_pair(tmp_path / "c0t2lge" / f"{name}.nii.gz", label, [200, 500, 600])
    out = import_layout(read_mscmrseg(tmp_path), tmp_path / "datalist.json")
    assert check_datalist(out).errors == []
    content = read_datalist(out)
    assert (content.modalities, content.labels[3]) == (["bssfp", "t2", "lge"], "RV")
    items = content.items("training")
    order = [(item["subject"], item["modality"], "label" in item) for item in items]
    assert order == [
        *(("patient2", name, True) for name in content.modalities),
        *(("patient10", name, name != "lge") for name in content.modalities),
    ]
    np.testing.assert_array_equal(label_in(items[0]), mapped(raw[2, "C0"], table))
    (tmp_path / "c0t2lge" / "patient2_T2.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="missing: patient2_T2.nii.gz"):
        read_mscmrseg(tmp_path)
