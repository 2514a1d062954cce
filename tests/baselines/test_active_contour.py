# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Active contours: discs in noise, a pool in its ring, holes, borders, and snakes that are lost."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.baselines import Stacks, active_contour_baseline, draw_contours
from monai_mmseg.baselines.active_contour import contour_label, fill, outline
from monai_mmseg.cli.main import main

ROWS, COLUMNS = np.ogrid[:64, :64]


def disc(radius, row=32.0, column=32.0):
    return np.hypot(ROWS - row, COLUMNS - column) < radius


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_disc_in_noise():
    image = disc(15) + 0.1 * np.random.default_rng(0).standard_normal((64, 64))
    found, counts = draw_contours(3 * disc(15, 34, 30), image)
    assert counts == {"contours": 1}
    assert set(np.unique(found)) == {0, 3}
    assert dice(disc(15, 34, 30), disc(15)) < 0.89
    assert dice(found == 3, disc(15)) > 0.95


def test_pool_stays_in_its_ring():
    truth = np.where(disc(10), 1, np.where(disc(18), 2, 0))
    image = np.select([truth == 1, truth == 2], [1.0, 0.0], 0.5)
    copied = np.where(disc(10, 34, 31), 1, np.where(disc(18, 34, 31), 2, 0))
    found, counts = draw_contours(copied, image)
    assert counts == {"contours": 2}
    for k in (1, 2):
        assert dice(found == k, truth == k) > dice(copied == k, truth == k) + 0.03
    assert (found[disc(16)] > 0).all()  # no gap between them


def test_an_empty_hole_stays_empty():
    ring = disc(18) & ~disc(9)
    found, counts = draw_contours(ring.astype(int), ring.astype(float))
    assert counts == {"contours": 2}
    assert dice(found == 1, ring) > 0.93
    assert not found[disc(6)].any()


def test_parts_of_a_class_are_snakes_of_their_own():
    two = disc(9, 16, 16) | disc(9, 46, 46)
    found, counts = draw_contours(two.astype(int), two.astype(float))
    assert counts == {"contours": 2}
    assert dice(found == 1, two) > 0.95


def test_a_part_at_the_border_reaches_it():
    half = disc(16, 0, 32)
    line = outline(half)
    assert line[:, 0].min() == pytest.approx(-0.5, abs=0.01)
    assert dice(fill(line, half.shape), half) > 0.97
    found, counts = draw_contours(half.astype(int), half.astype(float))
    assert counts == {"contours": 1}
    assert dice(found == 1, half) > 0.85


@pytest.mark.parametrize("shape", [disc(20), disc(3), (abs(ROWS - 30) < 12) & (abs(COLUMNS - 30) < 5)])
def test_outline_holds_its_part(shape):
    line = outline(shape)
    assert len(line) <= 400
    assert np.linalg.norm(line[0] - line[-1]) > 0.1  # not closed twice
    assert dice(fill(line, shape.shape), shape) > 0.95


def test_what_cannot_be_drawn_is_kept():
    dot = np.zeros((64, 64), dtype=int)
    dot[20:22, 40] = 2
    found, counts = draw_contours(dot, disc(20).astype(float))
    assert counts == {"collapsed": 1}
    np.testing.assert_array_equal(found, dot)
    found, counts = draw_contours(dot, np.ones((64, 64)))
    assert counts == {"flat image": 1}
    np.testing.assert_array_equal(found, dot)
    found, counts = draw_contours(np.zeros_like(dot), disc(20).astype(float))
    assert counts == {}
    assert not found.any()


def test_length_contracts():
    image = 0.02 * disc(8)
    image[0, 0] = 1.0
    sizes = [(draw_contours(disc(15).astype(int), image, alpha=alpha)[0] > 0).sum() for alpha in (0.01, 0.5)]
    assert sizes[1] < sizes[0]


def test_files_command_and_wrong_use(tmp_path, capsys):
    affine = np.diag([1.5, 1.5, 8.0, 1.0])[:, [2, 0, 1, 3]]  # slices first
    image = np.repeat(disc(15)[None].astype("f4"), 2, 0)
    label = np.stack([disc(15, 34, 30), np.zeros((64, 64), bool)]).astype(np.uint8)
    for name, values in (("cine", image), ("lge", image), ("label", label)):
        nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}.nii.gz")
    items = [{"subject": "s", "modality": m, "image": str(tmp_path / f"{m}.nii.gz")} for m in ("cine", "lge")]
    items[0]["label"] = str(tmp_path / "label.nii.gz")
    (tmp_path / "list.json").write_text(json.dumps({"name": "x", "labels": {"0": "b", "1": "LV"}, "test": items}))
    (tmp_path / "cine.nii.gz").write_bytes(b"not looked at")
    words = ["baseline", "active_contour", str(tmp_path / "list.json"), "--source", "cine", "--target", "lge"]
    assert main([*words, "--out", str(tmp_path / "out"), "--alpha", "0.4"]) == 0
    assert "1 label volumes drawn from cine to lge" in capsys.readouterr().out
    found = np.asarray(nib.load(tmp_path / "out" / "s" / "lge_seg.nii.gz").dataobj)
    assert dice(found[0] == 1, disc(15)) > 0.95
    assert not found[1].any()
    record = json.loads((tmp_path / "out" / "baseline.json").read_text())
    assert record["settings"] == {"alpha": 0.4, "beta": 0.15, "gamma": 0.7}
    assert record["subjects"]["s"]["counts"] == {"contours": 1}
    with pytest.raises(ValueError, match="alpha and beta must not be negative, gamma must be positive, got {'alpha'"):
        active_contour_baseline(items, "cine", "lge", tmp_path, gamma=0.0)
    with pytest.raises(ValueError, match=r"one shape, got \(64, 64\) and \(3, 3\)"):
        draw_contours(label[0], np.zeros((3, 3)))


def test_no_snake_goes_around_what_nobody_annotated():
    label = disc(15, 34, 30).astype(np.int16)[:, :, None]
    label[:, :4] = 255
    stacks = Stacks(label, np.eye(4), label.shape, np.eye(4), target=disc(15)[:, :, None].astype("f4"), ignore=255)
    found, counts = contour_label(stacks)
    assert counts == {"contours": 1}
    assert dice(found[:, :, 0] == 1, disc(15)) > 0.95
    np.testing.assert_array_equal(found == 255, label == 255)
