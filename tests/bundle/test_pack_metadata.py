# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What metadata.json of a packed bundle says of images, classes and data."""

import json

import pytest

from monai_mmseg.bundle.pack_metadata import describe

LABELS = {"0": "background", "1": "liver", "2": "spleen"}


@pytest.fixture
def metadata(repository):
    def read(bundle):
        return json.loads((repository / "bundles" / bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))

    return read


@pytest.mark.parametrize(
    ("bundle", "knobs", "own", "images", "channels"),
    [
        ("unet", {}, ["cine", "lge"], "t1, pet", ["t1", "pet"]),
        ("ummkd", {"num_slices": 1}, ["ct", "mr"], "t1 or pet", ["slice"]),
        ("ummkd_3d", {}, ["ct", "mr"], "t1 or pet", ["t1 or pet"]),
    ],
)
def test_own_data_are_what_the_metadata_speak_of(metadata, bundle, knobs, own, images, channels):
    found = metadata(bundle)
    describe(
        found, {"modalities": ["t1", "pet"], "labels": LABELS, "spatial_size": [8, 8], **knobs}, own, None, "our livers"
    )
    assert found["task"] == f"Segmentation of liver, spleen in {images}"
    assert found["data_source"] == "our livers"
    assert found["label_classes"] == "single channel: 1 liver, 2 spleen"
    assert found["pred_classes"] == "3 channels: background, liver, spleen"
    assert found["image_classes"] == f"{images}; channels: {'; '.join(channels)}"
    image = found["network_data_format"]["inputs"]["image"]
    assert (image["modality"], list(image["channel_def"].values())) == (images, channels)
    assert found["network_data_format"]["outputs"]["pred"]["channel_def"] == LABELS


def test_the_bundles_own_words_stay_for_its_own_data(metadata):
    before, found = metadata("ummkd_3d"), metadata("ummkd_3d")
    labels = before["network_data_format"]["outputs"]["pred"]["channel_def"]
    size = before["network_data_format"]["inputs"]["image"]["spatial_shape"]
    describe(found, {"modalities": ["ct", "mr"], "labels": labels, "spatial_size": size}, ["ct", "mr"], None)
    assert found == before
