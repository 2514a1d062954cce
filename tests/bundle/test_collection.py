# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundles that come with the library, in the repository and in the wheel."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from monai_mmseg.bundle import collection
from monai_mmseg.cli.main import main


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def littered(repository, tmp_path, monkeypatch):
    """A folder of bundles in which somebody trained."""
    shutil.copytree(repository / "bundles" / "csa", tmp_path / "bundles" / "csa")
    root = tmp_path / "bundles" / "csa"
    for name in ("models/model.pt", "models/settings.json", "eval/run.json", "data/phantom/a.nii.gz", "docs/.x.swp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    monkeypatch.setattr(collection, "bundles_folder", lambda: tmp_path / "bundles")
    return root


def test_list_says_what_each_bundle_is_for(repository, capsys):
    assert main(["bundle", "list"]) == 0
    out = capsys.readouterr().out
    for folder in (repository / "bundles").iterdir():
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        assert re.search(rf"^{folder.name} +{re.escape(metadata['task'])} ", out, re.MULTILINE)
    assert re.search(r"^dafnet .* cine, lge$", out, re.MULTILINE)


def test_a_copy_has_no_weights_data_or_results(littered, tmp_path, capsys):
    assert main(["bundle", "copy", "csa", str(tmp_path / "mine")]) == 0
    assert "csa: " in capsys.readouterr().out
    copied = files(tmp_path / "mine")
    assert {"LICENSE", "large_files.yml", "models/README.md", "docs/README.md", "configs/train.json"} < set(copied)
    assert "configs/settings/volumes.json" in copied
    assert not [name for name in copied if re.search(r"\.pt$|settings\.json$|^eval|^data|/\.", name)]
    for name in copied:
        assert (tmp_path / "mine" / name).read_bytes() == (littered / name).read_bytes()


def test_a_copy_that_cannot_be(tmp_path, capsys):
    (tmp_path / "there").mkdir()
    assert main(["bundle", "copy", "dafnet", str(tmp_path / "there")]) == 1
    assert "there must not exist" in capsys.readouterr().err
    assert main(["bundle", "copy", "dafnt", str(tmp_path / "a")]) == 1
    said = capsys.readouterr().err
    assert "name must be one of csa, dafnet, " in said
    assert "Did you mean 'dafnet'?" in said
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_copy_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(collection.shutil, "copyfile", stop)
    with pytest.raises(KeyboardInterrupt):
        collection.copy_bundle("dafnet", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_install_without_bundles_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(collection.monai_mmseg, "__file__", str(tmp_path / "monai_mmseg" / "__init__.py"))
    with pytest.raises(
        FileNotFoundError, match=r"the bundles are neither in .*_bundles nor in .*; install monai_mmseg"
    ):
        collection.bundles_folder()
    (tmp_path / "monai_mmseg" / "_bundles" / "x" / "configs").mkdir(parents=True)
    (tmp_path / "monai_mmseg" / "_bundles" / "x" / "configs" / "metadata.json").touch()
    assert collection.bundle_names() == ["x"]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="needs setuptools")
def test_the_wheel_holds_what_a_copy_holds(repository, littered, tmp_path):
    """Built without a network, from a repository with one module and one bundle that somebody trained."""
    source = littered.parents[1]
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    (source / "monai_mmseg").mkdir()
    shutil.copy(repository / "monai_mmseg" / "__init__.py", source / "monai_mmseg")
    expected = collection.travelling_files(littered)
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path / "dist")],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    found = sorted(name.removeprefix("monai_mmseg/_bundles/csa/") for name in names if "_bundles/" in name)
    assert found == expected
    assert {"monai_mmseg/__init__.py"} < set(names)
    assert not [name for name in names if name.startswith("bundles/")]
