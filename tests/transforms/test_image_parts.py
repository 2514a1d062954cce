# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.transforms.image_parts import image_parts


@pytest.mark.parametrize(
    ("name", "head", "others"),
    [
        ("a.nii.gz", "", []),
        ("a.hdr", "", ["a.img"]),
        ("A.IMG", "", ["A.HDR"]),
        ("a.mhd", "NDims = 3\nElementDataFile = v1.raw\n", ["v1.raw"]),
        ("a.mhd", "NDims = 3\r\nElementDataFile = sub/a b.zraw\r\n", ["sub/a b.zraw"]),
        ("a.mhd", "ElementDataFile = LIST 2D\nv1.raw\nv2.raw\n", ["v1.raw", "v2.raw"]),
        ("a.mhd", "ElementDataFile = v%d.raw 1 3 1\n", ["v1.raw", "v2.raw"]),
        ("a.mha", "ElementDataFile = LOCAL\nv1.raw\n", []),
        ("a.nhdr", "NRRD0004\ndata file: v1.raw\n", ["v1.raw"]),
        ("a.nhdr", "NRRD0004\ndatafile: gone.raw\n", []),
        ("a.nrrd", "NRRD0004\nencoding: raw\n\ndata file: v1.raw\n", []),
    ],
)
def test_files_of_an_image(tmp_path, name, head, others):
    (tmp_path / "sub").mkdir()
    for other in ("a.img", "A.HDR", "v1.raw", "v2.raw", "v2.raw.old", "sub/a b.zraw"):
        (tmp_path / other).touch()
    (tmp_path / name).write_bytes(head.encode())
    assert image_parts(tmp_path / name) == [tmp_path / one for one in (name, *others)]


def test_folders_and_nothing(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("2.dcm", "1.dcm", ".hidden", "below/3.dcm"):
        (tmp_path / name).touch()
    assert [one.name for one in image_parts(tmp_path)] == ["1.dcm", "2.dcm"]
    assert image_parts(tmp_path / "gone") == []
