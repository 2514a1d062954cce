# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label's scoring: foretold Dice noted once for each state of the network, worst image first."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.bundle.label_scoring import QualityScoring, with_quality
from monai_mmseg.evaluation.quality import StoredCalibration, write_calibration
from monai_mmseg.metrics.quality import Calibration
from monai_mmseg.runs.identity import file_sha256

EXPECTED = {"s1": (0.9, 0.8), "s2": (0.7, 0.8), "s3": (0.8, 1.0)}  # of two classes


class Store:
    """Of MONAI Label's datastore what scoring uses."""

    def __init__(self):
        self.info = {name: {} for name in (*EXPECTED, "broken")}

    def get_unlabeled_images(self):
        return list(self.info)

    def get_image_info(self, image):
        return self.info[image]

    def get_image_uri(self, image):
        return f"{image}.nii.gz"

    def update_image_info(self, image, info):
        self.info[image].update(info)


def sampled(image, device=None):
    """What the inferer gives of two classes beside the background."""
    if image.startswith("broken"):
        raise OSError("no image")
    dice = torch.tensor([1.0, *EXPECTED[image.split(".")[0]]])
    return {
        "pred": torch.eye(3)[:, :, None, None],
        "uncertainty": torch.zeros(1, 3, 1, 1),
        **dict.fromkeys(("expected_dice", "pairwise_dice"), dice),
    }


@pytest.fixture
def scoring(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    return QualityScoring("net_quality", sampled, {1: "LV", 2: "RV"}, tmp_path / "model.pt", "shift")


def test_an_image_is_scored_once_for_each_state_of_the_network(scoring, tmp_path):
    store = Store()
    assert scoring({"max_samples": 1}, store) == {"total": 4, "skipped": 0, "executed": 1, "failed": 0}
    assert scoring({}, store) == {"total": 4, "skipped": 1, "executed": 2, "failed": 1}  # one file is no image
    assert store.info["s1"]["net_quality_risk"] == pytest.approx(0.15)
    assert max(EXPECTED, key=lambda name: store.info[name]["net_quality_risk"]) == "s2"
    line = StoredCalibration("pairwise_dice", Calibration(2, -1), 0.1, 8, 16, "shift", file_sha256(scoring.weights))
    write_calibration(tmp_path, line)
    assert scoring({}, store)["executed"] == 3
    note = store.info["s2"]["net_quality"]
    assert (note["dice"], note["by"], note["classes"]) == (0.5, "predicted_dice", {"LV": 0.4, "RV": 0.6})


def test_images_that_cannot_be_read_leave_room_for_others(scoring):
    store = Store()
    store.info = {name: {} for name in ("broken1", "broken2", *EXPECTED)}
    assert scoring({"max_samples": 2}, store) == {"total": 5, "skipped": 0, "executed": 2, "failed": 2}
    assert scoring({"max_samples": 2}, store) == {"total": 5, "skipped": 2, "executed": 1, "failed": 2}


def test_an_image_without_what_the_validation_subjects_had(scoring, tmp_path, caplog):
    """Its score is not that of the line, and is said to be too high beside the others."""
    scoring.modalities = ["cine", "lge"]
    there = {"s1": [True, True], "s2": [True, False], "s3": [True, True]}
    scoring.infer = lambda image, device: {**sampled(image), "present": torch.tensor(there[image.split(".")[0]])}
    line = StoredCalibration("pairwise_dice", Calibration(2, -1), 0.1, 8, 16, "shift", file_sha256(scoring.weights))
    write_calibration(tmp_path, line)
    scoring({}, store := Store())
    by = {name: store.info[name]["net_quality"]["by"] for name in EXPECTED}
    assert by == {"s1": "predicted_dice", "s2": "expected_dice", "s3": "predicted_dice"}
    assert "net_quality: s2 scored by expected_dice, which is too high beside the others" in caplog.text


def test_images_of_a_modality_that_the_fit_had_none_of(scoring, tmp_path, caplog):
    line = StoredCalibration("pairwise_dice", Calibration(2, -1), 0.1, 8, 16, "shift", file_sha256(scoring.weights))
    write_calibration(tmp_path, line._replace(modalities=("mr",)))
    found = {}
    for scoring.modality in ("ct", "mr"):
        scoring({}, store := Store())
        found[scoring.modality] = store.info["s1"]["net_quality"]["by"]
    assert found == {"ct": "expected_dice", "mr": "predicted_dice"}
    assert caplog.text.count("scored by expected_dice, which is too high beside the others") == 1


def test_the_line_of_older_weights_is_left_out(scoring, tmp_path, caplog):
    line = StoredCalibration("expected_dice", Calibration(2, -1), 0.1, 8, 16, "shift", "of older weights")
    write_calibration(tmp_path, line)
    scoring({}, store := Store())
    assert store.info["s1"]["net_quality"]["by"] == "expected_dice"
    assert "fitted for other weights" in caplog.text


class Task:
    """A bundle's inference task as MONAI Label builds it."""

    labels, output_label_key = {"lv": 1, "rv": 2}, "pred"

    def __init__(self, path, conf, const=None, **options):
        self.bundle_path, self.const, self.options = path, const, options
        self.bundle_config = ConfigParser({"modalities": ["t1"], **({"sampled": {}} if "net" in path else {})})

    def is_valid(self):
        return True

    def get_path(self):
        return f"{self.bundle_path}/models/model.pt"

    def inferer(self):
        assert self.const.key_inferer() == ["sampled"]
        assert self.bundle_config["uncertainty"] is True
        return SimpleNamespace(description="shift")

    def __call__(self, request):
        assert self.const.key_postprocessing() == []
        assert self.options["skip_writer"]
        return None, {"pred": sampled(request["image"])}


def test_an_app_gets_a_method_and_a_strategy_for_each_network_that_samples(monkeypatch):
    modules = {
        name: ModuleType(name)
        for name in ("monailabel", *(f"monailabel.{end}" for end in ("tasks", "tasks.activelearning", "tasks.infer")))
    }
    for name, content in (
        ("monailabel.tasks.activelearning.epistemic", {"Epistemic": lambda **options: options}),
        ("monailabel.tasks.infer.bundle", {"BundleInferTask": Task, "BundleConstants": SimpleNamespace}),
    ):
        modules[name] = ModuleType(name)
        vars(modules[name]).update(content)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    class App:
        conf = {}
        _infers = {"net": Task("net", {}), "draws": Task("draws_images", {})}

        def init_strategies(self):
            return {"first": 1}

        def init_scoring_methods(self):
            return {}

    app = with_quality(App)()
    strategies = app.init_strategies()
    assert list(strategies) == ["first", "net_quality"]
    methods = app.init_scoring_methods()
    assert list(methods) == ["net_quality"]
    scoring = methods["net_quality"]
    assert scoring.score("s3.nii.gz", "cpu")["net_quality"]["classes"] == {"lv": 0.8, "rv": 1.0}
    assert strategies["net_quality"]["key"] in scoring.score("s3.nii.gz", None)
    assert "shift" in scoring.info()["description"]
