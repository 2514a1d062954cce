# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The writer: equal bytes, all or nothing, and no overwriting."""

import gzip
import json
import threading

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.phantom.writer import DATALIST, RECORD, is_phantom, write_folder

PARAMETERS = {"phantom": "test", "modalities": ["a"], "seed": 0}


def fill(folder, parameters=PARAMETERS):
    write_json(folder / DATALIST, {"training": []})
    write_json(folder / RECORD, {"parameters": parameters})


def test_nifti_bytes_and_space(tmp_path):
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, 6], [0, 0, 8.0, 7], [0, 0, 0, 1]])
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", array, affine)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == bytes(4)  # no time stamp
    assert gzip.decompress(content)[344:347] == b"n+1"
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), array)
    assert image.get_data_dtype() == np.int16
    np.testing.assert_allclose(image.affine, affine)
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-5)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_folder_is_made_once(tmp_path):
    calls = []
    for _ in range(2):
        path = write_folder(tmp_path / "x" / "y", PARAMETERS, lambda folder: (calls.append(1), fill(folder)))
    assert path == tmp_path / "x" / "y" / DATALIST
    assert calls == [1]
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["y"]


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "y").mkdir()
    assert write_folder(tmp_path / "y", PARAMETERS, fill).is_file()


@pytest.mark.parametrize("content", ["file", "other phantom", "itself a file"])
def test_other_content_is_kept(tmp_path, content):
    folder = tmp_path / "y"
    if content == "itself a file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    if content == "other phantom":
        fill(folder, {**PARAMETERS, "seed": 1})
    with pytest.raises(
        FileExistsError, match="out_dir must be new, empty or hold the phantom with the same parameters"
    ):
        write_folder(folder, PARAMETERS, fill)
    assert (folder if folder.is_file() else folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_failure_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        write_folder(tmp_path / "y", PARAMETERS, fail)
    assert list(tmp_path.iterdir()) == []


def test_two_at_a_time(tmp_path):
    barrier = threading.Barrier(2)
    paths = []

    def slow(folder):
        fill(folder)
        barrier.wait(timeout=10)  # both have found the folder missing

    threads = [
        threading.Thread(target=lambda: paths.append(write_folder(tmp_path / "y", PARAMETERS, slow))) for _ in "ab"
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert paths == [tmp_path / "y" / DATALIST] * 2
    assert [p.name for p in tmp_path.iterdir()] == ["y"]


def test_is_phantom(tmp_path):
    assert not is_phantom(tmp_path, PARAMETERS)
    fill(tmp_path)
    assert is_phantom(tmp_path, {**PARAMETERS, "modalities": ("a",)})
    assert not is_phantom(tmp_path, {**PARAMETERS, "seed": 1})
    for broken in ("{", json.dumps([1])):
        (tmp_path / RECORD).write_text(broken)
        assert not is_phantom(tmp_path, PARAMETERS)
