# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers of a data set that was made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.planning import fingerprint
from monai_mmseg.planning import fingerprint as function
from monai_mmseg.transforms.image_files import VolumeError

AFFINE = np.diag([-1.5, -1.5, 4.0, 1.0])  # as axial slices come: rows to the left, then to the back


def _save(path: Path, values: np.ndarray) -> str:
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return path.name


@pytest.fixture
def data(tmp_path):
    """Two subjects with a bright block in T1 and T2, T2 without a label for the second."""
    generator = np.random.default_rng(0)
    items = []
    for number in range(2):
        block = np.zeros((40, 30, 6), np.uint8)
        block[10:20, 5:20, 2:5] = 1
        base = generator.normal(100, 10, block.shape).astype(np.float32) + 100 * block
        label = _save(tmp_path / f"{number}_label.nii.gz", block)
        for name, values in (("t1", base), ("t2", 400 - base)):
            image = _save(tmp_path / f"{number}_{name}.nii.gz", values.astype(np.float32))
            items.append({"image": image, "modality": name, "subject": f"s{number}", "fold": number, "label": label})
    del items[-1]["label"]
    content = {"name": "blocks", "modalities": ["t1", "t2"], "labels": {"0": "background", "1": "block"}}
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({**content, "training": items}))
    return path


def test_numbers_by_hand(data):
    found = fingerprint(data)
    first = found["images"][0]
    assert (first["subject"], first["modality"], first["plane"]) == ("s0", "t1", "axial")
    assert first["shape"] == [30, 40, 6]  # rows run from front to back
    assert first["spacing"] == pytest.approx([1.5, 1.5, 4.0])
    assert [stop - start for start, stop in first["foreground"]] == [15, 10, 3]
    assert first["label_voxels"] == {"block": 450}
    assert found["images"][3]["foreground"] is None
    assert found["intensity"]["t1"]["foreground"]["mean"] == pytest.approx(200, abs=2)
    assert found["intensity"]["t1"]["foreground"]["p99.5"] == pytest.approx(200 + 2.576 * 10, abs=4)
    assert found["subjects"][1] == {"subject": "s1", "fold": 1, "images": ["t1", "t2"], "labelled": ["t1"]}
    assert [(one["one_grid"], one["offset"]) for one in found["pairs"]] == [(True, 0.0)] * 2


def test_what_was_measured_is_kept_until_a_file_changes(data, monkeypatch):
    first = fingerprint(data)
    kept = data.with_name("datalist.fingerprint.json")
    assert json.loads(kept.read_text()) == first
    module = __import__("importlib").import_module(function.__module__)
    monkeypatch.setattr(module, "_measure", lambda *_: {"measured": "anew"})
    assert fingerprint(data) == first
    _save(data.with_name("0_t1.nii.gz"), np.ones((40, 30, 6), np.float32))
    assert fingerprint(data)["measured"] == "anew"


def test_nothing_is_kept_unless_asked(data):
    fingerprint(data, keep=False)
    assert not data.with_name("datalist.fingerprint.json").exists()


def test_broken_data_are_named(data):
    data.with_name("0_t1.nii.gz").write_bytes(b"no image")
    with pytest.raises(VolumeError, match=r"0_t1\.nii\.gz"):
        fingerprint(data)
    data.write_text(json.dumps({**json.loads(data.read_text()), "training": []}))
    with pytest.raises(ValueError, match="the training section is empty"):
        fingerprint(data)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("0_t1", [np.nan], "are NaN or infinite"),
        ("0_t1", [], "the image is constant"),
        ("0_label", [7], "label values must be one of the declared"),
    ],
)
def test_what_no_training_could_use(data, name, values, message):
    path = data.with_name(f"{name}.nii.gz")
    image = nib.load(path)
    array = np.zeros(image.shape, np.float32)
    array.flat[: len(values)] = values
    nib.save(nib.Nifti1Image(array, image.affine), path)
    with pytest.raises(VolumeError, match=rf"{name}\.nii\.gz: .*{message}"):
        fingerprint(data)
