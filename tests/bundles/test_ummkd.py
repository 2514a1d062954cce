# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundles for unpaired CT and MR: every setting builds, and they train, score and segment on data as they come."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import monai_mmseg.phantom
from monai_mmseg.bundle import ConfigError, check_overrides, pack_bundle
from monai_mmseg.networks.layers import specialize
from monai_mmseg.objectives import UnpairedSegmentationObjective
from tests.bundles.dafnet_runs import read, turned, write
from tests.bundles.ummkd_runs import (
    ABDOMEN,
    HEART,
    TRAINING,
    Bundle,
    causes,
    make_data,
    run,
    same_place,
    shapes,
    shell,
)
from tests.synthetic_volumes import rotation

BUNDLES = [HEART, ABDOMEN]
each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
EACH_SETTING = [pytest.param(b, s, id=f"{b.name}-{s}") for b in BUNDLES for s in b.settings]
MODALITIES = ("ct", "mr")


pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """CT and MR of each bundle: one patient of each in each of two folds, one for testing."""
    made = {}

    def get(bundle):
        if bundle.name not in made:
            made[bundle.name] = make_data(bundle, tmp_path_factory.mktemp(bundle.phantom) / "data", MODALITIES)
        return made[bundle.name]

    return get


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """One run of each bundle, long enough to give several classes; kept for all tests of this file."""
    runs = {}

    def get(bundle):
        if bundle.name not in runs:
            out = tmp_path_factory.mktemp(bundle.name)
            runs[bundle.name] = out, bundle.train(out, data(bundle), epoch_length=12)
        return runs[bundle.name]

    return get


# ---- settings


