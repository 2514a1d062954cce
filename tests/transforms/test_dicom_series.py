# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DICOM series as volumes: where each slice lies is known, since the files are written here."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from monai_mmseg.transforms import VolumeError, list_series, read_dicom_series, read_volume  # noqa: E402
from tests.dicom_files import write_enhanced, write_series  # noqa: E402

SLICES = np.random.default_rng(0).integers(0, 200, (6, 8, 5)) + 1000 * np.arange(6)[:, None, None]
AFFINE = np.array([[-0.7, 0, 0, -1], [0, -0.9, 0, -2], [0, 0, 5, 3], [0, 0, 0, 1]])
"""Of slices at (1, 2, 3 + 5 k) mm (LPS), in RAS."""


def places(*depths, x=1, y=2):
    return [(x, y, 3 + depth) for depth in depths]


EVEN = places(0, 5, 10, 15, 20, 25)


def refused(source, message):
    with pytest.raises(VolumeError, match=message):
        read_dicom_series(source)


def test_slices_are_sorted_by_position_whatever_their_names(tmp_path):
    folder = tmp_path / "p"
    files = write_series(folder, SLICES[::-1], EVEN[::-1], name="I{}")  # no ending
    (folder / "readme.txt").write_text("no image")
    (folder / "._I1").write_bytes(b"of a Mac")
    volume = read_dicom_series(folder)
    np.testing.assert_array_equal(volume.array, SLICES.transpose(2, 1, 0))
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    assert volume.files == tuple(files[::-1])
    read = read_volume(folder)
    np.testing.assert_array_equal(read.as_tensor()[0], volume.array)
    np.testing.assert_allclose(read.affine, AFFINE, atol=1e-6)
    np.testing.assert_array_equal(read_dicom_series(files[1:4]).array, volume.array[..., 2:5])


def test_an_oblique_stack(tmp_path):
    turn = np.deg2rad(30)
    right, down = np.array([np.cos(turn), np.sin(turn), 0]), np.array([0, 0, -1.0])
    normal = np.cross(right, down)
    write_series(tmp_path / "p", SLICES, [5 * k * normal for k in range(6)], rows=[*right, *down])
    volume = read_dicom_series(tmp_path / "p")
    np.testing.assert_array_equal(volume.array, SLICES.transpose(2, 1, 0))
    lps = np.diag([-1, -1, 1, 1]) @ volume.affine
    np.testing.assert_allclose(lps[:3, :3], np.stack([0.7 * right, 0.9 * down, 5 * normal], 1), atol=1e-6)


def test_a_tilted_gantry_keeps_its_slices(tmp_path):
    tilt = np.deg2rad(20)
    rows = (1, 0, 0, 0, np.cos(tilt), np.sin(tilt))
    write_series(tmp_path / "p", SLICES, [(0, 0, 5 * k) for k in range(6)], rows=rows, Modality="CT")
    with pytest.warns(UserWarning, match=r"p: a gantry tilt of 20\.0 degrees"):
        volume = read_dicom_series(tmp_path / "p")
    np.testing.assert_array_equal(volume.array, SLICES.transpose(2, 1, 0))
    corners = volume.affine @ np.array([[0, 0, k, 1] for k in range(6)]).T
    np.testing.assert_allclose(corners[:3].T, [(0, 0, 5 * k) for k in range(6)], atol=1e-5)


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        (
            (0, 5, 10, 20, 25, 30),
            r"p: 1 slice\(s\) missing: IMG-0003.dcm and IMG-0004.dcm lie 10 mm apart, others 5 mm",
        ),
        (
            (0, 5, 20, 25, 35, 40),
            r"3 slice\(s\) missing: .*-0002.dcm and .*-0003.dcm lie 15 mm apart \(one of 2 gaps\)",
        ),
        ((0, 5, 10, 16, 20, 25), r"unevenly spaced, 4 to 6 mm apart \(IMG-0003.dcm and IMG-0004.dcm: 6 mm\)"),
        ((0, 5, 10, 10, 15, 20), r"IMG-0003.dcm and IMG-0004.dcm lie at one place \(1 of 6 slices .* Remove"),
        ((0, 5, 11, 17, 24, 32), "unevenly spaced"),
    ],
)
def test_what_is_no_volume_with_one_distance(tmp_path, depths, message):
    write_series(tmp_path / "p", SLICES, places(*depths))
    refused(tmp_path / "p", message)


