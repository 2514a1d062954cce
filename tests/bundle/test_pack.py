# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Overlays, weights and the settings of a training in one bundle."""

import json
import os
import re

import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.bundle import ConfigError, pack_bundle
from monai_mmseg.bundle.json_text import json_text
from monai_mmseg.bundle.pack_configs import without_trained
from monai_mmseg.bundle.predict import find_model
from monai_mmseg.cli.main import main
from tests.bundle.small_bundle import UMMKD, network_of, read, small_bundle


@pytest.fixture
def dafnet(repository):
    return repository / "bundles" / "dafnet"


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    return small_bundle(tmp_path_factory.mktemp("bundle") / "ummkd", "ummkd", UMMKD)


def shapes(network):
    return {key: value.shape for key, value in network.state_dict().items()}


def settings(**more):
    content = {
        "format": "monai_mmseg.settings/1",
        "run": "r1",
        "bundle": "ummkd",
        "state": "trained",
        "knobs": {"modalities": ["ct", "mr"], "pixdim": [2.0, 2.0, 2.0], "default_modality": "ct", "separate": "norm"},
        "definitions": {},
        "overlays": [],
        "overrides": {},
    }
    return {**content, **more}


def with_settings(bundle, folder, **more):
    """Weights of a bundle with settings beside them."""
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(settings(**more)))
    torch.save(torch.load(bundle / "models" / "model.pt", weights_only=True), folder / "model.pt")
    return folder / "model.pt"


def test_train_and_inference_have_the_network_of_the_overlays(dafnet, tmp_path):
    out = pack_bundle(
        dafnet,
        tmp_path / "small",
        overlays=["settings/spade", "demo"],
        no_model=True,
        overrides={"anatomy_channels": 4},
    )
    networks = [network_of(out, name) for name in ("train", "inference")]
    assert shapes(networks[0]) == shapes(networks[1])
    assert type(networks[0].decoder).__name__ == "SPADEDecoder"
    train, inference, metadata = (read(out, name) for name in ("train", "inference", "metadata"))
    assert (train["max_epochs"], train["anatomy_channels"]) == (14, 4)
    assert inference["spatial_size"] == train["spatial_size"]  # an expression: SPADE decodes from a 32nd of the size
    assert [list(network.spatial_size) for network in networks] == [[64, 64]] * 2
    assert "max_epochs" not in inference
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [64, 64]
    assert "bundles/small" in train["bundle_root"]
    assert (out / "LICENSE").is_file()
    assert (out / "docs" / "README.md").is_file()
    assert list((out / "models").iterdir()) == []


def test_candidates_are_channels_of_the_metadata(dafnet, tmp_path):
    out = pack_bundle(dafnet, tmp_path / "p", overlays=["settings/automated_pairing"], no_model=True)
    image = read(out, "metadata")["network_data_format"]["inputs"]["image"]
    assert image["num_channels"] == 6
    assert image["channel_def"]["4"] == "lge, candidate 1"


def test_the_command_takes_overlays_and_weights(heart, tmp_path, capsys):
    words = f"bundle pack {heart} --overlays settings/separate_all --model {heart / 'models' / 'model.pt'}"
    (heart / "configs" / "settings" / "separate_all.json").write_text(json.dumps({"kd_weight": 0.25}))
    assert main([*words.split(), "--out", str(tmp_path / "q")]) == 0
    assert str(tmp_path / "q") in capsys.readouterr().out
    assert read(tmp_path / "q", "train")["kd_weight"] == 0.25
    packed, model = (folder / "models" / "model.pt" for folder in (tmp_path / "q", heart))
    assert packed.read_bytes() == model.read_bytes()
    assert main(["bundle", "pack", str(heart), "--no-model", "--out", str(tmp_path / "bare")]) == 0
    assert not (tmp_path / "bare" / "models" / "model.pt").exists()


