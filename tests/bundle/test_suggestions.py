# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Ids that are offered in place of one that a config does not have."""

import pytest

from monai_mmseg.bundle.suggestions import close_ids

CONFIG = {
    "_meta_": {"version": "1"},
    "learning_rate": 1,
    "train": {"trainer": {"_target_": "SupervisedTrainer", "max_epochs": 3}, "handlers": [{"every": 1}]},
    "validate": {"trainer": 1},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trainer#max_epoch", ["train#trainer#max_epochs"]),
        ("train::trainr::max_epochs", ["train#trainer#max_epochs"]),
        ("handlers#0#everry", ["train#handlers#0#every"]),
        ("trainer#epoch_lenth", ["train#trainer#epoch_length"]),  # an argument that is not given
        ("optimizer#learning_rate", ["learning_rate"]),
        ("trainer", ["train#trainer", "validate#trainer", "train"]),  # the closest first, no more than three
        ("version", []),  # no id of the config
        ("optimizer#rate", []),  # the last step alone, and not close
        ("quux#zzz", []),
    ],
)
def test_what_is_offered(name, expected):
    assert close_ids(name, CONFIG) == expected


def test_names_from_elsewhere():
    assert close_ids("trackin", CONFIG, ["tracking", "run_id"])[0] == "tracking"
    assert close_ids("trackin#uri", CONFIG, ["tracking"]) == []
