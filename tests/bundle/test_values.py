# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_mmseg.bundle.values import read_booleans, value_errors
from tests.bundle.toy_bundle import write_bundle
from tests.bundles.runs import ALL, CSA, DAFNET

BASE = {
    "device": "$__import__('torch').device('cpu')",
    "amp": "$str(@device) == 'cuda'",
    "resume": False,
    "frozen": True,
    "num_things": 3,
    "gain": 0.5,
    "limit": None,
    "names": ["a", "b"],
    "sizes": [1.0, 2.0],
    "norm": ["batch", {"eps": 0.1}],
    "method": "toy",
    "labels": {"0": "background"},
    "size_norm": "feature",
    "slice_axis": "auto",
    "clip": 1.0,
    "ct_window": [-160, 240],
    "loss": {"_target_": "monai_mmseg.losses.AffinityConsistencyLoss", "num_classes": 2, "size_norm": "@size_norm"},
    "orient": {"_target_": "monai_mmseg.transforms.OrientSlicesd", "keys": "image", "slice_axis": "@slice_axis"},
    "intensity": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": "$@ct_window[0]", "a_max": "$@ct_window[1]"}
        ],
    },
}


def errors(**overrides):
    parser = ConfigParser({**BASE, **overrides})
    parser.parse()
    read_booleans(parser, BASE)
    return value_errors(parser, BASE)


def test_the_base_has_no_error():
    assert errors() == []


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_things": 7},
        {"gain": 2, "limit": 0.2},
        {"names": ("c",), "sizes": []},
        {"norm": "group"},
        {"size_norm": "none", "slice_axis": 2},
        {"num_things": "$2 * 3", "amp": "$True"},
        {"gain": "@num_things"},
        {"amp": "$monai.utils.misc.first([True])"},  # not looked at: it calls the library
        {"num_things": "$1 / 0"},  # what reads it will say so
        {"labels": {"0": "background", "1": "LV"}, "method": "other"},
        {"sizes": {"_target_": "torch.Tensor"}},
    ],
)
def test_right_values(overrides):
    assert errors(**overrides) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"resume": "off"}, "resume must be true or false, got 'off'."),
        ({"resume": "yes"}, "resume must be true or false, got 'yes'."),
        ({"resume": 1}, "resume must be true or false, got 1."),
        ({"resume": "0"}, "resume must be true or false, got '0'."),
        ({"resume": None}, "resume must be true or false, got null."),
        ({"amp": "on"}, "amp must be true or false, got 'on'."),
        ({"amp": "$3"}, "amp must be true or false, got 3."),
        ({"num_things": 1.5}, "num_things must be a whole number, got 1.5."),
        ({"num_things": "ten"}, "num_things must be a whole number, got 'ten'."),
        ({"num_things": True}, "num_things must be a whole number, got True."),
        ({"num_things": "$3 / 2"}, "num_things must be a whole number, got 1.5."),
        ({"gain": "ten"}, "gain must be a number, got 'ten'."),
        ({"gain": math.nan}, "gain must be a number, got nan."),
        ({"gain": math.inf}, "gain must be a number, got inf."),
        ({"gain": None}, "gain must be a number, got null."),
        ({"names": "a"}, "names must be a list such as ['a', 'b'], got 'a'."),
        ({"names": 3}, "names must be a list such as ['a', 'b'], got 3."),
        ({"sizes": "[1, 2"}, "sizes must be a list such as [1.0, 2.0], got '[1, 2'."),
        (
            {"size_norm": "pixels"},
            "size_norm must be one of 'feature', 'input', 'fraction', 'none', got 'pixels'.",
        ),
        (
            {"size_norm": "fraktion"},
            "size_norm must be one of 'feature', 'input', 'fraction', 'none', got 'fraktion'; did you mean 'fraction'?",
        ),
        (
            {"slice_axis": "axail"},
            (
                "slice_axis must be one of 'auto', 'axial', 'coronal', 'sagittal' or a whole number, got 'axail'; "
                "did you mean 'axial'?"
            ),
        ),
        (
            {"section": "tset"},
            "section must be one of 'training', 'validation', 'test', got 'tset'; did you mean 'test'?",
        ),
        ({"max_epochs": 0}, "max_epochs must be a whole number of at least 1, got 0."),
        ({"pixdim": None, "learning_rate": None}, "learning_rate must be a positive number, got null."),
        ({"ct_window": [240, -160]}, "ct_window must be two numbers, the lower one first, got [240, -160]."),
    ],
)
def test_values_that_cannot_be_meant(overrides, message):
    assert errors(**overrides) == [message]


