# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Output files of different subjects never share a name."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import SaveImaged

from monai_mmseg.bundle.naming import check_prediction_names, prediction_name
from monai_mmseg.evaluation.files import find_prediction, prediction_stems
from monai_mmseg.transforms import LoadImageModalitiesd


@pytest.mark.parametrize(
    ("subjects", "file", "expected"),
    [
        (["s01", "s02"], "{subject}/{name}.nii.gz", ["s01_lge_seg", "s02_lge_seg"]),
        (["s01", "s02"], "{subject}_{name}.nii.gz", ["s01_lge_seg", "s02_lge_seg"]),
        (["s01.a", "s01.b"], "{subject}/{name}.nii.gz", ["s01.a_lge_seg", "s01.b_lge_seg"]),
        (["s01.a", "s01.b"], "{subject}_{name}.nii", ["s01.a_lge_seg", "s01.b_lge_seg"]),
        (["1.2.840.113", "1.2.840.114"], "{subject}/{name}.nii.gz", ["1.2.840.113_lge_seg", "1.2.840.114_lge_seg"]),
        (["1.2.840.113", "1.2.840.114"], "{name}/{subject}.nii.gz", ["1.2.840.113_seg", "1.2.840.114_seg"]),
        (["s1", "s1.a"], "{subject}/s1.a_{name}.nii.gz", ["s1.a_lge_seg", "s1_s1.a_lge_seg"]),
        (["site1/s1", "site2/s1"], "{subject}/{name}.nii.gz", ["site1_s1_lge_seg", "site2_s1_lge_seg"]),
    ],
)
def test_subjects_have_files_of_their_own(subjects, file, expected, tmp_path):
    items = []
    for value, subject in enumerate(subjects, start=1):
        files = {name: str(tmp_path / file.format(subject=subject, name=name)) for name in ("cine", "lge")}
        for path in files.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.full((4, 5, 2), value, np.int16), np.eye(4)), path)
        items.append({"subject": subject, "image": files})
    load = LoadImageModalitiesd("image", modalities=["cine", "lge"], target="lge", label_key=None)
    keep = Dataset(items, lambda item: {"image": load(item)["image"]})
    save = SaveImaged(
        "image",
        output_dir=tmp_path / "out",
        output_postfix="seg",
        separate_folder=False,
        print_log=False,
        output_name_formatter=prediction_name,
    )
    for batch in DataLoader(keep, batch_size=1):  # through a batch, as an evaluator does
        for one in decollate_batch(batch):
            save(one)
    ending = ".nii.gz"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [name + ending for name in expected]
    for value, item in enumerate(items, start=1):
        if "s1.a" in subjects:
            continue  # images of one name, which belong to two subjects: the files differ, and one has to say which
        found = find_prediction(tmp_path / "out", {"image": item["image"]["lge"], "subject": item["subject"]})
        assert (nib.load(found).get_fdata() == value).all()


@pytest.mark.parametrize(
    ("items", "target", "name"),
    [
        ([("a/2_lge.nii.gz", "p1"), ("b/lge.nii.gz", "p1_2")], None, "p1_2_lge"),
        ([("a/x.nii.gz", "p"), ("b/x.nii", "p")], None, "p_x"),
        ([("a/x.nii.gz", "p/q"), ("b/x.nii.gz", "p_q")], None, "p_q_x"),
        ([({"cine": "c.nii", "lge": "a/l.nii"}, "p"), ({"lge": "b/l.nii", "cine": "d.nii"}, "p")], "lge", "p_l"),
        ([({"cine": "a/l.nii"}, "p"), ({"lge": "b/l.nii"}, "p")], "lge", "p_l"),
    ],
)
def test_names_that_collide_are_refused_with_both_images(items, target, name):
    pairs = [{"image": image, "subject": subject} for image, subject in items]
    check_prediction_names(pairs[:1], target)
    check_prediction_names(pairs[1:], target)
    with pytest.raises(ValueError, match=f"two predictions would be named '{name}': that of a/") as caught:
        check_prediction_names(pairs, target)
    for part in ("that of b/", repr(items[0][1]), repr(items[1][1])):
        assert part in str(caught.value)


def test_names_that_differ_are_fine():
    images = ["s01/lge.nii.gz", "s01/cine.nii.gz", "s02/lge.nii.gz"]
    check_prediction_names([{"image": image, "subject": image[:3]} for image in images])
    pairs = [{"image": {"cine": f"{s}/c.nii", "lge": f"{s}/l.nii"}, "subject": s} for s in ("s01", "s02")]
    check_prediction_names(pairs, "lge")
    check_prediction_names(pairs)


def test_modalities_tell_images_of_one_name_apart(tmp_path):
    items = [{"image": f"{name}/s01.nii.gz", "subject": "s01", "modality": name} for name in ("cine", "lge")]
    check_prediction_names(items)
    assert prediction_stems([*items, {"image": "lge/s02.nii.gz", "subject": "s02", "modality": "lge"}])[1:] == [
        "s01_lge",
        "s02",
    ]
    meta = {"filename_or_obj": "lge/s01.nii.gz", "subject": "s01", "prediction": "s01_lge"}
    assert prediction_name(meta, None)["subject"] == "s01_lge.nii.gz"
    for name in ("s01_cine_seg.nii.gz", "s01_lge_seg.nii.gz"):
        (tmp_path / name).touch()
    assert find_prediction(tmp_path, items[1]).name == "s01_lge_seg.nii.gz"
    (tmp_path / "s01_seg.nii.gz").touch()  # what has the image's own name comes first
    assert find_prediction(tmp_path, items[1]).name == "s01_seg.nii.gz"


def test_without_metadata_files_are_counted():
    assert prediction_name(None, torch.nn.Identity()) == {"subject": "0", "idx": None}


def test_an_image_without_a_subject_keeps_its_name(tmp_path):
    file = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 2), np.int16), np.eye(4)), file)
    load = LoadImageModalitiesd("image", modalities=["cine", "lge"], target="lge", label_key=None)
    assert prediction_name(load({"image": str(file)})["image"].meta, None)["subject"] == str(file)


@pytest.mark.parametrize("overlay", ["target_0", "unet_source", "unet_copied_masks"])
@pytest.mark.parametrize(("modalities", "source"), [(["cine", "lge"], "cine"), (["t1", "t2"], "t1")])
def test_models_without_target_labels_are_selected_on_the_source(repository, overlay, modalities, source):
    """Whatever the modalities are called."""
    configs = repository / "bundles" / "dafnet" / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / "train.json"), str(configs / "settings" / f"{overlay}.json")])
    parser.update({"modalities": modalities, "target": modalities[-1]})
    assert parser.get_parsed_content("validation_target") == source
    assert parser.get_parsed_content("validation_modalities") == [source]
