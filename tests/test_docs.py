# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The README and the documentation keep their word: code runs, links lead somewhere, settings and overlays exist."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from monai_mmseg.evaluation import Score, ScoreTable
from tests.processes import run_module

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUNNABLE = [
    "README.md",
    "docs/how-to/missing_modality.md",
    "docs/how-to/modality_norm.md",
    "docs/how-to/new_scanner.md",
    "docs/how-to/own_loop.md",
]
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", RUNNABLE)
def test_code_runs_from_top_to_bottom(page: str):
    blocks = CODE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": page})


def test_tables_of_a_cross_validation_are_joined(tmp_path, monkeypatch, capsys):
    for fold in range(3):
        case, values = {"modality": "lge", "class": "LV"}, {"dice": 0.5 + fold / 10}
        table = ScoreTable([Score("unet", f"s{fold}", case, values, flag="")])
        table.save(tmp_path / "runs" / str(fold) / "eval" / "metrics", "unet")
    monkeypatch.chdir(tmp_path)
    [block] = CODE.findall((ROOT / "docs/how-to/prepare_your_data.md").read_text(encoding="utf-8"))
    exec(compile(block, "prepare_your_data.md", "exec"), {})
    assert "0.600 ± 0.100" in capsys.readouterr().out  # of 0.5, 0.6 and 0.7


def test_contributing_shows_tests_that_pass(tmp_path: Path):
    [block] = CODE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    skeleton = tmp_path / "test_skeleton.py"
    skeleton.write_text(block, encoding="utf-8")
    words = ["pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(skeleton)]
    code, said, _ = run_module(words, cwd=ROOT)  # the package is found there, installed or not
    assert code == 0, said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path):
    targets = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in targets if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": ([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


def test_every_package_is_in_the_reference():
    packages = {f"monai_mmseg.{path.parent.name}" for path in (ROOT / "monai_mmseg").glob("*/__init__.py")}
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    shown = set(re.findall(r"^::: (monai_mmseg\.\w+)$", pages, re.MULTILINE))
    assert shown == packages


def test_examples_are_rendered_as_code():
    """Griffe reads ``Examples:`` as code and ``Example:`` as prose."""
    sources = (ROOT / "monai_mmseg").rglob("*.py")
    assert [str(path) for path in sources if re.search(r"^ *Example:", path.read_text("utf-8"), re.MULTILINE)] == []


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")  # comes with mkdocstrings
    to_markdown = runpy.run_path(str(ROOT / "docs/_ext/docstrings.py"))["to_markdown"]
    assert to_markdown("A :class:`~a.b.C` of ``k`` and :math:`x^2`.\n") == "A `C` of `k` and `x^2`.\n\n"
    assert to_markdown('In ``t.json``::\n\n    {"a": 1}\n').startswith('In `t.json`:\n\n```json\n{"a": 1}\n```')
    rows = ["====  ======", "name  what", "====  ======", "``a`` one", "      two", "====  ======", ""]
    assert "| name | what |\n| --- | --- |\n| `a` | one two |\n" in to_markdown("\n".join(rows))
    assert "Returns:\n    Tensor: Scores: x" in to_markdown("S.\n\nReturns:\n    Scores: x\n", "Tensor")


@pytest.mark.parametrize(("heading", "bundles"), [("DAFNet", ["dafnet"]), ("UMMKD", ["ummkd", "ummkd_3d"])])
def test_every_knob_is_explained(heading: str, bundles: list[str]):
    knobs, others = set(), set()
    for bundle in bundles:
        configs = ROOT / "bundles" / bundle / "configs"
        train, inference = (
            list(json.loads((configs / name).read_text("utf-8"))) for name in ("train.json", "inference.json")
        )
        parts = {"imports", "bundle_root", "backbone"}
        knobs |= set(train[: min(train.index(part) for part in ("network_def", "backbone") if part in train)]) - parts
        others |= set(inference)
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    section = re.split(r"^## ", page, flags=re.MULTILINE)
    [text] = [one for one in section if one.startswith(f"{heading}\n")]
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?) \|", text, re.MULTILINE))))
    assert knobs - explained == set()
    assert explained - knobs - others == set()


def test_every_command_is_explained():
    run = subprocess.run(
        [sys.executable, "-m", "monai_mmseg", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    commands = set(re.findall(r"^ +mmseg ([a-z0-9_ ]+?)  ", run.stdout + run.stderr, re.MULTILINE))
    page = (ROOT / "docs/reference/command_line.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `mmseg ([^`]+)`", page, re.MULTILINE)
    assert len(commands) > 3
    assert {command for command in commands if not any(row.startswith(command) for row in rows)} == set()
    assert [row for row in rows if not any(row.startswith(command) for command in commands)] == []


def test_every_overlay_is_explained():
    files = {path.stem for path in (ROOT / "bundles/dafnet/configs/settings").glob("*.json")}
    page = (ROOT / "docs/how-to/reproduce.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|`]+ \| (`.+) \|$", page, re.MULTILINE)
    assert set(re.findall(r"`([\w.]+)`", " ".join(rows))) == files


@pytest.mark.parametrize("bundle", sorted(path.name for path in (ROOT / "bundles").iterdir() if path.is_dir()))
def test_every_overlay_is_in_the_readme_of_the_bundle(bundle: str):
    files = {path.stem for path in (ROOT / "bundles" / bundle / "configs/settings").glob("*.json")}
    page = (ROOT / "bundles" / bundle / "docs/README.md").read_text(encoding="utf-8")
    [section] = [part for part in page.split("\n## ") if part.startswith("Settings")]
    rows = re.findall(r"^\| [^|`]+ \| (`.+) \|$", section, re.MULTILINE)
    assert set(re.findall(r"`(\w[\w.]*)`", " ".join(rows))) - {"train.json"} == files