def test_windows_and_components():
    window = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 100, "a_max": 100}
    percentiles = {"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 1, "upper": 101}
    trainer = {"_target_": "monai_mmseg.engines.ObjectiveTrainer", "max_epochs": 1.5}
    assert errors(
        intensity={"_target_": "Compose", "transforms": [window, percentiles]}, train={"trainer": trainer}
    ) == [
        "train#trainer#max_epochs must be a whole number of at least 1, got 1.5.",
        "intensity#transforms#0 must have a_min < a_max, got 100 and 100.",
        "intensity#transforms#1 must have lower < upper in 0 .. 100, got 1 and 101.",
    ]


@pytest.mark.parametrize("sources", [["flair", "T2"], "t1gd", []])
def test_sources_must_be_known(sources):
    config = {"modalities": "$['t1', 't1gd', 'flair']", "sources": sources}
    (line,) = value_errors(ConfigParser(config), {"sources": "@modalities"})
    assert line == f"sources must be a list of some of ['t1', 't1gd', 'flair'], got {sources!r}."
    for right in (["flair", "t1"], "@modalities"):
        assert value_errors(ConfigParser({**config, "sources": right}), {}) == []


def test_all_errors_are_listed():
    assert len(errors(resume="off", gain="ten", section="tset")) == 3


def test_text_that_says_true_or_false_is_read():
    parser = ConfigParser({**BASE, "resume": "True ", "frozen": "false", "method": "true", "double": "$[@frozen] * 2"})
    parser.parse()
    assert parser.get_parsed_content("double") == ["false", "false"]
    assert read_booleans(parser, BASE) == ["frozen", "resume"]
    assert [parser.get_parsed_content(name) for name in ("resume", "method")] == [True, "true"]
    assert parser.get_parsed_content("double") == [False, False]


def test_arguments_that_are_switches_are_read_too():
    config = {"act": {"_target_": "Activationsd", "keys": "pred", "softmax": "false"}, "soft": "true"}
    parser = ConfigParser({**config, "other": {"_target_": "Activationsd", "keys": "pred", "sigmoid": "@soft"}})
    assert read_booleans(parser, {}) == ["act#softmax", "soft"]
    assert (parser["act#softmax"], parser["soft"]) == (False, True)


def test_a_run_goes_on_with_what_was_read(tmp_path):
    """The check stands inside of the config that it changes."""
    train = write_bundle(tmp_path / "toy")
    for resume, epochs in (("false", 1), ("true", 2)):
        own = {"resume": resume, "train#trainer#max_epochs": epochs}
        workflow = ConfigWorkflow(str(train), workflow_type="train", logging_file=False, **own)
        workflow.initialize()
        assert workflow.parser["resume"] is (resume == "true")
        workflow.run()
        assert workflow.parser.get_parsed_content("train#trainer").state.epoch == epochs
        assert workflow.parser.get_parsed_content("train#trainer").state.iteration == 3 * epochs


def test_scripts_get_the_same_check(tmp_path):
    train = write_bundle(tmp_path / "toy")
    own = {"learning_rate": -1, "val_interval": 0}
    workflow = ConfigWorkflow(str(train), workflow_type="train", logging_file=False, **own)
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert str(error.value.__cause__) == (
        "Errors in the config:\n  learning_rate must be a positive number, got -1.\n"
        "  val_interval must be a whole number of at least 1, got 0."
    )


@pytest.mark.parametrize("bundle", ALL, ids=lambda bundle: bundle.name)
def test_every_overlay_passes(bundle):
    base = {**bundle.content("evaluate"), **bundle.content("train")}
    for names in [("train", "demo"), ("train", "demo", "evaluate"), *(("train", name) for name in bundle.settings)]:
        parser = bundle.parser(*names)
        parser.parse()
        assert read_booleans(parser, base) == [], names
        assert value_errors(parser, base) == [], names


CHOICES = [  # the library declares them once: with the argument
    (CSA, "size_norm", "pixels"),
    (CSA, "affinity_reduction", "mean"),
    (CSA, "absent_class", "drop"),
    (CSA, "absent", "drop"),
    (CSA, "l2_on", "weights"),
    (CSA, "slice_axis", "axail"),
    (DAFNET, "decoder", "spad"),
    (DAFNET, "candidates", "experts"),
    (DAFNET, "inference", "both"),
    (DAFNET, "intensity_mode", "slices"),
]


@pytest.mark.parametrize(("bundle", "name", "value"), CHOICES, ids=[name for _, name, _ in CHOICES])
def test_choices_of_the_bundles(bundle, name, value):
    parser = bundle.parser("train", **{name: value})
    parser.parse()
    (error,) = value_errors(parser, bundle.content("train"))
    assert error.startswith(f"{name} must be one of '")
    assert f"got {value!r}" in error
