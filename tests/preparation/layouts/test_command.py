# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``mmseg data layout``."""

from __future__ import annotations

from monai_mmseg.cli.main import main
from monai_mmseg.preparation import check_datalist
from tests.preparation.layouts.public_sets import write_pair


def test_btcv(tmp_path, capsys):
    write_pair(tmp_path / "img" / "img0001.nii.gz", tmp_path / "label" / "label0001.nii.gz", range(1, 14))
    out = tmp_path / "list" / "datalist.json"
    assert main(["data", "layout", "btcv", str(tmp_path), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "6 -> 1 liver; 2 -> 2 right kidney; 3 -> 3 left kidney; 1 -> 4 spleen" in shown
    assert "0, 4-5, 7-13 -> 0 background" in shown
    assert "https://www.synapse.org" in shown
    assert check_datalist(out).errors == []


def test_wrong_use(tmp_path, capsys):
    for words, message in (
        (["btvc", str(tmp_path)], "there is no layout 'btvc'; there are ['btcv', 'chaos', 'mmwhs', 'mscmrseg']"),
        (["btcv", str(tmp_path)], "holds no images of this data set; wanted are files such as RawData/Training"),
        (["btcv", str(tmp_path / "none")], "folder must be where the data set was unpacked"),
        (["chaos", str(tmp_path), "--sequence", "t1"], "sequence must be one of"),
    ):
        assert main(["data", "layout", *words, "--out", str(tmp_path / "x.json")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()
