# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Planned bundles: whole, readable by MONAI's tools, and never in the place of one that was trained."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

import monai_mmseg.planning.plan as planning_plan
from monai_mmseg.bundle import check_folders, pack_bundle
from monai_mmseg.bundle.checks import check_overrides
from monai_mmseg.bundle.data_place import data_place
from monai_mmseg.phantom import make_cmr_phantom
from monai_mmseg.planning import PlanError, apply_rules, make_plan
from monai_mmseg.planning.bases import fixed_settings, stage_one_settings
from monai_mmseg.planning.readme import about, readme
from monai_mmseg.planning.write import write_bundle
from tests.planning.facts import context_of, fingerprint_of, paired, unpaired
from tests.study.listed import write_listed

ONE = fingerprint_of({"a": ("ct",), "b": ("ct",)})
PLANS = [
    ("unet", ONE, {}),
    ("unet", ONE, {"volumes": True}),
    ("unet", paired(), {}),
    ("unet", paired(), {"volumes": True}),
    ("ummkd", unpaired(), {}),
    ("ummkd_3d", unpaired(), {}),
    ("csa", unpaired(), {}),
    ("unet_randomised", unpaired(bare=("mr",)), {}),
    ("unet_randomised", unpaired(bare=("mr",)), {"volumes": True}),
    ("dafnet", paired(offset=6.0), {}),
    ("dafnet_pretrained", paired(offset=6.0, bare=("t2",)), {}),
    ("disentangle", paired(), {}),
]


IDS = ["unet", "unet_3d", "unet_stack", "unet_stack_3d"]
IDS += [name + "_3d" * ("volumes" in settings) for name, _, settings in PLANS[4:]]


@pytest.fixture(params=PLANS, ids=IDS)
def planned(request, tmp_path):
    """A bundle written by the rules alone, and its context."""
    method, data, settings = request.param
    context = context_of(data, method, **settings)
    fired = apply_rules(context)
    write_bundle(
        context.base,
        tmp_path,
        {**context.knobs, **fixed_settings(context)},
        name="mine",
        dataset_dir="/some/where",
        about=about(context, "mine"),
        readme=readme(context, fired, "mine", "since"),
    )
    return tmp_path, context


def _config(folder: Path, name: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / f"{name}.json"))
    parser["bundle_root"] = str(folder)
    return parser


def test_bundle_is_whole_and_says_what_it_knows(planned):
    folder, context = planned
    for name in ("LICENSE", "configs/evaluate.json", "configs/logging.conf", "docs/method.md", "models"):
        assert (folder / name).exists()
    assert not [name for name in ("settings", "demo.json") if (folder / "configs" / name).exists()]
    check_overrides([str(folder / "configs" / "train.json"), str(folder / "configs" / "evaluate.json")], {})
    check_overrides([str(folder / "configs" / "inference.json")], {})
    train, text = _config(folder, "train"), (folder / "configs" / "train.json").read_text()
    assert train.get_parsed_content("dataset_dir") == "/some/where"
    assert train.get_parsed_content("modalities") == context.situation.modalities
    assert all(name not in text for name in ("'data/phantom'", "/data/phantom"))
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == context.knobs["spatial_size"]
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == context.fingerprint["labels"]


def test_inference_has_the_network_and_the_values_of_the_training(planned):
    folder, context = planned
    train, inference = _config(folder, "train"), _config(folder, "inference")
    one, two = (parser.get_parsed_content("network_def").state_dict() for parser in (train, inference))
    assert {name: one[name].shape for name in one} == {name: two[name].shape for name in two}
    assert inference.get_parsed_content("dataset_dir") == "/some/where"
    for knob in ("modalities", "labels", "pixdim", "spatial_size", "slice_axis"):
        assert inference.get_parsed_content(knob) == context.knobs[knob] == train.get_parsed_content(knob)
    if "intensity" in context.knobs and context.base != "unet":
        names = [sorted(parser.get_parsed_content("intensity").transforms) for parser in (train, inference)]
        assert names == [sorted(context.situation.modalities)] * 2


def test_first_stage_has_the_same_encoder(tmp_path):
    context = context_of(paired(), "disentangle")
    apply_rules(context)
    write_bundle("disentangle", tmp_path, stage_one_settings(context, 4, 10), name="one", dataset_dir="/some/where")
    second = tmp_path / "second"
    second.mkdir()
    values = {**context.knobs, **fixed_settings(context)}
    write_bundle(context.base, second, values, name="two", dataset_dir="/some/where")
    first = _config(tmp_path, "train").get_parsed_content("network_def").state_dict()
    encoder = _config(second, "train").get_parsed_content("encoder_def").state_dict()
    assert {name: value.shape for name, value in first.items()} == {n: v.shape for n, v in encoder.items()}


