# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import json

import pytest
import torch
from monai.bundle import ConfigParser

from monai_mmseg.__main__ import main
from monai_mmseg.bundle import ConfigError, pack_bundle


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


def test_errors_name_what_is_wrong(dafnet, tmp_path):
    with pytest.raises(FileExistsError, match="out must not exist"):
        pack_bundle(dafnet, tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no .*nowhere.json"):
        pack_bundle(dafnet, tmp_path / "a", overlays=["nowhere"])
    with pytest.raises(ConfigError, match="max_epochs"):
        pack_bundle(dafnet, tmp_path / "a", overrides={"max_epoch": 3})
    assert not (tmp_path / "a").exists()
