# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_mmseg.data import read_datalist
from monai_mmseg.study import METHODS, StudyError, find_method, read_study
from monai_mmseg.study.definition import is_study, study_of
from monai_mmseg.study.facts import NEEDS, Facts, find_facts, refusal
from tests.study.listed import write_listed

STUDIES = sorted((Path(__file__).parents[2] / "benchmarks" / "studies").glob("*.json"))
DATA = {"datalist": "datalist.json"}

WRONG = [
    ({"methods": ["dafnett"]}, "method 'dafnett' is unknown: did you mean 'dafnet'"),
    ({"methods": ["dafnet+spde"]}, "bundles/dafnet has no overlay 'spde': did you mean 'spade'?"),
    ({"methods": ["copy+spade"]}, "copy is no bundle"),
    ({"methods": []}, "methods must name one at least"),
    ({"methods": ["copy", "copy"]}, "'copy' is there twice"),
    (
        {"methods": [{"name": "a", "method": "dafnet", "overlay": []}]},
        "key 'overlay' is unknown: did you mean 'overlays'",
    ),
    ({"methods": ["copy"], "metods": 1}, "key 'metods' is unknown: did you mean 'methods'?"),
    ({"methods": ["copy"], "budget": "20m", "steps": 3}, "one of 'budget' and 'steps'"),
    ({"methods": ["copy"], "budget": "20x"}, "budget must be a time"),
    (
        {"methods": ["copy"], "steps": 3, "common": {"max_epochs": 2}},
        "common: max_epochs and 'steps' both say how long",
    ),
    (
        {"methods": [{"name": "long", "method": "dafnet", "overrides": {"max_epochs": 2}}], "steps": 3},
        "methods: long: max_epochs and 'steps' both say how long",
    ),
    (
        {"methods": ["dafnet"], "common": {"learning_rat": 0.1}},
        "common: learning_rat: no config of bundles/dafnet has 'learning_rat'; did you mean 'learning_rate'?",
    ),
    (
        {"methods": ["modality_dropout", "dafnet"], "evaluating": {"tested_subsets": [["t1"]]}},
        "evaluating: tested_subsets: no config of bundles/dafnet has 'tested_subsets'; give it to methods that have it",
    ),
    (
        {"methods": [{"name": "a", "method": "csa", "overrides": {"netwrok_def#dropout": 0.1}}]},
        "methods: a: netwrok_def#dropout: no config of bundles/csa has 'netwrok_def'; did you mean 'network_def'?",
    ),
    ({"methods": ["copy"], "common": {"seed": 7}}, "common: seed is given by 'seeds' for each cell: leave it out"),
    ({"methods": ["copy"], "evaluating": {"dataset_dir": "x"}}, "evaluating: dataset_dir is given by 'datalist'"),
    (
        {"methods": [{"name": "other", "method": "dafnet", "overrides": {"fold": 1}}]},
        "methods: other: fold is given by 'folds'",
    ),
    (
        {"methods": [{"name": "c", "method": "copy", "overrides": {"seeed": 1}}]},
        "methods: c: overrides are of bundles; baselines and programs have 'options'",
    ),
    ({"methods": ["copy"], "phantom": {}}, "one of 'datalist' and 'phantom'"),
    (
        {"methods": [{"name": "c", "method": "active_contour", "options": {"alfa": 1}}]},
        "methods: c: options: key 'alfa' is unknown: did you mean 'alpha'?",
    ),
    ({"methods": [{"name": "n", "method": "nnunet", "options": {"config": "2d"}}]}, "key 'config' is unknown"),
    ({"methods": [{"name": "d", "method": "dafnet", "options": {"dims": 3}}]}, "a bundle has 'overrides'"),
    ({"methods": ["copy"], "seeds": [1, 1]}, "seeds must be distinct"),
    ({"methods": ["copy"], "seeds": "0"}, "seeds must be of type list"),
    ({"methods": ["copy"], "folds": True}, "folds must be of type int"),
    ({"methods": ["copy"], "settings": {"a/b": {}}}, "a name must be letters"),
    (
        {"methods": ["copy"], "settings": {"a": {"label": {}}}},
        "settings: a: key 'label' is unknown: did you mean 'labels'",
    ),
    ({"methods": ["copy"], "settings": {"a": {"labels": {"lge": 1.5}}}}, "a share of labels is 1 at most"),
    ({"methods": ["copy"], "settings": {"a": {"labels": {"lge": 1, "all": 1}}}}, "name 'all' alone"),
    ({"methods": ["copy"], "settings": {"a": 0.5}}, "settings: a: must be an object"),
    ({"methods": ["copy"], "settings": {"a": {"labels": 0.5}}}, "settings: a: labels must be of type dict, got 0.5"),
    ({"methods": ["copy"], "settings": {"a": {"labels": {"lge": float("nan")}}}}, "must be a share or a number"),
    ({"methods": [{"method": "copy", "overrides": 3}]}, "methods: overrides must be of type dict, got 3"),
    (
        {"methods": [{"name": "narrow", "method": "dafnet", "overlays": ["spade"]}]},
        "methods: narrow: there is no overlay 'spade' in bundles/dafnet. Did you mean 'settings/spade'?",
    ),
    ({"methods": ["copy"], "overlays": ["demoo"]}, "there is no overlay 'demoo' in bundles/*. Did you mean 'demo'?"),
    (
        {"methods": ["copy", "dafnet", "csa"], "overlays": ["demo", "settings/spade"]},
        "overlays: there is no overlay 'settings/spade' in bundles/csa.",
    ),
    ({"methods": [{"overlays": []}]}, "methods: one has neither 'method' nor 'name': {'overlays': []}"),
    ({"methods": [{"method": "copy", "scores": "subsets.json"}]}, "methods: copy: scores are of bundles"),
    ({"methods": ["copy"], "ours": "copi"}, "ours must be one of the methods ['copy'], got 'copi'"),
    ({"methods": ["copy"], "published": "dafnet_erii"}, "Did you mean 'dafnet_eri'?"),
    ({"methods": ["copy"], "source": "lge", "target": "lge"}, "source and target must be two modalities"),
    ({"methods": [{"name": "@a", "method": "copy"}]}, "methods: '@a' begins with @"),
    ({"methods": ["copy"], "seeds": [-1]}, "seeds must be whole numbers from 0"),
]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "cmr"}, "settings: b: phantom: kind must be that of the study, heart, got 'cmr'"),
        ({"modalities": ["cine", "t2"]}, "modalities must be that of the study, the default, got ['cine', 't2']"),
        ({"motio": 2.0}, "settings: b: phantom: key 'motio' is unknown: did you mean 'motion'?"),
    ],
)
def test_phantoms_of_settings_have_the_modalities_and_classes_of_the_study(changed, message):
    raw = {"phantom": {"subjects": 6}, "methods": ["copy"], "settings": {"a": {}, "b": {"phantom": changed}}}
    with pytest.raises(StudyError) as error:
        study_of(raw)
    assert message in str(error.value)