@pytest.mark.parametrize(("bundle", "setting"), EACH_SETTING)
def test_every_setting_builds_its_network(bundle, setting):
    """And the objective takes it: one batch of all of its modalities gives finite terms and gradients."""
    check_overrides(bundle.files("train", "demo", setting), {})
    config = bundle.parser("train", "demo", setting, **bundle.small(setting))
    objective = config.get_parsed_content("objective_def")
    names, size = config.get_parsed_content("modalities"), config.get_parsed_content("spatial_size")
    channels = int(config.get("num_slices", 1))
    rows = 2 * len(names)
    batch = {
        "image": torch.randn(rows, channels, *size),
        "label": torch.randint(5, (rows, 1, *size)),
        "modality": torch.arange(len(names)).repeat_interleave(2),
        "labelled": torch.ones(rows, dtype=torch.bool),
    }
    terms, _ = objective(batch, "segmentation")
    weights = objective.weights["segmentation"]
    sum(weights[name] * term for name, term in terms.items()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert [n for n, p in objective.network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    # Eq. 5 has half of alpha; a setting without distillation computes none
    assert weights["knowledge_distillation"] == config["kd_weight"] / 2
    assert (terms["knowledge_distillation"] > 0) == (config["kd_weight"] > 0)


@each_bundle
@pytest.mark.parametrize(
    "setting", ["individual_mr", "joint", "y_shaped", "x_shaped", "layer_norm", "dynunet", "segresnet"]
)
def test_inference_builds_the_network_that_was_trained(bundle, setting):
    check_overrides(bundle.files("inference", "demo_inference", setting), {})
    networks = [
        bundle.parser(*names, setting, **bundle.small(setting)).get_parsed_content("network_def")
        for names in (("train", "demo"), ("inference", "demo_inference"))
    ]
    assert shapes(networks[0]) == shapes(networks[1])
    assert networks[0].default_modality == networks[1].default_modality


# counts of the paper, exact from the original graphs; in 3D those of the network as it was released
COUNTS = {
    "ummkd": {"joint": 39_322_648, "y_shaped": 39_988_136, "x_shaped": 65_956_656, "chilopod": 39_342_840},
    "ummkd_3d": {"joint": 2_201_589, "y_shaped": 2_410_053, "x_shaped": 3_960_042, "chilopod": 2_204_565},
}
SAME = {
    "joint": ["joint_kd", "individual_ct", "individual_mr"],
    "chilopod": ["ours", "instance_norm", "layer_norm", "group_norm", "alpha_0.9"],
}


@each_bundle
def test_sizes_of_the_paper(bundle):
    for setting, count in COUNTS[bundle.name].items():
        for name in (setting, *SAME.get(setting, [])):
            with torch.device("meta"):
                network = bundle.parser("train", name).get_parsed_content("network_def")
            assert sum(p.numel() for p in network.parameters() if p.requires_grad) == count, name
    labels = bundle.parser("train").get_parsed_content("labels")
    formats = json.loads((bundle.configs / "metadata.json").read_text("utf-8"))["network_data_format"]
    assert formats["outputs"]["pred"]["channel_def"] == labels
    assert formats["inputs"]["image"]["spatial_shape"] == bundle.parser("train")["spatial_size"]


@each_bundle
def test_objective_of_the_paper(bundle):
    """Eq. 5; the original 2D code leaves normalisation out of the L2 term, the 3D code does not."""
    config = bundle.parser("train", **bundle.network)
    objective = config.get_parsed_content("objective_def")
    assert isinstance(objective, UnpairedSegmentationObjective)
    assert objective.weights["segmentation"] == {
        **{"dice": 1.0, "cross_entropy": 1.0, "knowledge_distillation": 0.25, "l2": 1e-4}
    }
    distillation, squares = objective.terms
    assert (distillation.loss.temperature, squares.on) == (2.0, "kernels" if bundle is HEART else "all")
    for share in range(1, 10):
        assert bundle.parser("train", f"alpha_0.{share}")["kd_weight"] == share / 10
    rate = {"batch_size": 8 if bundle is HEART else 2, "learning_rate": 1e-4, "lr_decay": 0.95}
    assert {name: config[name] for name in rate} == rate
    assert config["lr_decay_steps"] == (1000 if bundle is HEART else 500)


# ---- a run and what it leaves


@each_bundle
def test_a_run_leaves_weights_and_records(bundle, trained):
    out, workflow = trained(bundle)
    trainer, evaluator = workflow.trainer, workflow.evaluator
    assert (trainer.state.epoch, trainer.state.iteration) == (1, 12)
    assert all(np.isfinite(value) for value in trainer.state.metrics.values())
    assert 0 <= evaluator.state.metrics["val_mean_dice"] <= 1
    assert sorted(path.name for path in (out / "models").iterdir()) == ["best.pt", "model.pt", "resume.pt"]
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes(workflow.network_def)
    matrices = np.load(out / "eval" / "knowledge.npz")
    assert any(matrices[key].shape[-3:] == (2, 5, 5) for key in matrices.files)
    # each batch is balanced, and validation sees the other fold of both modalities
    dataset, sampler = (workflow.parser.get_parsed_content(f"train#{name}") for name in ("dataset", "sampler"))
    for batch in sampler:
        assert Counter(int(dataset[index]["modality"]) for index in batch) == {0: 2, 1: 2}
    validated = {item["subject"] for item in workflow.parser.get_parsed_content("validate#dataset#data")}
    assert validated == {"ct01", "mr01"}


@each_bundle
def test_training_goes_on_where_it_was(bundle, data, tmp_path):
    """Two epochs in one go, or one and then the other: the same weights."""
    bundle.train(tmp_path / "whole", data(bundle), max_epochs=2)
    bundle.train(tmp_path / "parts", data(bundle), max_epochs=1)
    bundle.train(tmp_path / "parts", data(bundle), max_epochs=2, resume=True)
    states = [torch.load(tmp_path / part / "models" / "model.pt", weights_only=True) for part in ("whole", "parts")]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    lines = (tmp_path / "parts" / "eval" / "terms.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]


@each_bundle
def test_evaluation_scores_both_modalities(bundle, trained, data, tmp_path):
    out, _ = trained(bundle)
    names = ("train", "demo", "evaluate")
    check_overrides(bundle.files(*names), {})
    run(bundle.load(names, "train", tmp_path, data(bundle), ckpt_dir=str(out / "models"), amp=False, paper_dice=True))
    result = tmp_path / "eval"
    for subject in ("ct03", "mr03"):
        same_place(
            nib.load(result / "predictions" / f"{subject}_seg.nii.gz"),
            nib.load(data(bundle) / "images" / f"{subject}.nii.gz"),
        )
    rows = (result / "metrics" / f"{bundle.name}.csv").read_text(encoding="utf-8").splitlines()
    assert Counter(row.split(",")[1] for row in rows[1:]) == {"ct": 5, "mr": 5}  # classes, and the paper's Dice
    assert {"overlay_ct.png", "overlay_mr.png"} <= {path.name for path in (result / "figures").iterdir()}
    assert "data:image/" in (result / "report.html").read_text(encoding="utf-8")


# ---- data as they come


@each_bundle
@pytest.mark.parametrize("modality", MODALITIES)
def test_one_modality_alone_trains(bundle, modality, data, tmp_path):
    """As a setting of the paper, and with the network for both, of a site that has the one only."""
    workflow = bundle.train(tmp_path / "individual", data(bundle), f"individual_{modality}")
    assert workflow.network_def.modalities == (modality,)
    assert [p.name for p in sorted((tmp_path / "individual" / "models").iterdir())] == [
        "best.pt", "model.pt", "resume.pt",
    ]  # fmt: skip
    content = read(data(bundle) / "datalist.json")
    content["training"] = [item for item in content["training"] if item["modality"] == modality]
    workflow = bundle.train(tmp_path / "site", write(tmp_path / "data", content, data(bundle)))
    trained = workflow.network_def.state_dict()
    fresh = bundle.parser("train", "demo", **bundle.network).get_parsed_content("network_def").state_dict()
    other = "mr" if modality == "ct" else "ct"
    statistics = [key for key in trained if "running_mean" in key]
    for name, moved in ((modality, True), (other, False)):
        mine = [key for key in statistics if f".{name}." in key]
        assert mine
        assert all((not torch.equal(trained[key], fresh[key])) == moved for key in mine)


@each_bundle
def test_an_item_without_a_label(bundle, data, tmp_path):
    """It takes no part in the loss, and validation leaves it out; a fold without any label is an error."""
    content = read(data(bundle) / "datalist.json")
    for item in content["training"]:
        if item["modality"] == "mr":
            del item["label"]
    folder = write(tmp_path / "data", content, data(bundle))
    workflow = bundle.train(tmp_path / "some", folder)
    assert np.isfinite(list(workflow.trainer.state.metrics.values())).all()
    dataset = workflow.parser.get_parsed_content("train#dataset")
    assert {(int(item["modality"]), bool(item["labelled"])) for item in dataset} == {(0, True), (1, False)}
    assert [item["modality"] for item in workflow.parser.get_parsed_content("validate#dataset#data")] == ["ct"]
    for item in content["training"]:
        item.pop("label", None)
    with pytest.raises((RuntimeError, ValueError)) as error:
        bundle.train(tmp_path / "none", write(tmp_path / "data", content, data(bundle)))
    assert "no item of 'training' is left" in causes(error.value)
    assert "with_label=True" in causes(error.value)


def saved(bundle, trained):
    return {"ckpt_dir": str(trained(bundle)[0] / "models")}


@each_bundle
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(
    ("order", "flips", "angles"),
    [
        ((2, 0, 1), (1,), (5, 8, -6)),
        pytest.param((0, 1, 2), (0, 2), None, marks=pytest.mark.slow),
        pytest.param((1, 2, 0), (0, 1, 2), (-10, 4, 12), marks=pytest.mark.slow),
    ],
)
def test_the_mask_lies_where_the_image_lies(bundle, modality, order, flips, angles, trained, data, tmp_path):
    """A patient stored with other axes, and lying askew in the scanner, gets the same mask in space."""
    folder, name = data(bundle), f"{modality}03"
    weights = saved(bundle, trained)
    plain = bundle.infer(tmp_path / "plain", folder, **weights)[f"{name}_seg.nii.gz"]
    same_place(plain, nib.load(folder / "images" / f"{name}.nii.gz"))
    rigid = None if angles is None else rotation(*angles)
    (tmp_path / "data").mkdir()
    image = turned(nib.load(folder / "images" / f"{name}.nii.gz"), order, flips, rigid)
    nib.save(image, tmp_path / "data" / f"{name}.nii.gz")
    found = bundle.infer(tmp_path / "turned", tmp_path / "data", default_modality=modality, **weights)
    volume = found[f"{name}_seg.nii.gz"]
    same_place(volume, image)
    expected = turned(plain, order, flips, rigid)
    assert len(np.unique(plain.get_fdata())) > 1
    # flips change which way half a voxel is rounded; an untrained network sits on its decision boundary
    assert (volume.get_fdata() == np.asarray(expected.dataobj)).mean() > 0.97


@each_bundle
def test_the_modality_of_an_image_counts(bundle, trained, data, tmp_path):
    """The same voxels as CT and as MR; both differ from the network of the other modality where its norms do."""
    image = data(bundle) / "images" / "mr03.nii.gz"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.nii.gz").symlink_to(image)
    weights = saved(bundle, trained)
    as_ct, as_mr = (
        bundle.infer(tmp_path / name, tmp_path / "data", default_modality=name, **weights)["one_seg.nii.gz"].get_fdata()
        for name in MODALITIES
    )
    assert not np.array_equal(as_ct, as_mr)
    listed = bundle.infer(tmp_path / "listed", data(bundle), **weights)
    assert list(listed) == ["ct03_seg.nii.gz", "mr03_seg.nii.gz"]
    np.testing.assert_array_equal(listed["mr03_seg.nii.gz"].get_fdata(), as_mr)


@each_bundle
@pytest.mark.parametrize("slices", [1, 5])
def test_few_slices(bundle, slices, trained, data, tmp_path):
    """Fewer than a window, or than neighbours of a slice."""
    (tmp_path / "data").mkdir()
    volume = nib.load(data(bundle) / "images" / "ct03.nii.gz")
    axis = 1 if bundle is HEART else 2  # coronal, axial
    cut = [slice(None)] * 3
    cut[axis] = slice(8, 8 + slices)
    nib.save(volume.slicer[tuple(cut)], tmp_path / "data" / "a.nii.gz")
    (found,) = bundle.infer(tmp_path, tmp_path / "data", **saved(bundle, trained)).values()
    same_place(found, nib.load(tmp_path / "data" / "a.nii.gz"))


# ---- what is wrong is said


def break_nothing_there(folder, content):
    (folder / "datalist.json").unlink()
    return "datalist.json is not there"


def break_folds(folder, content):
    for item in content["training"]:
        item.pop("fold")
    write(folder, content)
    return "datalist.json: folds are asked for"


def break_value(folder, content):
    item = content["training"][1]
    volume = nib.load(item["label"])
    nib.save(nib.Nifti1Image(volume.get_fdata() + 5, volume.affine), folder / "values.nii.gz")
    item["label"] = str(folder / "values.nii.gz")
    write(folder, content)
    return "values.nii.gz: label values must be one of the declared"


def break_grid(folder, content):
    item = content["training"][1]
    volume = nib.load(item["label"])
    nib.save(nib.Nifti1Image(volume.get_fdata()[:-1], volume.affine), folder / "shape.nii.gz")
    item["label"] = str(folder / "shape.nii.gz")
    write(folder, content)
    return "shape.nii.gz: the label lies on another grid than its image"


def break_stack(folder, content):
    item = content["training"][1]
    volume = nib.load(item["image"])
    nib.save(nib.Nifti1Image(np.stack([volume.get_fdata()] * 2, -1), volume.affine), folder / "stack.nii.gz")
    item["image"] = str(folder / "stack.nii.gz")
    write(folder, content)
    return "stack.nii.gz: expected one 3D volume, got 2 volumes"


@each_bundle
@pytest.mark.parametrize("spoil", [break_nothing_there, break_folds, break_value, break_grid, break_stack])
def test_bad_data_are_named(bundle, spoil, data, tmp_path):
    content = read(data(bundle) / "datalist.json")
    folder = write(tmp_path / "data", content, data(bundle))
    message = spoil(folder, content)
    with pytest.raises((RuntimeError, ValueError, FileNotFoundError)) as error:
        bundle.train(tmp_path, folder)
    assert message in causes(error.value)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"modalities": ["ct", "MR"]}, "declares, ['ct', 'mr']; got ['MR']"),
        ({"separate": ["group_11"]}, "separate must list stages"),
        ({"spatial_size": [30, 32]}, "must be divisible by 8 along every axis, got (30, 32)"),
        ({"default_modality": "us"}, "default_modality must be one of ['ct', 'mr']"),
    ],
)
def test_bad_settings_are_named(overrides, message, data, tmp_path):
    with pytest.raises((RuntimeError, ValueError)) as error:
        HEART.train(tmp_path, data(HEART), **overrides)
    assert message in causes(error.value)


