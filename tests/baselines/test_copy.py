# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Copy baseline: known shifts, oblique grids, swapped axes, and MONAI's resampling as the other opinion."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch

from monai_mmseg.baselines import copy_baseline, copy_label
from monai_mmseg.cli.main import main
from monai_mmseg.evaluation import evaluate_predictions


def affine(spacing, origin=(0.0, 0.0, 0.0), degrees=0.0):
    angle = math.radians(degrees)
    out = np.eye(4)
    turn = np.array([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    out[:3, :3] = turn @ np.diag(spacing)
    out[:3, 3] = origin
    return out


@pytest.fixture
def label():
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 4, (5, 6, 4))
    return np.kron(coarse, np.ones((3, 3, 1), dtype=int))  # 15 x 18 x 4


def test_same_grid_is_unchanged(label):
    grid = affine((1.5, 1.5, 8), (3, -20, 40), 25)
    np.testing.assert_array_equal(copy_label(label, grid, label.shape, grid), label)


def test_shift_by_whole_voxels(label):
    moved = copy_label(label, affine((2, 2, 8)), label.shape, affine((2, 2, 8), (4, -2, 0)))
    np.testing.assert_array_equal(moved[:-2, 1:], label[2:, :-1])
    assert not moved[-2:].any()  # nothing is known there
    assert not moved[:, 0].any()


def test_far_slices_get_the_nearest_one(label):
    found = copy_label(label, affine((1, 1, 8)), (15, 18, 9), affine((1, 1, 8), (0, 0, -20)))
    # positions -20, -12, -4, 4 (half way: the lower), 12, 20, 28, 36, 44 against 0, 8, 16, 24
    for at, partner in enumerate([0, 0, 0, 0, 1, 2, 3, 3, 3]):
        np.testing.assert_array_equal(found[:, :, at], label[:, :, partner])


def test_finer_grid_agrees_with_monai(label):
    # inside of the source volume and off the half-way points both must say the same
    source, target = affine((2, 2, 8), (0, 0, 0), 20), affine((0.91, 0.7, 3), (1.13, 0.3, 0.2), 20)
    shape = (28, 44, 8)
    ours = copy_label(label, source, shape, target)
    theirs = ResampleToMatch(mode="nearest", padding_mode="zeros")(
        MetaTensor(torch.as_tensor(label[None]).float(), affine=torch.as_tensor(source)),
        MetaTensor(torch.zeros(1, *shape), affine=torch.as_tensor(target)),
    )
    np.testing.assert_array_equal(ours, theirs[0].numpy().astype(int))


def test_crossing_stacks_take_the_nearest_voxel(label):
    # a sagittal stack and an axial one share no slice
    target = np.eye(4)[:, [2, 1, 0, 3]]
    found = copy_label(label, np.eye(4), (4, 18, 15), target)
    np.testing.assert_array_equal(found, label.transpose(2, 1, 0))


@pytest.fixture
def data(tmp_path, label):
    def write(name, values, grid):
        nib.save(nib.Nifti1Image(values, grid), tmp_path / name)
        return str(tmp_path / name)

    grid = affine((1, 1, 8), (5, 5, 5), 10)
    cine = write("s1_cine.nii.gz", np.zeros((15, 18, 4), dtype=np.int16), grid)
    seg = write("s1_cine_label.nii.gz", label.astype(np.uint8), grid)
    # the target's file has its slices first
    turned = grid[:, [2, 0, 1, 3]]
    lge = write("s1_lge.nii.gz", np.zeros((4, 15, 18), dtype=np.int16), turned)
    truth = write("s1_lge_label.nii.gz", np.ascontiguousarray(label.transpose(2, 0, 1)).astype(np.uint8), turned)
    items = [
        {"image": cine, "label": seg, "modality": "cine", "subject": "s1"},
        {"image": lge, "label": truth, "modality": "lge", "subject": "s1"},
        {"image": lge, "modality": "lge", "subject": "s2"},
    ]
    return items, tmp_path


def test_files_are_predictions_on_the_targets_grid(data, caplog):
    items, root = data
    written = copy_baseline(items, "cine", "lge", root / "out")
    assert written == {"s1": root / "out" / "s1" / "s1_lge_seg.nii.gz"}
    assert "No cine label to copy for 1 subjects: s2" in caplog.text
    image = nib.load(written["s1"])
    np.testing.assert_allclose(image.affine, nib.load(items[1]["image"]).affine)
    labels = {0: "background", 1: "a", 2: "b", 3: "c"}
    table = evaluate_predictions(items, root / "out", modality="lge", labels=labels, method="copy")
    assert [score.values["dice"] for score in table] == [1.0, 1.0, 1.0]


def test_the_targets_labels_are_not_opened(data):
    items, root = data
    (root / "s1_lge_label.nii.gz").write_bytes(b"not to be read")
    assert list(copy_baseline(items, "cine", "lge", root / "out")) == ["s1"]


def test_a_label_that_is_the_answer_is_no_baseline(data, caplog):
    """Registered sequences are drawn on together: the copy would score 1.000, and say nothing."""
    items, root = data
    shared = [items[0], {**items[1], "label": str(root / "." / "s1_cine_label.nii.gz")}]
    with pytest.raises(ValueError, match="s1: cine and lge have one label file, so that its copy would be scored"):
        copy_baseline(shared, "cine", "lge", root / "out")
    assert not (root / "out").exists()
    assert list(copy_baseline(shared, "cine", "lge", root / "lent", lend=True)) == ["s1"]
    own = [{**one, "subject": "s2"} for one in items[:2]]
    assert list(copy_baseline([*shared, *own], "cine", "lge", root / "out")) == ["s1", "s2"]
    assert "s1: cine and lge have one label file" in caplog.text


def test_what_nobody_annotated_is_no_class(data):
    items, root = data
    values = nib.load(items[0]["label"]).get_fdata().astype(np.int16)
    values[:3] = 255
    nib.save(nib.Nifti1Image(values, affine((1, 1, 8))), root / "part.nii.gz")
    items[0] = {**items[0], "label": str(root / "part.nii.gz"), "ignore": 255}
    written = copy_baseline(items, "cine", "lge", root / "out")
    found = nib.load(written["s1"]).get_fdata()
    assert set(np.unique(found)) <= {0, 1, 2, 3}
    assert found.any()


def test_a_mask_that_is_lent_leaves_out_what_nobody_annotated(data, label):
    """Else a network would learn that no organ is there; a score takes it for background."""
    items, root = data
    grid, values = nib.load(items[0]["label"]).affine, label.astype(np.uint8)
    values[:3] = 255
    nib.save(nib.Nifti1Image(values, grid), items[0]["label"])
    items = [{**one, "ignore": 255} for one in items[:2]]
    written = copy_baseline(items, "cine", "lge", root / "out", lend=True)
    found = np.asarray(nib.load(written["s1"]).dataobj)
    assert (found[:, :3] == 255).all()
    np.testing.assert_array_equal(found[:, 3:], label[3:].transpose(2, 0, 1))
    table = evaluate_predictions(items, root / "out", modality="lge", labels={1: "a", 2: "b", 3: "c"})
    score = next(one for one in table if one.case["class"] == "a")
    hit, true = (label[3:] == 1).sum(), (label == 1).sum()  # the first three rows are missed
    assert score.values["dice"] == pytest.approx(2 * hit / (hit + true))


@pytest.mark.parametrize(
    ("section", "ignore", "told"),
    [
        ("training", 255, "they are left unannotated."),
        (
            "training",
            None,
            'they have the mask of the nearest one; with "ignore": 255 in the datalist they are left unannotated.',
        ),
        ("test", 255, "they have the mask of the nearest one."),
    ],
)
def test_slices_beyond_the_source_are_told_and_not_lent(tmp_path, caplog, section, ignore, told):
    """Source at 0 and 8 mm, target at -16, -8, ..., 24: the outer ones, -16 and 24, are more than 8 mm away."""
    items = []
    for modality, depth, origin in (("cine", 2, 0), ("lge", 6, -16)):
        values = np.arange(1, depth + 1, dtype=np.uint8) * np.ones((4, 5, 1), dtype=np.uint8)
        nib.save(nib.Nifti1Image(values, affine((1, 1, 8), (0, 0, origin))), tmp_path / f"{modality}.nii.gz")
        items.append({"image": f"{modality}.nii.gz", "modality": modality, "subject": "s1"})
    items[0]["label"] = "cine.nii.gz"
    listing = {"labels": {"0": "b", "1": "a", "2": "c"}, section: items} | ({"ignore": ignore} if ignore else {})
    (tmp_path / "list.json").write_text(json.dumps(listing))
    words = ["baseline", "copy", str(tmp_path / "list.json"), "--source", "cine", "--target", "lge"]
    assert main([*words, "--section", section, "--out", str(tmp_path / "out")]) == 0
    found = np.asarray(nib.load(tmp_path / "out" / "s1" / "lge_seg.nii.gz").dataobj)
    first, last = (255, 255) if told == "they are left unannotated." else (1, 2)
    np.testing.assert_array_equal(found, np.array([first, 1, 1, 2, 2, last]) * np.ones((4, 5, 1)))
    assert f"2 slices of 1 subjects (s1) lie more than a slice spacing from every slice of cine: {told}" in caplog.text
    record = json.loads((tmp_path / "out" / "baseline.json").read_text())
    assert record["subjects"]["s1"]["counts"] == {"no partner": 2}


def test_wrong_use(data):
    items, root = data
    with pytest.raises(ValueError, match="two modalities, got 'lge' twice"):
        copy_baseline(items, "lge", "lge", root)
    with pytest.raises(ValueError, match=r"'bold' label and a 'lge' image, got none; there are \['cine', 'lge'\]"):
        copy_baseline(items, "bold", "lge", root)


@pytest.mark.parametrize("subject", ["../escape", "a/b", "..", "/abs"])
def test_nothing_leaves_the_folder(data, subject):
    items, root = data
    items = [{**one, "subject": subject} for one in items[:2]]
    before = sorted(root.rglob("*"))
    with pytest.raises(ValueError, match="subject '.*' names files, but it "):
        copy_baseline(items, "cine", "lge", root / "out")
    assert sorted(root.rglob("*")) == before


def test_nothing_is_replaced_and_nothing_is_half(data):
    items, root = data
    second = [{**one, "subject": "s0", "image": one["image"]} for one in items[:2]]
    (root / "broken.nii.gz").write_bytes((root / "s1_cine_label.nii.gz").read_bytes()[:60])
    second[0]["label"] = str(root / "broken.nii.gz")
    with pytest.raises(ValueError, match=r"broken.nii.gz: cannot be read as an image"):
        copy_baseline([*items, *second], "cine", "lge", root / "out")
    assert not (root / "out").exists()
    copy_baseline(items, "cine", "lge", root / "out")
    with pytest.raises(FileExistsError, match="out is not empty; name another one, or overwrite it"):
        copy_baseline(items, "cine", "lge", root / "out")
    assert list(copy_baseline(items, "cine", "lge", root / "out", overwrite=True)) == ["s1"]


def test_labels_of_whole_numbers(data):
    items, root = data
    nib.save(nib.Nifti1Image(np.full((15, 18, 4), 0.5, np.float32), affine((1, 1, 8))), items[0]["label"])
    with pytest.raises(ValueError, match="label values must be whole numbers from 0 to 255, found"):
        copy_baseline(items, "cine", "lge", root / "out")


def test_other_formats(data, label):
    items, root = data
    for key in ("image", "label"):
        source = sitk.ReadImage(items[0][key])
        items[0][key] = items[0][key].replace(".nii.gz", ".mha")
        sitk.WriteImage(source, items[0][key])
    written = copy_baseline(items, "cine", "lge", root / "out")
    np.testing.assert_array_equal(np.asarray(nib.load(written["s1"]).dataobj), label.transpose(2, 0, 1))


def test_command(data, capsys):
    items, root = data
    listing = {"name": "x", "labels": {"0": "b", "1": "a"}, "test": items[:2]}
    (root / "datalist.json").write_text(json.dumps(listing))
    words = ["baseline", "copy", str(root / "datalist.json"), "--source", "cine", "--target", "lge", "--out"]
    assert main([*words, str(root / "out")]) == 0
    assert "1 label volumes copied from cine to lge" in capsys.readouterr().out


def test_masks_of_labels_that_were_withdrawn_are_removed(data, caplog):
    items, root = data
    items = [{**one, "subject": subject} for subject in ("s1", "s2", "s3") for one in items[:2]]
    out = root / "out"
    copy_baseline(items, "cine", "lge", out)
    for name in ("own_lge_seg.nii.gz", "notes.txt"):
        (out / name).touch()
    (out / "s3" / "notes.txt").touch()
    bare = [{k: v for k, v in one.items() if k != "label" or one["subject"] == "s1"} for one in items]
    assert list(copy_baseline(bare[:4], "cine", "lge", out, overwrite=True)) == ["s1"]
    assert "Masks of an earlier run that this one does not make are removed: s2." in caplog.text
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    own = ["baseline.json", "notes.txt", "own_lge_seg.nii.gz", "s1/s1_lge_seg.nii.gz"]
    assert files == [*own, "s3/notes.txt", "s3/s1_lge_seg.nii.gz"]  # s3 is of another list
    assert not (out / "s2").exists()
    record = json.loads((out / "baseline.json").read_text())
    assert {name: done["file"] for name, done in record["subjects"].items()} == {
        name: f"{name}/s1_lge_seg.nii.gz" for name in ("s1", "s3")
    }
    record["subjects"]["s3"]["file"] = "../s1_cine.nii.gz"
    (out / "baseline.json").write_text(json.dumps(record))
    copy_baseline(bare, "cine", "lge", out, overwrite=True)
    assert (root / "s1_cine.nii.gz").exists()


def test_a_mask_that_is_a_label_by_now_is_not_removed(data):
    items, root = data
    items = [{**one, "subject": subject} for subject in ("s1", "s2") for one in items[:2]]
    made = copy_baseline(items, "cine", "lge", root / "out")
    del items[2]["label"]
    items[3]["label"] = str(made["s2"])
    with pytest.raises(ValueError, match=r"s1_lge_seg.nii.gz is read, or holds what is read, and would be replaced"):
        copy_baseline(items, "cine", "lge", root / "out", overwrite=True)
    assert made["s2"].is_file()


def test_dots_in_the_names_of_subjects(tmp_path):
    """As DICOM writes them: the whole name tells subjects apart, in the folder and in the table."""
    subjects, items = ["1.2.840.113", "1.2.840.114"], []
    for value, subject in enumerate(subjects, start=1):
        for modality in ("cine", "lge"):
            files = {key: str(tmp_path / f"{subject}.{modality}.{key}.nii.gz") for key in ("image", "label")}
            for path in files.values():
                nib.save(nib.Nifti1Image(np.full((4, 5, 2), value, np.uint8), np.eye(4)), path)
            items.append({**files, "subject": subject, "modality": modality})
    written = copy_baseline(items, "cine", "lge", tmp_path / "out")
    assert len(set(written.values())) == 2
    for value, subject in enumerate(subjects, start=1):
        assert (nib.load(written[subject]).get_fdata() == value).all()
    table = evaluate_predictions(items, tmp_path / "out", modality="lge", labels={1: "a", 2: "b"}, method="copy.v1")
    assert table.subjects() == subjects
    assert all(score.values["dice"] == 1 for score in table)
    assert sorted(path.name for path in table.save(tmp_path / "table", "copy.v1").values()) == [
        *("copy.v1.csv", "copy.v1.json", "copy.v1.md"),
    ]
