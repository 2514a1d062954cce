# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Registration: known motion is undone, nothing is invented, and what fails is the copy and is counted."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from monai_mmseg.baselines import Stacks, copy_label, deformation, register_baseline, register_label
from monai_mmseg.baselines import register as module
from monai_mmseg.cli.main import main

SIZE = 56
MIDDLE = (SIZE - 1) / 2


def heart(rows, columns):
    """Label and cine-like image at any points: a pool in a ring, in structure that differs everywhere."""
    far = np.hypot(rows - MIDDLE, (columns - MIDDLE) * 1.1)
    label = np.select([far < 8, far < 13], [1, 2], 0)
    texture = 0.15 * (np.sin(rows / 3.1) + np.cos(columns / 4.3 + rows / 9))
    edge = 0.9 / (1 + np.exp(2 * (far - 8))) - 0.5 / (1 + np.exp(2 * (far - 13)))
    return label, 1 + edge + texture + 0.6 / (1 + np.exp(np.hypot(rows - 12, columns - 40) - 6))


def late(image):
    """Another contrast of the same tissue, bent and inverted."""
    return 2 - image - 0.3 * (image - 1) ** 2


def stacks(move, slices=1):
    """Source at its place, target moved by a known map; a target voxel x shows the source's move(x)."""
    grid = np.indices((SIZE, SIZE), dtype=float)
    (label, image), (truth, moved) = heart(*grid), heart(*move(grid))
    label, truth, image, moved = (np.repeat(one[:, :, None], slices, 2) for one in (label, truth, image, late(moved)))
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    pair = Stacks(label.astype(np.int16), affine, label.shape, affine, image.astype("f4"), moved.astype("f4"))
    return pair, truth


def turned(grid):
    angle, center = np.deg2rad(8), np.full((2, 1, 1), MIDDLE)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.tensordot(turn * 1.06, grid - center, 1) + center + np.array([4.0, -3.0])[:, None, None]


def bent(grid):
    return grid + 4 * np.stack([np.sin(grid[1] * np.pi / SIZE), -np.sin(grid[0] * 2 * np.pi / SIZE)])


def dice(found, truth):
    return [2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum()) for k in (1, 2)]


@pytest.mark.parametrize("move", [turned, bent])
def test_known_motion_is_undone(move):
    pair, truth = stacks(move)
    found, counts = register_label(pair)
    assert counts == {"registered": 1}
    before, after = dice(pair.label, truth), dice(found, truth)
    assert min(after) > 0.9
    assert after[1] > before[1] + 0.25  # the ring is what motion hurts most
    assert set(np.unique(found)) <= {0, 1, 2}


def test_identical_images_move_nothing():
    pair, _ = stacks(lambda grid: grid)
    found, counts = register_label(pair._replace(target=pair.source))
    np.testing.assert_array_equal(found, pair.label)
    assert counts == {"registered": 1}


def test_shift_is_that_of_the_images():
    grid = np.indices((SIZE, SIZE), dtype=float)
    _, image = heart(*grid)
    moved = late(heart(*bent(grid))[1])
    shift = deformation.find_shift(moved, image, np.ones(image.shape, bool), np.array([1.5, 1.5]))
    inner = np.hypot(*(grid - MIDDLE)) < 15
    missed = np.linalg.norm(shift - (bent(grid) - grid), axis=0)[inner]
    assert missed.mean() < 0.5  # of 3 voxels


def test_volumes():
    pair, truth = stacks(lambda grid: grid + np.array([4.0, -3.0])[:, None, None], slices=6)
    small = slice(8, 48)
    cut = [one[small, small] for one in (pair.label, pair.source, pair.target)]
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    found, counts = register_label(Stacks(cut[0], affine, cut[0].shape, affine, *cut[1:]), dims=3)
    assert counts == {"registered": 1}
    assert min(dice(found, truth[small, small])) > min(dice(cut[0], truth[small, small])) + 0.2


def test_another_grid_and_a_missing_label():
    """The source's own voxels are looked up once; a slice without label needs no registration."""
    pair, truth = stacks(turned, slices=2)
    label = np.repeat(pair.label, 2, 0)  # rows of 0.75 mm
    label[:, :, 1] = 0
    affine = np.diag([0.75, 1.5, 8.0, 1.0])
    affine[0, 3] = -0.375
    pair = pair._replace(label=label, label_affine=affine, source=np.repeat(pair.source, 2, 0))
    found, counts = register_label(pair)
    assert counts == {"registered": 1}
    assert min(dice(found[:, :, 0], truth[:, :, 0])) > 0.88
    assert not found[:, :, 1].any()


