# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a config says of itself for the record of a run."""

import copy
import json
import sys

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_mmseg.bundle import run_settings

CONFIG = {
    "imports": ["$import torch", "$import monai_mmseg", "$import os"],
    "bundle_root": "$os.path.join('a', 'b')",
    "device": "$torch.device('cpu')",
    "amp": "$str(@device).startswith('cuda')",
    "names": ["x", "y"],
    "first": "$@names[0]",
    "phantom": {"modalities": "@names", "size": None},
    "copied": "%names",
    "rate": 0.1,
    "net": {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1},
    "nets": "$[@net]",
    "items": "$monai_mmseg.no_such_function(@names)",
    "trainer": {"_desc_": "holds a place"},
    "part": {"width": "$@net.in_features"},
    "lost": "@nowhere",
    "train": {"trainer": {"_target_": "dict", "max_epochs": 1}, "handlers": [{"_target_": "dict", "rate": "@rate"}]},
    "epochs": "@train#trainer#max_epochs",
    "settings": "$monai_mmseg.bundle.run_settings()",
    "run": ["$print(@names)"],
}
PLAIN = {
    "bundle_root": "a/b",
    "amp": False,
    "names": ["x", "y"],
    "first": "x",
    "phantom": {"modalities": ["x", "y"], "size": None},
    "copied": ["x", "y"],
    "rate": 0.1,
}


def resolved(**overrides):
    parser = ConfigParser(copy.deepcopy(CONFIG))
    parser.update(overrides)
    return parser.get_parsed_content("settings")


def test_plain_values_are_resolved_and_nothing_is_built():
    assert resolved() == PLAIN


@pytest.mark.parametrize("argv", [["pytest"], ["x/monai/bundle/__main__.py", "run", "--rate", "7"]])
def test_overrides_are_in_it_whatever_the_command_line_says(argv, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    changed = resolved(rate=0.5, names=["z"], **{"phantom#size": 32})
    assert (changed["rate"], changed["first"], changed["copied"]) == (0.5, "z", ["z"])
    assert changed["phantom"] == {"modalities": ["z"], "size": 32}


def test_as_an_argument_of_a_component(tmp_path):
    """Resolved in the middle of building another component, which is built once."""
    handler = {"_target_": "monai_mmseg.handlers.RunRecordHandler", "run_dir": str(tmp_path), "name": "a"}
    train = tmp_path / "train.json"
    train.write_text(json.dumps({**CONFIG, "seed": 3, "handlers": [{**handler, "settings": CONFIG["settings"]}]}))
    overlay = tmp_path / "overlay.json"
    overlay.write_text(json.dumps({"rate": 0.3}))
    workflow = ConfigWorkflow(
        [str(train), str(overlay)], workflow_type=None, meta_file=None, logging_file=False, seed=4
    )
    (found,) = workflow.parser.get_parsed_content("handlers")
    assert found is workflow.parser.get_parsed_content("handlers")[0]
    found.recorder.start()
    about = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert about["settings"] == {**PLAIN, "rate": 0.3, "seed": 4}
    assert (about["seed"], about["method"]) == (4, "a")


def test_without_a_config_there_is_none():
    assert run_settings() == {}