def test_one_modality_is_a_plain_network(heart, tmp_path):
    """Its weights are those of that modality; the configs build the original class and know no other modality."""
    both = network_of(heart, "train")
    for number, parameter in enumerate(both.parameters()):
        torch.nn.init.constant_(parameter, number)  # every one another value
    torch.save(both.state_dict(), tmp_path / "both.pt")
    out = pack_bundle(heart, tmp_path / "heart_mr", model=tmp_path / "both.pt", modality="mr")
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    for name in ("train", "inference"):
        network = network_of(out, name)
        assert type(network).__name__ == "DilatedResidualNet"
        network.load_state_dict(state)
        config = read(out, name)
        assert config["modalities"] == ["mr"]
        assert "backbone" not in config
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network.eval()(image), both.eval()(image, "mr"), rtol=0, atol=0)
    metadata = read(out, "metadata")
    channels = metadata["network_data_format"]["inputs"]["image"]["channel_def"]
    assert channels == {"0": "slice 1 before", "1": "slice", "2": "slice 1 behind"}
    assert metadata["description"].startswith("The plain network of mr")
    assert find_model(out).modalities == ["mr"]


def test_one_modality_is_taken_out_of_what_is_packed(heart, tmp_path):
    """Who is handed the packed bundle has no other; the network is the one that the bundle itself would give."""
    both = pack_bundle(heart, tmp_path / "both")
    outs = [pack_bundle(bundle, tmp_path / name, modality="mr") for bundle, name in ((heart, "a"), (both, "b"))]
    states = [torch.load(out / "models" / "model.pt", weights_only=True) for out in outs]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    for out in outs:
        network_of(out, "train").load_state_dict(states[0])
        network_of(out, "inference").load_state_dict(states[0])
        assert not (out / "configs" / "one_modality.json").exists()
    assert read(outs[0], "metadata") == read(outs[1], "metadata")


def test_all_modalities_stay_without_the_argument(repository, tmp_path):
    bundle = repository / "bundles" / "ummkd_3d"
    out = pack_bundle(bundle, tmp_path / "p", overlays=["demo"], no_model=True)
    assert network_of(out, "inference").modalities == ("ct", "mr")
    before, after = (read(folder, "metadata")["network_data_format"] for folder in (bundle, out))
    assert after["inputs"]["image"]["channel_def"] == before["inputs"]["image"]["channel_def"] == {"0": "CT or MR"}
    assert after["outputs"]["pred"]["channel_def"] == before["outputs"]["pred"]["channel_def"]
    five = pack_bundle(repository / "bundles" / "ummkd", tmp_path / "five", no_model=True, overrides={"num_slices": 5})
    image = read(five, "metadata")["network_data_format"]["inputs"]["image"]
    assert list(image["channel_def"].values())[1:] == ["slice 1 before", "slice", "slice 1 behind", "slice 2 behind"]


def test_one_modality_that_cannot_be(dafnet, heart, tmp_path):
    with pytest.raises(ValueError, match=r"modality must be one of \['ct', 'mr'\], got 'us'"):
        pack_bundle(heart, tmp_path / "a", modality="us")
    with pytest.raises(ValueError, match="dafnet: it has no configs/one_modality.json"):
        pack_bundle(dafnet, tmp_path / "a", modality="lge", no_model=True)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("modality", [None, "mr"])
def test_weights_that_cannot_be_served_are_refused(heart, tmp_path, modality):
    good = torch.load(heart / "models" / "model.pt", weights_only=True)
    first = next(name for name, value in good.items() if value.is_floating_point())
    bad = tmp_path / "bad.pt"
    for content, message in [
        ({}, "bad.pt must hold tensors by name"),
        ({"x": torch.zeros(1)}, r"(?s)bad.pt does not fit the network: .*give the overlays"),
        (
            {**good, first: torch.full_like(good[first], torch.nan)},
            f"bad.pt: '{first}' holds NaN or infinite numbers",
        ),
        ({**good, first: torch.full_like(good[first], torch.inf)}, f"'{first}' holds NaN or infinite numbers"),
        ({"epoch": 3}, "bad.pt must hold tensors by name"),
    ]:
        torch.save(content, bad)
        with pytest.raises(ValueError, match=message):
            pack_bundle(heart, tmp_path / "a", model=bad, modality=modality)
    bad.write_bytes(b"")
    with pytest.raises(ValueError, match="bad.pt cannot be read as weights"):
        pack_bundle(heart, tmp_path / "a", model=bad, modality=modality)
    assert list(tmp_path.iterdir()) == [bad]


