# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What comes with the weights is used, and what contradicts it is refused; nothing of it is evaluated."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_mmseg.bundle import SettingsConflict, WeightsError, check_fit
from monai_mmseg.bundle.definitions import build_definition
from monai_mmseg.bundle.json_text import json_text
from monai_mmseg.bundle.trained import TrainedSettings, trained_settings
from monai_mmseg.runs.model_settings import write_settings

UNET = "monai.networks.nets.BasicUNet"
NET = {"_target_": UNET, "spatial_dims": 2, "features": "@features", "out_channels": "$len(@labels)"}
KNOBS = {"features": [8, 8, 8, 8, 8, 8], "labels": {"0": "background", "1": "liver"}, "seed": 3, "mode": "fused"}


@pytest.fixture
def bundle(tmp_path):
    """A bundle with a U-Net whose features, labels and mode come with the weights; the mode is free."""
    folder = tmp_path / "toy"
    (folder / "configs").mkdir(parents=True)
    (folder / "eval").mkdir()
    common = {
        "imports": ["$import monai_mmseg"],
        "bundle_root": str(folder),
        "ckpt_dir": str(folder / "models"),
        "output_dir": str(folder / "eval"),
        "dataset_dir": "nowhere",
    }
    asked = {name: f"$@trained.get({name!r}, {value!r})" for name, value in KNOBS.items() if name != "seed"}
    target = f"$monai_mmseg.bundle.trained_target(@trained, 'network_def', '{UNET}')"
    trained = {"trained": "$monai_mmseg.bundle.trained_settings(@ckpt_dir, free=['mode'])"}
    files = {
        "train": {**common, **KNOBS, "network_def": NET},
        "inference": {**common, **trained, **asked, "network_def": {**NET, "_target_": target}},
        "evaluate": {**trained, "section": "test"},
    }
    for name, content in files.items():
        (folder / "configs" / f"{name}.json").write_text(json_text(content))
    return folder


def parser(bundle, *names, **changes):
    found = ConfigParser()
    found.read_config([str(bundle / "configs" / f"{name}.json") for name in names])
    for name, value in changes.items():
        found[name.replace("__", "#")] = value
    return found


def resolve(config, expression):
    config["asked"] = expression
    return config.get_parsed_content("asked")


def record(bundle, **knobs):
    """What a training with these knobs leaves."""
    written = resolve(parser(bundle, "train", **knobs), "$monai_mmseg.bundle.model_settings()")
    write_settings(bundle / "models", {"run": "a" * 32, "state": "trained", **written})
    return written


CHECK = "$monai_mmseg.bundle.check_trained(@trained, @bundle_root)"
USE = "$monai_mmseg.bundle.use_trained(@trained, @bundle_root)"
FEW = [4, 4, 4, 4, 4, 4]


def features(network):
    return network.conv_0.conv_0.conv.out_channels


def test_a_training_records_what_inference_needs(bundle):
    written = record(bundle, features=FEW, seed=5)
    assert (written["bundle"], written["method"]) == ("toy", "toy")
    assert written["knobs"]["features"] == FEW
    assert written["overrides"] == {"features": FEW, "seed": 5}
    assert written["definitions"] == {
        "network_def": {"_target_": UNET, "spatial_dims": 2, "features": FEW, "out_channels": 2}
    }
    assert not {"ckpt_dir", "output_dir", "dataset_dir", "bundle_root"} & written["knobs"].keys()


def test_inference_is_that_of_the_training(bundle):
    assert features(parser(bundle, "inference").get_parsed_content("network_def")) == 8
    record(bundle, features=FEW)
    config = parser(bundle, "inference")
    resolve(config, CHECK)
    assert config.get_parsed_content("features") == FEW
    assert features(config.get_parsed_content("network_def")) == 4


def test_another_network_is_built_without_its_overlay(bundle):
    other = {"_target_": "monai.networks.nets.SegResNet", "spatial_dims": 2, "init_filters": 8, "out_channels": 2}
    record(bundle, network_def=other)
    assert type(parser(bundle, "inference").get_parsed_content("network_def")).__name__ == "SegResNet"


