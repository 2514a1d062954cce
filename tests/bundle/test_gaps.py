# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a training was never without is remembered, and subjects that lack it are named once."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from monai.bundle import ConfigParser

from monai_mmseg.bundle.gaps import TellGaps, guessed, training_gaps

NAMES = ["t1", "t2", "pd"]
DROP = {"_target_": "monai_mmseg.transforms.RandDropModalityd", "prob": "@drop_prob", "mode": "@drop_mode"}


def config(missing, **more):
    """Config of a training whose subjects lack these modalities."""
    items = [{"image": {name: "x" for name in NAMES if name not in gone}} for gone in missing]
    return ConfigParser(
        {
            "network_def": {"_target_": "monai_mmseg.networks.nets.ImputedModalitiesNet"},
            "modalities": NAMES,
            "drop_prob": 0.5,
            "drop_mode": "one",
            "train": {"dataset": {"data": items}},
            **more,
        }
    )


CASES = [  # name, what the subjects lack, drop-out, never missing, largest sets
    ("complete", [""], {}, NAMES, []),
    ("each by itself", [["t1"], ["t2"]], {}, ["pd"], [["t1"], ["t2"]]),
    ("one is taken away", [""], {"augmentation": [DROP]}, [], [["t1"], ["t2"], ["pd"]]),
    ("one of what is left", [["t1"]], {"train#drop": DROP}, [], [["t1", "t2"], ["t1", "pd"]]),
    ("twice", [""], {"a": DROP, "b": [DROP]}, [], [["t1", "t2"], ["t1", "pd"], ["t2", "pd"]]),
    ("never", [""], {"drop_prob": 0.0, "augmentation": [DROP]}, NAMES, []),
    ("off", [""], {"augmentation": [{**DROP, "_disabled_": "$@drop_prob > 0"}]}, NAMES, []),
    ("any", [["t1"]], {"drop_mode": "subset", "augmentation": [DROP]}, [], None),
    ("any that is never used", [""], {"drop_prob": 0, "drop_mode": "subset", "augmentation": [DROP]}, NAMES, []),
]


@pytest.mark.parametrize(("name", "missing", "drops", "never", "together"), CASES, ids=[one[0] for one in CASES])
def test_what_training_was_never_without(name, missing, drops, never, together):
    parser = config(missing, **{key: value for key, value in drops.items() if "#" not in key})
    for key in (key for key in drops if "#" in key):
        parser[key] = drops[key]
    found = training_gaps(parser)
    assert found == {"never_missing": never, **({} if together is None else {"missed_together": together})}


def test_other_networks_have_no_gaps():
    assert training_gaps(config([""], network_def={"_target_": "DAFNet"})) == {"never_missing": []}


def test_two_at_once_where_training_lacked_one():
    """One alone was seen; both were not. Settings of an older training, and of any subset, say nothing of both."""
    one = training_gaps(config([""], augmentation=[DROP]))
    assert guessed(["t1"], one) == guessed([], one) == ((), "")
    assert guessed(["t1", "pd"], one) == (("t1", "pd"), "lacked them together")
    for settings in ({"never_missing": []}, {}, training_gaps(config([""], drop_mode="subset", augmentation=[DROP]))):
        assert guessed(["t1", "pd"], settings) == ((), "")


def run(handler, subjects):
    """The handler in an engine over subjects and which of their modalities are there."""
    batches = [{"subject": [name], "present": torch.tensor([present])} for name, present in subjects.items()]
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.run(batches)
    return handler


def test_each_subject_is_told_once(caplog):
    """Gaps of the datalist at the start, those that loading shows when it does, for slices as well."""
    settings = {"never_missing": ["t2"], "missed_together": [["t1"], ["pd"]]}
    items = [
        {"subject": "s1", "image": {"t1": "a", "pd": "b"}},
        {"subject": "s2", "image": {"t1": "a", "t2": "b", "pd": "c"}},
        {"subject": "s3", "image": "4d.nii"},
    ]
    there = {"s1": [[True], [False], [True]], "s2": [[True], [False], [True]], "s3": [[False], [True], [False]]}
    told = run(TellGaps(settings, NAMES, items), there)
    why = "no training sample lacked it, so these segmentations are guesses. Train with --drop_prob 0.5"
    assert [record.message.partition(" --drop_mode")[0] for record in caplog.records] == [
        f"t2 is missing for s1: {why}",
        f"t2 is missing for s2: {why}",
        f"t1 and pd are missing for s3: {why.replace('lacked it', 'lacked them together')}",
    ]
    assert told.remarks == [
        "Guesses, as no training sample was without what they lack: s1 (t2), s2 (t2), s3 (t1 and pd)."
    ]


def test_many_subjects_are_one_line(caplog):
    items = [{"subject": f"s{number}", "image": {"t2": "a", "pd": "b"}} for number in range(9)]
    settings = {"never_missing": ["t1"]}
    told = run(TellGaps(settings, NAMES, items), {one["subject"]: [False, True, True] for one in items})
    assert "t1 is missing for s0, s1, s2 and 6 more: " in caplog.text
    assert "--may-lack t1." in caplog.text
    assert len(caplog.records) == len(told.remarks) == 1
    assert told.remarks[0].endswith("s0 (t1), s1 (t1), s2 (t1) and 6 more.")


def test_nothing_is_said_of_what_was_seen(caplog):
    handler = run(TellGaps({"never_missing": [], "missed_together": [["t1"]]}, NAMES), {"s1": [False, True, True]})
    handler = run(handler, {"s2": [True, False]})  # of a tool with modalities of its own
    assert (handler.remarks, caplog.records) == ([], [])
