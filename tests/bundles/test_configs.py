# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The config files of all bundles: how they are written, and that every overlay fits over training and inference."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.bundle import ConfigError, check_overrides
from monai_mmseg.bundle.json_text import json_text
from tests.bundles.runs import ALL, BRAIN, BUNDLES, CSA, DAFNET, EACH_OVERLAY, HEART, PET, TUMOUR, Bundle, shapes

each_bundle = pytest.mark.parametrize("bundle", ALL, ids=lambda bundle: bundle.name)


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "*.json"], cwd=BUNDLES, capture_output=True, text=True)
    found = [BUNDLES / name for name in done.stdout.splitlines()]
    return [path for path in found if path.is_file()] or sorted(BUNDLES.glob("*/configs/**/*.json"))


def test_files_are_written_in_one_way():
    texts = {path: path.read_text(encoding="utf-8") for path in tracked()}
    assert len(texts) > len(ALL)
    assert [str(path) for path, text in texts.items() if text != json_text(json.loads(text))] == []


@each_bundle
def test_overlays_of_the_bundle_fit(bundle: Bundle):
    for names in (("train", "demo", "evaluate"), ("train", "multi_gpu_train"), ("inference",)):
        check_overrides(bundle.files(*names), {})


@each_bundle
def test_evaluators_take_mixed_precision_on_gpus_alone(bundle: Bundle):
    """MONAI's evaluators know that of CUDA only: elsewhere it is a warning and nothing else."""
    for names, evaluator in ((("train",), "validate#evaluator"), (("inference",), "evaluator")):
        for device in ("cpu", "cuda:0"):
            config = ConfigParser()
            config.read_config(bundle.files(*names))
            config["device"] = f"$torch.device('{device}')"
            if names == ("train",):
                config["amp"] = True
            assert config.get_parsed_content(f"{evaluator}#amp") is (device != "cpu")


@pytest.mark.parametrize(("bundle", "setting"), EACH_OVERLAY)
def test_overlays_of_settings_fit(bundle: Bundle, setting: str, tmp_path: Path):
    """Before and behind the demo; and inference builds the network of the training without being told."""
    check_overrides(bundle.files("train", "demo", setting), {})
    check_overrides(bundle.files("train", setting, "demo"), {})
    parsers = [
        bundle.parser("train", "demo", setting, small=True),
        bundle.parser("inference", ckpt_dir=str(bundle.write_settings(tmp_path, setting))),
    ]
    with torch.device("meta"):
        built = [parser.get_parsed_content("network_def") for parser in parsers]
    assert shapes(built[0]) == shapes(built[1])
    names = ("default_modality", "inference", "num_candidates", "target", "background", "encoders", "fifth")
    for name in names:
        assert getattr(built[0], name, None) == getattr(built[1], name, None), name


@each_bundle
def test_metadata_say_what_the_configs_say(bundle: Bundle):
    formats = bundle.content("metadata")["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    config = bundle.parser("train")
    assert image["spatial_shape"] == pred["spatial_shape"] == config["spatial_size"]
    assert (len(image["channel_def"]), len(pred["channel_def"])) == (image["num_channels"], pred["num_channels"])
    if pred["format"] == "segmentation":
        assert pred["channel_def"] == config["labels"]
    with torch.device("meta"):
        assert shapes(config.get_parsed_content("network_def")) == shapes(
            bundle.parser("inference").get_parsed_content("network_def")
        )


@pytest.mark.parametrize("bundle", [TUMOUR, PET], ids=lambda bundle: bundle.name)
@pytest.mark.parametrize("names", [("train",), ("train", "demo")])
def test_the_encoder_is_that_of_the_first_stage(bundle: Bundle, names: tuple[str, ...]):
    """At full size and in the demo, so that its weights fit."""
    with torch.device("meta"):
        own = bundle.parser(*names).get_parsed_content("encoder_def")
        first = BRAIN.parser(*names).get_parsed_content("network_def")
    assert shapes(own) == shapes(first)
    assert (own.background, own.fifth, own.modalities) == (first.background, first.fifth, first.modalities)


# ---- what is misspelt


MISSPELT = [
    ("trainer#max_epoch", "'train#trainer#max_epochs'", ALL),
    ("train#trainer#max_epoch", "'max_epochs'", ALL),
    ("learning_rat", "'learning_rate'", ALL),
    ("phantom#subject", "'subjects'", ALL),
    ("loss_weights#generator#kll", "'loss_weights#generator#kl'", [DAFNET]),
    ("weights#generator#kl", "'loss_weights#generator#kl'", [DAFNET]),
    ("network_def#feature", "'features'", [DAFNET]),
    ("network#features", "'network_def#features'", [DAFNET]),
    ("kd_wieght", "'kd_weight'", [HEART, CSA]),
    ("objective_def#terms#0#temprature", "'temperature'", [HEART, CSA]),  # codespell:ignore
    ("network_def#seperate", "'separate'", [HEART, CSA]),  # codespell:ignore
    ("backbone#feature", "'features'", [HEART, CSA]),
    ("layer_pair", "'layer_pairs'", [CSA]),
    ("size_nrom", "'size_norm'", [CSA]),
    ("objective_def#terms#2#loss#class_specfic", "'class_specific'", [CSA]),
]


@pytest.mark.parametrize(
    ("bundle", "key", "meant"),
    [pytest.param(one, key, meant, id=f"{one.name}-{key}") for key, meant, those in MISSPELT for one in those],
)
def test_misspelt_names_name_what_is_close(bundle: Bundle, key: str, meant: str, tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({key: 1}))
    with pytest.raises(ConfigError, match=f"mine.json: {key}: .*did you mean .*{meant}"):
        check_overrides([*bundle.files("train", "demo"), str(path)], {})


@each_bundle
def test_inference_knows_settings_of_training_from_files_only(bundle: Bundle, tmp_path: Path):
    """Overlays of the training serve for inference; what somebody types is checked against inference.json."""
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"learning_rate": 1}))
    check_overrides([*bundle.files("inference"), str(mine)], {})
    mine.write_text(json.dumps({"learning_rat": 1}))
    with pytest.raises(ConfigError, match="mine.json: learning_rat"):
        check_overrides([*bundle.files("inference"), str(mine)], {})
    with pytest.raises(ConfigError, match="learning_rate"):
        check_overrides(bundle.files("inference"), {"learning_rate": 1})


@each_bundle
def test_the_licence_is_there(bundle: Bundle):
    assert bundle.root.joinpath("LICENSE").read_text("utf-8") == DAFNET.root.joinpath("LICENSE").read_text("utf-8")
