# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import json
import sys

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_mmseg.bundle import ConfigError, check_config, check_overrides
from monai_mmseg.bundle.checks import check_ahead, known_names
from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.planning.bases import NO_PHANTOM
from tests.bundle.toy_bundle import write_bundle

MAIN = "somewhere/monai/bundle/__main__.py"


@pytest.fixture
def train(tmp_path):
    return write_bundle(tmp_path / "toy")


def overlay(train, content, name="overlay.json"):
    path = train.parent / name
    path.write_text(json.dumps(content))
    return [str(train), str(path)]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"train#trainer#max_epochs": 3},
        {"train::trainer::max_epochs": 3},
        {"train#trainer#clip_norm": 1.0},  # an argument the file does not mention
        {"train#trainer#_disabled_": True},
        {"train#dataloader#drop_last": True},  # MONAI's loader hands it on to PyTorch's
        {"train#handlers#0#every": 2},
        {"weights#fit#adversarial": 0.5},
        {"weights": {"fit": {}}},
        {"_meta_#version": "1.0.0"},
        {"bundle_root": "elsewhere"},
        {"run_name": "site-1"},
    ],
)
def test_right_overrides_pass(train, overrides):
    check_overrides([str(train)], overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train#trainer#max_epoch": 3}, "ObjectiveTrainer has no argument 'max_epoch'; did you mean 'max_epochs'"),
        ({"train::trainer::max_epoch": 3}, "ObjectiveTrainer has no argument 'max_epoch'; did you mean 'max_epochs'"),
        ({"learning_rat": 1}, "there is no 'learning_rat'; did you mean 'learning_rate'"),
        ({"trackin": "mlflow"}, "did you mean 'tracking'"),
        ({"train#trianer#max_epochs": 1}, "there is no 'train#trianer'; did you mean 'train#trainer#max_epochs'"),
        ({"weights#fti": {}}, "there is no 'weights#fti'; did you mean 'weights#fit'"),
        ({"train#handlers#9#every": 2}, "'train#handlers' is a list of 4, it has no entry '9'"),
        ({"train#dataloader#drop_lst": True}, "DataLoader has no argument 'drop_lst'; did you mean 'drop_last'"),
        ({"val_interval#x": 1}, "'val_interval' is 1, which has no parts"),
        # the first steps left out, a step misspelt or both
        ({"trainer#max_epoch": 3}, r"there is no 'trainer'; did you mean 'train#trainer#max_epochs'\?"),
        ({"trainer::max_epochs": 3}, r"there is no 'trainer'; did you mean 'train#trainer#max_epochs'\?"),
        ({"trainn#trainer#max_epochs": 3}, r"there is no 'trainn'; did you mean 'train#trainer#max_epochs'\?"),
        ({"trainer": {"max_epochs": 3}}, "there is no 'trainer'; did you mean 'train#trainer'"),
        ({"trainer#learning_rat": 3}, r"there is no 'trainer'; did you mean 'learning_rate'\?"),
        ({"network#modalites": 3}, r"which has no parts; did you mean 'network_def#modalities'\?"),
        ({"trainer#clip_nrm": 1.0}, "did you mean 'train#trainer#clip_norm'"),  # an argument the file does not mention
        ({"qqq": 1}, "there is no 'qqq', and nothing refers to it"),
        ({"averaging": {"_target_": "monai_mmseg.engines.WeightAveraging", "dcay": 1}}, "averaging#dcay: .*'decay'"),
        ({"network_def#_target_": "tests.engines.toy.ToyNet"}, "_target_ 'tests.engines.toy.ToyNet' cannot be found"),
    ],
)
def test_wrong_overrides_name_what_is_close(train, overrides, message):
    with pytest.raises(ConfigError, match=message):
        check_overrides([str(train)], overrides)


def test_every_error_is_listed(train):
    with pytest.raises(ConfigError) as error:
        check_overrides([str(train)], {"learning_rat": 1, "train#trainer#max_epoch": 1})
    assert str(error.value).count("did you mean") == 2


def test_overlays(train):
    good = {
        "_desc_": "a setting",
        "learning_rate": 0.1,
        "network_def#dropout": 0.0,
        "momentum": 0.5,
        "optimizers#fit#betas": "$[@momentum, 0.9]",
        "+train#handlers": [{"_target_": "GarbageCollector"}],
    }
    check_overrides(overlay(train, good), {})
    with pytest.raises(ConfigError, match=r"overlay.json: momentm: there is no 'momentm'"):
        check_overrides(overlay(train, {**good, "momentm": 0.1}), {})
    with pytest.raises(ConfigError, match=r"train#handlers#4#trigger_evnt: GarbageCollector has no argument"):
        check_overrides(overlay(train, {"+train#handlers": [{"_target_": "GarbageCollector", "trigger_evnt": 1}]}), {})