def test_what_contradicts_the_training_is_refused_with_both_values(bundle):
    record(bundle, features=FEW)
    with pytest.raises(RuntimeError) as error:
        resolve(parser(bundle, "inference", features=[8] * 6, labels={"0": "background", "1": "spleen"}), CHECK)
    message = str(error.value.__cause__)
    assert isinstance(error.value.__cause__, SettingsConflict)
    assert f"features is [8, 8, 8, 8, 8, 8], trained with {FEW}" in message
    assert "labels is {'0': 'background', '1': 'spleen'}, trained with {'0': 'background', '1': 'liver'}" in message
    with pytest.raises(RuntimeError) as error:  # also where nobody checks: MONAI's tools, servers
        parser(bundle, "inference", network_def__features=[8] * 6).get_parsed_content("network_def")
    assert f"network_def#features is [8, 8, 8, 8, 8, 8]; the weights in {bundle / 'models'} were trained with" in str(
        error.value.__cause__
    )


def test_an_argument_of_a_component_comes_back_unsaid(bundle):
    """``--network_def#features`` of the training, which is no knob, is not what the knob of the same name says."""
    record(bundle, network_def__features=FEW)
    config = parser(bundle, "inference")
    resolve(config, CHECK)
    assert features(config.get_parsed_content("network_def")) == 4


def test_an_argument_that_the_training_did_not_have_is_refused(bundle):
    record(bundle)
    with pytest.raises(RuntimeError) as caught:
        resolve(parser(bundle, "inference", network_def__bias=False), CHECK)
    assert isinstance(caught.value.__cause__, SettingsConflict)
    assert "network_def#bias is False, trained without" in str(caught.value.__cause__)


def test_what_agrees_or_is_free_may_be_said(bundle):
    record(bundle, features=FEW)
    resolve(parser(bundle, "inference", features=FEW, mode="single"), CHECK)
    resolve(parser(bundle, "train", "evaluate", features=FEW, mode="single"), USE)


def test_an_evaluation_takes_everything_over(bundle):
    record(bundle, features=FEW, seed=7)
    config = parser(bundle, "train", "evaluate", mode="single")
    resolve(config, USE)
    found = {name: config.get_parsed_content(name) for name in ("features", "seed", "mode", "dataset_dir")}
    assert found == {"features": FEW, "seed": 7, "mode": "single", "dataset_dir": "nowhere"}
    assert features(config.get_parsed_content("network_def")) == 4


def test_an_evaluation_that_contradicts_is_refused(bundle):
    record(bundle, features=FEW)
    with pytest.raises(RuntimeError) as error:
        resolve(parser(bundle, "train", "evaluate", features=[6] * 6), USE)
    assert "features is [6, 6, 6, 6, 6, 6], trained with [4, 4, 4, 4, 4, 4]" in str(error.value.__cause__)
    other = {"_target_": "monai.networks.nets.SegResNet", "spatial_dims": 2}
    with pytest.raises(RuntimeError) as error:
        resolve(parser(bundle, "train", "evaluate", network_def=other), USE)
    assert "network_def#_target_ is 'monai.networks.nets.SegResNet', trained with" in str(error.value.__cause__)


def test_scores_of_one_run_stay_out_of_the_folder_of_another(bundle):
    record(bundle)
    (bundle / "eval" / "run.json").write_text(json.dumps({"id": "b" * 32}))
    with pytest.raises(RuntimeError) as error:
        resolve(parser(bundle, "train", "evaluate"), USE)
    assert "belongs to run bbbbbbbb, the weights in" in str(error.value.__cause__)


def test_data_of_the_training_are_read_where_none_are_named(bundle):
    record(bundle)
    content = json.loads((bundle / "models" / "settings.json").read_text(encoding="utf-8"))
    content["datalist"] = {"name": "mine", "path": "/somewhere/datalist.json", "fingerprint": "f"}
    (bundle / "models" / "settings.json").write_text(json.dumps(content))
    assert TrainedSettings(bundle / "models").data("phantom") == "/somewhere"
    assert TrainedSettings(bundle / "nowhere").data("phantom") == "phantom"


def test_a_packed_bundle_that_knows_no_place_scores_nothing_else(bundle):
    record(bundle)
    content = json.loads((bundle / "models" / "settings.json").read_text())
    content |= {"state": "packed", "datalist": {"name": "mine", "fingerprint": "f"}}
    (bundle / "models" / "settings.json").write_text(json.dumps(content))
    with pytest.raises(RuntimeError) as error:
        resolve(parser(bundle, "train", "evaluate"), USE)
    said = str(error.value.__cause__)
    assert "dataset_dir must be given: the weights in" in said
    assert "were trained on 'mine', and a packed bundle does not say where that lies. Add --dataset_dir" in said
    told = parser(bundle, "train", "evaluate", dataset_dir="/somewhere")
    resolve(told, USE)
    assert told["dataset_dir"] == "/somewhere"
    (bundle / "models" / "settings.json").write_text(json.dumps({**content, "phantom": True}))
    phantom = parser(bundle, "train", "evaluate")
    resolve(phantom, USE)
    assert phantom["dataset_dir"] == "nowhere"  # the phantom is made anew where the bundle puts it