@pytest.mark.parametrize(("raw", "message"), WRONG)
def test_what_is_wrong_is_said(raw, message):
    with pytest.raises(ValueError) as error:
        study_of({**DATA, **raw})
    assert message in str(error.value)
    assert str(error.value).count("\n") < 3


def test_a_file_is_read_beside_its_datalist_and_the_command_line_wins(tmp_path):
    path = tmp_path / "mine.json"
    variant = {"name": "wide", "method": "dafnet+spade", "overrides": {"features": [8]}}
    path.write_text(json.dumps({"_why": "x", **DATA, "methods": ["copy", variant], "budget": "2m"}), encoding="utf-8")
    assert is_study(path)
    study = read_study(path, {"steps": 7, "seeds": [3, 4]})
    assert (study.name, study.budget, study.steps, study.seeds) == ("mine", None, 7, (3, 4))
    assert study.datalist == tmp_path / "datalist.json"
    wide = study.methods[1]
    assert (wide.name, wide.overlays, wide.overrides) == ("wide", ("settings/spade",), {"features": [8]})


def test_a_study_with_a_typo_is_not_taken_for_a_datalist(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**DATA, "method": ["copy"]}), encoding="utf-8")
    assert is_study(path)
    path.write_text('{"methods": ["copy"], }', encoding="utf-8")
    with pytest.raises(ValueError, match="mine.json"):
        is_study(path)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_of_the_repository_can_be_read(path):
    study = read_study(path)
    assert study.about
    assert study.ours in {one.name for one in study.methods}


def test_needs_are_known_and_say_what_is_missing():
    assert {need for one in METHODS.values() for need in one.needs} <= set(NEEDS)
    bare = Facts(["cine", "lge"], "lge", "cine", {"cine": 4, "lge": 0}, 4, 4, {"cine": 0, "lge": 2})
    reasons = {name: refusal(METHODS[name], bare) for name in ("dafnet", "unet_target", "ummkd", "copy")}
    assert reasons == {
        "dafnet": "",
        "unet_target": "no training image of lge has a label",
        "ummkd": "no training image of lge has a label",
        "copy": "no tested image of cine has a label",
    }
    blind = bare._replace(tested={"cine": 2, "lge": 0}, contoured=2)
    assert refusal(METHODS["copy"], blind) == "no tested image of lge has a label: nothing can be scored"
    assert refusal(METHODS["disentangle_redraw"], blind) == ""
    apart = bare._replace(several=1, labelled={"cine": 4, "lge": 4})
    assert refusal(METHODS["dafnet"], apart) == "hardly any subject has several modalities"
    partly = apart._replace(several=4, partly=True, tested={"cine": 2, "lge": 2}, contoured=2)
    said = "labels show some classes only ('annotated'), and it would learn that the others are not there"
    assert [refusal(METHODS[name], partly) for name in ("csa", "dafnet", "copy")] == ["", said, said]
    alone = bare._replace(several=0)
    assert [refusal(METHODS[name], alone) for name in ("unet_randomised", "unet_labelled", "unet_redrawn")] == [""] * 3
    unseen = alone._replace(tested={"cine": 2, "lge": 0})
    assert refusal(METHODS["unet_redrawn"], unseen) == "no tested image of lge has a label: nothing can be scored"
    missing = METHODS["dafnet"]._replace(package="no_such_package monai-mmseg[register]")
    assert refusal(missing, bare) == "the package no_such_package is missing: pip install monai-mmseg[register]"


