# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import read_chaos, import_layout
from tests.preparation.layouts.public_sets import write_dicom, write_pictures

GREY = {0: 0, 1: 63, 2: 126, 3: 189, 4: 252}
DEPTH, SIZE = 4, (7, 6)


def volumes(seed):
    """Slices whose mean grows from feet to head, and classes."""
    rng = np.random.default_rng(seed)
    image = (rng.integers(0, 50, (DEPTH, *SIZE)) + 100 * np.arange(DEPTH)[:, None, None]).astype(np.int16)
    classes = rng.integers(0, 5, image.shape)
    return image, classes


def patient(folder, seed, *, head_first=False, ending="T2SPIR", ground=True):
    """One patient; names of the files run from the feet or from the head."""
    image, classes = volumes(seed)
    names = [f"IMG-0004-{place:05d}" for place in range(1, DEPTH + 1)]
    names = names[::-1] if head_first else names
    slices = folder / ending / "DICOM_anon" if ending == "T2SPIR" else folder / ending / "DICOM_anon" / "InPhase"
    write_dicom(slices, image, [f"{name}.dcm" for name in names])
    if ground:
        write_pictures(
            folder / ending / "Ground", np.vectorize(GREY.get)(classes), [f"liver_{name}.png" for name in names]
        )
    return image, classes


@pytest.fixture
def chaos(tmp_path):
    train = tmp_path / "CHAOS" / "Train_Sets" / "MR"
    truth = {"1": patient(train / "1", 1), "10": patient(train / "10", 2, head_first=True)}
    patient(tmp_path / "CHAOS" / "Test_Sets" / "MR" / "4", 3, ground=False)
    return tmp_path / "CHAOS", truth


def test_slices_and_pictures_become_volumes_on_one_grid(chaos, tmp_path):
    folder, truth = chaos
    out = import_layout(read_chaos(folder), tmp_path / "mr" / "datalist.json")
    assert check_datalist(out).errors == []
    content = read_datalist(out)
    assert (content.name, content.modalities) == ("chaos_t2spir", ["mr"])
    items = load_datalist(out)
    assert [item["subject"] for item in items] == ["chaos_mr_1", "chaos_mr_10"]
    for item, (image, classes) in zip(items, truth.values(), strict=True):
        volume, label = (nib.load(item[key]) for key in ("image", "label"))
        # NIfTI is (X, Y, Z) and points to left and back in DICOM are negative here
        np.testing.assert_array_equal(np.asarray(volume.dataobj).transpose(2, 1, 0), image)
        np.testing.assert_array_equal(np.asarray(label.dataobj).transpose(2, 1, 0), classes)
        expected = np.array([[-0.7, 0, 0, 10], [0, -0.9, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])
        for one in (volume, label):
            np.testing.assert_allclose(one.affine, expected, atol=1e-5)
    test = load_datalist(out, "test")
    assert [(item["subject"], "label" in item) for item in test] == [("chaos_mr_4", False)]


@pytest.mark.parametrize("part", [".", "Train_Sets"])
def test_folders_that_a_user_may_name(chaos, part):
    cases = read_chaos(chaos[0] / part).cases
    assert [case.subject for case in cases if case.section == "training"] == ["chaos_mr_1", "chaos_mr_10"]


def test_in_phase_images(tmp_path):
    patient(tmp_path / "Train_Sets" / "MR" / "2", 1, ending="T1DUAL")
    out = import_layout(read_chaos(tmp_path, "t1dual_in"), tmp_path / "datalist.json")
    assert check_datalist(out).errors == []
    with pytest.raises(FileNotFoundError, match="1 files are missing: .*OutPhase"):
        read_chaos(tmp_path, "t1dual_out")


def test_what_is_missing_or_wrong(chaos, tmp_path):
    folder, _ = chaos
    ground = folder / "Train_Sets" / "MR" / "1" / "T2SPIR" / "Ground"
    pictures = sorted(ground.iterdir())
    write_pictures(ground, np.full((1, *SIZE), 100), [pictures[0].name])
    out = tmp_path / "datalist.json"
    with pytest.raises(ValueError, match=r"Ground: label values must be some of .*, found \[100\]"):
        import_layout(read_chaos(folder), out)
    write_pictures(ground, np.zeros((1, 3, 3)), [pictures[0].name])
    with pytest.raises(ValueError, match=r"a picture of \(3, 3\) pixels for slices of \(7, 6\)"):
        import_layout(read_chaos(folder), out)
    pictures[0].unlink()
    with pytest.raises(ValueError, match="3 pictures for 4 slices"):
        import_layout(read_chaos(folder), out)
    for one in (folder / "Train_Sets" / "MR" / "10" / "T2SPIR" / "DICOM_anon").iterdir():
        one.unlink()
    with pytest.raises(ValueError, match="DICOM files of one series, found 0 of 0"):
        import_layout(replace(read_chaos(folder), cases=read_chaos(folder).cases[1:2]), out)
    assert not out.exists()
    for one in pictures[1:]:
        one.unlink()
    ground.rmdir()
    with pytest.raises(FileNotFoundError, match="1 files are missing: .*1/T2SPIR/Ground"):
        read_chaos(folder)
    with pytest.raises(FileNotFoundError, match=r"such as Train_Sets/CT/1/DICOM_anon/\*.dcm"):
        read_chaos(folder, "ct")
    with pytest.raises(ValueError, match="sequence must be one of .* got 't2'"):
        read_chaos(folder, "t2")
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        read_chaos(tmp_path / "nowhere")


def test_real_ct_runs_from_head_to_feet(real_data, tmp_path):
    folder = real_data / "chaos_ct"
    if not folder.is_dir():
        pytest.skip("no CHAOS slices among the real images")
    out = import_layout(read_chaos(folder, "ct"), tmp_path / "datalist.json")
    item = load_datalist(out)[0]
    image, label = (nib.as_closest_canonical(nib.load(item[key])) for key in ("image", "label"))
    known = [nib.as_closest_canonical(nib.load(folder / "nifti" / name)) for name in ("ct.nii.gz", "seg.nii.gz")]
    mask, pixels = np.asarray(label.dataobj), np.asarray(image.dataobj, dtype=np.float64)
    assert mask.sum() == 551920
    np.testing.assert_array_equal(mask[::2, ::2], np.asarray(known[1].dataobj))
    # the copy was made smaller with a filter of its own: every slice is nearest to the slice of the same place
    apart = np.abs(pixels[::2, ::2, :, None] - np.asarray(known[0].dataobj, dtype=np.float64)[:, :, None]).mean((0, 1))
    assert apart.argmin(1).tolist() == list(range(16))
    assert np.corrcoef(pixels[::2, ::2].ravel(), np.asarray(known[0].dataobj).ravel())[0, 1] > 0.99
