# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from torch import nn

from monai_mmseg.bundle import load_pretrained_encoder
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