def test_positions_that_were_rounded(tmp_path):
    write_series(tmp_path / "p", SLICES, places(0, 0.6, 1.3, 1.9, 2.5, 3.1))
    assert read_dicom_series(tmp_path / "p").affine[2, 2] == pytest.approx(0.62)


def test_every_second_slice(tmp_path):
    write_series(tmp_path / "p", SLICES, EVEN, SpacingBetweenSlices=2.5, SliceThickness=2.5)
    with pytest.warns(UserWarning, match=r"lie 5 mm apart, but their header says 2\.5 mm"):
        read_dicom_series(tmp_path / "p")
    write_series(tmp_path / "gap", SLICES, EVEN, SpacingBetweenSlices=1.0, SliceThickness=4.0)
    read_dicom_series(tmp_path / "gap")  # no warning: the gap between slices


def test_several_volumes_in_one_series(tmp_path):
    cine = write_series(tmp_path / "cine", SLICES, places(0, 0, 0, 5, 5, 5), TriggerTime=[0.0, 30.0, 60.0] * 2)
    refused(tmp_path / "cine", r"4 of 6 slices repeat .* They differ in TriggerTime \(0\.0, 30\.0, 60\.0\)")
    assert read_dicom_series(cine[::3]).array.shape == (5, 8, 2)
    shutil.copy(cine[0], tmp_path / "copy.dcm")
    refused([cine[0], cine[3], tmp_path / "copy.dcm"], "One of them is a copy: remove it")


def test_dual_echoes_of_one_series_are_two(tmp_path):
    echoes = {"EchoTime": [2.3] * 3 + [4.6] * 3, "SeriesDescription": "dual"}
    files = write_series(tmp_path / "p", SLICES, places(0, 5, 10, 0, 5, 10), **echoes)
    refused(tmp_path / "p", r"(?s)holds 2 DICOM series.*'dual', 3 files, number 1, echo time 2\.3 ms.*4\.6 ms")
    found = list_series(tmp_path)
    assert [(one.echo_time, one.files) for one in found] == [(2.3, tuple(files[:3])), (4.6, tuple(files[3:]))]
    np.testing.assert_array_equal(read_dicom_series(found[1].files).array, SLICES[3:].transpose(2, 1, 0))


def test_a_second_series_and_a_localizer(tmp_path):
    write_series(tmp_path / "p", SLICES, EVEN, SeriesDescription="T2")
    scout = {"rows": (1, 0, 0, 0, 0, -1), "ImageType": ("ORIGINAL", "PRIMARY", "LOCALIZER"), "name": "L{}.dcm"}
    (other,) = write_series(tmp_path / "p", SLICES[:1], places(50), **scout)
    refused(tmp_path / "p", r"(?s)holds 2 DICOM series, .*'T2', 6 files, .* such as IMG-0001.dcm.* 1 file,.* L1.dcm")
    files = [*(tmp_path / "p").glob("IMG*"), other]
    refused(sorted(files), r"L1.dcm has another orientation than IMG-0001.dcm.* L1.dcm is a localizer; leave it out")
    write_series(tmp_path / "p", SLICES, EVEN, name="b{}", SeriesInstanceUID="1.9", SeriesDescription="T1")
    other.unlink()
    refused(tmp_path / "p", r"(?s)holds 2 DICOM series, .*'T2', 6 files.*'T1', 6 files")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PixelSpacing": [(1, 1)] * 5 + [(1, 2)]}, r"IMG-0006.dcm has another pixel spacing .*\(2\.0, 1\.0\), not"),
        ({"PixelSpacing": (0, 1)}, r"IMG-0001.dcm: PixelSpacing must be two positive numbers, got \(1\.0, 0\.0\)"),
        ({"ImageOrientationPatient": (1, 0, 0, 1, 0, 0)}, "is no pair of perpendicular directions"),
        (
            {"ImagePositionPatient": [(0, 0, 0), (0, 0, 5), (3, 0, 10), (0, 0, 15), (0, 0, 20), (0, 0, 25)]},
            "shifted by 3",
        ),
        ({"ImagePositionPatient": None}, "IMG-0001.dcm: no position in the patient"),
        ({"ImageOrientationPatient": None}, "IMG-0001.dcm: no direction in the patient"),
        ({"PixelSpacing": None}, "IMG-0001.dcm: no size of its pixels"),
        ({"SamplesPerPixel": 3}, "IMG-0001.dcm: holds colours"),
    ],
)
def test_headers_that_do_not_fit(tmp_path, tags, message):
    write_series(tmp_path / "p", SLICES, EVEN, **tags)
    refused(tmp_path / "p", message)


