# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

import pytest

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
        name: str,
        *,
        names: Sequence[str] = ("a", "b"),
        count: int = 1,
        rate: float | None = None,
        dry: bool = False,
        out: str = "",
        shares: Mapping[str, int] | None = None,
    ) -> None:
        """Record.

        More about it.

        Args:
            name: of the call,
                in two lines.
            names: which; 100 % of them.
            count: how many.
            rate: how fast; default is slow.
        """
        calls.append(
            {"name": name, "names": names, "count": count, "rate": rate, "dry": dry, "out": out, "shares": shares}
        )

    monkeypatch.setitem(COMMANDS, "probe", function)
    return calls


def test_lists_numbers_and_text(probe):
    words = "probe x --names cine lge --count 3 --rate 1e-3 --dry --out 2024 --shares ct=2 mr=0"
    assert main(words.split()) == 0
    asked = {"name": "x", "names": ["cine", "lge"], "count": 3, "rate": 0.001, "dry": True, "out": "2024"}
    assert probe.pop() == {**asked, "shares": {"ct": 2, "mr": 0}}
    words = "probe 007 --names=a,b --count=-2 --out -5 --rate -1.5 --shares=ct=2,mr=3"
    assert main(words.split()) == 0
    asked = {"name": "007", "names": ["a", "b"], "count": -2, "rate": -1.5, "dry": False, "out": "-5"}
    assert probe.pop() == {**asked, "shares": {"ct": 2, "mr": 3}}
    assert main(["probe", "--count", "-2", 'it\'s "so" \\ odd', "--out=--dry"]) == 0
    asked = {"name": 'it\'s "so" \\ odd', "names": ("a", "b"), "count": -2, "rate": None, "dry": False}
    assert probe.pop() == {**asked, "out": "--dry", "shares": None}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("probe x --cuont 3", "mmseg probe: no flag --cuont. Did you mean --count"),
        ("probe x -count 3", "no flag -count. Did you mean --count"),
        ("probe x --cou 3", "no flag --cou. Did you mean --count"),
        ("probe", "required: NAME"),
        ("probe x y", "unrecognized arguments: y"),
        ("probe x --count", "--count: expected one argument"),
        ("probe x --names --count 1", "--names: expected at least one argument"),
        ("probe x --names ,", "--names: needs one or more values"),
        ("probe x --count 1 --count 2", "--count is given twice"),
        ("probe x --dry --count=1 --dry", "--dry is given twice"),
        ("probe x --count abc", "--count: invalid int value: 'abc'"),
        ("probe x --count 2.7", "--count: invalid int value: '2.7'"),
        ("probe x --rate fast", "--rate: invalid float value: 'fast'"),
        ("probe x --shares 12", "--shares: needs a number for each modality, such as ct=3 mr=3, got 12"),
        ("probe x --shares ct=1 ct=2", "--shares: needs a number for each modality"),
        ("probe x --shares ct=-1", "--shares: needs a number for each modality"),
        ("probe x --dry false", "unrecognized arguments: false"),
        ("probe x --dry=false", "--dry: ignored explicit argument 'false'"),
        ("prob x", "mmseg: unknown command 'prob'. Did you mean probe"),
        ("data chekc x", "unknown command 'data chekc'. Did you mean data check"),
        ("data phantom hart --out x", "unknown command 'data phantom hart'. Did you mean data phantom heart"),
        ("--verson", "unknown command '--verson'. Did you mean --version"),
        ("data", "'data' is followed by what to do with it"),
        ("data phantom", "'data phantom' is followed by what to do with it"),
    ],
)
def test_wrong_use_is_an_error_with_the_closest_names(probe, capsys, words, message):
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert probe == []


def test_every_command_has_help(capsys):
    for command in COMMANDS:
        assert main([*command.split(), "--help"]) == 0
        assert f"usage: mmseg {command}" in capsys.readouterr().out
    assert main([]) == 2


def test_help_of_a_command_shows_flags_and_defaults(probe, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["probe", "x", "-h"]) == 0
    out = capsys.readouterr().out
    for line in (
        "Record. More about it.",
        "NAME                  of the call, in two lines.",
        "--names NAME [NAME ...]",
        "which; 100 % of them. (default: a b)",
        "--count N             how many. (default: 1)",
        "--rate X              how fast; default is slow.\n",
    ):
        assert line in out
    assert probe == []


