# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Output files of different subjects never share a name."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import SaveImaged

from monai_mmseg.bundle import prediction_name
from monai_mmseg.evaluation.files import find_prediction
from monai_mmseg.transforms import LoadImageModalitiesd


def test_same_file_names_in_folders_of_subjects(tmp_path):
    items = []
    for value, subject in enumerate(["s01", "s02"], start=1):
        (tmp_path / subject).mkdir()
        files = {name: str(tmp_path / subject / f"{name}.nii.gz") for name in ("cine", "lge")}
        for file in files.values():
            nib.save(nib.Nifti1Image(np.full((4, 5, 2), value, np.int16), np.eye(4)), file)
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
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s01_lge_seg.nii.gz", "s02_lge_seg.nii.gz"]
    for value, item in enumerate(items, start=1):
        found = find_prediction(tmp_path / "out", {"image": item["image"]["lge"], "subject": item["subject"]})
        assert (nib.load(found).get_fdata() == value).all()


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
