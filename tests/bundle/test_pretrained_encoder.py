# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from monai.bundle import ConfigParser
from torch import nn

from monai_mmseg.bundle import load_pretrained_encoder, load_pretrained_localiser
from monai_mmseg.networks.nets import LocalisedNet
from monai_mmseg.runs.model_settings import write_settings
from tests.networks.nets.disentangle.test_fused_anatomy_net import fused_of

RUN = ["/x/monai/bundle/__main__.py", "run", "training", "--config_file", "train.json"]


def changed():
    net = fused_of()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    return net


def test_the_first_file_that_is_there(tmp_path):
    one, two = changed(), changed()
    with torch.no_grad():
        two.encoder.mean_code.add_(1)
    torch.save(one.encoder.state_dict(), tmp_path / "one.pt")
    torch.save(two.state_dict(), tmp_path / "own.pt")
    for path, expected in (("one.pt", one), ("none.pt", two)):
        net = fused_of()
        load_pretrained_encoder(net, tmp_path / path, own=tmp_path / "own.pt")
        torch.testing.assert_close(net.encoder.state_dict(), expected.encoder.state_dict())


def test_nothing_there(tmp_path, caplog):
    net = fused_of()
    with pytest.raises(SystemExit, match=r"Nothing was run.*none.pt are missing(.|\n)*make it(.|\n)*--stage_one"):
        load_pretrained_encoder(net, tmp_path / "none.pt", own=tmp_path / "own.pt", command="make it", argv=RUN)
    with caplog.at_level(logging.WARNING):
        load_pretrained_encoder(net, tmp_path / "none.pt", command="make it", argv=["server"])
    assert "none.pt are missing" in caplog.text
    load_pretrained_encoder(nn.Identity(), tmp_path / "none.pt", argv=RUN)  # has no encoder


def test_a_localiser(tmp_path):
    net = nn.Sequential(LocalisedNet(nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1), (4, 4)))
    with pytest.raises(SystemExit, match=r"localiser's weights .*none.pt are missing.*settings/payer_localise.json"):
        load_pretrained_localiser(net, tmp_path / "none.pt", argv=RUN)
    first = nn.Conv2d(1, 2, 1)
    torch.save(first.state_dict(), tmp_path / "first.pt")
    load_pretrained_localiser(net, tmp_path / "first.pt")
    torch.testing.assert_close(net[0].localiser.weight, first.weight)
    with pytest.raises(ValueError, match="must hold a LocalisedNet, got Conv2d"):
        load_pretrained_localiser(first, tmp_path / "first.pt")


def test_an_encoder_of_another_spacing_is_said(tmp_path, caplog):
    torch.save(changed().encoder.state_dict(), tmp_path / "model.pt")
    write_settings(tmp_path, {"knobs": {"pixdim": [3.0, 3.0, 3.0], "num_slices": 3}})
    for pixdim, said in (([1.0, 1.0, 1.0], True), ([3.0, 3.0, 3.0], False)):
        caplog.clear()
        config = ConfigParser({"pixdim": pixdim, "num_slices": 3, "imports": ["$import monai_mmseg"]})
        config["network"] = (
            "$__import__('tests.bundle.test_pretrained_encoder').bundle.test_pretrained_encoder.fused_of()"
        )
        config["load"] = f"$monai_mmseg.bundle.load_pretrained_encoder(@network, {str(tmp_path / 'model.pt')!r})"
        config.get_parsed_content("load")
        assert (f"pixdim is {pixdim} here, and the encoder" in caplog.text) == said
        assert "num_slices" not in caplog.text


@pytest.mark.parametrize(
    ("modalities", "refused"),
    [(["t2", "t1"], True), (["t1"], True), (["t1", "flair"], False), (["t1", "t2"], False)],
)
def test_an_encoder_of_modalities_in_another_order_is_refused(tmp_path, monkeypatch, modalities, refused):
    net, trained = fused_of(), changed()
    torch.save(trained.encoder.state_dict(), tmp_path / "model.pt")
    write_settings(tmp_path, {"knobs": {"modalities": ["t1", "t2"]}})
    config = ConfigParser({"modalities": modalities})
    monkeypatch.setattr("monai_mmseg.bundle.pretrained_encoder.resolving_parser", lambda: config)
    if refused:
        with pytest.raises(
            ValueError, match=r"modalities is .* here, and the encoder .* was trained with \['t1', 't2'\]"
        ):
            load_pretrained_encoder(net, tmp_path / "model.pt")
        return
    load_pretrained_encoder(net, tmp_path / "model.pt")  # `flair` may be another word for what was called `t2`
    torch.testing.assert_close(net.encoder.state_dict(), trained.encoder.state_dict())


def test_weights_that_come_without_their_settings_are_said(tmp_path, monkeypatch, caplog):
    """Their modalities may have been others, or in another order."""
    torch.save(changed().encoder.state_dict(), tmp_path / "model.pt")
    monkeypatch.setattr(
        "monai_mmseg.bundle.pretrained_encoder.resolving_parser", lambda: ConfigParser({"modalities": ["t2", "t1"]})
    )
    load_pretrained_encoder(fused_of(), tmp_path / "model.pt")
    assert f"no settings.json beside {tmp_path / 'model.pt'} says what it was trained with" in caplog.text


def test_arguments_of_the_encoder_that_weights_do_not_show_are_said(tmp_path, monkeypatch, caplog):
    torch.save(changed().encoder.state_dict(), tmp_path / "model.pt")
    encoder = {"_target_": "monai_mmseg.networks.nets.DisentangleNet", "modalities": ["t1", "t2"], "target": "t1"}
    write_settings(tmp_path, {"definitions": {"network_def": {**encoder, "fifth": True, "anatomy_gain": 10.0}}})
    for fifth, said in ((False, True), (True, False)):
        caplog.clear()
        config = ConfigParser({"encoder_def": {**encoder, "target": "t2", "in_channels": "@channels"}, "channels": 3})
        config["encoder_def"] |= {"fifth": True} if fifth else {}
        monkeypatch.setattr("monai_mmseg.bundle.pretrained_encoder.resolving_parser", lambda config=config: config)
        load_pretrained_encoder(fused_of(), tmp_path / "model.pt")
        told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
        assert told == ([f"fifth is False in encoder_def, and {tmp_path / 'model.pt'} was trained with True."] * said)
