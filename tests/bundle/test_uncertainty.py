# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What lies beside predictions speaks of these predictions, of all that are there, and of the weights behind them."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Compose

from monai_mmseg.bundle.checks import ConfigError
from monai_mmseg.bundle.uncertainty import SaveUncertaintyd, check_uncertainty
from monai_mmseg.evaluation.quality import Quality, read_quality, write_quality
from monai_mmseg.inferers import SampledInferer
from monai_mmseg.runs.identity import file_sha256


@pytest.fixture
def weights(tmp_path):
    torch.save({}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def save(out, weights, subject):
    """Two voxels of two classes of one subject."""
    inferer = SampledInferer(SimpleInferer(), ["mirror"])
    image = MetaTensor(torch.zeros(1, 2, 1, 1), meta={"filename_or_obj": f"{subject}.nii.gz", "subject": subject})
    found = {"pred": MetaTensor(torch.zeros(2, 2, 1, 1)), "uncertainty": MetaTensor(torch.zeros(1, 2, 1, 1))}
    found |= {name: torch.ones(2) for name in ("expected_dice", "pairwise_dice")}
    transform = SaveUncertaintyd("pred", Compose([]), inferer, {"0": "background", "1": "LV"}, out, weights)
    transform.invert, transform.save = dict, dict  # volumes have tests of their own
    transform({"image": image, "pred": found})


def test_a_second_run_keeps_what_is_said_of_other_images(weights, tmp_path):
    older = Quality("s1", "", "LV", math.nan, 0.5, 0.5, 0.1, "shift", weights="old")
    write_quality(tmp_path / "out" / "quality.csv", [older, older._replace(subject="s2")])
    save(tmp_path / "out", weights, "s2")
    save(tmp_path / "out", weights, "s 3")
    told = {row.subject: (row.expected_dice, row.weights) for row in read_quality(tmp_path / "out" / "quality.csv")}
    now = (1.0, file_sha256(weights))
    assert told == {"s1": (0.5, "old"), "s2": now, "s 3": now}


def test_labels_of_other_weights_are_not_put_beside_what_was_foretold(weights, tmp_path):
    row = Quality("s1", "", "LV", math.nan, 0.5, 0.5, 0.1, "shift", weights=file_sha256(weights))
    places = {"argv": ["x"], "output_dir": tmp_path, "weights": weights}
    check_uncertainty(False, **places)
    write_quality(tmp_path / "quality.csv", [row])
    check_uncertainty(False, **places)  # the same weights give the same labels
    write_quality(tmp_path / "quality.csv", [row._replace(weights="old")])
    check_uncertainty(True, **places)
    with pytest.raises(ConfigError, match=r"quality.csv foretells the Dice of other weights' predictions"):
        check_uncertainty(False, **places)
