# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
from monai.bundle import ConfigParser

from monai_mmseg.bundle.references import config_references, is_plain


def test_references_and_their_parents():
    config = {"a": "@net::layers#0", "b": ["$len(@names) + @#size", "no @reference"], "c": 3}
    assert config_references(config) == {"net", "net#layers", "net#layers#0", "names", "size"}


@pytest.mark.parametrize(
    ("content", "plain"),
    [
        (3, True),
        (["@depth", {"x": "$@depth * 2"}], True),
        ("@net", False),
        ("$@net.weight", False),
        ({"_target_": "torch.nn.ReLU"}, False),
        ({"_desc_": "a place"}, False),
        ("$monai.utils.set_determinism(0)", False),
        ("@nowhere", False),
        ("@first", False),  # a circle
    ],
)
def test_what_can_be_looked_at(content, plain):
    net = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    parser = ConfigParser({"depth": "$len([1])", "net": net, "first": "@second", "second": "@first"})
    assert is_plain(content, parser) is plain
