# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Folders of unpaired phantoms: datalists, numbers of patients, outliers, what is kept and what is refused."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist
from monai_mmseg.phantom import (
    CMR_PROTOCOLS,
    UnpairedVolume,
    make_abdomen_phantom,
    make_cardiac_phantom,
    make_cmr_phantom,
)
from monai_mmseg.phantom.ct_mr import CT_MR_PHANTOMS
from monai_mmseg.phantom.grid import oblique_grid
from monai_mmseg.phantom.unpaired import VolumeProtocol, plan_volume, points_per_voxel
from monai_mmseg.preparation import check_datalist

MAKERS = {"cardiac": make_cardiac_phantom, "abdomen": make_abdomen_phantom}
ARGUMENTS = {
    "subjects": {"ct": 3, "mr": 2},
    "test_subjects": {"ct": 1},
    "folds": 2,
    "size": 24,
    "seed": 5,
    "outliers": {"ct": 2, "mr": 1},
}


@pytest.fixture(scope="module", params=sorted(MAKERS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def phantom(kind, tmp_path_factory):
    return MAKERS[kind](tmp_path_factory.mktemp(kind) / "out", **ARGUMENTS)


def contents(path):
    return {str(p.relative_to(path.parent)): p.read_bytes() for p in sorted(path.parent.rglob("*")) if p.is_file()}


def test_layout(kind, phantom):
    datalist = json.loads(phantom.read_text(encoding="utf-8"))
    assert list(datalist) == ["name", "modalities", "labels", "training", "test"]
    assert (datalist["name"], datalist["modalities"]) == (f"{kind}_phantom", ["ct", "mr"])
    names = {
        "cardiac": ["background", "LV myocardium", "left atrium", "LV blood", "ascending aorta"],
        "abdomen": ["background", "liver", "right kidney", "left kidney", "spleen"],
    }
    assert datalist["labels"] == {str(value): name for value, name in enumerate(names[kind])}
    assert datalist["training"][1] == {
        "image": "images/ct02.nii.gz",
        "label": "labels/ct02.nii.gz",
        "modality": "ct",
        "subject": "ct02",
        "fold": 1,
    }
    assert [item["subject"] for item in datalist["training"]] == ["ct01", "ct02", "mr01", "mr02"]
    assert [item["subject"] for item in datalist["test"]] == ["ct03"]


def test_outliers_are_apart(kind, phantom):
    listed = load_datalist(phantom.with_name("outliers.json"), "test")
    assert [(item["subject"], item["modality"], item["meta"]) for item in listed] == [
        ("ct_outlier01", "ct", {"artefact": "metal"}),
        ("ct_outlier02", "ct", {"artefact": "low_dose"}),
        ("mr_outlier01", "mr", {"artefact": "ghosts"}),
    ]
    usual = json.loads(phantom.read_text(encoding="utf-8"))
    assert not [item for part in ("training", "test") for item in usual[part] if "outlier" in item["subject"]]
    images = {path.name: path.read_bytes() for path in (phantom.parent / "labels").iterdir()}
    assert len(set(images.values())) == len(images) == 8  # other patients, not the same ones spoilt
    record = json.loads((phantom.parent / "phantom.json").read_text(encoding="utf-8"))["subjects"]
    assert [record[name]["artefact"] for name in ("ct01", "ct_outlier01")] == [None, "metal"]


def test_the_check_finds_nothing_wrong(phantom):
    for name in ("datalist.json", "outliers.json"):
        assert check_datalist(phantom.with_name(name)).errors == []


def test_files_are_sound(phantom):
    record = json.loads((phantom.parent / "phantom.json").read_text(encoding="utf-8"))["subjects"]
    for item in load_datalist(phantom) + load_datalist(phantom, "test"):
        image, label = nib.load(item["image"]), nib.load(item["label"])
        np.testing.assert_array_equal(image.affine, label.affine)
        values = np.asarray(label.dataobj)
        assert image.shape == values.shape
        assert set(np.unique(values)) == {0, 1, 2, 3, 4}
        voxel = abs(np.linalg.det(image.affine[:3, :3])) / 1000
        expected = [(values == k).sum() * voxel for k in range(1, 5)]
        np.testing.assert_allclose(list(record[item["subject"]]["label_ml"].values()), expected, rtol=1e-3, atol=1e-3)


def test_same_seed_same_bytes(kind, phantom, tmp_path):
    assert contents(MAKERS[kind](tmp_path / "again", **ARGUMENTS)) == contents(phantom)


def test_patients_do_not_depend_on_the_others(kind, phantom, tmp_path):
    fewer = MAKERS[kind](tmp_path / "few", subjects={"mr": 2}, test_subjects={}, size=24, seed=5)
    assert not fewer.with_name("outliers.json").exists()
    images = {name: content for name, content in contents(fewer).items() if name.endswith(".nii.gz")}
    assert len(images) == 4
    assert images == {name: contents(phantom)[name] for name in images}
    assert json.loads(fewer.read_text(encoding="utf-8"))["modalities"] == ["mr"]


def test_another_seed_is_another_patient(kind, phantom, tmp_path):
    other = contents(MAKERS[kind](tmp_path / "other", subjects={"ct": 1}, test_subjects={}, size=24, seed=6))
    assert other["labels/ct01.nii.gz"] != contents(phantom)["labels/ct01.nii.gz"]


def test_same_folder_is_kept_and_others_refused(kind, phantom):
    before = phantom.stat().st_mtime_ns
    assert MAKERS[kind](phantom.parent, **ARGUMENTS) == phantom
    assert phantom.stat().st_mtime_ns == before
    for change in ({"seed": 6}, {"inverse": True}, {"outliers": None}, {"folds": 1}):
        with pytest.raises(FileExistsError, match="same parameters"):
            MAKERS[kind](phantom.parent, **{**ARGUMENTS, **change})


def test_numbers_of_the_paper_by_default(tmp_path, monkeypatch):
    grid = oblique_grid([0, 0, 0], np.eye(3), [1, 1, 1], [2, 2, 2])
    empty = UnpairedVolume(np.zeros((2, 2, 2), np.int16), np.zeros((2, 2, 2), np.uint8), grid)
    quick = replace(CT_MR_PHANTOMS["cardiac"], volume=lambda *args, **kwargs: empty)
    monkeypatch.setitem(CT_MR_PHANTOMS, "cardiac", quick)
    monkeypatch.setattr("monai_mmseg.workers.usable_cores", lambda: 1)  # others have the volumes of before
    datalist = json.loads(make_cardiac_phantom(tmp_path / "all").read_text(encoding="utf-8"))
    number = {
        (part, m): sum(item["modality"] == m for item in datalist[part])
        for part in ("training", "test")
        for m in ("ct", "mr")
    }
    assert number == {("training", "ct"): 24, ("test", "ct"): 6, ("training", "mr"): 7, ("test", "mr"): 2}
    for fold in range(7):  # every fold holds both modalities: 3 or 4 CT and one MR
        held = [item["modality"] for item in datalist["training"] if item["fold"] == fold]
        assert held.count("mr") == 1
        assert held.count("ct") in (3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": {"pet": 3}}, r"subjects must name modalities out of \['ct', 'mr'\], got \['pet'\]"),
        ({"subjects": {"ct": 0}}, "subjects must hold whole numbers of at least 1, got 0 for 'ct'"),
        ({"subjects": {"ct": 2.0}}, "subjects must hold whole numbers of at least 1, got 2.0 for 'ct'"),
        ({"subjects": 12}, r"subjects must map modalities out of \['ct', 'mr'\] to numbers, got 12"),
        ({"subjects": {}}, "subjects must give a number for one or more"),
        ({"test_subjects": {"mr": 10}}, "test_subjects must be at most subjects={'ct': 30, 'mr': 9}, got {'mr': 10}"),
        ({"subjects": {"ct": 2}, "test_subjects": {"mr": 1}}, r"test_subjects must name modalities out of \['ct'\]"),
        ({"outliers": {"ct": True}}, "outliers must hold whole numbers of at least 0, got True for 'ct'"),
        ({"outliers": {"us": 1}}, "outliers must name modalities"),
        ({"folds": 0}, "folds must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"size": 16}, "size must be a whole number of at least 24, got 16"),
        ({"size": 0}, "size must be a whole number of at least 24, got 0"),
        ({"inverse": 1}, "inverse must be true or false, got 1"),
    ],
)
def test_invalid_arguments(kind, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        MAKERS[kind](tmp_path / "x", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_plan():
    protocol = VolumeProtocol("PIR", (200, 200), 0.5, (120, 120), (2, 2), (3, 3), tilt_sd=0.0, offset_sd=0.0)
    full = plan_volume(np.random.default_rng(0), protocol, np.array([5.0, 6.0, 7.0]), None)
    assert full.shape == (100, 50, 40)
    np.testing.assert_allclose(full.spacing, (2, 2, 3))
    np.testing.assert_allclose(full.axes, [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-6)
    np.testing.assert_allclose(full.affine @ [49.5, 24.5, 19.5, 1], [5, 6, 7, 1], atol=1e-4)
    small = plan_volume(np.random.default_rng(0), protocol, np.zeros(3), 25)
    assert small.shape == (25, 12, 15)  # 8 mm voxels: slices are no thinner
    assert points_per_voxel(full) == (2, 2, 1)


def test_short_axis_patients_and_spacing(tmp_path):
    path = make_cmr_phantom(tmp_path / "cmr", subjects={"bssfp": 2, "lge": 2}, test_subjects={"lge": 1}, size=32)
    assert check_datalist(path).errors == []
    items = load_datalist(path) + load_datalist(path, "test")
    assert [item["subject"] for item in items] == ["bssfp01", "bssfp02", "lge01", "lge02"]
    labels = []
    for item in items:
        label = nib.load(item["label"])
        low, high = {"bssfp": (8, 13), "lge": (5, 5)}[item["modality"]]
        assert low - 1e-4 <= label.header.get_zooms()[2] <= high + 1e-4
        fewest, most = CMR_PROTOCOLS[item["modality"]].slices
        assert fewest <= label.shape[2] <= most
        assert set(np.unique(np.asarray(label.dataobj))) == {0, 1, 2, 3}
        labels.append(np.asarray(label.dataobj).tobytes())
    assert len(set(labels)) == 4
    with pytest.raises(ValueError, match=r"subjects must name modalities out of \['bssfp', 'lge'\], got \['ct'\]"):
        make_cmr_phantom(tmp_path / "x", subjects={"ct": 1})
