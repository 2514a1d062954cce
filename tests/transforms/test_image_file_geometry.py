# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Affines that a library would replace without a word, and headers that contradict themselves."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_mmseg.transforms import VolumeError, read_volume
from tests.transforms.nifti_bytes import AFFINE, VOXELS, nifti

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"srow_x": [NAN, 0, 0, 0]}, r"its sform \(code 2\) is \[\[nan"),
        ({"srow_y": [0, 3, 0, INF]}, "its sform"),
        ({"srow_z": [0, 0, 0, 0]}, "its sform"),
        ({"srow_y": [2, 0, 0, 0]}, "its sform"),  # two equal rows
        ({"srow_x": [2, 2, 0, 0], "srow_y": [0, 1e-5, 0, 0]}, "it is singular"),  # nearly
        ({"srow_x": [1e30, 0, 0, 0]}, r"it has voxels of 1e\+30 x 3 x 8 mm"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [1, 0, 3, 8, 0, 0, 0, 0]}, r"pixdim\) are \[0.0, 3.0, 8.0\]"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [1, 2, NAN, 8, 0, 0, 0, 0]}, r"pixdim\) are \[2.0, nan, 8.0\]"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": NAN}, r"its qform \(code 1\)"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 3.0}, r"its qform \(code 1\)"),
        ({"sform_code": 0, "qform_code": 1, "qoffset_z": INF}, r"its qform \(code 1\)"),
        ({"qform_code": 1, "qoffset_z": INF}, r"its qform \(code 1\)"),  # declared, although the sform is used
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, 2, 3, 0, 0, 0, 0, 0]}, r"pixdim\) are \[2.0, 3.0, 0.0\]"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, INF, 3, 8, 0, 0, 0, 0]}, r"pixdim\) are \[inf"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_affines_that_cannot_be_meant(tmp_path, fields, message, name):
    content = nifti(**fields)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(VolumeError, match=rf"{name}: the affine cannot be inverted: .*{message}"):
        read_volume(tmp_path / name)


def test_what_is_not_declared_does_not_count(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(qform_code=0, quatern_b=NAN, pixdim=[1, 0, 0, 0, 0, 0, 0, 0]))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").affine, AFFINE)
    (tmp_path / "b.nii").write_bytes(nifti(sform_code=0, qform_code=1, srow_x=[NAN] * 4))
    np.testing.assert_allclose(read_volume(tmp_path / "b.nii").affine[:3, :3], AFFINE[:3, :3])


QUARTER = {"qform_code": 1, "quatern_b": 0, "quatern_c": 0, "quatern_d": 0, "qoffset_x": 0, "qoffset_y": 0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**QUARTER, "qoffset_y": 7}, "qform and sform place its corners up to 7 mm apart; the sform counts"),
        (
            {"pixdim": [1, 1, 1, 1, 0, 0, 0, 0]},
            r"are \[1.0, 1.0, 1.0\], those of its sform \[2.0, 3.0, 8.0\]; the sform",
        ),
        ({"xyzt_units": 3}, "its header says that lengths are micrometres; they are taken as mm"),
        ({"xyzt_units": 1}, "lengths are metres"),
        ({**QUARTER, "qoffset_y": 0.01}, None),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.hdr"])
def test_a_header_that_contradicts_itself_is_told_and_its_sform_counts(tmp_path, fields, message, name):
    content = nifti(**fields)
    if name == "a.hdr":
        (tmp_path / "a.img").write_bytes(content[352:])
        content = nifti(**fields, magic=b"ni1", vox_offset=0)[:348]
    (tmp_path / name).write_bytes(content)
    if message is None:
        volume = read_volume(tmp_path / name)
    else:
        with pytest.warns(UserWarning, match=rf"{name}: .*{message}") as told:
            volume = read_volume(tmp_path / name)
        assert len(told) == 1
    np.testing.assert_array_equal(volume.affine, AFFINE)
    np.testing.assert_array_equal(volume.as_tensor()[0], VOXELS)


@pytest.mark.parametrize("order", ["<", ">"])
def test_voxel_sizes_of_analyze(tmp_path, order):
    image = nib.AnalyzeImage(VOXELS, AFFINE)
    nib.save(image, tmp_path / "a.img")
    header = nib.AnalyzeHeader((tmp_path / "a.hdr").read_bytes()).as_byteswapped(order)
    for sizes in ([0, 3, 8], [2, NAN, 8], [2, 3, INF]):
        header["pixdim"][1:4] = sizes
        (tmp_path / "a.hdr").write_bytes(header.binaryblock)
        with pytest.raises(VolumeError, match=rf"a.img: the affine cannot be inverted: .* \[{float(sizes[0])}, "):
            read_volume(tmp_path / "a.img")


def test_an_axis_of_nrrd_without_direction(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.nrrd"))
    content = (tmp_path / "a.nrrd").read_bytes()
    assert b"directions: (1,0,0) (" in content
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"directions: (1,0,0) (", b"directions: none (", 1))
    with pytest.raises(VolumeError, match="a.nrrd: the affine cannot be inverted: space directions holds 'none'"):
        read_volume(tmp_path / "a.nrrd")


def test_a_code_that_does_not_exist(tmp_path):
    (tmp_path / "a.nii").write_bytes(nifti(sform_code=99))
    with pytest.raises(VolumeError, match=r"a.nii: the affine cannot be told: there is no sform_code 99\."):
        read_volume(tmp_path / "a.nii")


def test_a_tilted_stack_is_read_as_it_lies(tmp_path):
    """Its pixdim holds the distance of the planes, which MONAI takes for a contradiction."""
    affine = AFFINE.copy()
    affine[1, 2] = 3.0
    image = nib.Nifti1Image(VOXELS, affine)
    image.header["pixdim"][3] = 8
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").affine, affine)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Offset = nan 0 0", "Offset holds 'nan'"),
        ("Offset = 0 inf 0", "Offset holds 'inf'"),
        ("ElementSpacing = 1 x 1", "ElementSpacing holds 'x'"),
        ("TransformMatrix = 1 0 0 0 nan 0 0 0 1", "TransformMatrix holds 'nan'"),
    ],
)
def test_geometry_of_metaimage(tmp_path, line, message):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.mha"))
    content = (tmp_path / "a.mha").read_bytes()
    key = line.partition(" =")[0].encode()
    begin = content.index(key)
    end = content.index(b"\n", begin)
    (tmp_path / "a.mha").write_bytes(content[:begin] + line.encode() + content[end:])
    with pytest.raises(VolumeError, match=rf"a.mha: the affine cannot be inverted: {message}"):
        read_volume(tmp_path / "a.mha")


def test_geometry_of_nrrd(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.nrrd"))
    content = (tmp_path / "a.nrrd").read_bytes()
    assert b"space origin: (0,0,0)" in content
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"space origin: (0,0,0)", b"space origin: (nan,nan,nan)"))
    with pytest.raises(VolumeError, match="the affine cannot be inverted: space origin holds 'nan'"):
        read_volume(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_bytes(content.replace(b"(1,0,0) (0,1,0)", b"(1,0,0) (0,0,0)"))
    with pytest.raises(VolumeError, match="Zero-valued spacing is not supported"):
        read_volume(tmp_path / "a.nrrd")