def test_patients_of_one_modality_each_are_refused_what_works_on_pairs(tmp_path):
    path = write_listed(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    for section in ("training", "test"):
        for item in content[section]:
            item["subject"] = f"{item['modality']}_{item['subject']}"
    path.write_text(json.dumps(content), encoding="utf-8")
    facts = find_facts(read_datalist(path))
    bare = [METHODS[name]._replace(package="") for name in ("copy", "register", "active_contour")]
    assert {refusal(one, facts) for one in bare} == {"no tested subject has a label of cine and an image of lge"}
    paired = [METHODS[name] for name in ("unet", "modality_dropout", "nnunet_channels")]
    assert {refusal(one, facts) for one in paired} == {"hardly any subject has several modalities"}
    assert [refusal(METHODS[name], facts) for name in ("ummkd", "nnunet", "nnunet_each")] == [""] * 3


def test_a_copied_label_is_not_scored_against_itself(tmp_path):
    path = write_listed(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    for item in content["test"]:
        item["label"] = f"{item['subject']}.nii.gz"
    assert find_facts(read_datalist(path)).answered == 0
    path.write_text(json.dumps(content), encoding="utf-8")
    facts = find_facts(read_datalist(path))
    bare = METHODS["register"]._replace(package="")
    said = "cine and lge of 2 tested subjects have one label file: its copy is the answer"
    assert [refusal(one, facts) for one in (METHODS["copy"], bare, METHODS["unet_target"])] == [said, said, ""]


def test_overlays_of_all_methods_are_there():
    for name, method in METHODS.items():
        assert find_method(name) == method
        bundle = Path(__file__).parents[2] / "bundles" / method.bundle
        for overlay in (*method.overlays, *method.bare):
            assert (bundle / "configs" / f"{overlay}.json").is_file(), (name, overlay)


def test_a_name_of_the_command_line_means_what_the_study_file_means_by_it(tmp_path: Path) -> None:
    methods = [{"name": "individual", "method": "csa_individual"}, {"name": "narrow", "method": "csa+msbn"}, "csa"]
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**DATA, "methods": methods, "ours": "csa"}))
    found = read_study(path, {"methods": ["individual", "narrow", "ummkd"]}).methods
    assert [(one.name, one.bundle) for one in found] == [("individual", "csa"), ("narrow", "csa"), ("ummkd", "ummkd")]
    assert "settings/msbn" in found[1].overlays


@pytest.mark.parametrize(("given", "ours"), [(["copy", "csa"], "csa"), (["copy"], ""), (None, "csa")])
def test_the_method_of_interest_is_that_of_the_file_where_it_is_named(tmp_path: Path, given, ours) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**DATA, "methods": ["csa", "copy"], "ours": "csa"}))
    assert read_study(path, {"methods": given} if given else None).ours == ours


def test_some_settings_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    settings = {"all": {}, "four": {"labels": {"mr": 4}}, "none": {"labels": {"mr": 0.0}}}
    path.write_text(json.dumps({**DATA, "methods": ["csa"], "settings": settings}))
    assert [one.name for one in read_study(path, {"settings": ["none", "all"]}).settings] == ["all", "none"]
    with pytest.raises(ValueError, match="none of the name 'fuor', but all, four, none. Did you mean 'four'"):
        read_study(path, {"settings": ["fuor"]})


def test_what_a_plain_network_segments_does_not_depend_on_which_settings_run_first(tmp_path: Path) -> None:
    """One that takes labels of a modality away makes it the target, also in the settings that leave all."""
    path = tmp_path / "study.json"
    settings = {"all": {}, "four": {"labels": {"mr": 4}}}
    path.write_text(json.dumps({**DATA, "methods": ["unet"], "settings": settings}))
    for first in ("all", "four"):
        study = read_study(path, {"settings": [first]})
        assert study.aims_at(study.methods[0], "mr")
        assert not study.aims_at(study.methods[0], "ct")