@each_bundle
@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("trainer#max_epoch", "'train#trainer#max_epochs'"),
        ("train#trainer#max_epoch", "'max_epochs'"),
        ("kd_wieght", "'kd_weight'"),
        ("objective_def#terms#0#temprature", "'temperature'"),  # codespell:ignore
        ("network_def#seperate", "'separate'"),  # codespell:ignore
        ("backbone#feature", "'features'"),
    ],
)
def test_misspelt_names_name_what_is_close(bundle, key, meant, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({key: 1}))
    with pytest.raises(ConfigError, match=f"mine.json: {key}: .*did you mean {meant}"):
        check_overrides([*bundle.files("train", "demo"), str(path)], {})


@each_bundle
@pytest.mark.parametrize(
    ("names", "kind"), [(("inference", "demo_inference"), "infer"), (("train", "demo", "evaluate"), "train")]
)
def test_without_weights_nothing_is_read(bundle, names, kind, tmp_path, monkeypatch):
    workflow = bundle.load(names, kind, tmp_path, tmp_path / "nowhere")
    words = [
        "x/monai/bundle/__main__.py",
        "run",
        "--config_file",
        str(bundle.files(*names)),
        "--dataset_dir",
        "no",
    ]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=r"models/model\.pt are missing"):
        workflow.initialize()


