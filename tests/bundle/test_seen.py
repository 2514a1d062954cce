# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigParser

from monai_mmseg.bundle.seen import seen_images, tell_seen
from monai_mmseg.runs.model_settings import FORMAT, SETTINGS


def config(folder, name, **more):
    """Of a training on one image; its marks are written beside the weights that it would make."""
    image = folder / f"{name}.nii.gz"
    image.write_text(name)
    data = [{"subject": name, "image": str(image)}]
    made = ConfigParser({"train": {"dataset": {"data": data}}, **more})
    models = folder / name
    models.mkdir()
    settings = {"format": FORMAT, **seen_images(made)}
    (models / SETTINGS).write_text(json.dumps(settings))
    return settings, data, str(models / "model.pt")


UNET = {"_target_": "monai_mmseg.networks.nets.AnatomyUNet", "out_channels": 2, "features": [2, 2]}
CONTENT = {
    "_target_": "monai_mmseg.networks.nets.ContentUNet",
    **{"out_channels": 2, "modalities": ["a", "b"], "features": [2, 2], "content_features": 2},
    **{"num_downsamples": 1, "num_blocks": 1},
}


@pytest.mark.parametrize("key", ["start", "stage_one", "localiser"])
def test_what_weights_build_on_has_seen_images_too(tmp_path, key):
    _, first, weights = config(tmp_path, "first")
    settings, second, _ = config(tmp_path, "second", network_def=CONTENT, **{key: weights})
    assert len(settings["seen"]["trained"]) == 2
    other = [{"subject": "third", "image": str(tmp_path / "third.nii.gz")}]
    assert tell_seen(settings, first + second + other) == ["Not a test of all: first, second trained these weights."]
    assert not tell_seen(settings, other)


def test_a_network_that_takes_no_encoder_has_not_seen_what_that_of_its_bundle_saw(tmp_path):
    *_, weights = config(tmp_path, "first")
    settings, *_ = config(tmp_path, "second", network_def=UNET, stage_one=weights)
    assert len(settings["seen"]["trained"]) == 1


def test_weights_that_are_not_there_have_seen_nothing(tmp_path):
    settings, *_ = config(tmp_path, "first", stage_one=str(tmp_path / "none" / "model.pt"), network_def=CONTENT)
    assert len(settings["seen"]["trained"]) == 1