def test_one_number_may_be_written_in_several_ways(tmp_path):
    positions = [(("-0.0", "0")[k % 2], "2", f"{3 + 5 * k}.000") for k in range(6)]
    turns = [(1, 0, 0, 0, 1, 0), ("0.9999999", "-0.0", "0.0000001", "0", "1", "-0")] * 3
    kinds = [("DERIVED", "PRIMARY", "M"), ("ORIGINAL", "PRIMARY", "M")] * 3
    tags = {"ImagePositionPatient": positions, "ImageOrientationPatient": turns, "ImageType": kinds}
    write_series(tmp_path / "p", SLICES, EVEN, **tags)
    found = read_dicom_series(tmp_path / "p")
    np.testing.assert_array_equal(found.array, SLICES.transpose(2, 1, 0))
    np.testing.assert_allclose(found.affine[:3, 3], [0, -2, 3])


@pytest.mark.parametrize("key", ["SeriesDescription", "ProtocolName"])
def test_names_tell_series_of_one_number_apart(tmp_path, key):
    """One after the other, or between each other, they would be one volume."""
    write_series(tmp_path / "p", SLICES, EVEN, **{key: ["T1"] * 3 + ["T2"] * 3})
    write_series(tmp_path / "q", SLICES, EVEN, **{key: ["T1", "T2"] * 3})
    for name in "pq":
        refused(tmp_path / name, "holds 2 DICOM series")


def test_sizes_that_differ(tmp_path):
    write_series(tmp_path / "p", SLICES, EVEN)
    write_series(tmp_path / "p", SLICES[:1, :4], places(30), name="X{}.dcm")
    refused(tmp_path / "p", r"X1.dcm has another size than IMG-0001.dcm: 5 x 4 pixels, not 5 x 8 pixels")


def test_files_that_are_broken(tmp_path):
    files = write_series(tmp_path / "p", SLICES, EVEN)
    whole = files[2].read_bytes()
    for content, message in (
        (whole[:-30], "IMG-0003.dcm: cannot be read as an image"),
        (whole[:400], "IMG-0003.dcm: is cut short: its header ends early"),
        (whole[:170], "IMG-0003.dcm: is cut short: its header ends early"),  # within the UID that says what it is
        (whole[:132], "IMG-0003.dcm: is cut short: its header ends early"),
        (b"", r"IMG-0003.dcm: .*empty, 0 bytes"),
        (b"<html>", "IMG-0003.dcm: .* a web page; the download has failed"),
    ):
        files[2].write_bytes(content)
        refused(tmp_path / "p", message)
    files[2].rename(tmp_path / "p" / "IM3").write_bytes(bytes(100))  # zeros, as an interrupted copy leaves them
    refused(tmp_path / "p", "IM3: cannot be read as an image|IM3: is not read as an image")
    for one in (tmp_path / "p").iterdir():
        one.unlink()
    refused(tmp_path / "p", "p: none of the files in this folder is a DICOM image")
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        list_series(tmp_path / "nowhere")


def test_an_enhanced_file_of_many_frames(tmp_path):
    file = write_enhanced(tmp_path / "p" / "e", SLICES[::-1], EVEN[::-1], slopes=[2.0] * 6)
    for source in (file, tmp_path / "p"):
        volume = read_dicom_series(source)
        np.testing.assert_array_equal(volume.array, 2 * SLICES.transpose(2, 1, 0))
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    assert list_series(tmp_path)[0].size == (5, 8, 6)
    write_enhanced(file, SLICES, places(0, 5, 10, 20, 25, 30))
    refused(file, r"1 slice\(s\) missing: frame 3 of e and frame 4 of e lie 10 mm apart")
    write_enhanced(file, SLICES, EVEN, slopes=[1.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    refused(file, "frame 2 of e has another scale of the values than frame 1 of e")


def test_values_are_scaled_file_by_file(tmp_path):
    """A reader that takes the first file's type for all would cut the halves off."""
    slopes = [1.0, 0.5, 2.0, 1.0, 1.0, 1.0]
    write_series(tmp_path / "p", SLICES, EVEN, RescaleSlope=slopes, RescaleIntercept=-1000.0)
    expected = SLICES * np.array(slopes)[:, None, None] - 1000
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "p").array, expected.transpose(2, 1, 0))


