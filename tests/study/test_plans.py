# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.study import METHODS, StudyError, find_method
from monai_mmseg.study import plans as module
from monai_mmseg.study.definition import study_of
from monai_mmseg.study.facts import find_facts
from tests.study.listed import listed, write_listed


@pytest.fixture
def plans(tmp_path, monkeypatch):
    """Of a study with these keys; a plan is a copy of the bundle, and takes 4 mm and 64 pixels unless it is given."""
    made: list = []

    def make_plan(path, place, *, method, budget, target, grid, workers):
        made.append((method, budget, target, grid))
        base = {"disentangle": "disentangle_tumour", "unet_randomised": "ummkd"}.get(method, method)
        shutil.copytree(bundles_folder() / base / "configs", place / "configs", ignore=lambda *_: ["settings"])
        if method == "disentangle":
            shutil.copytree(bundles_folder() / "disentangle" / "configs", place / "stage_one" / "configs")
        mm, size = grid or (4.0, [64, 64])
        rules = [{"knob": "pixdim", "value": [mm, mm]}, {"knob": "spatial_size", "value": size}]
        content = {"method": {"name": method, "bundle": base}, "rules": rules}
        (place / "plan.json").write_text(json.dumps(content), encoding="utf-8")
        return type("Plan", (), {"folder": place})

    monkeypatch.setattr(module, "make_plan", make_plan)
    monkeypatch.setattr(
        module, "settings_of_time", lambda seconds, *_, **__: ({"max_epochs": seconds, "epoch_length": 1}, {})
    )
    data = listed(tmp_path / "data")

    def build(**keys):
        study = study_of({"datalist": "x", "methods": ["copy"], **keys})
        return module.Plans(study, tmp_path / "out", data, find_facts(data)), made

    return build


def test_bundles_are_planned_once_on_one_grid(plans):
    found, made = plans(budget="10m")
    (first,) = found.trainings(METHODS["dafnet"])
    (second,) = found.trainings(find_method("unet_source"))
    found.trainings(METHODS["csa"])
    assert made == [("dafnet", "600s", "lge", None), ("csa", "600s", None, (4.0, [64, 64]))]
    assert (first.overlays, second.overlays) == ((), ("settings/unet_source",))
    assert (second.bundle / "configs" / "settings" / "unet_source.json").is_file()
    assert (first.overrides["target"], first.overrides["max_epochs"], first.overrides["patience"]) == ("lge", 600, 600)


@pytest.mark.parametrize(
    ("asked", "target"),
    [({}, None), ({"target": "lge"}, "lge"), ({"settings": {"half": {"labels": {"lge": 0.5}}}}, "lge")],
)
def test_a_plain_network_segments_the_target_that_was_named(plans, asked, target):
    found, made = plans(steps=20, **asked)
    (training,) = found.trainings(METHODS["unet"])
    assert made == [("unet", "2h", target, None)]
    assert training.overrides.get("target") == target


def test_what_is_asked_for_wins_over_what_follows_from_the_time(plans):
    found, _ = plans(budget="10m")
    asked = METHODS["csa"]._replace(name="asked", overrides={"lr_decay": 0.9, "val_interval": 7})
    (plain,), (own,) = found.trainings(METHODS["csa"]), found.trainings(asked)
    assert (own.overrides["lr_decay"], own.overrides["val_interval"]) == (0.9, 7)
    assert plain.overrides["lr_decay"] > 0.99
    assert own.overrides["max_epochs"] == plain.overrides["max_epochs"]


def test_a_plan_is_found_from_any_folder(plans, tmp_path, monkeypatch):
    found, _ = plans(steps=20)
    monkeypatch.chdir(tmp_path)
    relative = module.Plans(found.study, Path("study"), found.listed, found.facts)
    assert relative.trainings(METHODS["csa"])[0].bundle == tmp_path / "study" / "plans" / "csa"


def test_trainings_of_a_method_share_its_time(plans):
    found, _ = plans(budget="10m", common={"batch_size": 3})
    ours = found.trainings(METHODS["csa_individual"])
    assert [(one.name, one.overrides["modalities"]) for one in ours] == [("cine", ["cine"]), ("lge", ["lge"])]
    assert [(one.overrides["max_epochs"], one.overrides["batch_size"]) for one in ours] == [(300, 3)] * 2
    first, second = found.trainings(METHODS["disentangle"])
    assert (first.bundle, first.stage) == (second.bundle / "stage_one", METHODS["disentangle"].stages[0])
    assert (first.overrides["max_epochs"], second.overrides["max_epochs"]) == (300, 300)


