# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What lies beside predictions speaks of these predictions, of all that are there, and of the weights behind them."""

from __future__ import annotations

import math

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Compose

from monai_mmseg.bundle.checks import ConfigError
from monai_mmseg.bundle.uncertainty import SaveUncertaintyd, check_uncertainty, tell_unforetold
from monai_mmseg.evaluation.quality import Quality, StoredCalibration, read_quality, write_calibration, write_quality
from monai_mmseg.inferers import SampledInferer
from monai_mmseg.metrics.quality import Calibration
from monai_mmseg.runs.identity import file_sha256

NAMES = ["cine", "lge"]


@pytest.fixture
def weights(tmp_path):
    torch.save({}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def save(out, weights, subject, present=None, **about):
    """Two voxels of two classes of one subject."""
    inferer = SampledInferer(SimpleInferer(), ["mirror"])
    image = MetaTensor(torch.zeros(1, 2, 1, 1), meta={"filename_or_obj": f"{subject}.nii.gz", "subject": subject})
    found = {"pred": MetaTensor(torch.zeros(2, 2, 1, 1)), "uncertainty": MetaTensor(torch.zeros(1, 2, 1, 1))}
    found |= {name: torch.ones(2) for name in ("expected_dice", "pairwise_dice")}
    transform = SaveUncertaintyd("pred", Compose([]), inferer, {"0": "background", "1": "LV"}, out, weights, NAMES)
    transform.invert, transform.save = dict, dict  # volumes have tests of their own
    about |= {} if present is None else {"present": torch.tensor(present)}
    transform({"image": image, "pred": found, **about})


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


def test_labels_of_a_mean_are_not_replaced_by_those_of_the_network(weights, tmp_path):
    samples = SampledInferer(SimpleInferer(), ["mirror"], labels_of="mean").description
    row = Quality("s1", "", "LV", math.nan, 0.5, 0.5, 0.1, samples, weights=file_sha256(weights))
    write_quality(tmp_path / "quality.csv", [row])
    with pytest.raises(ConfigError, match="foretells the Dice of labels of the mean of samples"):
        check_uncertainty(False, ["x"], output_dir=tmp_path, weights=weights)


def test_what_an_earlier_run_foretold_of_an_image_of_this_name_is_told(weights, tmp_path, monkeypatch, caplog):
    row = Quality("s1", "", "LV", math.nan, 0.5, 0.5, 0.1, "shift", weights=file_sha256(weights))
    write_quality(tmp_path / "quality.csv", [row, row._replace(subject="s2")])
    places = {"argv": ["x"], "output_dir": tmp_path, "weights": weights}
    for subject, told in (("s1", 1), ("s3", 0)):
        parser = ConfigParser({"dataset": {"data": [{"subject": subject, "image": "a.nii.gz"}]}})
        monkeypatch.setattr("monai_mmseg.bundle.uncertainty.resolving_parser", lambda parser=parser: parser)
        caplog.clear()
        check_uncertainty(False, **places)
        assert [f"if the image of {subject} is another one now" in text for text in caplog.messages] == [True] * told


def test_no_dice_is_foretold_without_what_the_validation_subjects_had(weights, tmp_path, caplog):
    out, samples = tmp_path / "out", SampledInferer(SimpleInferer(), ["mirror"]).description
    line = StoredCalibration("expected_dice", Calibration(1, -0.5), 0.1, 8, 8, samples, file_sha256(weights), 0.25)
    save(out, weights, "s0", [True, False])
    tell_unforetold(out, weights)  # nothing was fitted, so nothing is missed
    write_calibration(tmp_path, line._replace(lacked=("cine",)))
    for subject, present in (("s1", [True, True]), ("s2", [[False, False], [True, False]]), ("s3", [True, False])):
        save(out, weights, subject, present)
    save(out, weights, "s4")  # of one image
    found = {row.subject: (row.missing, row.predicted_dice) for row in read_quality(out / "quality.csv")}
    assert {subject: text for subject, (text, _) in found.items()} == {
        **dict.fromkeys(("s1", "s4"), ""),
        **{"s0": "lge", "s2": "cine", "s3": "lge"},
    }
    assert [subject for subject, (_, dice) in found.items() if math.isnan(dice)] == ["s0", "s3"]
    caplog.clear()
    tell_unforetold(out, weights)
    why = "all validation subjects of the fit had a modality that is missing"
    told = f"No Dice is foretold for s0 (lge missing), s3 (lge missing): {why}."
    assert [record.message for record in caplog.records] == [told]


def test_no_dice_is_foretold_for_a_modality_that_the_fit_had_no_image_of(weights, tmp_path, caplog):
    out, samples = tmp_path / "out", SampledInferer(SimpleInferer(), ["mirror"]).description
    line = StoredCalibration("expected_dice", Calibration(1, -0.5), 0.1, 8, 8, samples, file_sha256(weights), 0.25)
    write_calibration(tmp_path, line._replace(modalities=("ct",)))
    save(out, weights, "s1", modality="ct")
    assert not caplog.messages
    save(out, weights, "s2", modality="mr")
    assert {row.subject: row.predicted_dice for row in read_quality(out / "quality.csv")} == {
        "s1": 0.5,
        "s2": pytest.approx(math.nan, nan_ok=True),
    }
    assert "was fitted on images of ct: for those of mr predicted_dice stays empty" in caplog.text
