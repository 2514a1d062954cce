# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundles for unpaired CT and MR: every setting builds, and they train, score and segment on data as they come."""

from __future__ import annotations

from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_mmseg.bundle import pack_bundle
from monai_mmseg.networks.layers import specialize
from monai_mmseg.objectives import UnpairedSegmentationObjective
from monai_mmseg.report import evaluate_modalities
from tests.bundles.runs import (
    ABDOMEN,
    HEART,
    Bundle,
    causes,
    read,
    run,
    same_place,
    saved_shapes,
    shapes,
    turned,
    write,
)
from tests.synthetic_volumes import rotation

BUNDLES = [HEART, ABDOMEN]
each_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
EACH_SETTING = [pytest.param(b, s, id=f"{b.name}-{s}") for b in BUNDLES for s in b.settings]
MODALITIES = ("ct", "mr")


@pytest.fixture
def run_of(trained, unpaired):
    """One run of each bundle, long enough to give several classes."""
    return lambda bundle: trained(bundle, unpaired(bundle), epoch_length=12)


# ---- settings


@pytest.mark.parametrize(("bundle", "setting"), EACH_SETTING)
def test_every_setting_builds_its_network(bundle, setting):
    """And the objective takes it: one batch of all of its modalities gives finite terms and gradients."""
    config = bundle.parser("train", "demo", setting, small=True)
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
    trained = {n: p.grad for n, p in objective.network.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None or not grad.isfinite().all()] == []
    # Eq. 5 has half of alpha; a setting without distillation computes none
    assert weights["knowledge_distillation"] == config["kd_weight"] / 2
    assert (terms["knowledge_distillation"] > 0) == (config["kd_weight"] > 0)


# counts of the paper, exact from the original graphs; in 3D those of the network as it was released
COUNTS = {
    "ummkd": {"joint": 39_322_648, "y_shaped": 39_988_136, "x_shaped": 65_956_656, "chilopod": 39_342_840},
    "ummkd_3d": {"joint": 2_201_589, "y_shaped": 2_410_053, "x_shaped": 3_960_042, "chilopod": 2_204_565},
}
SAME = {
    "joint": ["joint_kd", "individual_ct", "individual_mr"],
    "chilopod": ["instance_norm", "layer_norm", "group_norm"],
}


@each_bundle
def test_sizes_of_the_paper(bundle):
    for setting, count in COUNTS[bundle.name].items():
        for name in (setting, *SAME.get(setting, [])):
            with torch.device("meta"):
                network = bundle.parser("train", name).get_parsed_content("network_def")
            assert sum(p.numel() for p in network.parameters() if p.requires_grad) == count, name


@each_bundle
def test_objective_of_the_paper(bundle):
    """Eq. 5; the original 2D code leaves normalisation out of the L2 term, the 3D code does not."""
    config = bundle.parser("train", small=True)
    objective = config.get_parsed_content("objective_def")
    assert isinstance(objective, UnpairedSegmentationObjective)
    assert objective.weights["segmentation"] == {
        **{"dice": 1.0, "cross_entropy": 1.0, "knowledge_distillation": 0.25, "l2": 1e-4}
    }
    distillation, squares = objective.terms
    assert (distillation.loss.temperature, squares.on) == (2.0, "kernels" if bundle is HEART else "all")
    other = bundle.parser("train", small=True, kd_weight=0.3, temperature=4).get_parsed_content("objective_def")
    assert other.weights["segmentation"]["knowledge_distillation"] == 0.15
    assert other.terms[0].loss.temperature == 4
    rate = {"batch_size": 8 if bundle is HEART else 2, "learning_rate": 1e-4, "lr_decay": 0.95}
    assert {name: config[name] for name in rate} == rate
    assert config["lr_decay_steps"] == (1000 if bundle is HEART else 500)


# ---- a run and what it leaves


@each_bundle
def test_a_run_leaves_weights_and_records(bundle, run_of):
    out, workflow = run_of(bundle)
    trainer, evaluator = workflow.trainer, workflow.evaluator
    assert (trainer.state.epoch, trainer.state.iteration) == (1, 12)
    assert all(np.isfinite(value) for value in trainer.state.metrics.values())
    assert 0 <= evaluator.state.metrics["val_mean_dice"] <= 1
    assert sorted(path.name for path in (out / "models").iterdir()) == [
        "best.pt",
        "model.pt",
        "resume.pt",
        "settings.json",
    ]
    assert saved_shapes(out / "models" / "model.pt") == shapes(workflow.network_def)
    matrices = np.load(out / "eval" / "knowledge.npz")
    assert any(matrices[key].shape[-3:] == (2, 5, 5) for key in matrices.files)
    # each batch is balanced, and validation sees the other fold of both modalities
    dataset, sampler = (workflow.parser.get_parsed_content(f"train#{name}") for name in ("dataset", "sampler"))
    for batch in sampler:
        assert Counter(int(dataset[index]["modality"]) for index in batch) == {0: 2, 1: 2}
    validated = {item["subject"] for item in workflow.parser.get_parsed_content("validate#dataset#data")}
    assert validated == {"ct01", "mr01"}


