# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``mmseg data import``."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

from monai_mmseg.cli.imports import COMMON, DOORS, READERS, _next_steps
from monai_mmseg.cli.main import COMMANDS, main
from monai_mmseg.preparation import check_datalist
from tests.preparation.layouts.public_sets import write_pair

IMPORTS = sorted(name.split()[-1] for name in COMMANDS if name.startswith("data import "))


@pytest.fixture
def btcv(tmp_path):
    folder = tmp_path / "btcv"
    for number in ("0001", "0002"):
        write_pair(folder / "img" / f"img{number}.nii.gz", folder / "label" / f"label{number}.nii.gz", range(1, 14))
    return folder


def run(capsys, *words):
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_data_set(btcv, tmp_path, capsys):
    out = tmp_path / "out"
    code, said, error = run(capsys, "data", "import", "btcv", btcv, "--out", out)
    assert (code, error) == (0, "")
    assert "ct        2       2         0" in said
    assert "6 -> 1 liver; 2 -> 2 right kidney; 3 -> 3 left kidney; 1 -> 4 spleen" in said
    assert "0, 4-5, 7-13 -> 0 background" in said
    assert "https://www.synapse.org" in said
    assert said.splitlines()[-3:] == [
        f"  mmseg data check {out}/datalist.json",
        f"  mmseg data split {out}/datalist.json --folds 2",
        f"  mmseg plan {out}/datalist.json --out my_btcv",
    ]
    assert check_datalist(out / "datalist.json").errors == []
    assert (out / "datalist_sheet.png").is_file()
    record = json.loads((out / "preparation.json").read_text(encoding="utf-8"))
    assert (record["kind"], record["source"]) == ("btcv", "../btcv")
    code, _, error = run(capsys, "data", "import", "btcv", btcv, "--out", out)
    assert code == 1
    assert f"{out}/datalist.json is there already; name another one, or overwrite it (--overwrite" in error
    assert run(capsys, "data", "import", "btcv", btcv, "--out", out, "--overwrite", "--no-sheet")[0] == 0


def test_broken_subjects(btcv, tmp_path, capsys):
    for number in ("0001", "0002"):
        path = btcv / "label" / f"label{number}.nii.gz"
        path.write_bytes(path.read_bytes()[:80])
    words = ["data", "import", "btcv", btcv, "--out", tmp_path / "out"]
    code, _, error = run(capsys, *words)
    assert code == 1
    assert error.startswith("mmseg data import btcv: 2 of 2 subjects cannot be used, nothing is written (--skip-broken")
    assert error.count("cannot be read as an image") == 2
    write_pair(btcv / "img" / "img0002.nii.gz", btcv / "label" / "label0002.nii.gz", range(1, 14))
    code, said, _ = run(capsys, *words, "--skip-broken", "--no-sheet")
    assert code == 0
    assert "left out:\n  - btcv_0001: " in said
    assert "ct        1       1         0" in said


def test_visits_that_stay_are_counted(btcv, tmp_path, capsys):
    files = sorted((btcv / "img").iterdir())
    for number, path in enumerate(files):
        path.rename(path.with_name(f"p_{number}.nii.gz"))
    words = ["--out", tmp_path / "out", "--image", "ct=img/{subject}_{visit}.nii.gz"]
    (btcv / "img" / "p_0.nii.gz").write_bytes(b"no")
    code, said, _ = run(capsys, "data", "import", "folder", btcv, *words, "--skip-broken", "--no-sheet")
    assert code == 0
    assert "left out:\n  - p_0: " in said
    assert "ct        1       0         0" in said
    assert said.splitlines()[-2:] == ["next:", f"  mmseg data check {tmp_path / 'out'}/datalist.json"]  # one person


def test_next_steps_can_be_run(btcv, tmp_path, capsys):
    """Plan wants folds; a list that has some, or one alone, gets others by force."""
    path = tmp_path / "out" / "datalist.json"
    _, said, _ = run(capsys, "data", "import", "btcv", btcv, "--out", tmp_path / "out", "--no-sheet")
    (split,) = [line.split()[1:] for line in said.splitlines() if "data split" in line]
    assert run(capsys, *split)[0] == 0
    assert [words[:2] for words in _next_steps(path, "b")] == [["data", "check"], ["plan", str(path)]]
    content = json.loads(path.read_text(encoding="utf-8"))
    content["training"] = [{**item, "fold": 0, "subject": str(i)} for item in content["training"] for i in range(5)]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert ["data", "split", str(path), "--overwrite"] in list(_next_steps(path, "b"))


@pytest.mark.parametrize("kind", IMPORTS)
def test_flags_are_those_of_the_reader(kind, capsys):
    reader = getattr(importlib.import_module(f"{READERS}.{kind}"), f"read_{kind}")
    _, *options = inspect.signature(reader, eval_str=True).parameters.values()
    flags = inspect.signature(COMMANDS[f"data import {kind}"]).parameters
    assert list(flags) == ["source", "out", *(one.name for one in options), *COMMON]
    for one in options:
        flag = flags[one.name]
        assert flag.default == one.default
        assert one.annotation in (flag.annotation, flag.annotation | None)
    assert main(["data", "import", kind, "--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"--{one.name.replace('_', '-')}" in told for one in options)
    described = COMMANDS[f"data import {kind}"].help
    assert [one.name for one in options if f"\n    {one.name}: " not in described] == []


def test_readers_are_found_by_their_names():
    made = {path.stem for path in Path(importlib.import_module(READERS).__file__).parent.glob("*.py")}
    assert set(IMPORTS) == made & set(DOORS)


def test_wrong_use(tmp_path, capsys):
    for words, message, code in (
        (["import", "btvc", tmp_path], "unknown command 'data import btvc'. Did you mean data import btcv", 2),
        (["import", "btcv", tmp_path, "--organ", "x"], "no flag --organ", 2),
        (["import", "btcv", tmp_path, "--workers", "0"], "holds no images", 1),
        (["import", "btcv", tmp_path / "none"], "folder must be where the data set was unpacked", 1),
        (
            ["layout", "btvc", tmp_path],
            "no layout 'btvc'; there are ['btcv', 'chaos', 'mmwhs', 'mscmrseg']",
            1,
        ),
        (
            ["layout", "btcv", tmp_path],
            "no images of this data set; wanted are files such as RawData/Training",
            1,
        ),
        (["layout", "chaos", tmp_path, "--sequence", "t1"], "sequence must be one of", 1),
    ):
        assert main(["data", *map(str, words), "--out", str(tmp_path / "x.json")]) == code
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_older_name(btcv, tmp_path, capsys):
    out = tmp_path / "list" / "a.json"
    assert main(["data", "layout", "btcv", str(btcv), "--out", str(out)]) == 0
    assert "6 -> 1 liver" in capsys.readouterr().out
    assert check_datalist(out).errors == []
    assert {"a.json", "a_preparation.json"} <= {path.name for path in out.parent.iterdir()}
    assert main(["data", "--help"]) == 0
    assert "layout" not in capsys.readouterr().out
    assert main(["data", "layout", "btcv", str(btcv), "--out", str(tmp_path / "folder")]) == 1
    assert "out must be a .json file" in capsys.readouterr().err