def test_a_packed_bundle_that_knows_no_place_predicts_no_phantom(bundle):
    record(bundle)
    content = json.loads((bundle / "models" / "settings.json").read_text())
    content |= {"state": "packed", "datalist": {"name": "mine", "fingerprint": "f"}}
    (bundle / "models" / "settings.json").write_text(json.dumps(content))
    with pytest.raises(RuntimeError) as error:
        resolve(parser(bundle, "inference", dataset_dir="@phantom_dir", phantom_dir="made"), CHECK)
    assert "dataset_dir must be given: the weights in" in str(error.value.__cause__)
    resolve(parser(bundle, "inference", dataset_dir="/new", phantom_dir="made"), CHECK)
    (bundle / "models" / "settings.json").write_text(json.dumps({**content, "phantom": True}))
    resolve(parser(bundle, "inference", dataset_dir="@phantom_dir", phantom_dir="made"), CHECK)


def test_monai_label_shows_no_other_names(bundle, monkeypatch):
    """It takes them from the metadata, whatever the weights were trained for."""
    record(bundle, **KNOBS)
    pred = {"format": "segmentation", "channel_def": {"0": "background", "1": "LV"}}
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(json.dumps({"network_data_format": {"outputs": {"pred": pred}}}))
    trained_settings(bundle / "models")  # elsewhere nobody reads them
    monkeypatch.setitem(sys.modules, "monailabel", ModuleType("monailabel"))
    with pytest.raises(
        SettingsConflict, match=r"names the classes background, LV.* for background, liver\.\nServe it packed"
    ):
        trained_settings(bundle / "models")
    metadata.write_text(metadata.read_text().replace("LV", "liver"))
    assert trained_settings(bundle / "models").get("labels") == KNOBS["labels"]


def test_weights_without_settings_are_said(bundle, caplog):
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").touch()
    assert trained_settings(bundle / "models").get("features", 8) == 8
    assert "has no settings.json beside it, so the settings are those of the config" in caplog.text


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.eval", "subprocess.Popen", "monai.bundle.run", "torch.load", "monai.transforms.SaveImage"],
)
def test_nothing_else_is_built_from_data(target):
    with pytest.raises(ValueError, match="is not built from data"):
        build_definition({"_target_": target, "command": "true"})


def test_an_expression_in_the_settings_is_not_evaluated(bundle):
    record(bundle)
    content = json.loads((bundle / "models" / "settings.json").read_text(encoding="utf-8"))
    content["knobs"]["features"] = "$__import__('os').abort()"
    (bundle / "models" / "settings.json").write_text(json.dumps(content))
    with pytest.raises(RuntimeError) as error:
        parser(bundle, "inference").get_parsed_content("features")
    assert "must hold plain values, got an expression at knobs#features" in str(error.value.__cause__)


# ---- weights


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, tmp_path):
    torch.save({"weight": torch.full((1, 2), value), "bias": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"model.pt: 'weight' holds NaN or infinite numbers \(1 of 2 tensors\)"):
        check_fit(tmp_path / "model.pt", nn.Linear(2, 1))


def test_weights_of_another_network_say_what_they_are(tmp_path):
    torch.save(nn.Linear(3, 1).state_dict(), tmp_path / "model.pt")
    with pytest.raises(
        WeightsError, match="weight is 1 x 3 in the file and 1 x 2 in the network.\nThere is no settings"
    ):
        check_fit(tmp_path / "model.pt", nn.Linear(2, 1))
    settings = {"bundle": "csa", "method": "mine", "overlays": ["demo"], "knobs": {"features": [3]}}
    write_settings(tmp_path, settings)
    with pytest.raises(WeightsError, match=r"says: mine of the bundle csa with demo; features \[3\]\."):
        check_fit(tmp_path / "model.pt", nn.Linear(2, 1))


def test_a_file_that_was_cut_off(tmp_path):
    torch.save(nn.Linear(3, 1).state_dict(), tmp_path / "model.pt")
    data = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="model.pt cannot be read as weights"):
        check_fit(tmp_path / "model.pt", nn.Linear(3, 1))
