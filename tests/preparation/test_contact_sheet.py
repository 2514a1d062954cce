# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from monai_mmseg import visualize
from monai_mmseg.preparation import check_datalist, write_contact_sheet
from monai_mmseg.preparation.same_place import OrientedVolume, same_place
from tests.synthetic_volumes import CENTER, body, centered_affine, permuted, rotation, world_of, write, write_study

SLICES = {"cine": ((14, 13, 7), (4.6, 4.2, 9.0)), "lge": ((12, 14, 11), (5.4, 4.2, 5.0))}


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, in place of the picture."""
    sheets = []
    monkeypatch.setattr(visualize, "contact_sheet", lambda *args, **more: sheets.append((args[0], more)))
    monkeypatch.setattr(visualize, "save_figure", lambda figure, path: path)
    return sheets


def coordinates(shape, affine, axis):
    """An image whose values are scanner coordinates."""
    return world_of(shape, affine)[..., axis].astype(np.float32)


@pytest.mark.parametrize("store", [((0, 1, 2), ()), ((2, 0, 1), (0,)), ((1, 2, 0), (2,))])
def test_all_modalities_show_one_place(tmp_path, drawn, store):
    study = write_study(tmp_path, SLICES, ("s1",), axes=rotation(10, 15, 5))
    content = json.loads(study.read_text(encoding="utf-8"))
    axes = rotation(10, 15, 5)
    for one in content["training"]:
        shape, spacing = SLICES[one["modality"]]
        affine = centered_affine(shape, spacing, axes, shift=(0, 0, 8 if one["modality"] == "lge" else 0))
        along = (world_of(shape, affine) - CENTER) @ axes[:, 2]  # across the slices, mm
        label = body(shape, affine)[1]
        write(tmp_path / one["image"], *permuted(along.astype(np.float32), affine, *store))
        write(tmp_path / one["label"], *permuted(label, affine, *store))
        if one["modality"] == "lge":
            del one["label"]
    study.write_text(json.dumps(content), encoding="utf-8")
    write_contact_sheet(check_datalist(study, thumbnails=True), tmp_path / "sheet.png")
    (cine, lge), more = drawn[0]
    assert more["columns"] == 2
    # the middle of the body is in slice 4 of cine
    number = 4
    assert cine.title == f"s1 cine [{number}/7]"
    assert cine.image == pytest.approx(0, abs=1e-3)
    assert float(np.ptp(lge.image)) < 1e-3
    assert abs(float(lge.image[0, 0])) <= 2.5  # half of the distance of its slices
    assert lge.label is None
    assert (cine.label > 0).sum() > 10
    assert lge.spacing == pytest.approx((4.2, 5.4), rel=1e-4) or lge.spacing == pytest.approx((5.4, 4.2), rel=1e-4)


def test_ticks_point_at_one_place():
    first, second = np.diag([2.0, 3.0, 9.0, 1.0]), np.diag([1.0, 1.5, 9.0, 1.0])
    second[:3, 3] = (4, 6, 0)
    label = np.zeros((20, 20, 3), dtype=np.uint8)
    label[9:12, 5:8, 1] = 1  # middle at (20, 18, 9) mm
    image = np.zeros((20, 20, 3), dtype=np.float32)
    one, two = same_place([OrientedVolume(image, None, second), OrientedVolume(image, label, first)])
    assert two.mark == (10.0, 6.0)
    assert one.mark == (16.0, 8.0)


def test_a_volume_that_does_not_reach_the_place():
    label = np.zeros((8, 8, 6), dtype=np.uint8)
    label[2:5, 2:5, 5] = 1
    image = np.zeros((8, 8, 6), dtype=np.float32)
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    short = OrientedVolume(image[:, :, :5], None, affine)
    labelled, other = same_place([OrientedVolume(image, label, affine), short])
    assert (labelled.text, other.text, other.image.size) == ("[6/6]", "no slice there", 0)
    # without labels, a slice that both have
    first, second = same_place([OrientedVolume(image, None, affine), short])
    assert (first.text, second.text) == ("[3/6]", "[3/5]")


def test_slices_are_counted_as_the_file_does_and_distance_is_told():
    image, affine = np.zeros((8, 8, 6), dtype=np.float32), np.diag([1.0, 1.0, 4.0, 1.0])
    moved = affine.copy()
    moved[2, 3] = 1.5
    assert [
        one.text for one in same_place([OrientedVolume(image, None, affine), OrientedVolume(image, None, moved, True)])
    ] == [
        "[4/6]",
        "[3/6] 1.5 mm off",
    ]


def test_large_pictures_are_thinned():
    image = np.zeros((700, 100, 1), dtype=np.float32)
    (thumb,) = same_place([OrientedVolume(image, None, np.diag([0.5, 2.0, 5.0, 1.0]))])
    assert thumb.image.shape == (234, 100)
    assert thumb.spacing == (1.5, 2.0)


def test_some_of_many_subjects(tmp_path, drawn):
    grid = ((6, 5, 3), (10.0, 10.0, 20.0))
    study = write_study(tmp_path, {"ct": grid}, [f"s{place:02}" for place in range(33)])
    report = check_datalist(study, thumbnails=True)
    assert sum(volume.thumb is not None for volume in report.volumes) == 30
    write_contact_sheet(report, tmp_path / "sheet.png", max_subjects=3)
    shown, more = drawn[0]
    assert [one.title.split()[0] for one in shown] == ["s00", "s15", "s32"]
    assert more["title"] == "body: 3 of 33 subjects"


def test_unpaired_images_lie_side_by_side(tmp_path, drawn):
    grid = ((6, 5, 3), (10.0, 10.0, 20.0))
    study = write_study(tmp_path, {"mr": grid, "ct": grid}, ("a", "b"))
    content = json.loads(study.read_text(encoding="utf-8"))
    content["training"] = [content["training"][1], content["training"][2]]  # ct of a, mr of b
    study.write_text(json.dumps(content), encoding="utf-8")
    write_contact_sheet(check_datalist(study, thumbnails=True), tmp_path / "sheet.png")
    shown, more = drawn[0]
    assert [one.title for one in shown] == ["b mr [2/3]", "a ct [2/3]"]
    assert more["columns"] == 6
