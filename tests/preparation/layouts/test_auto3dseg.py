# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.preparation.layouts.auto3dseg import read_auto3dseg
from tests.preparation.layouts.other_tools import image_of, put, put_json, rows

FIELDS = ("subject", "modality", "image", "frame", "label", "fold", "section")


@pytest.fixture
def scans(tmp_path):
    for seed, name in enumerate(["s1", "s2"]):
        for kind in ("t1", "t2", "seg"):
            put(tmp_path / "scans" / name / f"{kind}.nii.gz", image_of(seed) % 2 if kind == "seg" else image_of(seed))
    put(tmp_path / "scans" / "both.nii.gz", image_of(5, 2))
    return tmp_path


def items(*names):
    return [
        {
            "image": [f"scans/{name}/t1.nii.gz", f"./scans/{name}/t2.nii.gz"],
            "label": f"scans/{name}/seg.nii.gz",
            "fold": fold,
        }
        for fold, name in enumerate(names)
    ]


def test_lists_of_channels(scans):
    content = {"training": items("s1", "s2"), "testing": [{"image": "scans/both.nii.gz"}]}
    source = put_json(scans / "task.json", content)
    found = read_auto3dseg(source, modalities=["t1", "t2"], labels="lesion=1", case=None)
    assert (found.name, found.modalities, found.labels) == ("task", ["t1", "t2"], {0: "background", 1: "lesion"})
    assert rows(found.cases, *FIELDS) == [
        ("scans_s1_t1", "t1", "t1.nii.gz", None, "seg.nii.gz", 0, "training"),
        ("scans_s1_t1", "t2", "t2.nii.gz", None, "seg.nii.gz", 0, "training"),
        ("scans_s2_t1", "t1", "t1.nii.gz", None, "seg.nii.gz", 1, "training"),
        ("scans_s2_t1", "t2", "t2.nii.gz", None, "seg.nii.gz", 1, "training"),
        ("scans_both", "t1", "both.nii.gz", 0, None, None, "test"),
        ("scans_both", "t2", "both.nii.gz", 1, None, None, "test"),
    ]
    source = put_json(scans / "task.json", {"training": items("s1", "s2")})
    found = read_auto3dseg(source, modalities=["t1", "t2"], labels="lesion=1", case="scans/{subject}/*")
    assert [case.subject for case in found.cases] == ["s1", "s1", "s2", "s2"]


def test_another_root(scans, tmp_path_factory):
    content = {"name": "x", "validation": [{"image": "scans/s1/t1.nii.gz"}], "test": ["scans/both.nii.gz"]}
    source = put_json(tmp_path_factory.mktemp("lists") / "a.json", content)
    found = read_auto3dseg(source, modalities=["t1"], dataroot=str(scans))
    assert rows(found.cases, "subject", "section") == [("t1", "validation")]
    assert "holds 2 channels, 1 are named: t1" in found.broken["both"]
    assert len(read_auto3dseg(source, modalities=["t1"]).broken) == 2


def test_subjects_that_are_broken(scans):
    for name in ("s1/t2", "s2/seg"):
        (scans / "scans" / f"{name}.nii.gz").unlink()
    short = {"image": ["scans/s2/t1.nii.gz"] * 3}
    source = put_json(scans / "task.json", {"training": [*items("s1", "s2"), short]})
    found = read_auto3dseg(source, modalities=["t1", "t2"], labels="lesion=1")
    assert found.cases == []
    assert "s1/t2.nii.gz: no such file" in found.broken["scans_s1_t1"]
    assert "are 3 channels, 2 modalities are named" in found.broken["scans_s2_t1"]


def test_lists_that_are_wrong(scans):
    ok = {"modalities": ["t1", "t2"], "labels": "lesion=1"}
    for content, words, message in (
        ({"training": items("s1")}, {**ok, "labels": None}, "labels must say what the values are"),
        ({"training": items("s1")}, {**ok, "modalities": ["a", "a"]}, "modalities must be distinct"),
        ({"training": items("s1")}, {**ok, "case": "x/{subject}"}, "does not fit the pattern"),
        ({"training": items("s1", "s1")}, {**ok, "case": "scans/{subject}/t1*"}, "has two images of modality 't1'"),
        ({}, ok, "has no items in any of the lists"),
        ({"training": {"image": "a"}}, ok, "'training' must be a list of items, got dict"),
        ({"training": [{"label": "a"}]}, ok, r"training\[0\]: 'image' must be a path or a list of paths, got None"),
        ({"training": [{"image": "a", "label": ["b"]}]}, ok, "'label' must be one path"),
        ({"training": [{"image": "a", "fold": "0"}]}, ok, "'fold' must be a number from 0, got '0'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_auto3dseg(put_json(scans / "task.json", content), **words)
    with pytest.raises(ValueError, match="is a folder; name the JSON file"):
        read_auto3dseg(scans, **ok)
