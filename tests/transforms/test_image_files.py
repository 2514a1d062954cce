# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files that are no images, whatever their names say; all formats of volumes say the same."""

from __future__ import annotations

import gzip
import os
import pickle
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from monai_mmseg.transforms import VolumeError, read_volume
from monai_mmseg.transforms.image_files import IMAGE_ENDINGS, check_image_file, image_ending
from tests.dicom_files import write_series
from tests.transforms.nifti_bytes import AFFINE, VOXELS, nifti


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize(
    "name", ["a.npy", "a.npz", "a.nii.gz", "a.nii", "a.mha", "a.nrrd", "a.dcm", "a.png", "a.tif", "a"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_is_never_executed(tmp_path, name, packed):
    mark = tmp_path / "executed"
    evil = np.array([Evil(mark)], dtype=object)
    contents = [pickle.dumps(Evil(mark)), pickle.dumps(Evil(mark), protocol=0)]
    np.save(tmp_path / "array.npy", evil, allow_pickle=True)
    np.savez(tmp_path / "array.npz", evil)
    contents += [(tmp_path / "array.npy").read_bytes(), (tmp_path / "array.npz").read_bytes()]
    for content in contents:
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
        with pytest.raises(VolumeError, match=rf"{name}: (cannot be read|is not read) as an image") as caught:
            read_volume(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty, 0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer.*git lfs pull"),
        (b"../../.git/annex/objects/a/b/c.nii.gz", "it is a git-annex pointer"),
        (b"/annex/objects/MD5E-s1--a.nii.gz\n", "it is a git-annex pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "it is a web page; the download has failed"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "it is a web page"),
        (b"PK\x03\x04rest", "it is a zip archive"),
        (b"\x80\x04\x95rest", "it is a Python pickle, which is never opened"),
        (b"\x93NUMPY\x01\x00rest", "it is a NumPy array, which has no affine"),
        (b"\xfd7zXZ\x00rest", "it is an archive"),
        (b"no image", "whatever its name says: it begins with b'no image'"),
    ],
)
def test_what_a_file_is_instead(tmp_path, content, message):
    for name in ("a.nii.gz", "a.nii", "a.mha", "a.nrrd"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VolumeError, match=rf"{name}: cannot be read as an image \(.*{message}"):
            check_image_file(tmp_path / name)


def test_a_zip_of_an_image_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.nii.gz", "w") as archive:
        archive.writestr("a.nii", nifti())
    with pytest.raises(VolumeError, match="zip archive, not an image; unpack it"):
        read_volume(tmp_path / "a.nii.gz")


def test_files_that_end_too_early(tmp_path):
    whole = gzip.compress(nifti())
    for content in (whole[: len(whole) // 2], whole[:30], whole[:-20]):
        (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(
            VolumeError, match=r"a.nii.gz: cannot be read as an image \(.*(too early|part of a download)"
        ):
            read_volume(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii").write_bytes(nifti()[:-1])
    with pytest.raises(VolumeError, match=r"it is cut short: its header tells of 592 bytes, 591 are there"):
        read_volume(tmp_path / "a.nii")  # 352 + 6 * 5 * 4 * 2
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a.mha"))
    (tmp_path / "a.mha").write_bytes((tmp_path / "a.mha").read_bytes()[:-50])
    with pytest.raises(VolumeError, match=r"a.mha: cannot be read as an image \(File cannot be read"):
        read_volume(tmp_path / "a.mha")


def test_a_header_of_a_petabyte_allocates_nothing(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])))
    with pytest.raises(VolumeError, match="it is cut short: its header tells of 54000000000352 bytes"):
        read_volume(tmp_path / "a.nii.gz")


def test_compression_and_name_go_together(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(nifti())
    with pytest.raises(VolumeError, match=r"it is not compressed; name it \.nii\)"):
        read_volume(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii").write_bytes(gzip.compress(nifti()))
    with pytest.raises(VolumeError, match=r"it is compressed; name it \.nii\.gz\)"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [0, 6, 5, 4, 1, 1, 1, 1]}, "broken header: dim is"),
        ({"dim": [9, 6, 5, 4, 1, 1, 1, 1]}, "broken header: dim is"),
        ({"dim": [3, 6, -5, 4, 1, 1, 1, 1]}, "broken header: dim is"),
        ({"datatype": 999}, "there is no datatype 999"),
        ({"scl_slope": np.inf}, "scl_slope is inf"),
    ],
)
def test_broken_headers(tmp_path, fields, message):
    (tmp_path / "a.nii").write_bytes(nifti(**fields))
    with pytest.raises(VolumeError, match=rf"a.nii: cannot be read as an image \(.*{message}"):
        read_volume(tmp_path / "a.nii")


def test_colours_and_complex_numbers(tmp_path):
    colours = np.zeros((4, 4, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array, message in ((colours, "it holds colours"), (VOXELS.astype(np.complex64), "it holds complex numbers")):
        nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / "a.nii.gz")
        with pytest.raises(VolumeError, match=f"{message}; wanted is one real number a voxel"):
            read_volume(tmp_path / "a.nii.gz")
    for array in (np.zeros((4, 4, 3), complex), np.array([[[None]]]), torch.zeros(1, 4, 4, 3, dtype=torch.complex64)):
        with pytest.raises(VolumeError, match="an array must hold real numbers, got"):
            read_volume(array)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img"])
def test_every_format_of_volumes_says_the_same(tmp_path, ending):
    image = sitk.GetImageFromArray(VOXELS.transpose(2, 1, 0))
    image.SetSpacing((2.0, 3.0, 8.0))
    image.SetOrigin((5.0, -7.0, 11.0))
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"))
    volume = read_volume(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(volume[0], VOXELS)
    wanted = np.array([[-2, 0, 0, -5], [0, -3, 0, 7], [0, 0, 8, 11], [0, 0, 0, 1.0]])  # LPS in ITK, RAS here
    np.testing.assert_allclose(volume.affine, wanted, atol=1e-5)


def test_the_order_of_bytes(tmp_path):
    image = nib.Nifti1Image(VOXELS.astype(">i2"), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(image, tmp_path / "a.nii.gz")
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes())[:4] == b"\0\0\x01\x5c"
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume[0], VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_nifti_2_and_axes_of_length_one(tmp_path):
    nib.save(nib.Nifti2Image(VOXELS, AFFINE), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz")[0], VOXELS)
    nib.save(nib.Nifti1Image(VOXELS[..., None, None], AFFINE), tmp_path / "b.nii.gz")
    assert read_volume(tmp_path / "b.nii.gz").shape == (1, 6, 5, 4)


@pytest.mark.parametrize("ending", [".png", ".bmp"])
def test_pictures(tmp_path, ending):
    Image.fromarray(VOXELS[..., 0].astype(np.uint8)).save(tmp_path / f"a{ending}")
    assert read_volume(tmp_path / f"a{ending}").shape == (1, 5, 6, 1)
    os.rename(tmp_path / f"a{ending}", tmp_path / "a.jpg")
    with pytest.raises(VolumeError, match=r"it is no \.jpg file, whatever its name says"):
        read_volume(tmp_path / "a.jpg")


def test_text_headers_of_petabytes(tmp_path):
    image = sitk.GetImageFromArray(VOXELS.transpose(2, 1, 0))
    for name, line, wrong in (
        ("a.mha", b"DimSize = 6 5 4", b"DimSize = 30000 30000 30000"),
        ("a.nrrd", b"sizes: 6 5 4", b"sizes: 30000 30000 30000"),
    ):
        sitk.WriteImage(image, str(tmp_path / name))
        content = (tmp_path / name).read_bytes()
        assert line in content
        (tmp_path / name).write_bytes(content.replace(line, wrong))
        with pytest.raises(VolumeError, match="it is cut short: its header tells of 27000000000000 voxels"):
            read_volume(tmp_path / name)


def test_pairs_of_files(tmp_path):
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), tmp_path / "a.img")
    np.testing.assert_allclose(read_volume(tmp_path / "a.img").affine, AFFINE, atol=1e-5)
    header = (tmp_path / "a.hdr").read_bytes()
    (tmp_path / "a.hdr").write_text("ENVI\nsamples = 6\n")
    with pytest.raises(VolumeError, match="it has a header that is neither NIfTI nor Analyze"):
        read_volume(tmp_path / "a.img")
    broken = nib.nifti1.Nifti1PairHeader(header[:348], check=False)
    broken["srow_x"] = [float("nan")] * 4
    (tmp_path / "a.hdr").write_bytes(broken.binaryblock)
    with pytest.raises(VolumeError, match="the affine cannot be inverted: its sform"):
        read_volume(tmp_path / "a.hdr")
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(VolumeError, match=r"it is one of two files, but .*a\.hdr is not there"):
        read_volume(tmp_path / "a.img")


def test_links_and_special_files(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"a.nii.gz: a link that leads nowhere"):
        read_volume(tmp_path / "a.nii.gz")
    os.mkfifo(tmp_path / "c.nii.gz")
    with pytest.raises(VolumeError, match=r"c.nii.gz: neither a file nor a folder"):
        read_volume(tmp_path / "c.nii.gz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_volume(tmp_path / "a\0b.nii.gz")


def test_an_empty_path_is_not_the_working_folder(tmp_path, monkeypatch):
    """MONAI Label gives it for an id that its datastore does not have."""
    write_series(tmp_path, np.ones((2, 3, 3), np.int16), [(0, 0, 0), (0, 0, 5)])
    assert read_volume(tmp_path).shape == (1, 3, 3, 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="image must be a path, got an empty one"):
        read_volume("")


def test_folders_hold_dicom_or_nothing(tmp_path):
    with pytest.raises(VolumeError, match="none of the 0 files in this folder is a DICOM file"):
        read_volume(tmp_path)
    (tmp_path / "a.dcm").write_text("no slice")
    with pytest.raises(VolumeError, match="none of the 1 files in this folder is a DICOM file"):
        read_volume(tmp_path)
    with pytest.raises(VolumeError, match="it is no DICOM file: it begins with b'no slice'"):
        read_volume(tmp_path / "a.dcm")


def test_dicom_is_read_with_and_without_an_ending(tmp_path):
    for name in ("a.dcm", "1.2.840.113"):
        image = sitk.GetImageFromArray(VOXELS[None, :, :, 0])
        sitk.WriteImage(image, str(tmp_path / "a.dcm"))
        os.rename(tmp_path / "a.dcm", tmp_path / name)
        assert read_volume(tmp_path / name).shape == (1, 5, 6, 1)
    assert read_volume(tmp_path).shape == (1, 5, 6, 1)


def test_endings():
    assert image_ending("a.NII.GZ") == ".nii.gz"
    assert image_ending(".nii") == image_ending("a.npy") == image_ending("a.pkl") == ""
    assert not {".npy", ".npz", ".pkl", ".pt"} & set(IMAGE_ENDINGS)


def test_a_damaged_file_is_no_image_however_it_is_packed(tmp_path):
    """Libraries take what they can unpack."""
    values = np.random.default_rng(0).integers(0, 30000, (12, 11, 10)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    for name in ("a.mha", "a.mhd", "a.nrrd", "b.nhdr"):
        sitk.WriteImage(image, str(tmp_path / name), useCompression=True)
    (tmp_path / "a.mha").rename(tmp_path / "A.MHA")
    files = {name: name for name in ("a.nii.gz", "A.MHA", "a.nrrd")} | {"a.mhd": "a.zraw", "b.nhdr": "b.raw.gz"}
    for name, packed in files.items():
        whole = (tmp_path / packed).read_bytes()
        assert (read_volume(tmp_path / name)[0].numpy() == values).all()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 255
        for broken in (bytes(flipped), whole[: len(whole) * 9 // 10]):
            (tmp_path / packed).write_bytes(broken)
            with pytest.raises(VolumeError, match=f"{name}: cannot be read as an image"):
                read_volume(tmp_path / name)


def test_scaled_values_of_a_compressed_file(tmp_path):
    image = nib.Nifti1Image(np.linspace(-1, 2, 60).reshape(3, 4, 5), np.diag([2, 1, 3, 1]))
    image.set_data_dtype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        nib.save(image, tmp_path / name)
    one, other = (read_volume(tmp_path / name) for name in ("a.nii", "a.nii.gz"))
    assert torch.equal(one.as_tensor(), other.as_tensor())
    assert torch.equal(one.affine, other.affine)