def test_absent_weights_are_refused(dafnet, tmp_path):
    bare = small_bundle(tmp_path / "bare", "ummkd", UMMKD, weights=False)
    with pytest.raises(FileNotFoundError, match=r"there is no .*bare/models/model.pt: train first, .* --no-model"):
        pack_bundle(bare, tmp_path / "a")
    with pytest.raises(FileNotFoundError, match=r"there is no .*lost.pt\.$"):
        pack_bundle(bare, tmp_path / "a", model=tmp_path / "lost.pt")
    with pytest.raises(ValueError, match="--no-model packs no weights, but --model is lost.pt"):
        pack_bundle(bare, tmp_path / "a", model="lost.pt", no_model=True)


def test_a_network_of_inference_that_is_not_the_trained_one_is_refused(heart, tmp_path):
    other = small_bundle(tmp_path / "other", "ummkd", UMMKD)
    content = {**read(other, "inference"), "num_slices": 1}
    (other / "configs" / "inference.json").write_text(json_text(content))
    with pytest.raises(ValueError, match=r"the network of configs/inference.json is not that of .*model.pt: 1 tensors"):
        pack_bundle(other, tmp_path / "a")


def test_the_settings_of_the_training_are_taken(heart, tmp_path):
    """Overlays and overrides need not be said again; values that inference asks for stand in its config."""
    overlaid = small_bundle(tmp_path / "ummkd", "ummkd", {"spatial_size": [32, 32]}, weights=False)
    content = read(overlaid, "inference")
    content["trained"] = "$monai_mmseg.bundle.trained_settings(@ckpt_dir)"
    content["pixdim"] = "$@trained.get('pixdim', [1.0, 1.0, 1.0])"
    content["features"] = "$@trained.get('features', [16, 32, 64, 128, 256, 256, 512, 512])"
    target = "$monai_mmseg.bundle.trained_target(@trained, 'network_def', 'monai_mmseg.networks.nets.share_network')"
    content["network_def"] = {**content["network_def"], "_target_": target}
    content["intensity"] = {"_target_": "$@trained.content['definitions']['intensity']['_target_']", "keys": "image"}
    content["initialize"] = ["$monai_mmseg.bundle.check_trained(@trained, @bundle_root)", "$print('ready')"]
    (overlaid / "configs" / "inference.json").write_text(json_text(content))
    (overlaid / "configs" / "settings" / "tiny.json").write_text(json.dumps({"features": [4] * 8, "kd_weight": 0.5}))
    intensity = {"_target_": "ScaleIntensityd", "keys": "image"}
    labels = {"0": "background", "1": "a", "2": "b", "3": "c", "4": "d"}  # of the data: neither overlay nor override
    knobs = {**settings()["knobs"], "features": [4] * 8, "labels": labels, "amp": False, "max_epochs": 3, "fold": 1}
    model = with_settings(
        heart,
        tmp_path / "run",
        overlays=["settings/tiny", "multi_gpu_train"],
        overrides={"pixdim": [2.0, 2.0, 2.0]},
        knobs=knobs,
        definitions={"intensity": intensity},
    )
    out = pack_bundle(overlaid, tmp_path / "out", model=model)
    train, inference = read(out, "train"), read(out, "inference")
    assert (train["kd_weight"], train["features"], train["pixdim"]) == (0.5, [4] * 8, [2.0, 2.0, 2.0])
    assert (inference["features"], inference["pixdim"]) == ([4] * 8, [2.0, 2.0, 2.0])
    assert inference["intensity"] == intensity
    assert inference["network_def"]["_target_"] == "monai_mmseg.networks.nets.share_network"
    assert train["labels"] == inference["labels"] == labels
    assert list(read(out, "metadata")["network_data_format"]["outputs"]["pred"]["channel_def"].values())[1:] == list(
        "abcd"
    )
    assert (train["amp"], train["max_epochs"]) == (read(overlaid, "train")["amp"], 3)
    assert (train["fold"], inference["fold"]) == (1, None)  # left out there, taken here: of new data all are
    asking = [name for name, value in inference.items() if "@trained" in json.dumps(value)]
    assert (inference["trained"], asking) == (content["trained"], ["initialize"])
    assert shapes(network_of(out, "inference")) == shapes(network_of(heart, "inference"))
    packed = json.loads((out / "models" / "settings.json").read_text(encoding="utf-8"))
    assert (packed["state"], packed["overlays"], packed["overrides"], packed["run"]) == ("packed", [], {}, "r1")
    assert packed["knobs"] == knobs
    (model.parent / "settings.json").unlink()
    bare = pack_bundle(overlaid, tmp_path / "bare", model=model, overlays=["settings/tiny"])
    assert "trained" not in json.dumps(read(bare, "inference"))
    assert read(bare, "inference")["initialize"] == ["$print('ready')"]
    again = pack_bundle(out, tmp_path / "again")  # what is packed can be packed
    assert read(again, "inference")["pixdim"] == [2.0, 2.0, 2.0]


