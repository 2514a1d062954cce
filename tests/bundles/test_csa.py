# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundle of class-specific affinities: every setting builds, in 2D and 3D it trains, scores and segments."""

from __future__ import annotations

from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_mmseg.bundle import pack_bundle
from monai_mmseg.networks.layers import specialize
from monai_mmseg.networks.nets import AnisotropicUNet, DilatedResidualNet
from monai_mmseg.objectives import AffinityTerm, UnpairedSegmentationObjective
from tests.bundles.runs import CSA, Bundle, run, same_place, saved_shapes, shapes

MODALITIES = ("lge", "bssfp")
NAMES: dict[str, tuple[str, ...]] = {"plane": (), "volumes": ("volumes",)}  # overlays of the training

each_lattice = pytest.mark.parametrize("lattice", list(NAMES))


@pytest.fixture
def data(unpaired):
    return unpaired(CSA)


@pytest.fixture
def run_of(trained, data):
    """One run in 2D and one in 3D, long enough to give several classes and affinities that can be seen."""
    more = {"epoch_length": 12, "ce_weighted": True, "keep_slices": "foreground", "size_norm": "none"}
    return lambda lattice: trained(CSA, data, *NAMES[lattice], **more)


def weights_of(run_of, lattice):
    return {"ckpt_dir": str(run_of(lattice)[0] / "models")}


# ---- settings