def test_commands_of_a_folder_with_a_space_can_be_typed():
    context = context_of(paired(), "disentangle")
    text = readme(context, apply_rules(context), "my plan", "since")
    for command in ("training --config_file 'my plan/configs/train.json'\n", "mmseg predict 'my plan' NEW --out OUT\n"):
        assert command in text
    assert "training --config_file 'my plan/stage_one/configs/train.json'\n" in text
    evaluating = next(line for line in text.splitlines() if "run evaluating" in line)
    assert shlex.split(evaluating)[-1] == "['my plan/configs/train.json','my plan/configs/evaluate.json']"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small phantom."""
    folder = tmp_path_factory.mktemp("cmr")
    counts = {"bssfp": 3, "lge": 3}
    return make_cmr_phantom(folder, subjects=counts, test_subjects={"bssfp": 1, "lge": 1}, folds=2, size=48)


def test_plan_is_measured_written_and_kept(data, tmp_path, monkeypatch, caplog):
    made = make_plan(data, tmp_path / "mine", budget="1m", device="cpu", workers=1)
    assert "--target" not in caplog.text
    assert (made.situation, made.method, made.stages) == ("unpaired", "csa", ["configs/train.json"])
    assert 0 < made.seconds <= 60
    plan = json.loads((tmp_path / "mine" / "plan.json").read_text())
    assert plan["machine"]["seconds"]["step"] > 0
    assert plan["machine"]["seconds"]["memory"] > 1e5
    assert [one["knob"] for one in plan["rules"]] == [one.knob for one in made.fired]
    assert plan["fingerprint"]["name"] == "cmr_phantom"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]
    assert not list((tmp_path / "mine" / "models").iterdir())  # timing leaves nothing
    for name in ("train", "inference"):
        assert Path(_config(tmp_path / "mine", name).get_parsed_content("dataset_dir")) == data.parent.resolve()
        assert str(data.parent) not in (tmp_path / "mine" / "configs" / f"{name}.json").read_text()

    with pytest.raises(FileExistsError, match="--overwrite plans it anew"):
        make_plan(data, tmp_path / "mine", device="cpu")
    (tmp_path / "mine" / "models" / "model.pt").write_bytes(b"weights")
    monkeypatch.setattr(planning_plan, "measure_bundle", lambda *args, **kwargs: plan["machine"]["seconds"])
    asked = {"method": "ummkd", "target": "lge"}
    again = make_plan(data, tmp_path / "mine", **asked, budget="1m", device="cpu", overwrite=True)
    assert again.method == "ummkd"
    assert "--target lge changes nothing: ummkd segments each image by itself" in caplog.text
    assert again.moved is not None
    assert (again.moved / "models" / "model.pt").read_bytes() == b"weights"
    assert not list((tmp_path / "mine" / "models").iterdir())


def test_what_is_refused_leaves_nothing(data, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match=r"holds no plan\.json"):
        make_plan(data, tmp_path / "other", overwrite=True)
    with pytest.raises(PlanError, match="dafnet cannot be trained"):
        make_plan(data, tmp_path / "mine", method="dafnet", device="cpu")
    with pytest.raises(ValueError, match="budget must be"):
        make_plan(data, tmp_path / "mine", budget="soon")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_packed_bundle_finds_the_data_from_its_own_place(planned, tmp_path_factory):
    folder, _ = planned
    data = tmp_path_factory.mktemp("data")
    for name in ("train", "inference"):
        path = folder / "configs" / f"{name}.json"
        path.write_text(path.read_text().replace(json.dumps("/some/where"), json.dumps(data_place(folder, data))))
    out = tmp_path_factory.mktemp("served") / "deeper" / "mine"
    pack_bundle(folder, out, no_model=True)
    assert Path(_config(out, "train").get_parsed_content("dataset_dir")) == data.resolve()


def test_a_bundle_without_its_data_can_be_loaded(planned):
    """As ``monai.bundle.load`` does with weights from elsewhere: data are needed where something is trained."""
    folder, _ = planned
    owner = _config(folder, "train").get_parsed_content("owner")
    check_folders(owner)
    assert owner.settings["datalist"] is None


def test_a_list_without_folds_is_named_before_it_is_measured(tmp_path):
    path = write_listed(tmp_path / "data", folds=1)
    with pytest.raises(
        PlanError, match=r"data/datalist\.json: training items need a 'fold'.*`mmseg data split .*json`"
    ):
        make_plan(path, tmp_path / "plan")
    write_listed(tmp_path / "data" / "test0")
    with pytest.raises(PlanError, match=r"test0/datalist\.json and its like, .* have them: plan one of these"):
        make_plan(path, tmp_path / "plan")


def test_a_fold_0_without_a_label(tmp_path):
    path = write_listed(tmp_path / "data")
    content = json.loads(path.read_text(encoding="utf-8"))
    for item in content["training"]:
        if not item["fold"]:
            del item["label"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PlanError, match="no image of fold 0, which validates, has a label: `mmseg data split"):
        make_plan(path, tmp_path / "plan")


def test_a_class_that_only_fold_0_shows(tmp_path):
    path = write_listed(tmp_path / "data")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["labels"] = {"0": "background", "1": "liver", "2": "spleen"}
    for item in content["training"]:
        if item["fold"] and "label" in item:
            item["annotated"] = ["liver"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PlanError, match=r"no label outside of fold 0, which validates, shows spleen \('annotated'\)"):
        make_plan(path, tmp_path / "plan")
