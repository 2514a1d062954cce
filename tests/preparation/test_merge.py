# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist, merge_datalists
from tests.synthetic_volumes import write_study

GRID = ((8, 8, 4), (8, 8, 12))


@pytest.fixture
def lists(tmp_path):
    return [
        write_study(tmp_path / "one", {"ct": GRID}, subjects=("a", "b")),
        write_study(tmp_path / "two", {"mr": GRID}, subjects=("c",)),
    ]


def test_items_and_files_of_both(lists, tmp_path, capsys):
    out = tmp_path / "both" / "datalist.json"
    assert main(["data", "merge", "--lists", *map(str, lists), "--out", str(out)]) == 0
    assert f"2 datalists: {out}" in capsys.readouterr().out
    assert check_datalist(out).errors == []
    assert read_datalist(out).modalities == ["ct", "mr"]
    assert [(item["subject"], item["modality"]) for item in load_datalist(out)] == [
        ("a", "ct"),
        ("b", "ct"),
        ("c", "mr"),
    ]
    assert json.loads(out.read_text(encoding="utf-8"))["training"][0]["image"] == "../one/images/a_ct.nii.gz"


def test_refuses_what_does_not_fit(lists, tmp_path):
    out = tmp_path / "datalist.json"
    with pytest.raises(ValueError, match="two datalists or more"):
        merge_datalists(lists[:1], out)
    same = write_study(tmp_path / "three", {"mr": GRID}, subjects=("b",))
    with pytest.raises(ValueError, match=r"subject 'b' is in .*one.datalist.json and in .*three.datalist.json"):
        merge_datalists([*lists, same], out)
    content = json.loads(lists[1].read_text(encoding="utf-8"))
    lists[1].write_text(json.dumps({**content, "labels": {"0": "background", "1": "core", "2": "shell"}}))
    with pytest.raises(ValueError, match="labels must be the same in all lists"):
        merge_datalists(lists, out)
    assert not out.exists()