def test_settings_that_nothing_reads_any_more(train):
    other = {"objective_def": {"_target_": "tests.engines.toy.ToyObjective", "network": "@network"}}
    files = [*overlay(train, other, "plain.json"), *overlay(train, {"learning_rate": 0.2})[1:]]
    check_overrides(files, {"learning_rate": 0.1})
    with pytest.raises(ConfigError, match="adversarial: nothing reads it, for plain.json replaces what did"):
        check_overrides(files, {"weights#fit#adversarial": 0.2, "learning_rate": 0.1})
    check_overrides(files, {"weights#fit#adversarial": 0.2, "objective_def#weights": "@weights"})  # read again
    other["run"] = ["$print()"]  # another program, which is given what the training had
    check_overrides(overlay(train, other, "evaluate.json"), {"weights#fit#adversarial": 0.2})


def test_a_bundle_of_own_data_makes_no_phantom(train):
    content = {**json.loads(train.read_text(encoding="utf-8")), **NO_PHANTOM}
    train.write_text(json.dumps(content))
    other = {"phantom#kind": "cmr", "phantom#subjects": {"lge": 2}, "phantom_dir": "elsewhere"}
    check_overrides(overlay(train, {"learning_rate": 0.1, **other}), {})
    with pytest.raises(ConfigError, match="phantom#subjects: the bundle was set up for its own data and makes no"):
        check_overrides([str(train)], {"phantom#subjects": 3})


@pytest.mark.parametrize("key", ["trainer#max_epoch", "train#trainr#max_epochs"])
def test_overlays_name_the_whole_id(train, key):
    with pytest.raises(
        ConfigError, match=rf"overlay.json: {key}: there is no .*; did you mean 'train#trainer#max_epochs'"
    ):
        check_overrides(overlay(train, {key: 3}), {})


@pytest.mark.parametrize(("more", "told"), [([], True), (["--learning_rate", "0.3"], False)])
def test_overlays_that_contradict_each_other_are_told(train, more, told, caplog):
    (train.parent / "settings").mkdir()
    files = [str(train)]
    for name, rate in (("slow", 0.1), ("same", 0.1), ("fast", 0.2)):
        files.append(overlay(train, {"learning_rate": rate}, f"settings/{name}.json")[1])
    check_config(argv=[MAIN, "run", "--config_file", str(files), *more])
    line = "same.json and fast.json set learning_rate otherwise: that of fast.json holds, the later one."
    assert caplog.messages == [line] * told


def test_a_whole_config_behind_an_overlay_would_set_it_back(train):
    base = {**json.loads(train.read_text()), "imports": ["$import os"], "run": ["$0"]}
    train.write_text(json.dumps(base))
    first, second = overlay(train, {"learning_rate": 0.5})
    check_overrides([first, second], {})
    with pytest.raises(ConfigError, match=r"train.json: is a whole config and would set back what overlay.json says"):
        check_overrides([second, first], {})


@pytest.mark.parametrize("overrides", [{"trainer#max_epoch": 3}, {"trainer": {"max_epochs": 3}}])
def test_a_description_alone_is_no_place_for_anything(tmp_path, overrides):
    """It lets MONAI's parser take a part of what is not there, so that the check gets its turn."""
    train = write_bundle(tmp_path / "toy", trainer={"_desc_": "means nothing"})
    check_overrides([str(train)], {})
    with pytest.raises(ConfigError, match="there is no 'trainer'; did you mean 'train#trainer"):
        check_overrides([str(train)], overrides)


def test_overlays_of_the_training_serve_for_inference(tmp_path):
    """Where the inference holds a place for the part, at any depth, MONAI can merge them."""
    train = write_bundle(tmp_path / "toy", lr_scheduler={"_target_": "torch.optim.lr_scheduler.StepLR"})
    place = {"_desc_": "holds the place"}
    content = json.loads(train.read_text())
    inference = {key: content[key] for key in ("imports", "device", "network_def", "network")}
    path = train.parent / "inference.json"
    files = [
        str(path),
        overlay(train, {"train#trainer#max_epochs": 3, "lr_scheduler#gamma": "@decay", "decay": 0.5})[1],
    ]
    path.write_text(json.dumps({**inference, "train": {"trainer": place}, "lr_scheduler": place}))
    check_overrides(files, {})
    assert ConfigWorkflow(files, workflow_type="infer", logging_file=False).parser["train#trainer#max_epochs"] == 3
    with pytest.raises(ConfigError, match=r"overlay.json: decy: there is no 'decy'"):
        check_overrides([str(path), overlay(train, {"lr_scheduler#gamma": 0.5, "decy": 0.5})[1]], {})


