# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""House rules that a linter does not know: one version, small files, licence headers, no machine paths."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import monai_mmseg

HEADER = "# Copyright (c) the monai_mmseg developers\n# SPDX-License-Identifier: Apache-2.0\n"
SMALL, LARGE = 100_000, 2_000_000  # bytes
ROOMY = ("tests/reference/", "docs/")  # folders, besides bundles/*/models/, where a file may have up to LARGE bytes
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|Users|tmp|scratch)/[\w.-]+")
TEXT = {".py", ".json", ".md", ".cfg", ".toml", ".txt", ".yml", ".yaml", ".cff", ".conf", ".j2", ".svg", ""}


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    """The files that git would put into a commit."""
    if shutil.which("git") is None or not (repository / ".git").exists():
        pytest.skip("not a git checkout, so it is not known which files belong to the project")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout
    return [path for name in listing.split("\0") if name and (path := repository / name).is_file()]


def test_one_version_everywhere(repository: Path):
    config = configparser.RawConfigParser()
    config.read(repository / "setup.cfg", encoding="utf-8")
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)

    assert config["metadata"]["version"] == "attr: monai_mmseg.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", monai_mmseg.__version__)
    assert citation["version"] == monai_mmseg.__version__
    assert newest is not None
    assert newest.group(1) == monai_mmseg.__version__


def test_citation_names_the_four_papers(repository: Path):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    assert len(citation["references"]) == 4
    for paper in citation["references"]:
        assert paper["title"]
        assert paper["authors"]
        assert re.fullmatch(r"10\.\d{4,}/\S+", paper["doi"])


def test_python_files_carry_the_licence(repository: Path, tracked: list[Path]):
    bare = [
        str(path.relative_to(repository))
        for path in tracked
        if path.suffix == ".py"
        and not path.read_text(encoding="utf-8").removeprefix("#!/usr/bin/env python3\n").startswith(HEADER)
    ]
    assert bare == []


def test_files_are_small(repository: Path, tracked: list[Path]):
    heavy = {}
    for path in tracked:
        name = path.relative_to(repository).as_posix()
        roomy = name.startswith(ROOMY) or re.match(r"bundles/[^/]+/models/", name)
        if path.stat().st_size > (LARGE if roomy else SMALL):
            heavy[name] = path.stat().st_size
    assert heavy == {}


def test_no_machine_paths(repository: Path, tracked: list[Path]):
    found = []
    for path in tracked:
        if path.suffix not in TEXT or path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(repository)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_command_line_is_declared(repository: Path):
    config = configparser.RawConfigParser()
    config.read(repository / "setup.cfg", encoding="utf-8")
    assert config["options.entry_points"]["console_scripts"].split() == ["mmseg", "=", "monai_mmseg.cli.main:main"]
    assert (repository / "monai_mmseg" / "py.typed").is_file()
