# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A DICOM series as a volume, and folders that hold something else."""

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.bundle.dicom import dicom_to_nifti
from monai_mmseg.bundle.predict_inputs import Asked, find_inputs

sitk = pytest.importorskip("SimpleITK")

SPACING = (1.5, 2.0, 4.0)


def write_series(folder, series="1.2.3", places=(0, 4, 8, 12), text="axial"):
    """Slices whose grey value says where they lie, written in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, place in sorted(enumerate(places), key=lambda one: one[0] % 2):
        values = np.full((5, 6), 100 + place, np.int16)
        values[0, 1] = 7  # row 0, column 1
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(SPACING[:2])
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.{number}.{len(folder.name)}",
            "0008|0060": "CT",
            "0008|103e": text,
            "0020|000d": "1.2",
            "0020|000e": series,
            "0020|0013": str(number),
            "0020|0032": f"10\\20\\{place}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{series}_{number}.dcm"))
        writer.Execute(image)
    return folder


def test_a_series_becomes_a_volume_in_its_place(tmp_path):
    folder = write_series(tmp_path / "p.01")
    (folder / "notes.txt").write_text("not an image")
    path = dicom_to_nifti(folder, tmp_path)
    assert path == tmp_path / "p.01.nii.gz"
    volume = nib.load(path)
    values = np.asarray(volume.dataobj)
    assert values.shape == (6, 5, 4)
    assert values[3, 3].tolist() == [100, 104, 108, 112]
    assert values[1, 0].tolist() == [7, 7, 7, 7]
    # DICOM counts to the left and to the back, NIfTI to the right and to the front
    expected = np.array([[-1.5, 0, 0, -10], [0, -2, 0, -20], [0, 0, 4, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-5)
    found = find_inputs(folder, ["ct", "mr"], Asked(modality="ct"), tmp_path)
    assert found.items == [{"image": str(path), "subject": "p.01", "modality": "ct"}]


def test_several_series_are_listed(tmp_path):
    write_series(tmp_path / "p", text="arterial")
    write_series(tmp_path / "p", series="1.2.4", places=(0, 4), text="scout")
    with pytest.raises(ValueError, match=r"p: holds 2 DICOM series, .* put the one") as caught:
        dicom_to_nifti(tmp_path / "p", tmp_path)
    assert sorted(str(caught.value).splitlines()[1:]) == [
        "  CT, 'arterial', 4 files, such as 1.2.3_0.dcm",
        "  CT, 'scout', 2 files, such as 1.2.4_0.dcm",
    ]


@pytest.mark.parametrize(
    ("places", "message"), [((0, 4, 12), r"1 slice\(s\) missing"), ((0, 0, 4, 4), "lie at one place")]
)
def test_slices_that_are_no_volume(tmp_path, places, message):
    with pytest.raises(ValueError, match=message):
        dicom_to_nifti(write_series(tmp_path / "p", places=places), tmp_path)


def test_one_file_is_a_volume_unless_it_is_a_slice_of_those_beside_it(tmp_path):
    file = min(write_series(tmp_path / "p").iterdir())
    with pytest.raises(ValueError, match=r"1.2.3_0.dcm: one slice of a series of 4 files; give their folder"):
        find_inputs(file, ["ct"], Asked(), tmp_path)
    (tmp_path / "alone").mkdir()
    alone = file.rename(tmp_path / "alone" / "p1.DCM")
    (item,) = find_inputs(alone, ["ct"], Asked(), tmp_path).items
    assert (item["subject"], nib.load(item["image"]).shape) == ("p1", (6, 5, 1))


def test_dicom_beside_a_volume_is_not_passed_by(tmp_path):
    folder = write_series(tmp_path / "p")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), folder / "liver.nii.gz")
    with pytest.raises(ValueError, match=r"holds DICOM files, such as 1.2.3_0.dcm, beside liver.nii.gz"):
        find_inputs(folder, ["ct"], Asked(), tmp_path)


def test_a_folder_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no image that is read here: no NIfTI file, no datalist.json"):
        dicom_to_nifti(tmp_path, tmp_path)


@pytest.mark.parametrize(("modality", "told"), [("mr", True), ("lge", True), ("ct", False), ("arm", False)])
def test_a_header_of_another_modality_is_told(tmp_path, caplog, modality, told):
    folder = write_series(tmp_path / "p1")
    find_inputs(folder, ["ct", "mr", "lge", "arm"], Asked(modality=modality), tmp_path)
    assert (f"p1 is taken as {modality}, and its header says CT: is it the right series?" in caplog.text) == told


def test_a_series_without_a_modality_is_named_as_it_was_given(tmp_path):
    folder = write_series(tmp_path / "p1")
    with pytest.raises(ValueError, match="say which p1 is of with --modality"):
        find_inputs(folder, ["ct", "mr"], Asked(), tmp_path)
