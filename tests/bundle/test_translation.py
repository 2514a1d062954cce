# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose

from monai_mmseg.bundle import write_translated
from monai_mmseg.data import group_by_subject, read_datalist
from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.inferers import ModalitySliceInferer
from monai_mmseg.networks.nets import MUNIT
from monai_mmseg.transforms import LoadImageItemd, ScaleIntensitySlicesd, ToSliceGridd

AFFINE = np.array([[0, -2.0, 0, 7], [2.0, 0, 0, -3], [0, 0, 8.0, 1], [0, 0, 0, 1]])
SHAPE = (14, 19, 3)


@pytest.fixture
def original(tmp_path):
    """Cine and LGE of two subjects in two folds, and one for testing; LGE is a hundred times as bright."""
    values, sections = np.random.default_rng(0), {"training": [], "test": []}
    for number, subject in enumerate(["s1", "s2", "s3"]):
        for modality in ("cine", "lge"):
            stem = f"{subject}_{modality}"
            image = values.random(SHAPE, dtype=np.float32) * (100 if modality == "lge" else 1)
            write_nifti(tmp_path / "images" / f"{stem}.nii.gz", image, AFFINE)
            write_nifti(tmp_path / "labels" / f"{stem}.nii.gz", (image > image.mean()).astype(np.uint8), AFFINE)
            item = {"image": f"images/{stem}.nii.gz", "label": f"labels/{stem}.nii.gz", "subject": subject}
            sections["training" if number < 2 else "test"].append({**item, "modality": modality, "fold": number % 2})
    head = {"name": "d", "modalities": ["cine", "lge"], "labels": {"0": "background", "1": "x"}}
    write_json(tmp_path / "datalist.json", {**head, **sections})
    return tmp_path / "datalist.json"


@pytest.fixture
def translate(original, tmp_path):
    torch.manual_seed(0)
    network = MUNIT(2, 1, ["cine", "lge"], features=2, num_downsamples=1, num_blocks=1, style_downsamples=2)
    preprocessing = Compose(
        [
            LoadImageItemd(label_key=None),
            ToSliceGridd("image", spatial_size=[16, 16], pixdim=[2.0, 2.0]),
            ScaleIntensitySlicesd("image", mode="volume"),
        ]
    )
    inferer = ModalitySliceInferer(roi_size=(16, 16), spatial_dim=2)

    def run(name="new", **settings):
        settings = {"fold": 1, "percentiles": (0, 100), **settings}
        return read_datalist(write_translated(original, tmp_path / name, network, preprocessing, inferer, **settings))

    return run


def resolved(item):
    return {**item, **{key: str(Path(item[key]).resolve()) for key in ("image", "label") if key in item}}


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


def test_source_images_become_visits_of_the_target(translate, original):
    before, after = read_datalist(original), translate()
    own, redrawn = (resolved(after.items("training")[number]) for number in (0, 2))
    assert [item["subject"] for item in after.items("training")] == ["s1", "s2", "s1_cine_as_lge", "s2_cine_as_lge"]
    assert {item["modality"] for section in after.sections.values() for item in section} == {"lge"}
    assert own == before.items("training")[1]
    assert (redrawn["person"], redrawn["fold"]) == ("s1", 0)
    assert redrawn["label"] == before.items("training")[0]["label"]
    assert list(map(resolved, after.items("test"))) == [before.items("test")[1]]
    assert len(group_by_subject(after.items("training"))) == 4
    image = nib.load(redrawn["image"])
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    # in the range of the only LGE image that may give its style; what was cropped away is its darkest
    style = voxels(before.items("training")[1]["image"])
    assert image.get_fdata().max() <= style.max() + 1e-3
    assert image.get_fdata().max() > 1.5
    np.testing.assert_allclose(image.get_fdata()[:, -1], style.min(), atol=1e-3)


def test_styles_are_drawn_by_the_seed(translate):
    one, same = (voxels(translate(name, fold=None).items("training")[2]["image"]) for name in ("a", "b"))
    np.testing.assert_array_equal(one, same)
    copies = translate("c", copies=2).items("training")[2:]
    assert [item["visit"] for item in copies] == ["cine_as_lge_1", "cine_as_lge_2"] * 2


@pytest.mark.parametrize(("fraction", "labelled"), [(1.0, ["s1", "s2"]), (0.4, ["s2"]), (0.0, [])])
def test_labels_of_the_target_are_those_of_a_fraction(translate, fraction, labelled):
    """The validation fold loses its own only where none is to be read; redrawn and tested images keep theirs."""
    listed = translate(target_fraction=fraction)
    items = listed.items("training")
    assert [item["subject"] for item in listed.items("test") if "label" in item] == ["s3"]
    assert [item["subject"] for item in items[:2] if "label" in item] == labelled
    assert all("label" in item for item in items[2:])


def test_contents_stay_where_they_were(translate, original):
    before, after = read_datalist(original), translate(representation="content")
    for section in ("training", "test"):
        for old, new in zip(before.items(section), after.items(section), strict=True):
            assert resolved({**new, "image": old["image"]}) == old
            assert voxels(new["image"]).shape == SHAPE
            np.testing.assert_allclose(voxels(new["image"]).max(), voxels(old["image"]).max(), rtol=0.7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"representation": "contents"}, "representation must be one of .'target', 'content'., got 'contents'"),
        ({"copies": 0}, "copies must be a whole number of at least 1, got 0"),
        ({"fold": [0, 1]}, "training must have an image of the target 'lge' outside of fold"),
    ],
)
def test_what_cannot_be_meant(translate, settings, message):
    with pytest.raises(ValueError, match=message):
        translate(**settings)


def test_without_source_labels_there_is_nothing_to_redraw(translate, original):
    content = json.loads(original.read_text(encoding="utf-8"))
    for item in content["training"][::2]:
        del item["label"]
    write_json(original, content)
    with pytest.raises(ValueError, match="no 'cine' image has a label"):
        translate()


def test_a_folder_that_holds_something_stays(translate):
    translate()
    with pytest.raises(FileExistsError, match="is not empty"):
        translate()
    translate(overwrite=True)