def test_one_file_and_compressed_files(tmp_path):
    (one,) = write_series(tmp_path / "one", SLICES[:1], places(0))
    for source in (one, tmp_path / "one"):
        volume = read_volume(source)
        np.testing.assert_array_equal(volume.as_tensor()[0], SLICES[:1].transpose(2, 1, 0))
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    sitk = pytest.importorskip("SimpleITK")
    writer = sitk.ImageFileWriter()
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.KeepOriginalImageUIDOn()
    for path in write_series(tmp_path / "jpeg", SLICES, EVEN):
        image = sitk.ReadImage(str(path))
        writer.SetFileName(str(path))
        writer.Execute(image)
    assert "JPEG Lossless" in pydicom.dcmread(path).file_meta.TransferSyntaxUID.name
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "jpeg").array, SLICES.transpose(2, 1, 0))


def test_values_that_break_the_rules_of_dicom(tmp_path):
    """They are read as they are, without a warning; of a number that is none, the file is named."""
    files = write_series(tmp_path / "p", SLICES, EVEN)
    for path in files:
        path.write_bytes(path.read_bytes().replace(b"1.2.3.4\0", b"1.2.a.b\0"))  # the series
    assert list_series(tmp_path)[0].series_instance_uid == "1.2.a.b"
    files[1].write_bytes(files[1].read_bytes().replace(b"0.9\\0.7 ", b"0.9\\x.7 "))
    refused(tmp_path / "p", "IMG-0002.dcm")


def test_a_tilt_is_told_once(tmp_path):
    tilt = np.deg2rad(-10)
    write_series(tmp_path / "p", SLICES, EVEN, rows=(1, 0, 0, 0, np.cos(tilt), np.sin(tilt)))
    with pytest.warns(UserWarning, match=r"10\.0 degrees"):
        read_volume(tmp_path / "p")
    read_volume(tmp_path / "p")  # in tests a warning is an error


def test_what_a_list_says(tmp_path):
    tags = {
        "PatientID": "p7",
        "StudyDate": "20200101",
        "SeriesNumber": 5,
        "ProtocolName": "T2",
        "ImageType": ("M", "FFE"),
    }
    write_series(tmp_path / "b" / "deep", SLICES, EVEN, EchoTime=70.0, **tags)
    write_series(tmp_path / "a", SLICES[:2], places(0, 5), SeriesInstanceUID="1.7", name="{}")
    report = pydicom.dcmread(tmp_path / "a" / "1")
    del report.Rows, report.Columns, report.PixelData
    report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # text
    report.save_as(tmp_path / "a" / "report")
    first, second = list_series(tmp_path)
    assert (first.series_instance_uid, len(first.files), first.size) == ("1.7", 2, (5, 8, 2))
    assert second.folder == tmp_path / "b" / "deep"
    facts = {"PatientID": "p7", "StudyInstanceUID": "1.2.3", "StudyDate": "20200101", "SeriesInstanceUID": "1.2.3.4"}
    facts |= {"SeriesNumber": "5", "SeriesDescription": "", "ProtocolName": "T2", "Modality": "MR", "EchoTime": "70.0"}
    assert second.facts == {**facts, "ImageType": "M\\FFE"}
    assert list_series(tmp_path, recursive=False) == []


def test_real_series_equal_the_nifti_beside_them(real_data):
    folder = real_data / "cardiac_mr_cine" / "SC-N-2"
    if not folder.is_dir():
        pytest.skip("no DICOM slices among the real images")
    volume, known = read_dicom_series(folder / "dicom_ed"), nib.load(folder / "ed.nii.gz")
    np.testing.assert_array_equal(volume.array, np.asarray(known.dataobj))
    np.testing.assert_allclose(volume.affine, known.affine, atol=1e-3)