def test_what_nobody_annotated_moves_along():
    """Left of a line nothing is known: the line moves as the image does, by four rows."""
    pair, _ = stacks(lambda grid: grid + np.array([4.0, 0.0])[:, None, None], slices=2)
    label = pair.label.copy()
    label[: SIZE // 2, :, 0], label[:, :, 1] = 255, 255
    found, counts = register_label(pair._replace(label=label, ignore=255))
    assert counts == {"registered": 1}  # the second slice has nothing to be moved
    edge = (found[:, 20:36, 0] == 255).sum(axis=0)
    assert np.abs(edge - (SIZE // 2 - 4)).max() <= 1
    assert (found[:, :, 1] == 255).all()


def test_slices_beyond_the_source_are_not_counted_as_registered():
    """Target slices at 0, 8, 16 and 24 mm, the source at 0 alone: two lie more than 8 mm away."""
    pair, _ = stacks(turned, slices=4)
    pair = pair._replace(label=pair.label[:, :, :1], source=pair.source[:, :, :1])
    found, counts = register_label(pair)
    assert counts == {"registered": 2}
    np.testing.assert_array_equal(found[:, :, 3], found[:, :, 0])  # what is scored is what it was
    assert register_label(pair._replace(ignore=255)).counts == {"registered": 2}


def raising(*_, **__):
    raise np.linalg.LinAlgError("singular")


@pytest.mark.parametrize(
    ("reason", "patch"),
    [
        ("failed, LinAlgError", ("_affine", raising)),
        ("folded", ("_folds", lambda *_: True)),
        ("worse", ("mutual_information", None)),
    ],
)
def test_failures_are_copies(monkeypatch, reason, patch):
    if reason != "failed, LinAlgError":
        monkeypatch.setattr(deformation, "_affine", lambda *_: np.eye(3))
    if reason == "worse":
        values = iter([1.0, 0.5])  # before, after
        patch = (patch[0], lambda *_: next(values))
    monkeypatch.setattr(deformation, *patch)
    pair, _ = stacks(turned)
    found, counts = register_label(pair)
    assert counts == {reason: 1}
    np.testing.assert_array_equal(found, pair.label)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("place", "reason", "rows"),
    [  # of a row that looks up another one; the organ is in rows 0 to 9
        (lambda row: row + 5, "registered", 5),
        (lambda row: row + 6, "lost", 10),  # four would be left
        (lambda row: row / 2, "registered", 19),  # row 19 looks up 9.5, which is 10
        (lambda row: row / 2.2, "grown", 10),  # rows 0 to 20 would be 21
    ],
)
def test_a_registration_must_keep_the_organ(monkeypatch, dims, place, reason, rows):
    label = np.zeros((40, 4, 1), np.int16)
    label[:10] = 1
    image = np.zeros(label.shape, np.float32)

    def shift(fixed, *_):
        grid = np.indices(fixed.shape, dtype=float)
        return np.concatenate([place(grid[:1]) - grid[:1], 0 * grid[1:]])

    monkeypatch.setattr(module, "find_shift", shift)
    found, counts = register_label(Stacks(label, np.eye(4), label.shape, np.eye(4), image, image), dims=dims)
    assert counts == {reason: 1}
    np.testing.assert_array_equal(found[:, :, 0], np.arange(40)[:, None] < rows + np.zeros(4))


def test_nothing_to_register():
    pair, _ = stacks(turned)
    away = pair.label_affine.copy()
    away[0, 3] = 1.5 * (SIZE - 4)  # four columns are seen by both
    for reason, odd in {
        "flat image": pair._replace(target=np.ones_like(pair.target)),
        "no overlap": pair._replace(label_affine=away),
    }.items():
        found, counts = register_label(odd)
        assert counts == {reason: 1}
        np.testing.assert_array_equal(found, copy_label(*odd[:4]))


def test_folding_is_the_sign_of_the_jacobian():
    rows = np.zeros((8, 8, 2))
    rows[..., 0] = -1.5 * 2.0 * np.arange(8)[:, None]  # x - 1.5 x runs backwards
    assert deformation._folds(rows, np.array([2.0, 2.0]))
    assert not deformation._folds(rows / 2, np.array([2.0, 2.0]))


def test_measures_against_numpy():
    generator = np.random.default_rng(0)
    one, two = gaussian_filter(generator.random((2, 20, 20)), (0, 1, 1))
    corner = np.corrcoef(one[6:15, 3:12].ravel(), two[6:15, 3:12].ravel())[0, 1]
    assert deformation.local_correlation(one, two)[10, 7] == pytest.approx(corner**2)
    # four values of two bins each: H(x) + H(y) - H(x, y) by hand
    first, second = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    by_hand = np.log(2) + (0.25 * np.log(4) + 0.75 * np.log(4 / 3)) - (0.5 * np.log(4) + 0.5 * np.log(2))
    assert deformation.mutual_information(first, second) == pytest.approx(by_hand)


def test_files_and_command(tmp_path, capsys, caplog):
    pair, truth = stacks(turned, slices=2)
    pair.target[:, :, 1] = 3.0  # nothing to see
    items = []
    for modality, image in (("cine", pair.source), ("lge", pair.target)):
        item = {"subject": "s1", "modality": modality, "image": f"{modality}.nii.gz"}
        nib.save(nib.Nifti1Image(image, pair.affine), tmp_path / item["image"])
        items.append(item)
    nib.save(nib.Nifti1Image(pair.label, pair.affine), tmp_path / "label.nii.gz")
    items[0]["label"] = "label.nii.gz"
    listing = {"name": "x", "labels": {"0": "b", "1": "LV", "2": "myo"}, "test": items}
    (tmp_path / "list.json").write_text(json.dumps(listing))
    words = ["baseline", "register", str(tmp_path / "list.json"), "--source", "cine", "--target", "lge"]
    assert main([*words, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    assert "1 label volumes registered from cine to lge" in capsys.readouterr().out
    assert "register kept 1 of 2 copied labels (flat image: 1)." in caplog.text
    found = np.asarray(nib.load(tmp_path / "out" / "s1" / "lge_seg.nii.gz").dataobj)
    assert min(dice(found[:, :, 0], truth[:, :, 0])) > 0.9
    np.testing.assert_array_equal(found[:, :, 1], pair.label[:, :, 1])
    record = json.loads((tmp_path / "out" / "baseline.json").read_text())
    assert record["subjects"]["s1"].pop("cpu_seconds") > 0
    assert record == {
        **{"method": "register", "source": "cine", "target": "lge", "settings": {"dims": 2}},
        "subjects": {"s1": {"file": "s1/lge_seg.nii.gz", "counts": {"registered": 1, "flat image": 1}}},
    }


def test_wrong_use(tmp_path, monkeypatch):
    pair, _ = stacks(turned)
    with pytest.raises(ValueError, match="dims must be 2 or 3, got 4"):
        register_label(pair, dims=4)
    with pytest.raises(ValueError, match="stacks must hold both images"):
        register_label(pair._replace(source=None))
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        register_baseline([], "cine", "lge", tmp_path, workers=0)
    monkeypatch.setattr(deformation, "optional_import", lambda *_, **__: (None, False))
    with pytest.raises(ImportError, match=r"needs the package dipy: pip install 'monai-mmseg\[register\]'"):
        register_baseline([], "cine", "lge", tmp_path)


def test_a_broken_image_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(deformation, "find_shift", lambda *_: pytest.fail("work began"))
    pair, _ = stacks(turned)
    items = []
    for subject in ("s1", "s2"):
        for modality, image in (("cine", pair.source), ("lge", pair.target)):
            path = tmp_path / f"{subject}_{modality}.nii.gz"
            nib.save(nib.Nifti1Image(image, pair.affine), path)
            items.append({"subject": subject, "modality": modality, "image": str(path)})
        items[-2]["label"] = str(tmp_path / f"{subject}_label.nii.gz")
        nib.save(nib.Nifti1Image(pair.label, pair.affine), items[-2]["label"])
    image = pair.target.copy()
    image[3, 4] = np.nan
    nib.save(nib.Nifti1Image(image, pair.affine), items[3]["image"])
    with pytest.raises(ValueError, match=r"s2_lge.nii.gz: 1 of 3136 values are NaN"):
        register_baseline(items, "cine", "lge", tmp_path / "out")
    assert not (tmp_path / "out").exists()
