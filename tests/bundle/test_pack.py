# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import json

import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.bundle import ConfigError, pack_bundle
from monai_mmseg.cli.main import main


def network_of(folder, name):
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / f"{name}.json"))
    return parser.get_parsed_content("network_def")


@pytest.fixture
def dafnet(repository):
    return repository / "bundles" / "dafnet"


def test_train_and_inference_have_the_network_of_the_overlays(dafnet, tmp_path):
    out = pack_bundle(
        dafnet, tmp_path / "small", overlays=["settings/spade", "demo"], overrides={"anatomy_channels": 4}
    )
    networks = [network_of(out, name) for name in ("train", "inference")]
    assert {k: v.shape for k, v in networks[0].state_dict().items()} == {
        k: v.shape for k, v in networks[1].state_dict().items()
    }
    assert type(networks[0].decoder).__name__ == "SPADEDecoder"
    train, inference, metadata = (
        json.loads((out / "configs" / f"{n}.json").read_text(encoding="utf-8"))
        for n in ("train", "inference", "metadata")
    )
    assert (train["spatial_size"], train["max_epochs"], train["anatomy_channels"]) == ([64, 64], 25, 4)
    assert inference["spatial_size"] == [64, 64]
    assert "max_epochs" not in inference
    assert metadata["network_data_format"]["inputs"]["image"]["spatial_shape"] == [64, 64]
    assert "bundles/small" in train["bundle_root"]
    assert (out / "LICENSE").is_file()
    assert (out / "docs" / "README.md").is_file()


def test_candidates_are_channels_of_the_metadata(dafnet, tmp_path):
    out = pack_bundle(dafnet, tmp_path / "p", overlays=["settings/automated_pairing"])
    image = json.loads((out / "configs" / "metadata.json").read_text(encoding="utf-8"))["network_data_format"][
        "inputs"
    ]["image"]
    assert image["num_channels"] == 6
    assert image["channel_def"]["4"] == "lge, candidate 1"


def test_the_command_takes_overlays_and_weights(dafnet, tmp_path):
    torch.save({}, tmp_path / "weights.pt")
    words = f"bundle pack {dafnet} --overlays settings/target_0 demo --model {tmp_path / 'weights.pt'}"
    assert main([*words.split(), "--out", str(tmp_path / "q")]) == 0
    assert (tmp_path / "q" / "models" / "model.pt").is_file()


SMALL = {"features": [4] * 8, "spatial_size": [32, 32]}


def test_one_modality_is_a_plain_network(repository, tmp_path):
    """Its weights are those of that modality; the configs build the original class and know no other modality."""
    bundle = repository / "bundles" / "ummkd"
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    for key, value in SMALL.items():
        parser[key] = value
    both = parser.get_parsed_content("network_def")
    for number, parameter in enumerate(both.parameters()):
        torch.nn.init.constant_(parameter, number)  # every one another value
    torch.save(both.state_dict(), tmp_path / "both.pt")
    out = pack_bundle(bundle, tmp_path / "heart_mr", model=tmp_path / "both.pt", modality="mr", overrides=SMALL)
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    for name in ("train", "inference"):
        network = network_of(out, name)
        assert type(network).__name__ == "DilatedResidualNet"
        network.load_state_dict(state)
        config = json.loads((out / "configs" / f"{name}.json").read_text(encoding="utf-8"))
        assert config["modalities"] == ["mr"]
        assert "backbone" not in config
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network.eval()(image), both.eval()(image, "mr"), rtol=0, atol=0)
    metadata = json.loads((out / "configs" / "metadata.json").read_text(encoding="utf-8"))
    channels = metadata["network_data_format"]["inputs"]["image"]["channel_def"]
    assert channels == {"0": "slice 1 before", "1": "slice", "2": "slice 1 behind"}
    assert metadata["description"].startswith("The plain network of mr")


def test_all_modalities_stay_without_the_argument(repository, tmp_path):
    bundle = repository / "bundles" / "ummkd_3d"
    out = pack_bundle(bundle, tmp_path / "p", overlays=["demo"])
    assert network_of(out, "inference").modalities == ("ct", "mr")
    before, after = (
        json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["network_data_format"]
        for folder in (bundle, out)
    )
    assert after["inputs"]["image"]["channel_def"] == before["inputs"]["image"]["channel_def"] == {"0": "CT or MR"}
    assert after["outputs"]["pred"]["channel_def"] == before["outputs"]["pred"]["channel_def"]
    five = pack_bundle(repository / "bundles" / "ummkd", tmp_path / "five", overrides={"num_slices": 5})
    image = json.loads((five / "configs" / "metadata.json").read_text(encoding="utf-8"))["network_data_format"][
        "inputs"
    ]["image"]
    assert list(image["channel_def"].values())[1:] == ["slice 1 before", "slice", "slice 1 behind", "slice 2 behind"]


def test_one_modality_that_cannot_be(dafnet, repository, tmp_path):
    bundle = repository / "bundles" / "ummkd"
    with pytest.raises(ValueError, match=r"modality must be one of \['ct', 'mr'\], got 'us'"):
        pack_bundle(bundle, tmp_path / "a", modality="us")
    with pytest.raises(ValueError, match="dafnet: it has no configs/one_modality.json"):
        pack_bundle(dafnet, tmp_path / "a", modality="lge")
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="give the overlays that it was trained with"):
        pack_bundle(bundle, tmp_path / "a", modality="mr", model=tmp_path / "weights.pt", overrides=SMALL)
    assert not (tmp_path / "a").exists()


def test_errors_name_what_is_wrong(dafnet, tmp_path):
    with pytest.raises(FileExistsError, match="out must not exist"):
        pack_bundle(dafnet, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no .*nowhere.json"):
        pack_bundle(dafnet, tmp_path / "a", overlays=["nowhere"])
    with pytest.raises(ConfigError, match="max_epochs"):
        pack_bundle(dafnet, tmp_path / "a", overrides={"max_epoch": 3})
    assert not (tmp_path / "a").exists()