def test_what_contradicts_the_settings_is_refused(heart, tmp_path):
    model = with_settings(heart, tmp_path / "run", overlays=["settings/a", "demo"])
    message = (
        r"pixdim is \[3.0, 3.0, 3.0\], but the weights were trained with \[2.0, 2.0, 2.0\] \(.*run/settings.json\)"
    )
    with pytest.raises(ValueError, match=message):
        pack_bundle(heart, tmp_path / "out", model=model, overlays=["demo"])
    other = with_settings(heart, tmp_path / "second")
    with pytest.raises(ValueError, match=r"pixdim is \[1, 1, 1\], but the weights were trained with \[2.0, 2.0, 2.0\]"):
        pack_bundle(heart, tmp_path / "out", model=other, overrides={"pixdim": [1, 1, 1]})
    torch.save({"x": torch.zeros(1)}, other)
    with pytest.raises(ValueError, match=r"(?s)does not fit the network: .*of the bundle ummkd"):
        pack_bundle(heart, tmp_path / "out", model=other)
    for text, reason in [
        ("{", "is no JSON file"),
        ('{"format": "x/2"}', "must have the format 'monai_mmseg.settings/1'"),
    ]:
        (other.parent / "settings.json").write_text(text)
        with pytest.raises(ValueError, match=re.escape(f"settings.json {reason}")):
            pack_bundle(heart, tmp_path / "out", model=other)
    assert not (tmp_path / "out").exists()


def test_settings_of_one_modality_name_it_alone(heart, tmp_path):
    model = with_settings(heart, tmp_path / "run", definitions={"network_def": {"_target_": "share_network"}})
    out = pack_bundle(heart, tmp_path / "mr", model=model, modality="mr")
    packed = json.loads((out / "models" / "settings.json").read_text(encoding="utf-8"))
    assert packed["knobs"] == {"modalities": ["mr"], "pixdim": [2.0, 2.0, 2.0], "default_modality": "mr"}
    assert packed["left_out"] == find_model(out).left_out == ["ct"]
    network = packed["definitions"]["network_def"]
    assert network["_target_"] == "monai_mmseg.networks.nets.DilatedResidualNet"
    assert (network["features"], network["in_channels"], network["out_channels"]) == ([4] * 8, 3, 5)


