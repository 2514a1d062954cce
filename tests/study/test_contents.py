# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data that change beneath a study."""

from __future__ import annotations

import gzip

import pytest

from monai_mmseg.files import BLOCK, BLOCKS, file_mark
from monai_mmseg.study import Cell, CellResult, StudyError, write_cell
from monai_mmseg.study.contents import contents, image_mark, settle_changes
from tests.study.listed import listed


@pytest.fixture
def study(tmp_path):
    """Contents of a datalist, a cell that has trained, and one that was begun."""
    found = contents(data := listed(tmp_path / "data"), data.sections)
    settle_changes(tmp_path, "all", 0, found, str)
    cells = [Cell("dafnet", "all", 0, seed).folder(tmp_path) for seed in (0, 1)]
    for one in cells:
        (one / "models").mkdir(parents=True)
        for name in ("training", "evaluating"):
            (one / f"{name}.json").touch()
    (tmp_path / "plans").mkdir()
    return tmp_path, found, cells


def test_cells_that_ended_are_of_one_data_set(study):
    folder, found, cells = study
    write_cell(CellResult(Cell("dafnet", "all", 0, 1), cells[1], "done"))
    settle_changes(folder, "all", 0, found, str)
    for changed in ({**found, "training s0 lge": "other"}, {key: found[key] for key in list(found)[:-1]}):
        with pytest.raises(StudyError, match=r"all, fold 0: (training s0|test s7) lge changed since 1 of them ended"):
            settle_changes(folder, "all", 0, changed, str)
    settle_changes(folder, "other", 0, changed, str)  # nothing has ended there
    assert (folder / "plans").is_dir()


def test_what_was_begun_on_other_data_begins_anew(study):
    folder, found, cells = study
    said: list[str] = []
    settle_changes(folder, "all", 0, {**found, "test s6 lge": "repaired"}, said.append)
    assert said == ["all, fold 0: test s6 lge changed: its cells begin anew."]
    assert [sorted(path.name for path in one.iterdir()) for one in cells] == [["models", "training.json"]] * 2
    settle_changes(folder, "all", 0, found | {"training s0 lge": "other"}, said.append)
    assert not any(one.exists() for one in [*cells, folder / "plans"])


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_files_are_told_apart_where_their_sizes_are_not(tmp_path, ending):
    marks = []
    for name, at in (("a", 5), ("b", 6), ("again", 5)):
        values = bytearray(BLOCK * BLOCKS * 2)
        values[at] = 1
        path = tmp_path / f"{name}.{ending}"
        path.write_bytes(gzip.compress(values, mtime=0) if ending == "nii.gz" else values)
        marks.append(file_mark(path))
    assert marks[0] == marks[2] != marks[1]
    assert file_mark(tmp_path) == file_mark(tmp_path / "gone") == ""


def test_a_contour_counts_voxel_by_voxel(tmp_path):
    """A large file is sampled, but for labels: one voxel that was drawn anew lies between the samples."""
    path, content = tmp_path / "label.nii", bytearray(4 * BLOCK * BLOCKS)
    path.write_bytes(content)
    image, label = image_mark(path), image_mark(path, contour=True)
    content[2 * BLOCK] = 1
    path.write_bytes(content)
    assert image_mark(path) == image
    assert image_mark(path, contour=True) != label


def test_all_files_of_an_image_count_and_marks_of_one_stay(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"one file")
    # 8 bytes; sha256 of them by the command of that name
    assert image_mark(tmp_path / "a.nii") == file_mark(tmp_path / "a.nii") == "8 5a62d4db4ce377b0"
    (tmp_path / "b.mhd").write_text("NDims = 3\nElementDataFile = b.zraw\n")
    files = {"b.mhd": "b.zraw", "c.hdr": "c.img", "slices": "slices/2.dcm"}
    (tmp_path / "c.hdr").touch()
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "1.dcm").touch()
    values = bytearray(BLOCK * BLOCKS * 4)
    for data in files.values():
        (tmp_path / data).write_bytes(values)
    before = {name: image_mark(tmp_path / name) for name in files}
    assert before == {name: image_mark(tmp_path / name) for name in files}
    values[BLOCK + BLOCK // 2] = 1  # between the places that are read of a large file of its own
    for name, data in files.items():
        (tmp_path / data).write_bytes(values)
        assert image_mark(tmp_path / name) != before[name]
    assert image_mark(tmp_path / "gone") == ""