def test_a_variant_named_like_a_part_of_another_method_is_timed_by_itself(plans):
    found, _ = plans(budget="10m")
    part = found.trainings(METHODS["csa_individual"])[0]
    whole = found.trainings(METHODS["csa"]._replace(name="csa_individual_cine", overrides={"max_epochs": 7}))[0]
    assert (part.overrides["max_epochs"], whole.overrides["max_epochs"]) == (300, 7)
    kept = [json.loads(one.read_text(encoding="utf-8")) for one in (found.folder / module.TIMED).rglob("*.json")]
    assert len(kept) == 3


def test_borrowed_labels_are_timed_and_used_whatever_the_plan_says_of_the_target(plans, tmp_path, monkeypatch):
    found, _ = plans(budget="10m")
    given = []
    monkeypatch.setattr(
        module,
        "settings_of_time",
        lambda *_, overrides, **__: given.append(overrides) or ({"max_epochs": 1, "epoch_length": 1}, {}),
    )
    for name in ("unet_registered_masks", "dafnet_registered_masks"):
        (training,) = found.trainings(METHODS[name], tmp_path / "register")
        assert training.overrides["target_fraction"] == 1.0  # plans of bare targets have 0
        assert training.overrides["validation_target"] == "@target"
    assert [one["dataset_dir"] for one in given] == [str(tmp_path / "register")] * 2


def test_a_plan_without_a_label_of_the_target_reads_those_of_later_settings(plans):
    """A setting without any may be run first: its cells have an overlay that says so."""
    found, _ = plans(steps=20)
    config = found.trainings(METHODS["dafnet"])[0].bundle / "configs" / "train.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    bare = {"target_fraction": 0.0, "validation_target": "cine", "validation_modalities": ["cine"]}
    config.write_text(json.dumps({**content, **bare}), encoding="utf-8")
    found.trainings(METHODS["dafnet"])
    assert json.loads(config.read_text(encoding="utf-8")) == content


def test_a_network_of_all_modalities_is_planned_for_the_labels_that_it_borrows(plans, tmp_path):
    """Without these labels no plan could be made."""
    found, _ = plans(budget="10m")
    write_listed(tmp_path / "register")
    (borrowed,) = found.trainings(METHODS["csa_registered_masks"], tmp_path / "register")
    (own,) = found.trainings(METHODS["csa"])
    assert [one.bundle.name for one in (borrowed, own)] == ["csa_register", "csa"]


def test_what_no_plan_sets_up_is_refused_and_says_what_to_do(plans):
    found, made = plans(steps=20)
    with pytest.raises(module.PlanError, match="cannot set bundles/disentangle_pet up .* 'overlays'"):
        found.trainings(METHODS["pet_zero"])
    found.trainings(METHODS["standard_zero"])
    assert [one[0] for one in made] == ["disentangle"]


def test_a_method_of_stages_and_modalities_has_the_whole_time(plans):
    found, _ = plans(budget="10m")
    assert [one.overrides["max_epochs"] for one in found.trainings(METHODS["payer"])] == [180, 210, 210]


def test_a_plan_that_was_cut_off_gets_its_overlays(plans):
    found, _ = plans(steps=20)
    (one,) = found.trainings(METHODS["csa"])
    shutil.rmtree(one.bundle / "configs" / "settings")
    (again,) = found.trainings(find_method("csa+msbn"))
    assert (again.bundle / "configs" / "settings" / "msbn.json").is_file()


def test_a_stage_of_the_same_bundle_has_its_grid(plans):
    found, _ = plans(overlays=["demo"], steps=20)
    trainings = found.trainings(METHODS["payer"]._replace(overrides={"pixdim": [5.0, 5.0, 5.0]}))
    assert [one.overlays[1] for one in trainings] == ["settings/payer_localise", *["settings/payer"] * 2]
    assert {one.bundle for one in trainings} == {bundles_folder() / "ummkd_3d"}
    assert [one.overrides["pixdim"] for one in trainings] == [[5.0, 5.0, 5.0]] * 3


def test_without_a_plan_names_are_those_of_the_data(plans):
    found, made = plans(overlays=["demo"], steps=20)
    (one,) = found.trainings(find_method("ummkd+joint"))
    assert (one.bundle, one.overlays, made) == (bundles_folder() / "ummkd", ("demo", "settings/joint"), [])
    assert one.overrides["modalities"] == ["cine", "lge"]
    assert one.overrides["labels"] == {"0": "background", "1": "LV"}
    assert (one.overrides["max_epochs"], one.overrides["epoch_length"]) == (4, 5)
    assert "modalities" not in found.trainings(METHODS["dafnet"])[0].overrides  # the bundle's own are those


