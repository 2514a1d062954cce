# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

import monai_mmseg.cli.main as command_line
from monai_mmseg.cli.main import COMMANDS, main
from tests.synthetic_volumes import write_study

GRIDS = {"cine": ((24, 22, 6), (3.0, 3.2, 9.0)), "lge": ((20, 24, 7), (3.6, 3.0, 8.0))}


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path, GRIDS, subjects=("s1", "s2", "s3"))


@pytest.fixture
def probe(monkeypatch):
    """A command that records what it was called with."""
    calls = []

    def function(
        name: str, *, names: Sequence[str] = (), count: int = 1, rate: float = 0.5, dry: bool = False, out: str = ""
    ) -> int:
        """Record."""
        calls.append({"name": name, "names": list(names), "count": count, "rate": rate, "dry": dry, "out": out})
        return 0

    monkeypatch.setattr(command_line, "_load", lambda command: function)
    monkeypatch.setitem(COMMANDS, "probe", "nowhere:function")
    return calls


def test_lists_numbers_and_text(probe):
    assert (
        main(["probe", "x", "--names", "cine", "lge", "--count", "3", "--rate", "1e-3", "--dry", "--out", "2024"]) == 0
    )
    assert probe[0] == {"name": "x", "names": ["cine", "lge"], "count": 3, "rate": 0.001, "dry": True, "out": "2024"}
    main(["probe", "007", "--names=a,b", "--count=-2"])
    assert (probe[1]["name"], probe[1]["names"], probe[1]["count"]) == ("007", ["a", "b"], -2)
    main(["probe", 'it\'s "so" \\ odd', "--names", "a"])
    assert (probe[2]["name"], probe[2]["names"]) == ('it\'s "so" \\ odd', ["a"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("probe x --cuont 3", "no flag --cuont. Did you mean --count"),
        ("probe", "needs 1 values (NAME), got 0"),
        ("probe x y", "needs 1 values (NAME), got 2"),
        ("probe x --count", "--count needs a value"),
        ("probe x --names --count 1", "--names needs one or more values"),
        ("probe x --count 1 --count 2", "--count is given twice"),
        ("prob x", "unknown command 'prob x'. Did you mean probe"),
        ("data chekc x", "unknown command 'data chekc'. Did you mean data check"),
        ("data", "'data' is followed by what to do with it"),
    ],
)
def test_wrong_use_is_an_error_with_the_closest_names(probe, capsys, words, message):
    assert main(words.split()) == 2
    assert message in capsys.readouterr().err
    assert probe == []


def test_every_command_loads_and_has_help(capsys):
    for command in COMMANDS:
        assert main([*command.split(), "--help"]) == 0
        assert f"usage: mmseg {command}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert main([]) == 2


def test_check_says_what_is_there(study, capsys):
    assert main(["data", "check", str(study)]) == 0
    out = capsys.readouterr().out
    assert "No broken item." in out
    assert "24 x 22 x 6" in out
    assert (study.parent / "datalist_sheet.png").exists()


def test_check_fails_on_broken_items(study, capsys):
    (study.parent / "images" / "s2_lge.nii.gz").unlink()
    assert main(["data", "check", str(study), "--no-sheet"]) == 1
    out = capsys.readouterr().out
    assert "broken (1):" in out
    assert "s2_lge.nii.gz: no such file" in out
    assert main(["data", "check", str(study.parent / "lost.json")]) == 1
    assert "no such datalist" in capsys.readouterr().err


def test_split_stats_and_stack(study, tmp_path):
    assert main(["data", "split", str(study), "--folds", "3", "--seed", "1"]) == 0
    assert {one["fold"] for one in json.loads(study.read_text(encoding="utf-8"))["training"]} == {0, 1, 2}
    assert main(["data", "stats", str(study)]) == 0
    assert json.loads((study.parent / "datalist_stats.json").read_text(encoding="utf-8"))["subjects"] == 3
    assert main(["data", "stack", str(study), "--target", "lge", "--out", str(tmp_path / "stacks")]) == 0
    assert len(list((tmp_path / "stacks").glob("*.nii.gz"))) == 3


def test_stacks_are_named_after_whole_subjects(study, tmp_path):
    content = json.loads(study.read_text(encoding="utf-8"))
    new = {"s1": "1.2.840.113", "s2": "1.2.840.114", "s3": "s01.a"}
    for one in content["training"]:
        one["subject"] = new[one["subject"]]
    study.write_text(json.dumps(content))
    assert main(["data", "stack", str(study), "--target", "lge", "--out", str(tmp_path / "stacks")]) == 0
    assert sorted(path.name for path in (tmp_path / "stacks").glob("*.gz")) == [
        f"{name}.nii.gz" for name in new.values()
    ]


def test_the_phantom_is_asked_for_as_in_the_documents(monkeypatch, tmp_path, capsys):
    import monai_mmseg.phantom as phantom

    calls = []
    monkeypatch.setattr(phantom, "make_heart_phantom", lambda out, **kwargs: calls.append((out, kwargs)) or out)
    words = f"data phantom heart --modalities cine lge --subjects 12 --seed 0 --out {tmp_path}"
    assert main(words.split()) == 0
    asked = {"modalities": ["cine", "lge"], "subjects": 12, "seed": 0, "test_subjects": None, "motion": 1.0}
    assert calls == [(str(tmp_path), asked)]
    assert main(["data", "phantom", "hart", "--out", str(tmp_path)]) == 1
    assert "there is no phantom 'hart'" in capsys.readouterr().err


def test_it_runs_as_a_module(repository):
    done = subprocess.run(
        [sys.executable, "-m", "monai_mmseg", "--version"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0.1.0")