def test_what_foretells_dice_goes_with_its_weights(heart, tmp_path):
    model = with_settings(heart, tmp_path / "run")
    (model.parent / "quality.json").write_text("{}")
    assert (pack_bundle(heart, tmp_path / "both", model=model) / "models" / "quality.json").read_text() == "{}"
    assert not (pack_bundle(heart, tmp_path / "mr", model=model, modality="mr") / "models" / "quality.json").exists()


def test_where_things_lay_is_not_handed_on(heart, tmp_path):
    """Folders of the machine of the training are neither in the settings nor in the configs of what is packed."""
    place = "/data/someone/heart"
    datalist = {"name": "heart", "path": f"{place}/datalist.json", "fingerprint": "ab"}
    knobs = {
        **settings()["knobs"],
        "phantom_dir": place,
        "stage_one": f"{place}/a.pt",
        "stage_one_command": f"{place}/b",
    }
    model = with_settings(
        heart, tmp_path / "run", knobs=knobs, overrides={"phantom_dir": place, "kd_weight": 0.7}, datalist=datalist
    )
    out = pack_bundle(heart, tmp_path / "out", model=model)
    assert not [path for path in out.rglob("*.json") if place in path.read_text(encoding="utf-8")]
    assert read(out, "train")["phantom_dir"] == read(heart, "train")["phantom_dir"]
    assert read(out, "train")["kd_weight"] == 0.7
    packed = json.loads((out / "models" / "settings.json").read_text(encoding="utf-8"))
    assert packed["datalist"] == {"name": "heart", "fingerprint": "ab"}
    assert (packed["knobs"], packed["merged"]) == (settings()["knobs"], {"overrides": {"kd_weight": 0.7}})
    assert place in (model.parent / "settings.json").read_text(encoding="utf-8")  # the run itself keeps it
    pack_bundle(heart, tmp_path / "named", model=model, overrides={"phantom_dir": place})
    assert read(tmp_path / "named", "train")["phantom_dir"] == place  # what is asked for is done


def test_a_definition_of_the_training_brings_what_inference_lacks():
    inference = {"trained": "$x(@ckpt_dir)", "net": {"_target_": "$y(@trained)", "size": "@size"}, "size": 2}
    train = {"net": {"_target_": "A", "size": "@size", "gain": "@gain"}, "size": 2, "gain": [1, "@size"]}
    assert without_trained(inference, train, {}, None) == {
        "net": {"_target_": "A", "size": "@size", "gain": [1, "@size"]},
        "size": 2,
    }
    kept = {"trained": "$x(@ckpt_dir)", "initialize": ["$check(@trained)"]}
    assert without_trained(kept, train, {"knobs": {}}, None) == kept  # a check asks for them
    assert without_trained(kept, train, {}, None) == {"initialize": []}  # there is nothing to check with


def test_a_pack_that_fails_or_is_killed_leaves_nothing(heart, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("monai_mmseg.bundle.pack.shutil.copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        pack_bundle(heart, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    left = tmp_path / ".out.elsewhere@1-00.part"
    left.mkdir()
    os.utime(left, (0, 0))
    pack_bundle(heart, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_packed_network_is_a_component_of_its_own(heart, tmp_path):
    """MONAI Label sets arguments in network_def before references are resolved."""
    for modality in (None, "ct"):
        out = pack_bundle(heart, tmp_path / str(modality), modality=modality)
        for name in ("train", "inference"):
            assert isinstance(ConfigParser(read(out, name))["network_def"]["_target_"], str)


def test_errors_name_what_is_wrong(dafnet, tmp_path):
    with pytest.raises(FileExistsError, match="out must not exist"):
        pack_bundle(dafnet, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no .*nowhere.json"):
        pack_bundle(dafnet, tmp_path / "a", overlays=["nowhere"], no_model=True)
    with pytest.raises(FileNotFoundError, match="there is no .*inference.json"):
        pack_bundle(tmp_path, tmp_path / "a")
    with pytest.raises(ConfigError, match="max_epochs"):
        pack_bundle(dafnet, tmp_path / "a", overrides={"max_epoch": 3}, no_model=True)
    assert not (tmp_path / "a").exists()