def test_wrong_argument_in_the_file_itself(tmp_path):
    train = write_bundle(tmp_path / "toy", averaging={"_target_": "monai_mmseg.engines.WeightAveraging", "start": 3})
    with pytest.raises(ConfigError, match="averaging#start: .*did you mean 'start_epoch'"):
        check_overrides([str(train)], {})


def test_command_line_forms(tmp_path):
    args = tmp_path / "args.json"
    args.write_text(json.dumps({"config_file": "a.json", "lr": 1, "run_id": "training"}))
    call = parse_run_command(
        [MAIN, "run", "--args_file", str(args), "--lr", "2", "--resume", "--net-x=[1, 2]", "-q", "-1"]
    )
    assert (call.config_files, call.arguments["run_id"]) == (["a.json"], "training")
    assert call.overrides == {"lr": 2, "resume": True, "net_x": [1, 2], "q": -1}
    call = parse_run_command([MAIN, "run", "training", "--config_file=['a.json', 'b.json']", "--", "--verbose"])
    assert (call.config_files, call.overrides, call.known_ids) == (["a.json", "b.json"], {}, {"training"})
    call = parse_run_command([MAIN, "run", "--config_file", "a.json,b.json", "--tracking", "mlflow", "--run_id", "go"])
    assert call.config_files == ["a.json", "b.json"]
    assert {"experiment_name", "tracking_uri", "go"} <= call.known_ids


@pytest.mark.parametrize(
    "argv",
    [
        ["monailabel", "start_server", "--app", "x", "--conf", "models", "toy"],
        ["pytest", "run", "--train#trainer#max_epoch", "3"],
        [MAIN, "ckpt_export", "--config_file", "inference.json", "--filepth", "x"],
        [],
    ],
)
def test_words_of_other_programs_are_no_errors(train, argv):
    check_config(argv=argv)
    check_config(train, argv=argv)


def test_other_programs_still_get_the_check_of_the_files(tmp_path):
    train = write_bundle(tmp_path / "toy", averaging={"_target_": "monai_mmseg.engines.WeightAveraging", "start": 3})
    with pytest.raises(ConfigError, match="did you mean 'start_epoch'"):
        check_config(str(train), argv=["monailabel"])
    workflow = ConfigWorkflow(str(train), workflow_type="train")
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert "did you mean 'start_epoch'" in str(error.value.__cause__)


def test_run_in_this_process(train, monkeypatch):
    overrides = {"train#trainer#max_epochs": 2}
    words = [word for key, value in overrides.items() for word in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", [MAIN, "run", "training", "--config_file", str(train), *words])
    monai.bundle.run(run_id="training", config_file=str(train), **overrides)
    models = train.parent.parent / "models"
    assert sorted(p.name for p in models.iterdir()) == ["model.pt", "resume.pt"]
    assert torch.load(models / "resume.pt", weights_only=True)["epoch"] == 2
    # the same command with resume and a larger total goes on
    monai.bundle.run(run_id="training", config_file=str(train), resume=True, **{"train#trainer#max_epochs": 3})
    assert torch.load(models / "resume.pt", weights_only=True)["iteration"] == 9


def test_a_script_or_client_cannot_misspell_an_override(train):
    """MonaiAlgo gives train_kwargs so: with another name of dataset_dir a site would train on the phantom."""
    workflow = ConfigWorkflow(str(train), workflow_type="train", logging_file=False, learning_rat=1)
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert "learning_rat: there is no 'learning_rat'; did you mean 'learning_rate'" in str(error.value.__cause__)


def test_values_are_checked_ahead_as_by_the_command_itself(train):
    check_ahead([str(train)], {"train#trainer#max_epochs": 3, "logging_file": "x"})
    for overrides, message in (
        ({"train#trainer#max_epoch": 3}, "has no argument 'max_epoch'; did you mean 'max_epochs'?"),
        ({"train#trainer#max_epochs": 0}, "train#trainer#max_epochs must be a whole number of at least 1, got 0"),
    ):
        with pytest.raises(ConfigError) as error:
            check_ahead([str(train)], overrides)
        assert message in str(error.value)


def test_metadata_are_no_settings(train):
    (train.parent / "metadata.json").write_text(json.dumps({"intended_use": "research"}))
    overlay(train, {"speed": 1})
    assert {"train", "speed", "training", "logging_file"} <= known_names(train.parent)
    assert "intended_use" not in known_names(train.parent)