def test_help_of_a_group_lists_its_commands(capsys):
    assert main(["data", "--help"]) == 0
    out = capsys.readouterr().out
    assert "mmseg data phantom heart  " in out
    assert "mmseg evaluate" not in out
    assert main(["data", "phantom", "-h"]) == 0
    assert "mmseg data check" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        *("--help", "data --help", "data check --help", "data phantom heart --help"),
        *("data import --help", "data import chaos --help", "data chekc"),
    ],
)
def test_help_imports_the_standard_library_only(repository, words):
    code = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {{*sys.stdlib_module_names, "monai_mmseg"}}:
            raise ImportError(f"{{name}} is not needed for help")

sys.meta_path.insert(0, Refuse())
from monai_mmseg.cli.main import main
sys.exit(main({words.split()!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if "--help" in words else 2), done.stderr
    assert "Traceback" not in done.stderr


ERRORS = [kind("no x in the list") for kind in (FileNotFoundError, FileExistsError, KeyError, ValueError, RuntimeError)]


@pytest.mark.parametrize("error", ERRORS)
def test_what_is_wrong_with_the_data_is_one_line(monkeypatch, capsys, error):
    def fail() -> None:
        """Fail."""
        raise error

    monkeypatch.setitem(COMMANDS, "data fail", fail)
    assert main(["data", "fail"]) == 1
    assert capsys.readouterr().err == "mmseg data fail: no x in the list\n"


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (OSError(28, "No space left on device", "a/b.json"), ["a/b.json: no space left on the disk.", "Free some, or"]),
        (NotADirectoryError(20, "Not a directory", "list.json/x"), ["list.json/x: not a directory."]),
        (RuntimeError("applying transform X"), ["applying transform X"]),
        (MemoryError(), ["Out of memory.", "Smaller batch_size"]),
    ],
)
def test_what_the_system_raises_is_few_lines(monkeypatch, capsys, error, lines):
    def fail() -> None:
        """Fail."""
        raise error

    monkeypatch.setitem(COMMANDS, "data fail", fail)
    assert main(["data", "fail"]) == 1
    shown = capsys.readouterr().err.removeprefix("mmseg data fail: ").splitlines()
    assert len(shown) == len(lines)
    assert all(line.startswith(start) for line, start in zip(shown, lines, strict=True))


def test_out_under_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = ["data", "phantom", "heart", "--subjects", "2", "--test-subjects", "0", "--folds", "2", "--size", "32"]
    assert main([*words, "--out", str(tmp_path / "file" / "deep")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"mmseg data phantom heart: {tmp_path}/file")
    assert shown.count("\n") == 1


def test_an_interrupt_is_one_line(monkeypatch, capsys):
    def fail() -> None:
        """Fail."""
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "data fail", fail)
    assert main(["data", "fail"]) == 130
    assert capsys.readouterr().err == "mmseg data fail: interrupted.\n"


def test_what_ends_jobs_is_an_interrupt_that_cleans_up(tmp_path, monkeypatch, capsys):
    def wait() -> None:
        """Wait."""
        with tempfile.TemporaryDirectory(dir=tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    monkeypatch.setitem(COMMANDS, "data wait", wait)
    monkeypatch.setattr(sys, "argv", ["mmseg", "data", "wait"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main() == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "mmseg data wait: interrupted.\n"
    assert not list(tmp_path.iterdir())


def test_the_traceback_is_shown_on_demand(monkeypatch, capsys):
    def fail() -> None:
        """Fail."""
        raise ValueError("x")

    monkeypatch.setitem(COMMANDS, "data fail", fail)
    monkeypatch.setenv("MMSEG_TRACEBACK", "1")
    assert main(["data", "fail"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last)")
    assert shown.endswith("mmseg data fail: x\n")


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
    assert main(["data", "split", str(study), "--folds", "3", "--seed", "1", "--overwrite"]) == 0
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


def test_it_runs_as_a_module(repository):
    done = subprocess.run(
        [sys.executable, "-m", "monai_mmseg", "--version"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0.1.0")