@pytest.mark.parametrize("scanner", ["ge_01", "philips_10"])
def test_real_volumes_written_as_dicom(real_data, tmp_path, scanner):
    images = sorted((real_data / "kidney_mr_dual_echo" / scanner).glob("*.nii.gz"))
    if not images:
        pytest.skip("no kidneys among the real images")
    known = nib.load(images[0])
    array, affine = np.asarray(known.dataobj)[..., :12], np.diag([-1, -1, 1, 1]) @ known.affine  # RAS to LPS
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    rows = [*(affine[:3, 0] / sizes[0]), *(affine[:3, 1] / sizes[1])]
    positions = [affine[:3, 3] + k * affine[:3, 2] for k in range(array.shape[2])]
    spacing = (float(f"{sizes[1]:.8g}"), float(f"{sizes[0]:.8g}"))
    rows, positions = np.round(rows, 8), np.round(positions, 5)
    write_series(tmp_path / "p", array.transpose(2, 1, 0), positions, rows=rows, PixelSpacing=spacing)
    volume = read_dicom_series(tmp_path / "p")
    order = slice(None, None, -1) if np.linalg.det(affine[:3, :3]) < 0 else slice(None)
    np.testing.assert_array_equal(volume.array[..., order], array)
    expected = (
        affine
        if np.linalg.det(affine[:3, :3]) > 0
        else affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, array.shape[2] - 1], [0, 0, 0, 1]])
    )
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ volume.affine, expected, atol=1e-3)


@pytest.mark.parametrize("tags", [{"EchoTime": [2.3, 4.6] * 3}, {"ImageType": [("A", "B", "M"), ("A", "B", "P")] * 3}])
def test_echoes_between_each_other_are_no_volume(tmp_path, tags):
    """One series, evenly spaced, but every second slice is of another image."""
    write_series(tmp_path, np.zeros((6, 4, 4)), [(0, 0, 2.5 * k) for k in range(6)], **tags)
    assert [one.size[2] for one in list_series(tmp_path)] == [3, 3]
    with pytest.raises(VolumeError, match="holds 2 DICOM series"):
        read_dicom_series(tmp_path)


def test_numbers_tell_that_every_second_slice_is_lost(tmp_path):
    places = [(0, 0, 10 * k) for k in range(4)]
    write_series(tmp_path / "a", np.zeros((4, 4, 4)), places, InstanceNumber=[1, 3, 5, 7])
    with pytest.warns(UserWarning, match="5 mm thick and lie 10 mm apart, and their InstanceNumber grows by 2"):
        read_dicom_series(tmp_path / "a")
    # echoes that are numbered in turns
    write_series(tmp_path / "b", np.zeros((4, 4, 4)), [(0, 0, 5 * k) for k in range(4)], InstanceNumber=[1, 3, 5, 7])
    read_dicom_series(tmp_path / "b")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"PatientID": ["x", "y"] * 3}, "holds 2 DICOM series"),
        ({"SeriesNumber": [1] * 3 + [2] * 3}, "holds 2 DICOM series"),
        ({"DiffusionBValue": [0.0, 800.0] * 3}, r"several images: their DiffusionBValue is 0.0, 800.0"),
        ({"RescaleIntercept": [-1024] * 5 + [None], "RescaleSlope": 1}, "another scale of the values"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "IMG-0001.dcm: is PhotometricInterpretation MONOCHROME1"),
    ],
)
def test_one_number_of_the_series_but_several_images(tmp_path, tags, message):
    write_series(tmp_path, np.zeros((6, 4, 4)), [(0, 0, 5 * k) for k in range(6)], **tags)
    with pytest.raises(VolumeError, match=message):
        read_dicom_series(tmp_path)


def test_acquisitions_between_each_other_are_told(tmp_path):
    places = [(0, 0, 5 * k) for k in range(6)]
    write_series(tmp_path / "a", np.zeros((6, 4, 4)), places, AcquisitionNumber=[1, 2] * 3)
    with pytest.warns(UserWarning, match=r"slices of 2 acquisitions \(AcquisitionNumber 1, 2\) lie between"):
        read_dicom_series(tmp_path / "a")
    write_series(tmp_path / "b", np.zeros((6, 4, 4)), places, AcquisitionNumber=[1] * 3 + [2] * 3)
    read_dicom_series(tmp_path / "b")  # one part of the body after the other
