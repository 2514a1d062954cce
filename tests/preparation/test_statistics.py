# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.preparation import datalist_statistics, volume_facts
from tests.synthetic_volumes import write, write_study

GRID = ((14, 13, 5), (4.6, 4.2, 12.0))


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path, {"t1": GRID}, ("p1", "p2"))


def test_numbers(study):
    numbers = datalist_statistics(study)
    assert numbers["subjects"] == 2
    t1 = numbers["modalities"]["t1"]
    first = np.asarray(nib.load(study.parent / "images" / "p1_t1.nii.gz").dataobj)
    assert t1["intensity"]["mean"] == pytest.approx(float(first.mean()), rel=1e-4)
    assert t1["intensity"]["p99.5"] == pytest.approx(float(np.percentile(first, 99.5)), rel=1e-4)
    assert t1["spacing"]["median"] == pytest.approx([4.6, 4.2, 12.0], rel=1e-4)
    assert t1["shape"]["max"] == [14, 13, 5]
    assert t1["labelled"] == 2
    label = np.asarray(nib.load(study.parent / "labels" / "p1_t1.nii.gz").dataobj)
    assert t1["label_ml"]["core"]["min"] == pytest.approx((label == 2).sum() * 4.6 * 4.2 * 12 / 1000, abs=1e-4)


def test_what_is_broken_is_not_counted(study, capsys):
    for kind, name in (("images", "p1_t1"), ("labels", "p2_t1")):
        path = study.parent / kind / f"{name}.nii.gz"
        image = nib.load(path)
        values = np.asarray(image.dataobj).copy()
        if kind == "images":
            values[0, 0, 0] = np.nan
        write(path, values[: None if kind == "images" else -1], image.affine)
    with pytest.raises(
        ValueError, match=r"2 broken items.*\n.*p1_t1.nii.gz: 1 of 910 values are NaN.*\n.*another grid"
    ):
        datalist_statistics(study)
    assert main(["data", "stats", str(study)]) == 1
    assert "p1_t1.nii.gz: 1 of 910 values are NaN" in capsys.readouterr().err
    assert not study.with_name("datalist_stats.json").exists()


def test_each_file_is_read_once_and_warnings_are_said(study, monkeypatch, caplog):
    content = json.loads(study.read_text(encoding="utf-8"))
    content["test"] = [content["training"].pop()]
    content["labels"]["3"] = "scar"
    study.write_text(json.dumps(content), encoding="utf-8")
    read = []
    once = volume_facts.read_volume
    monkeypatch.setattr(volume_facts, "read_volume", lambda path: read.append(str(path)) or once(path))
    datalist_statistics(study)
    assert [path.rsplit("/", 2)[1:] for path in read] == [["images", "p1_t1.nii.gz"], ["labels", "p1_t1.nii.gz"]]
    assert "class 'scar' is declared and in no label" in caplog.text
