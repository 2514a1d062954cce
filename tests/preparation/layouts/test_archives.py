# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Data sets that are still packed."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.preparation.layouts.archives import unpacked
from tests.preparation.layouts.test_nnunet import ORGANS, nnunet_set


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_an_archive_is_imported_as_its_folder(tmp_path, form):
    folder = nnunet_set(tmp_path / "raw", ["p1", "p2"], {"0": "CT"}, ORGANS)
    archive = shutil.make_archive(str(tmp_path / "set"), form, folder.parent, folder.name)
    for source, out in ((folder, "one"), (archive, "two")):
        assert main(["data", "import", "nnunet", str(source), "--out", str(tmp_path / out), "--no_sheet"]) == 0
    one, two = (json.loads((tmp_path / out / "datalist.json").read_text()) for out in ("one", "two"))
    assert [item["subject"] for item in two["training"]] == [item["subject"] for item in one["training"]]
    assert (tmp_path / "two" / two["training"][0]["image"]).is_file()
    marker = Path(unpacked(archive, tmp_path / "two")) / "marker"
    marker.touch()
    unpacked(archive, tmp_path / "two")
    assert marker.is_file()  # it is unpacked once
    os.utime(archive, (2e9, 2e9))
    unpacked(archive, tmp_path / "two")
    assert not marker.exists()  # and again when it has changed


def test_what_is_no_sound_archive(tmp_path):
    for name in ("cut.zip", "cut.tar.gz"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 half")
        with pytest.raises(ValueError, match=rf"{name} cannot be unpacked .*copied or downloaded whole"):
            unpacked(tmp_path / name, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with tarfile.open(tmp_path / "out.tar", "w") as archive:
        archive.add(tmp_path / "out.zip", "../evil")
    for name in ("out.zip", "out.tar"):
        with pytest.raises(ValueError, match="cannot be unpacked .*outside"):
            unpacked(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "evil").exists()
    assert not any((tmp_path / "out" / "unpacked").iterdir())