@pytest.mark.parametrize("setting", CSA.settings)
def test_every_setting_builds_network_and_objective(setting):
    """One batch of all of its modalities gives finite terms, and a gradient to every weight."""
    torch.manual_seed(0)
    config = CSA.parser("train", "demo", setting, small=True)
    objective = config.get_parsed_content("objective_def")
    names, size = config.get_parsed_content("modalities"), config.get_parsed_content("spatial_size")
    rows = 2 * len(names)
    batch = {
        "image": torch.randn(rows, 1, *size),
        "label": torch.randint(len(config["labels"]), (rows, 1, *size)),
        "modality": torch.arange(len(names)).repeat_interleave(2),
        "labelled": torch.ones(rows, dtype=torch.bool),
    }
    terms, outputs = objective(batch, "segmentation")
    weights = objective.weights["segmentation"]
    sum(weights[name] * term for name, term in terms.items()).backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert [n for n, p in objective.network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    # a term of weight 0 is not computed; with one modality there is nothing to compare
    several = len(names) > 1
    assert (terms["affinity"] > 0) == (several and config["csa_weight"] > 0) == ("affinity_0" in outputs)
    assert (terms["knowledge_distillation"] > 0) == (several and config["kd_weight"] > 0)
    assert (weights["affinity"], weights["knowledge_distillation"]) == (config["csa_weight"], config["kd_weight"] / 2)
    if several and config["csa_weight"]:
        assert len(config["layer_pairs"]) == len([name for name in outputs if name.startswith("affinity_")])
        classes = len(config["labels"]) if config["class_specific"] else 1
        assert outputs["affinity_0"].shape[:2] == (2, classes)


# counts from the description of the network: 36,941,072 kernels and 19,168 of each normalisation; affinities add none
COUNTS = {36_941_072 + 19_168: ["joint", "single_lge"], 36_941_072 + 2 * 19_168: ["msbn", "affinity", "ummkd"]}


def test_sizes_of_the_paper():
    for count, settings in COUNTS.items():
        for setting in settings:
            with torch.device("meta"):
                network = CSA.parser("train", setting).get_parsed_content("network_def")
            assert sum(p.numel() for p in network.parameters() if p.requires_grad) == count, setting


def test_objective_of_the_paper():
    """Eq. 5, with lambda 0.5, and no distillation, L2 term or weighting of classes beside it."""
    config = CSA.parser("train", small=True)
    objective = config.get_parsed_content("objective_def")
    assert isinstance(objective, UnpairedSegmentationObjective)
    assert objective.weights["segmentation"] == {
        **{"dice": 1.0, "cross_entropy": 1.0, "affinity": 0.5, "knowledge_distillation": 0.0, "l2": 0.0}
    }
    (affinity,) = (term for term in objective.terms if isinstance(term, AffinityTerm))
    assert affinity.layer_pairs == [("group_4", "group_5"), ("group_5", "group_6")]
    rate = {"batch_size": 8, "learning_rate": 1e-4, "lr_decay": 0.95, "lr_decay_steps": 1000}
    assert {name: config[name] for name in rate} == rate
    other = CSA.parser("train", small=True, csa_weight=10.0).get_parsed_content("objective_def")
    assert other.weights["segmentation"]["affinity"] == 10.0


# ---- a run and what it leaves


@each_lattice
def test_a_run_leaves_weights_and_terms(lattice, run_of):
    out, workflow = run_of(lattice)
    kind = DilatedResidualNet if lattice == "plane" else AnisotropicUNet
    assert type(specialize(workflow.network_def, "lge")) is kind
    assert (workflow.trainer.state.epoch, workflow.trainer.state.iteration) == (1, 12)
    assert 0 <= workflow.evaluator.state.metrics["val_mean_dice"] <= 1
    assert sorted(path.name for path in (out / "models").iterdir()) == [
        "best.pt",
        "model.pt",
        "resume.pt",
        "settings.json",
    ]
    assert saved_shapes(out / "models" / "model.pt") == shapes(workflow.network_def)
    head, line = ((row.split(",")) for row in (out / "eval" / "terms.csv").read_text("utf-8").splitlines())
    assert float(line[head.index("segmentation/affinity")]) > 0
    # each batch is balanced, and validation sees the other fold of both modalities
    dataset, sampler = (workflow.parser.get_parsed_content(f"train#{name}") for name in ("dataset", "sampler"))
    for batch in sampler:
        assert Counter(int(dataset[index]["modality"]) for index in batch) == {0: 2, 1: 2}
    assert tuple(dataset[0]["image"].shape) == (1, *CSA.small("train", *NAMES[lattice])["spatial_size"])
    validated = {item["subject"] for item in workflow.parser.get_parsed_content("validate#dataset#data")}
    assert validated == {"lge01", "bssfp01"}


@each_lattice
def test_evaluation_scores_both_modalities_and_draws_affinities(lattice, run_of, data, tmp_path):
    overlays = NAMES[lattice]
    result = CSA.evaluate(tmp_path, data, *overlays, **weights_of(run_of, lattice), paper_dice=True)
    for subject in ("lge03", "bssfp03"):
        image = nib.load(data / "images" / f"{subject}.nii.gz")
        same_place(nib.load(result / "predictions" / f"{subject}_seg.nii.gz"), image, classes=4)
    rows = (result / "metrics" / "csa.csv").read_text(encoding="utf-8").splitlines()
    assert Counter(row.split(",")[1] for row in rows[1:]) == {"lge": 4, "bssfp": 4}  # classes, and the paper's Dice
    figures = {"affinity_0.png", "affinity_1.png", "class_features.png", "overlay_lge.png", "overlay_bssfp.png"}
    assert figures <= {path.name for path in (result / "figures").iterdir()}
    report = (result / "report.html").read_text(encoding="utf-8")
    for first, second in CSA.parser("train", *overlays)["layer_pairs"]:
        assert f"Cosine similarity between the channels of {first} (rows) and {second} (columns)" in report


@each_lattice
def test_the_modality_of_an_image_counts(lattice, run_of, data, tmp_path):
    """An image of the datalist is of its modality; the same voxels as the other one give another mask."""
    weights = {**weights_of(run_of, lattice), "amp": False}
    listed = CSA.infer(tmp_path / "listed", data, **weights)
    assert list(listed) == ["bssfp03_seg.nii.gz", "lge03_seg.nii.gz"]
    (tmp_path / "data").mkdir()
    image = data / "images" / "bssfp03.nii.gz"
    (tmp_path / "data" / "one.nii.gz").symlink_to(image)
    as_lge, as_bssfp = (
        CSA.infer(tmp_path / name, tmp_path / "data", default_modality=name, **weights)["one_seg.nii.gz"]
        for name in MODALITIES
    )
    same_place(as_bssfp, nib.load(image), classes=4)
    assert len(np.unique(as_bssfp.get_fdata())) > 1
    assert not np.array_equal(as_lge.get_fdata(), as_bssfp.get_fdata())
    np.testing.assert_array_equal(listed["bssfp03_seg.nii.gz"].get_fdata(), as_bssfp.get_fdata())


def test_affinities_reach_the_weights(data, tmp_path):
    """With lambda 0 a run is that of the setting msbn, to the last bit; with lambda 10 it is not."""
    runs = [(["msbn"], {}), ([], {"csa_weight": 0.0}), ([], {"csa_weight": 10.0, "size_norm": "none"})]
    states = []
    for number, (overlays, overrides) in enumerate(runs):
        CSA.train(tmp_path / str(number), data, *overlays, **overrides)
        states.append(torch.load(tmp_path / str(number) / "models" / "model.pt", weights_only=True))
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.slow
@pytest.mark.parametrize("lattice", ["plane", pytest.param("volumes", marks=pytest.mark.overlays)])  # as ummkd_3d
def test_training_goes_on_where_it_was(lattice, data, tmp_path):
    """Two epochs in one go, or one and then the other: the same weights."""
    overlays = NAMES[lattice]
    CSA.train(tmp_path / "whole", data, *overlays, max_epochs=2)
    CSA.train(tmp_path / "parts", data, *overlays, max_epochs=1)
    CSA.train(tmp_path / "parts", data, *overlays, max_epochs=2, resume=True)
    states = [torch.load(tmp_path / part / "models" / "model.pt", weights_only=True) for part in ("whole", "parts")]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


# ---- what is deployed


@each_lattice
def test_a_packed_network_of_one_modality(lattice, run_of, data, tmp_path):
    """The original class, and masks that are those of the network for both."""
    out, workflow = run_of(lattice)
    training = NAMES[lattice]
    packed = pack_bundle(
        CSA.root,
        tmp_path / "packed",
        overlays=["demo", *(f"settings/{name}" for name in training)],
        overrides={**CSA.small("train", *training), "amp": False},
        model=out / "models" / "model.pt",
        modality="bssfp",
    )
    served = Bundle("packed", folder=tmp_path)
    network = served.parser("inference").get_parsed_content("network_def")
    assert type(network) is type(specialize(workflow.network_def, "bssfp"))
    run(served.load(("inference",), tmp_path / "mine", data, ckpt_dir=str(packed / "models")))
    (found,) = (tmp_path / "mine" / "eval").iterdir()
    expected = CSA.infer(tmp_path / "both", data, **weights_of(run_of, lattice), amp=False)[found.name]
    np.testing.assert_array_equal(nib.load(found).get_fdata(), expected.get_fdata())
