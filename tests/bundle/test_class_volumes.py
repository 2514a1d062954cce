# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.bundle.class_volumes import VOLUMES, TellVolumesd, class_volumes
from monai_mmseg.runs.model_settings import write_settings

LABELS = {"0": "background", "1": "liver", "2": "tumour"}
SPACING = (2.0, 2.0, 5.0)  # 20 mm3, 50 voxels a mL


def write(path, liver, tumour=0, other=0):
    values = np.zeros(4000, dtype=np.uint8)
    values[:liver], values[liver : liver + tumour], values[-1] = 1, 2, other
    nib.save(nib.Nifti1Image(values.reshape(20, 20, 10), np.diag([*SPACING, 1.0])), path)
    return str(path)


@pytest.fixture
def items(tmp_path):
    sizes = [(500, 0), (1000, 50), (750, 100)]  # 10, 20 and 15 mL of liver; 0, 1 and 2 of tumour
    paths = [write(tmp_path / f"{number}.nii.gz", *size) for number, size in enumerate(sizes)]
    return [{"subject": path, "image": "no.nii.gz", "modality": "ct", "label": path} for path in paths]


def test_volumes_are_those_of_the_labels_in_ml(items):
    known = {"1": {"labels": 3, "ml": [10.0, 20.0]}, "2": {"labels": 3, "ml": [0.0, 2.0]}}
    assert class_volumes(items, LABELS) == {VOLUMES: known}
    grouped = [{**one, "label": {"t1": one["label"], "t2": one["label"]}} for one in items]
    assert class_volumes(grouped, LABELS) == {VOLUMES: known}


def test_what_a_label_cannot_show_is_not_counted(items, tmp_path):
    partial = {"subject": "p", "label": write(tmp_path / "partial.nii.gz", 5, other=255)}
    borrowed = {"subject": "b", "label": write(tmp_path / "borrowed.nii.gz", 5), "label_source": "register"}
    hidden = [{**one, "unknown": [False, False, True]} for one in items[:1]] + items[1:]
    found = class_volumes([*hidden, partial, borrowed, {"subject": "c", "label": {}}], LABELS)
    assert found == {VOLUMES: {"1": {"labels": 3, "ml": [10.0, 20.0]}}}  # two labels show a tumour, or none


def test_labels_of_the_weights_that_a_training_starts_from_count(items):
    before = {"1": {"labels": 5, "ml": [12.0, 30.0]}, "2": {"labels": 2, "ml": [0.5, 1.0]}}
    known = {"1": {"labels": 6, "ml": [10.0, 30.0]}, "2": {"labels": 3, "ml": [0.0, 1.0]}}
    assert class_volumes(items[:1], LABELS, before) == {VOLUMES: known}
    assert class_volumes([], LABELS, before)[VOLUMES] == {"1": before["1"]}


def predicted(liver, tumour=0, shape=(20, 20, 10)):
    values = torch.zeros(4000, dtype=torch.uint8)
    values[:liver], values[liver : liver + tumour] = 1, 2
    return MetaTensor(values.view(1, *shape), affine=np.diag([*SPACING, 1.0]), meta={"filename_or_obj": "s.nii.gz"})


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (predicted(260), ""),
        (predicted(2000), ""),
        (predicted(240), "liver 4.8 (10 to 20)"),
        (predicted(0), "liver 0 (10 to 20)"),
        (predicted(2100), "liver 42 (10 to 20)"),
        (predicted(500, 220), "tumour 4.4 (0 to 2)"),
        (predicted(20, shape=(4000, 1, 1)), ""),
    ],
)
def test_a_segmentation_of_a_volume_that_no_label_has_is_told(items, tmp_path, caplog, prediction, said):
    write_settings(tmp_path, class_volumes(items, LABELS))
    with caplog.at_level(logging.WARNING):
        TellVolumesd("pred", tmp_path / "model.pt", LABELS)({"pred": prediction})
    line = f"s.nii.gz: volumes in mL unlike those of the 3 labels that the network learned from: {said}. Look at it"
    assert [one.getMessage().startswith(line) for one in caplog.records] == ([True] if said else [])


def test_weights_that_do_not_say_tell_nothing(caplog):
    TellVolumesd("pred", "no/such/model.pt", LABELS)({"pred": predicted(0)})
    assert not caplog.records
