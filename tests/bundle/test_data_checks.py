# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What is said of borrowed labels before a run; other checks are tested with the bundles."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_mmseg.bundle import check_data
from monai_mmseg.bundle.data_checks import DataConflict
from tests.study.listed import write_listed


class Config(ConfigParser):
    """A config that checks its data."""

    def check(self, *args: str, **settings: str) -> None:
        check_data(*args, **settings)


@pytest.fixture
def config(tmp_path):
    path = write_listed(tmp_path / "data")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["training"][1]["label_source"] = "register"  # of fold 0
    path.write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.json").write_text("{}", encoding="utf-8")
    data = {"dataset": {"data": "$monai_mmseg.bundle.read_items(@dataset_dir)"}}
    places = {"bundle_root": str(tmp_path), "dataset_dir": str(path.parent), "phantom_dir": "", "phantom": {}}
    return Config({**places, "modalities": ["cine", "lge"], "fold": 0, "train": data, "validate": data})


def test_a_training_says_that_it_watches_agreement(config, caplog):
    config.check(labelled="some")
    assert "labels of fold 0, which is held out, are borrowed, 1 (register): Dice of the validation is" in caplog.text
    caplog.clear()
    config["fold"] = 1
    config.check(labelled="some")
    assert caplog.text == ""


def test_the_flag_for_classes_in_another_order_can_be_pasted(config):
    path = Path(config["dataset_dir"]) / "datalist.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["labels"] = {"0": "background", "1": "left kidney", "2": "liver"}
    path.write_text(json.dumps(content), encoding="utf-8")
    config["labels"] = {"0": "background", "1": "liver", "2": "left kidney"}
    own = Path(config["bundle_root"]) / "configs" / "train.json"
    own.write_text(json.dumps({"labels": config["labels"]}), encoding="utf-8")
    with pytest.raises(DataConflict, match="the same classes in another order; which value is which") as error:
        config.check(labelled="some")
    words = shlex.split(str(error.value).partition("give ")[2].partition("; else")[0])
    assert words == ["--labels", json.dumps(content["labels"])]


def test_an_evaluation_of_borrowed_labels_is_refused(config):
    config["section"] = "test"
    config.check("validate#dataset#data")
    config["section"] = "training"
    with pytest.raises(
        DataConflict, match=r"labels of 'training' are borrowed, 1 \(register\): agreement with them is"
    ):
        config.check("validate#dataset#data")


def test_an_evaluation_that_does_not_use_the_fold_says_so(config, monkeypatch):
    config["section"] = "training"
    config["fold"] = 1
    words = ["x/monai/bundle/__main__.py", "run", "evaluating", "--config_file", "a.json", "--fold", "1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(DataConflict, match="fold 1 is not used: an evaluation scores all of the section"):
        config.check("validate#dataset#data")
    config["section"] = "test"
    config.check("validate#dataset#data")


@pytest.mark.parametrize("labelled", ["each", "some"])
def test_a_list_without_a_modality_of_the_weights_is_evaluated_where_images_are_scored_one_by_one(
    config, labelled, caplog
):
    config["section"], config["modalities"] = "test", ["cine", "lge", "t2"]
    if labelled == "each":
        config.check("validate#dataset#data", labelled="each")
        assert config["modalities"] == ["cine", "lge"]
        assert "declares no t2: not evaluated" in caplog.text
        config["modalities"] = ["t1", "t2"]
    with pytest.raises(DataConflict, match="modalities must be among those that"):
        config.check("validate#dataset#data", labelled=labelled)


def test_a_phantom_that_cannot_have_the_modality_is_not_made(config, tmp_path):
    """A forgotten dataset_dir: what a new scanner gives is in no phantom, and making it takes minutes."""
    config["dataset_dir"] = config["phantom_dir"] = str(tmp_path / "phantom")
    config["phantom"] = {"kind": "cmr", "subjects": {"lge": 36, "bssfp": 36}}
    config["modalities"] = ["Scanner B"]
    with pytest.raises(
        DataConflict, match=r"the phantom, which has \['lge', 'bssfp'\]: give --dataset_dir, .*Scanner B"
    ):
        config.check(labelled="each")
    assert not (tmp_path / "phantom").exists()
