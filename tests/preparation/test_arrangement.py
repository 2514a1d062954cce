# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Classes that lie the other way round: exchanged in the labels of a modality, or under a flipped header."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.arrangement import Arrangement, arrangement_warnings, class_centres

LABELS = {"0": "background", "1": "liver", "2": "spleen", "3": "shell"}


@pytest.fixture
def people(tmp_path):
    """Five people with CT, four others with MR, each on a grid of its own: two blobs, and a shell about one of them."""
    items = []
    noise = np.random.default_rng(3)
    for modality, count in (("ct", 5), ("mr", 4)):
        for number in range(count):
            name = f"{modality}{number}"
            label = np.zeros((24, 20, 8), np.uint8)
            shift = noise.integers(-1, 2, 3)
            label[3 + shift[0] : 10 + shift[0], 4:15, 1:7] = 3
            label[4 + shift[0] : 9 + shift[0], 5:14, 2:6] = 1
            label[15 + shift[1] : 20 + shift[1], 6 + shift[2] : 11, 2:6] = 2
            affine = np.diag([2.0, 2.0, 5.0, 1.0])
            affine[:3, 3] = noise.normal(0, 50, 3)
            image = noise.normal(100, 10, label.shape).astype(np.float32) + 20 * label
            for kind, values in (("image", image), ("label", label)):
                nib.save(nib.Nifti1Image(values, affine), tmp_path / f"{name}_{kind}.nii.gz")
            items.append(
                {
                    "image": f"{name}_image.nii.gz",
                    "label": f"{name}_label.nii.gz",
                    "subject": name,
                    "modality": modality,
                }
            )
    content = {"modalities": ["ct", "mr"], "labels": LABELS, "training": items}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    return tmp_path


def told(folder):
    report = check_datalist(folder / "datalist.json")
    return [text for text in report.warnings if "the other way round" in text]


def rewrite(folder, name, change_label=None, change_affine=None):
    for kind in ("image", "label"):
        path = folder / f"{name}_{kind}.nii.gz"
        volume = nib.load(path)
        values, affine = np.asanyarray(volume.dataobj).copy(), volume.affine.copy()
        if change_label is not None and kind == "label":
            values = change_label(values)
        if change_affine is not None:
            affine = change_affine(affine)
        nib.save(nib.Nifti1Image(values, affine), path)


def flipped(affine):
    return np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine


def test_different_people_of_one_anatomy_are_not_told(people):
    assert told(people) == []


def test_exchanged_classes_of_a_modality(people):
    exchange = np.array([0, 2, 1, 3], np.uint8)
    for number in range(4):
        rewrite(people, f"mr{number}", lambda label: exchange[label])
    (text,) = told(people)
    assert text == (
        "'liver' and 'spleen' lie the other way round in modality 'mr' (4 labels) than in 'ct' (5), along left to "
        "right: is the order of classes the same, and are the headers right?"
    )


def test_one_flipped_header(people):
    rewrite(people, "ct2", change_affine=flipped)
    (text,) = told(people)
    assert text == (
        "subject 'ct2': 'liver' and 'spleen' lie the other way round in its label of 'ct' than in all others (as 1 "
        "more pairs of classes): is its header flipped, or are its classes exchanged?"
    )


def test_all_headers_of_a_modality_flipped(people):
    for number in range(4):
        rewrite(people, f"mr{number}", change_affine=flipped)
    (text,) = told(people)
    assert "(as 1 more pairs of classes)" in text


def test_two_labels_tell_nothing():
    def one(modality, number, way):
        return Arrangement(modality, f"{modality}{number}", {"a": np.zeros(3), "b": np.array([way, 0.0, 0.0])})

    assert arrangement_warnings([*(one("ct", n, 1.0) for n in range(5)), *(one("mr", n, -1.0) for n in range(2))]) == []
    assert arrangement_warnings([one("ct", 0, 1.0), one("ct", 1, 1.0), one("ct", 2, -1.0)]) == []
    assert len(arrangement_warnings([*(one("ct", n, 1.0) for n in range(3)), one("ct", 3, -1.0)])) == 1


def test_centres_in_mm():
    label = np.zeros((5, 4, 3))
    label[1, 2, 0] = label[3, 2, 2] = 1
    affine = np.array([[0.0, 2.0, 0.0, 10.0], [3.0, 0.0, 0.0, -5.0], [0.0, 0.0, 4.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    counts, centres = class_centres(label, affine, {1: "a", 2: "b"})
    assert counts == {"a": 2, "b": 0}
    np.testing.assert_allclose(centres["a"], [14.0, 1.0, 4.0])  # of the voxel (2, 2, 1), by hand
    assert list(centres) == ["a"]
