# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data sets that come as NIfTI volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import import_layout, read_btcv, read_mmwhs, read_mscmrseg
from monai_mmseg.preparation.layouts.steps import CropAroundLabel
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


def test_mmwhs_all_structures_and_a_crop(mmwhs, tmp_path):
    layout = read_mmwhs(mmwhs, structures="seven", crop="heart")
    assert layout.values == {0: 0, 205: 1, 420: 2, 421: 2, 500: 3, 820: 4, 550: 5, 600: 6, 850: 7}
    assert [layout.labels[value] for value in (5, 6, 7)] == ["right atrium", "RV blood", "pulmonary artery"]
    assert layout.steps == [CropAroundLabel((256, 0, 256), 10)]
    assert any("left whole" in note for note in layout.notes)
    assert list(read_mmwhs(mmwhs).steps) == []
    for wrong in ({"structures": "6"}, {"crop": "box"}):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must be .* got '{next(iter(wrong.values()))}'"):
            read_mmwhs(mmwhs, **wrong)


def test_mmwhs_unpacked_to_folders_and_with_large_endings(mmwhs):
    training = mmwhs / "ct_train"
    (training / "ct_train_1001_image.nii.gz").rename(training / "ct_train_1001_image.NII.GZ")
    (training / "ct_train_1002_image.nii.gz").rename(training / "file")
    inner = training / "ct_train_1002_image.nii.gz" / "ct_train_1002_image.nii.gz"
    inner.parent.mkdir()
    (training / "file").rename(inner)
    layout = read_mmwhs(mmwhs)
    assert layout.broken == {}
    found = {case.subject: (case.image, case.label) for case in layout.cases}
    assert found["ct_1001"] == (training / "ct_train_1001_image.NII.GZ", training / "ct_train_1001_label.nii.gz")
    assert found["ct_1002"] == (inner, training / "ct_train_1002_label.nii.gz")


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
    layout = read_mmwhs(mmwhs)
    assert layout.broken == {
        "ct_1002": f"{mmwhs / 'ct_train' / 'ct_train_1002_image.nii.gz'} has no label.",
        "mr_1001": f"{mmwhs / 'mr_train' / 'mr_train_1001_label.nii.gz'} has no image.",
    }
    assert [case.subject for case in layout.cases] == ["ct_2001", "ct_1001", "mr_2001", "mr_1002"]
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
    with pytest.raises(ValueError, match=r"a.nii: label values must be some of -1, 0, 204-205, found \[204.5\]"):
        map_values(np.array([0.0, 205.0, 204.5]), {**table, 204: 1}, "a.nii")
    scaled = np.array([0.0, 0.9999, 1.9998, 3.9996, 7.0], np.float32)  # a header's slope that is not quite one
    with pytest.raises(ValueError, match=r"some of 0-2, found \[7, 0.9999, 1.9998, 3.9996\]"):
        map_values(scaled, {0: 0, 1: 1, 2: 2}, "a.nii")


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
    image = tmp_path / "Abdomen" / "RawData" / "Training" / "img" / "img0021.nii.gz"
    assert read_btcv(tmp_path).broken == {"btcv_0021": f"{image} has no label."}


def test_btcv_with_all_organs(tmp_path):
    folder = tmp_path / "RawData" / "Training"
    raw = write_pair(folder / "img" / "img0001.nii.gz", folder / "label" / "label0001.nii.gz", range(1, 14), np.uint8)
    layout = read_btcv(tmp_path, organs="all")
    assert [layout.labels[value] for value in (4, 5, 6, 13)] == [
        "spleen",
        "gallbladder",
        "oesophagus",
        "left adrenal gland",
    ]
    out = import_layout(layout, tmp_path / "out" / "datalist.json")
    assert check_datalist(out).errors == []
    table = {0: 0, 6: 1, 2: 2, 3: 3, 1: 4, 4: 5, 5: 6, **{value: value for value in range(7, 14)}}
    np.testing.assert_array_equal(label_in(load_datalist(out)[0]), mapped(raw, table))
    with pytest.raises(ValueError, match="organs must be 'four' or 'all', got '5'"):
        read_btcv(tmp_path, organs="5")


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
    layout = read_mscmrseg(tmp_path)
    assert layout.broken == {"patient2": f"{tmp_path / 'labels' / 'patient2_T2_manual.nii.gz'} has no image."}
    assert {case.subject for case in layout.cases} == {"patient10"}


def test_real_heart_is_cropped(real_data, tmp_path):
    folder = real_data / "cardiac_ct" / "chest01"
    if not folder.is_dir():
        pytest.skip("no heart among the real images")
    whole, label = (nib.load(folder / name) for name in ("ct.nii.gz", "seg.nii.gz"))
    raw = np.array([0, 500, 820, 850], np.int16)[np.asarray(label.dataobj)]  # heart, aorta, pulmonary artery
    stem = tmp_path / "ct_train_1001"
    Path(f"{stem}_image.nii.gz").symlink_to(folder / "ct.nii.gz")
    nib.save(nib.Nifti1Image(raw, label.affine), f"{stem}_label.nii.gz")
    layout = read_mmwhs(tmp_path, structures="seven", crop="heart")
    # of 1.5 mm; a smaller window than the heart's, so that the box is the structures and 3 mm around
    layout = replace(layout, steps=[replace(layout.steps[0], size=(0, 0, 0), margin=3)])
    out = import_layout(layout, tmp_path / "out" / "datalist.json")
    assert check_datalist(out).errors == []
    item = load_datalist(out)[0]
    image, classes = (nib.load(item[key]) for key in ("image", "label"))
    box = tuple(slice(max(0, one.min() - 2), one.max() + 3) for one in np.nonzero(raw))
    np.testing.assert_array_equal(np.asarray(image.dataobj), np.asarray(whole.dataobj)[box])
    np.testing.assert_array_equal(np.asarray(classes.dataobj), mapped(raw, {0: 0, 500: 3, 820: 4, 850: 7})[box])
    np.testing.assert_allclose(image.affine, whole.slicer[box].affine, atol=1e-4)


def test_real_spleen(real_data, tmp_path):
    folder = real_data / "abdomen_ct_spleen" / "spleen2"
    if not folder.is_dir():
        pytest.skip("no spleen among the real images")
    for name, source in (("img", "ct"), ("label", "seg")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}0001.nii.gz").symlink_to(folder / f"{source}.nii.gz")
    out = import_layout(read_btcv(tmp_path), tmp_path / "out" / "datalist.json")
    assert check_datalist(out).errors == []
    assert np.bincount(label_in(load_datalist(out)[0]).ravel())[4] == 96672