@each_bundle
def test_the_phantom_is_made_when_it_is_needed(bundle, data, tmp_path, monkeypatch):
    made = []

    def make(folder, **arguments):
        made.append((str(folder), arguments))
        Path(folder).symlink_to(data(bundle))
        return Path(folder) / "datalist.json"

    monkeypatch.setattr(monai_mmseg.phantom, f"make_{bundle.phantom}_phantom", make)
    (tmp_path / "data").mkdir()
    paths = {"phantom_dir": str(tmp_path / "data" / "phantom"), "dataset_dir": "@phantom_dir"}
    bundle.train(tmp_path, data(bundle), **paths)
    expected = {key: value for key, value in bundle.parser("train", "demo")["phantom"].items() if key != "kind"}
    assert made == [(paths["phantom_dir"], expected)]  # once, though several parts ask for it


# ---- as users type it


def typed(bundle, out, folder, **more):
    paths = {"ckpt_dir": str(out / "models"), "output_dir": str(out / "eval"), "dataset_dir": str(folder)}
    values = {"bundle_root": str(bundle.root), **bundle.network, **TRAINING, **paths, **more}
    return [word for key, value in values.items() for word in (f"--{key}", str(value))]


@pytest.mark.slow
@each_bundle
def test_two_processes_end_with_one_model(bundle, data, tmp_path):
    """All of them take part in the record of knowledge, which adds up over processes; process 0 writes it."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle"]
    configs = bundle.files("train", "demo", "multi_gpu_train")
    words = ["run", "training", "--config_file", str(configs)]
    code, text = shell(*torchrun, *words, *typed(bundle, tmp_path, data(bundle)), cwd=tmp_path)
    assert code == 0, text
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    network = bundle.parser("train", "demo", **bundle.network).get_parsed_content("network_def")
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes(network)
    matrices = np.load(tmp_path / "eval" / "knowledge.npz")
    assert any(np.isfinite(matrices[key]).all() for key in matrices.files if matrices[key].shape[-3:] == (2, 5, 5))
    assert (tmp_path / "eval" / "terms.csv").read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.slow
def test_a_misspelt_override_stops_the_run(data, tmp_path):
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(HEART.files("train", "demo"))]
    wrong = {"trainer#max_epoch": 3}
    code, text = shell(*words, *typed(HEART, tmp_path, data(HEART), **wrong), cwd=tmp_path)
    assert code != 0
    assert "there is no 'trainer'; did you mean 'train#trainer#max_epochs'" in text
    assert "Epoch" not in text
    assert not (tmp_path / "models").exists()


# ---- what is deployed


@each_bundle
@pytest.mark.parametrize("modality", ["mr", pytest.param("ct", marks=pytest.mark.slow)])
def test_a_packed_network_of_one_modality(bundle, modality, trained, data, tmp_path):
    """The original class, and masks that are those of the network for both; it goes on training too."""
    out, workflow = trained(bundle)
    packed = pack_bundle(
        bundle.root,
        tmp_path / "packed",
        overlays=["demo"],
        overrides={**bundle.network, "amp": False},
        model=out / "models" / "model.pt",
        modality=modality,
    )
    plain = specialize(workflow.network_def, modality)
    state = torch.load(packed / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(dict(state), dict(plain.state_dict()), rtol=0, atol=0)
    served = Bundle("packed", bundle.phantom, {}, tmp_path)
    for name in ("train", "inference"):
        config = served.parser(name)
        assert isinstance(config["network_def"], dict)  # MONAI Label sets arguments in it
        assert type(config.get_parsed_content("network_def")) is type(plain)
    weights = {"ckpt_dir": str(packed / "models")}
    run(served.load(("inference",), "infer", tmp_path / "mine", data(bundle), **weights))
    (found,) = (tmp_path / "mine" / "eval").iterdir()
    assert found.name == f"{modality}03_seg.nii.gz"
    expected = bundle.infer(tmp_path / "both", data(bundle), ckpt_dir=str(out / "models"))[found.name]
    np.testing.assert_array_equal(nib.load(found).get_fdata(), expected.get_fdata())
    settings = {"max_epochs": 1, "epoch_length": 2, "batch_size": 2, "val_interval": 1}
    run(served.load(("train",), "train", tmp_path / "more", data(bundle), **settings))
    run(served.load(("train", "evaluate"), "train", tmp_path / "more", data(bundle), **settings))
    metadata = json.loads((packed / "configs" / "metadata.json").read_text("utf-8"))
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["modality"], image["num_channels"]) == (modality.upper(), 3 if bundle is HEART else 1)
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 5