@each_bundle
def test_training_goes_on_where_it_was(bundle, unpaired, tmp_path):
    """Two epochs in one go, or one and then the other: the same weights."""
    bundle.train(tmp_path / "whole", unpaired(bundle), max_epochs=2)
    bundle.train(tmp_path / "parts", unpaired(bundle), max_epochs=1)
    bundle.train(tmp_path / "parts", unpaired(bundle), max_epochs=2, resume=True)
    states = [torch.load(tmp_path / part / "models" / "model.pt", weights_only=True) for part in ("whole", "parts")]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    lines = (tmp_path / "parts" / "eval" / "terms.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]


@each_bundle
def test_evaluation_scores_both_modalities(bundle, run_of, unpaired, tmp_path):
    result = bundle.evaluate(tmp_path, unpaired(bundle), ckpt_dir=str(run_of(bundle)[0] / "models"), paper_dice=True)
    for subject in ("ct03", "mr03"):
        same_place(
            nib.load(result / "predictions" / f"{subject}_seg.nii.gz"),
            nib.load(unpaired(bundle) / "images" / f"{subject}.nii.gz"),
        )
    rows = (result / "metrics" / f"{bundle.name}.csv").read_text(encoding="utf-8").splitlines()
    assert Counter(row.split(",")[1] for row in rows[1:]) == {"ct": 5, "mr": 5}  # classes, and the paper's Dice
    assert {"overlay_ct.png", "overlay_mr.png"} <= {path.name for path in (result / "figures").iterdir()}
    assert "data:image/" in (result / "report.html").read_text(encoding="utf-8")
    content = read(unpaired(bundle) / "datalist.json")
    content["test"] = [item for item in content["test"] if item["modality"] == "ct" or item.pop("label")]
    less = write(tmp_path / "less", content, unpaired(bundle)) / "datalist.json"
    scores = evaluate_modalities(less, result / "predictions", modalities=MODALITIES, method="m")
    assert list(scores.cases("modality")) == ["ct"]  # there is nothing to score MR with


def test_payer_takes_over_what_localises(unpaired, tmp_path):
    """It stays as the first training left it, and masks lie on the image's own grid."""
    data, weights = unpaired(ABDOMEN), tmp_path / "first.pt"
    first = ABDOMEN.parser("train", "demo", "payer_localise", small=True).get_parsed_content("network_def").state_dict()
    torch.save(first, weights)
    network = ABDOMEN.train(tmp_path, data, "payer", epoch_length=1, localiser=str(weights)).network_def
    for key, value in first.items():
        name = key.replace("shared.network.", "shared.network.localiser.")
        torch.testing.assert_close(network.state_dict()[name], value)
    found = ABDOMEN.infer(tmp_path, data)["mr03_seg.nii.gz"]
    same_place(found, nib.load(data / "images" / "mr03.nii.gz"))


# ---- data as they come


@each_bundle
@pytest.mark.parametrize("modality", MODALITIES)
def test_one_modality_alone_trains(bundle, modality, unpaired, tmp_path):
    """As a setting of the paper, and with the network for both, of a site that has the one only."""
    workflow = bundle.train(tmp_path / "individual", unpaired(bundle), f"individual_{modality}")
    assert workflow.network_def.modalities == (modality,)
    assert [p.name for p in sorted((tmp_path / "individual" / "models").iterdir())] == [
        "best.pt", "model.pt", "resume.pt", "settings.json",
    ]  # fmt: skip
    content = read(unpaired(bundle) / "datalist.json")
    content["training"] = [item for item in content["training"] if item["modality"] == modality]
    workflow = bundle.train(tmp_path / "site", write(tmp_path / "data", content, unpaired(bundle)))
    trained = workflow.network_def.state_dict()
    fresh = bundle.parser("train", "demo", small=True).get_parsed_content("network_def").state_dict()
    other = "mr" if modality == "ct" else "ct"
    statistics = [key for key in trained if "running_mean" in key]
    for name, moved in ((modality, True), (other, False)):
        mine = [key for key in statistics if f".{name}." in key]
        assert mine
        assert all((not torch.equal(trained[key], fresh[key])) == moved for key in mine)


@each_bundle
def test_an_item_without_a_label(bundle, unpaired, tmp_path):
    """Training and validation leave it out, for it teaches nothing; a modality or a fold without any is an error."""
    content = read(unpaired(bundle) / "datalist.json")
    mine = [item for item in content["training"] if item["modality"] == "mr"]
    for item in mine:
        item["fold"] = 1
    del mine[0]["label"]
    workflow = bundle.train(tmp_path / "some", write(tmp_path / "some_data", content, unpaired(bundle)))
    assert np.isfinite(list(workflow.trainer.state.metrics.values())).all()
    dataset = workflow.parser.get_parsed_content("train#dataset")
    assert {(int(item["modality"]), bool(item["labelled"])) for item in dataset} == {(0, True), (1, True)}
    assert [item["modality"] for item in workflow.parser.get_parsed_content("validate#dataset#data")] == ["ct"]
    del mine[1]["label"]
    with pytest.raises(RuntimeError) as error:
        bundle.train(tmp_path / "none_of_mr", write(tmp_path / "less", content, unpaired(bundle)))
    assert "no training image of mr has a label, and this method learns each class" in causes(error.value)
    # everything shared: nothing is of MR alone, and CT teaches it all
    workflow = bundle.train(tmp_path / "shared", tmp_path / "less", "joint", "randomised")
    assert {int(item["modality"]) for item in workflow.parser.get_parsed_content("train#dataset")} == {0}


def test_random_contrasts_come_behind_the_augmentation():
    config = HEART.parser("train", "demo", "small_unet", "randomised")
    steps = config.get_parsed_content("train#dataset#slice_transform").flatten().transforms
    assert [type(steps[place]).__name__ for place in (0, -1)] == ["RandAffined", "RandAppearanced"]


def test_a_class_that_no_training_label_shows(unpaired, tmp_path):
    """Nothing would say where it is not: before an image is read."""
    bundle = BUNDLES[0]
    content = read(unpaired(bundle) / "datalist.json")
    shown = [name for value, name in content["labels"].items() if value != "0"]
    for item in content["training"]:
        if item["fold"]:
            item["annotated"] = shown[:-1]
    with pytest.raises(RuntimeError) as error:
        bundle.train(tmp_path / "run", write(tmp_path / "data", content, unpaired(bundle)))
    assert f"no label that is trained on shows {shown[-1]} ('annotated'; fold 0 is held out)" in causes(error.value)


def saved(bundle, run_of):
    return {"ckpt_dir": str(run_of(bundle)[0] / "models")}


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
def test_the_mask_lies_where_the_image_lies(bundle, modality, order, flips, angles, run_of, unpaired, tmp_path):
    """A patient stored with other axes, and lying askew in the scanner, gets the same mask in space."""
    folder, name = unpaired(bundle), f"{modality}03"
    weights = saved(bundle, run_of)
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
def test_the_modality_of_an_image_counts(bundle, run_of, unpaired, tmp_path):
    """The same voxels as CT and as MR; both differ from the network of the other modality where its norms do."""
    image = unpaired(bundle) / "images" / "mr03.nii.gz"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.nii.gz").symlink_to(image)
    weights = saved(bundle, run_of)
    as_ct, as_mr = (
        bundle.infer(tmp_path / name, tmp_path / "data", default_modality=name, **weights)["one_seg.nii.gz"].get_fdata()
        for name in MODALITIES
    )
    assert not np.array_equal(as_ct, as_mr)
    listed = bundle.infer(tmp_path / "listed", unpaired(bundle), **weights)
    assert list(listed) == ["ct03_seg.nii.gz", "mr03_seg.nii.gz"]
    np.testing.assert_array_equal(listed["mr03_seg.nii.gz"].get_fdata(), as_mr)


@each_bundle
@pytest.mark.parametrize("slices", [1, 5])
def test_few_slices(bundle, slices, run_of, unpaired, tmp_path):
    """Fewer than a window, or than neighbours of a slice."""
    (tmp_path / "data").mkdir()
    volume = nib.load(unpaired(bundle) / "images" / "ct03.nii.gz")
    axis = 1 if bundle is HEART else 2  # coronal, axial
    cut = [slice(None)] * 3
    cut[axis] = slice(8, 8 + slices)
    nib.save(volume.slicer[tuple(cut)], tmp_path / "data" / "a.nii.gz")
    (found,) = bundle.infer(tmp_path, tmp_path / "data", **saved(bundle, run_of)).values()
    same_place(found, nib.load(tmp_path / "data" / "a.nii.gz"))


# ---- what is deployed


@each_bundle
@pytest.mark.parametrize("modality", ["mr", pytest.param("ct", marks=pytest.mark.slow)])
def test_a_packed_network_of_one_modality(bundle, modality, run_of, unpaired, tmp_path):
    """The original class, and masks that are those of the network for both; it goes on training too."""
    out, workflow = run_of(bundle)
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
    served = Bundle("packed", folder=tmp_path)
    for name in ("train", "inference"):
        config = served.parser(name)
        assert isinstance(config["network_def"], dict)  # MONAI Label sets arguments in it
        assert type(config.get_parsed_content("network_def")) is type(plain)
    weights = {"ckpt_dir": str(packed / "models")}
    run(served.load(("inference",), tmp_path / "mine", unpaired(bundle), **weights))
    (found,) = (tmp_path / "mine" / "eval").iterdir()
    assert found.name == f"{modality}03_seg.nii.gz"
    expected = bundle.infer(tmp_path / "both", unpaired(bundle), ckpt_dir=str(out / "models"))[found.name]
    np.testing.assert_array_equal(nib.load(found).get_fdata(), expected.get_fdata())
    run(served.load(("train",), tmp_path / "more", unpaired(bundle)))
    run(served.load(("train", "evaluate"), tmp_path / "more", unpaired(bundle)))
    formats = served.content("metadata")["network_data_format"]
    image = formats["inputs"]["image"]
    assert (image["modality"], image["num_channels"]) == (modality.upper(), 3 if bundle is HEART else 1)
    assert formats["outputs"]["pred"]["num_channels"] == 5