def test_stages_of_a_network_of_the_plan_have_other_names(plans):
    found, _ = plans(steps=20)
    (one,) = found.trainings(METHODS["y_shaped"])
    assert (one.overlays, one.overrides["separate"], one.overrides["kd_weight"]) == ((), "encoder", 0.0)


def test_a_plan_takes_the_place_of_a_method_s_own_overlays_alone(plans):
    study = {
        "steps": 20,
        "methods": [{"name": "ours", "method": "y_shaped+running_means", "overrides": {"kd_weight": 0.25}}],
    }
    found, _ = plans(**study)
    (one,) = found.trainings(found.study.methods[0])
    assert (one.overlays, one.overrides["kd_weight"]) == (("settings/running_means",), 0.25)
    assert one.overrides["separate"] == "encoder"


def test_the_control_of_random_contrasts_has_their_plan(plans):
    found, made = plans(steps=20)
    (ours,), (control,) = (found.trainings(METHODS[name]) for name in ("unet_randomised", "unet_labelled"))
    assert (ours.bundle, [one[0] for one in made]) == (control.bundle, ["unet_randomised"])
    assert (control.overlays, control.overrides["appearance"]) == ((), [])


def test_redrawn_images_are_labelled_whatever_the_plan_says_of_the_target(plans, tmp_path, monkeypatch):
    found, _ = plans(budget="10m")
    bare = module.Plans(
        found.study, tmp_path / "bare", found.listed, found.facts._replace(labelled={"cine": 4, "lge": 0})
    )
    given = []
    monkeypatch.setattr(
        module,
        "settings_of_time",
        lambda *_, overrides, **__: given.append(overrides) or ({"max_epochs": 1, "epoch_length": 1}, {}),
    )
    paired = bare.trainings(METHODS["translation"])[1].overrides
    assert (paired["target"], paired["target_fraction"], paired["validation_target"]) == ("lge", 1.0, "@target")
    drawing, apart = bare.trainings(METHODS["unet_redrawn"])
    assert (apart.overrides["modalities"], apart.overrides["appearance"]) == (["lge"], [])
    assert (drawing.overrides["modalities"], drawing.overrides["target"]) == (["cine", "lge"], "lge")
    # nothing is redrawn yet when steps are timed: the source's own images are
    assert (given[1]["target"], given[3]["modalities"]) == ("cine", ["cine"])
    found.trainings(METHODS["unet_redrawn"])
    assert given[-1]["modalities"] == ["lge"]


def test_a_stage_of_slices_has_the_first_two_sizes_of_volumes(plans):
    found, _ = plans(steps=20)
    config = found.trainings(METHODS["unet_redrawn"])[1].bundle / "configs" / "train.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    content |= {"spatial_size": [40, 48, 32], "pixdim": [4.0, 4.5, 5.0]}
    config.write_text(json.dumps(content), encoding="utf-8")
    drawing, _ = found.trainings(METHODS["unet_redrawn"])
    assert (drawing.overrides["spatial_size"], drawing.overrides["pixdim"]) == ([40, 48], [4.0, 4.5])


def test_an_overlay_that_the_planned_bundle_lacks_is_refused(plans):
    found, _ = plans(steps=20)
    with pytest.raises(module.PlanError, match="overlay settings/nothing of bundles/csa does not fit what was planned"):
        found.trainings(METHODS["csa"]._replace(name="nothing", overlays=("settings/nothing",)))


@pytest.mark.parametrize(
    ("keys", "overrides", "message"),
    [
        ({"common": {"learning_rate": -1}}, {}, "learning_rate must be a positive number, got -1."),
        ({"evaluating": {"sampled#drawz": 4}}, {}, "sampled#drawz: "),
        ({}, {"network_def#dropuot": 0.1}, "has no argument 'dropuot'; did you mean 'dropout'?"),
    ],
)
def test_what_a_training_or_its_evaluation_cannot_mean_is_found_before_a_step_is_timed(plans, keys, overrides, message):
    found, _ = plans(overlays=["demo"], steps=20, **keys)
    with pytest.raises(StudyError) as error:
        found.trainings(METHODS["dafnet"]._replace(overrides=overrides))
    assert message in str(error.value)
    assert not list(found.folder.rglob("*.json"))
    found, _ = plans(overlays=["demo"], steps=20, common={"learning_rate": 0.1}, evaluating={"section": "test"})
    assert found.trainings(METHODS["dafnet"])[0].overrides["learning_rate"] == 0.1
