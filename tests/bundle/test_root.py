# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle finds its folder wherever it lies and from wherever it is started."""

import json

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_mmseg.bundle import SettingsConflict, bundle_root, pack_bundle
from monai_mmseg.bundle.collection import copy_bundle
from tests.bundle.small_bundle import UMMKD, small_bundle
from tests.processes import run_module

MAIN = "somewhere/monai/bundle/__main__.py"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A bundle and a folder that is not inside of it, which is the current one."""
    configs = tmp_path / "hearts" / "configs"
    configs.mkdir(parents=True)
    versions = dict.fromkeys(("version", "monai_version", "pytorch_version", "numpy_version"), "1.0.0")
    (configs / "metadata.json").write_text(json.dumps(versions))
    content = {
        "imports": ["$import monai_mmseg"],
        "bundle_root": "$monai_mmseg.bundle.bundle_root('bundles/hearts')",
        "initialize": [],
        "run": ["$print('root: ' + @bundle_root)"],
    }
    (configs / "train.json").write_text(json.dumps(content))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--config_file", "../hearts/configs/train.json"],
        ["run", "training", "--config_file=['../hearts/configs/train.json','own.json']"],
        ["ckpt_export", "--net_id", "net", "--config_file", "../hearts/configs/train.json"],
        ["verify_net_in_out", "--config_file=['../hearts/configs/train.json', 'own.json']"],
    ],
)
def test_by_the_config_file_of_the_command_line(elsewhere, words):
    assert bundle_root(argv=[MAIN, *words]) == str(elsewhere / "hearts")


def test_by_the_current_folder_and_the_known_places(elsewhere, monkeypatch):
    argv = ["pytest"]
    assert bundle_root("bundles/hearts", argv=argv) == "."  # nothing is known
    assert bundle_root("../other", "../hearts", argv=argv) == "../hearts"
    monkeypatch.chdir(elsewhere)
    assert bundle_root("hearts", argv=argv) == "hearts"
    assert bundle_root(argv=[MAIN, "run", "--config_file", "hearts/configs/train.json"]) == "hearts"
    assert bundle_root("hearts", argv=[MAIN, "run", "--config_file", "lost/configs/train.json"]) == "hearts"
    monkeypatch.chdir(elsewhere / "hearts")
    assert bundle_root("hearts", argv=argv) == "."
    assert bundle_root(argv=[MAIN, "run", "--config_file", "configs/train.json"]) == "."


def test_by_the_workflow(elsewhere, capsys):
    workflow = ConfigWorkflow("../hearts/configs/train.json", workflow_type="train", logging_file=False)
    workflow.initialize()
    workflow.run()
    assert capsys.readouterr().out == f"root: {elsewhere / 'hearts'}\n"


def test_as_it_is_typed(elsewhere):
    words = ["monai.bundle", "run", "--config_file", "../hearts/configs/train.json"]
    status, said, wrong = run_module(words, cwd=elsewhere / "here")
    assert (status, f"root: {elsewhere / 'hearts'}" in said) == (0, True), wrong


def test_every_bundle_finds_itself(repository, elsewhere):
    for path in sorted((repository / "bundles").glob("*/configs/*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "bundle_root" in content:
            assert content["bundle_root"] == f"$monai_mmseg.bundle.bundle_root('bundles/{path.parts[-3]}')"
            config = ConfigParser({key: content[key] for key in ("imports", "bundle_root")})
            assert config.get_parsed_content("bundle_root") == "."  # nothing here says where it lies


def test_settings_of_a_bundle_that_is_trained_from_elsewhere(tmp_path, monkeypatch):
    """They name its folder, its overlays and its network, wherever the training is started."""
    configs = copy_bundle("dafnet", tmp_path / "hearts") / "configs"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    files = ["../hearts/configs/train.json", "../hearts/configs/demo.json"]
    monkeypatch.setattr("sys.argv", [MAIN, "run", "training", f"--config_file={files}", "--max_epochs=2"])
    parser = ConfigParser()
    parser.read_config(files)
    for key, value in {"max_epochs": 2, "found": "$monai_mmseg.bundle.model_settings()"}.items():
        parser[key] = value
    found = parser.get_parsed_content("found")
    assert (found["bundle"], found["overlays"], found["overrides"]) == ("hearts", ["demo"], {"max_epochs": 2})
    demo = json.loads((configs / "demo.json").read_text(encoding="utf-8"))
    assert found["definitions"]["network_def"]["features"] == demo["features"]


def test_a_packed_bundle_refuses_other_settings_than_those_of_its_training(tmp_path):
    bundle = small_bundle(tmp_path / "ummkd", "ummkd", UMMKD)
    content = {"format": "monai_mmseg.settings/1", "state": "trained", "knobs": {"pixdim": [1.0, 1.0, 1.0]}}
    (bundle / "models" / "settings.json").write_text(json.dumps(content))
    packed = pack_bundle(bundle, tmp_path / "packed")
    for given, wrong in [({}, False), ({"pixdim": [2.0, 2.0, 2.0]}, True)]:
        parser = ConfigParser()
        parser.read_config(str(packed / "configs" / "inference.json"))
        for key, value in {"bundle_root": str(packed), **given}.items():
            parser[key] = value
        parser["check"] = "$monai_mmseg.bundle.check_trained(@trained, @bundle_root)"
        if wrong:
            with pytest.raises(RuntimeError) as caught:
                parser.get_parsed_content("check")
            assert isinstance(caught.value.__cause__, SettingsConflict)
            assert "pixdim is [2.0, 2.0, 2.0], trained with [1.0, 1.0, 1.0]" in str(caught.value.__cause__)
        else:
            assert parser.get_parsed_content("check") is None


def test_a_packed_bundle_that_was_trained_with_other_settings_predicts_nothing(tmp_path):
    """Its inference.json holds the values of the packing, which a training beside it does not change."""
    bundle = small_bundle(tmp_path / "ummkd", "ummkd", UMMKD)
    content = {"format": "monai_mmseg.settings/1", "state": "trained", "knobs": {"pixdim": [1.0, 1.0, 1.0]}}
    (bundle / "models" / "settings.json").write_text(json.dumps(content))
    packed = pack_bundle(bundle, tmp_path / "packed")
    for pixdim in ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]):
        (packed / "models" / "settings.json").write_text(json.dumps({**content, "knobs": {"pixdim": pixdim}}))
        parser = ConfigParser()
        parser.read_config(str(packed / "configs" / "inference.json"))
        parser["bundle_root"] = str(packed)
        parser["check"] = "$monai_mmseg.bundle.check_trained(@trained, @bundle_root)"
        if pixdim == [1.0, 1.0, 1.0]:
            assert parser.get_parsed_content("check") is None
            continue
        with pytest.raises(RuntimeError) as caught:
            parser.get_parsed_content("check")
        assert isinstance(caught.value.__cause__, SettingsConflict)
        message = str(caught.value.__cause__)
        assert "pixdim is [1.0, 1.0, 1.0], trained with [2.0, 2.0, 2.0]" in message
        assert f"Pack it again: mmseg bundle pack {packed} --out NEW_FOLDER" in message
