# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The disentangling bundle: every setting builds, and it trains, scores and redraws sequences, whichever are there."""

from __future__ import annotations

import json
import re
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from monai_mmseg.bundle import pack_bundle
from monai_mmseg.transforms import NormalizeForeground
from tests.bundles.runs import BRAIN, Bundle, read, run, saved_shapes, shapes, turned, write
from tests.synthetic_volumes import rotation

MODALITIES = ["t1", "t1gd", "t2", "flair"]
FILES = ["last.pt", "model.pt", "resume.pt", "settings.json"]


@pytest.fixture
def run_of(trained, brain):
    return trained(BRAIN, brain, epoch_length=3)


# ---- settings


def batch_of(names, size, channels):
    present = torch.ones(4, len(names), dtype=torch.bool)
    present[1, 0] = False
    image = torch.randn(4, len(names), channels, *size)
    image[~present] = torch.nan
    return {"image": image.flatten(1, 2), "present": present, "subject_index": torch.arange(4)}


@pytest.mark.parametrize("setting", BRAIN.settings)
def test_every_setting_builds_its_network(setting):
    """And its objective takes a batch in which a sequence is absent: finite terms, gradients everywhere."""
    config = BRAIN.parser("train", "demo", setting, small=True)
    objective = config.get_parsed_content("objective_def")
    names = config.get_parsed_content("modalities")
    batch = batch_of(names, config["spatial_size"], int(config["num_slices"]))
    outputs = {}
    for phase in objective.phases:
        terms, outputs = objective(batch, phase, outputs)
        assert all(torch.isfinite(term) for term in terms.values())
        objective.total(terms, phase).backward()
    missing = [n for n, p in objective.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert missing == []
    assert set(config.get_parsed_content("optimizers")) == set(objective.phases)


def network_of(*names, **overrides):
    with torch.device("meta"):
        return BRAIN.parser(*names, **overrides).get_parsed_content("network_def")


def test_sizes_of_the_paper():
    """Those of the original's modules, which have 8 idle parameters and 6 routing numbers a layer; a table has 12."""
    for slices, count in ((3, 12_075_481), (7, 12_083_421)):
        assert sum(p.numel() for p in network_of("train", num_slices=slices).parameters()) == count - 8 + 15 * 6
    released = network_of("train", "original")
    assert (released.in_channels, released.background, released.fifth) == (7, -10, True)


def test_the_four_variants_of_the_paper():
    weights = {
        name: BRAIN.parser("train", *overlays, small=True).get_parsed_content("objective_def")
        for name, overlays in {**{n: (n,) for n in ("conv_na", "conv_adv", "conv_sim")}, "condconv_sim": ()}.items()
    }
    base = {"self_reconstruction": 1, "cross_reconstruction": 2, "latent": 0.1, "kl": 0}
    similar, none = {"subject_margin": 10, "modality_margin": 2}, {"subject_margin": 0, "modality_margin": 0}
    expected = {"conv_na": none, "conv_adv": none, "conv_sim": similar, "condconv_sim": similar}
    for name, objective in weights.items():
        found = dict(objective.weights["generator"])
        adversarial = found.pop("adversarial")
        assert found == {**base, **expected[name]}
        assert (adversarial > 0) == (objective.discriminator is not None) == (name == "conv_adv")
        assert objective.network.encoders == ("conditional" if name == "condconv_sim" else "separate")


def test_training_of_the_paper():
    config = BRAIN.parser("train", small=True)
    (group,) = config.get_parsed_content("optimizers")["generator"].param_groups
    assert {k: group[k] for k in ("lr", "weight_decay", "amsgrad")} == {
        **{"lr": 2e-4, "weight_decay": 1e-5, "amsgrad": True}
    }
    paper = BRAIN.content("train")
    assert [paper[k] for k in ("batch_size", "max_epochs", "clip_norm", "margin", "pool", "num_slices")] == [
        *(8, 50, 1.0, 0.1, 16, 3)
    ]
    assert config["train#trainer#clip_norm"] == "@clip_norm"


def test_metadata_say_what_the_configs_say():
    config = BRAIN.parser("train")
    formats = BRAIN.content("metadata")["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    assert [name.split(",")[0] for name in image["channel_def"].values()] == [
        m for m in config["modalities"] for _ in "abc"
    ]
    assert (image["num_channels"], pred["num_channels"]) == (12, 3)
    inference = BRAIN.parser("inference")
    assert list(inference["displayable_configs"]) == ["target"]
    assert inference.get_parsed_content("target") == config["target"] == "flair"


def test_every_knob_is_in_the_readme():
    page = (BRAIN.root / "docs" / "README.md").read_text(encoding="utf-8")
    sections = {part.splitlines()[0]: part for part in page.split("\n## ")}
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?) \|", sections["Knobs"], re.MULTILINE))))
    train, inference = (list(BRAIN.content(name)) for name in ("train", "inference"))
    knobs = set(train[: train.index("network_def")])
    parts = {"imports", "bundle_root", "ckpt_dir", "output_dir", "phantom_dir", "phantom", "dataset_dir", "device"}
    assert knobs - parts - explained == set()
    assert explained - knobs - set(inference) - {"final_model"} == set()


# ---- a run and what it leaves


def test_a_run_leaves_weights_and_records(run_of, brain):
    out, workflow = run_of
    trainer, evaluator = workflow.trainer, workflow.evaluator
    assert (trainer.state.epoch, trainer.state.iteration) == (1, 3)
    assert all(np.isfinite(value) for value in trainer.state.metrics.values())
    assert -10 < evaluator.state.metrics["val_negative_cross_l1"] < 0
    assert sorted(path.name for path in (out / "models").iterdir()) == FILES
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    assert saved_shapes(out / "models" / "model.pt") == shapes(workflow.network_def)
    assert (state["mean_code"] != 0).any(1).all()  # every sequence was seen
    header = (out / "eval" / "terms.csv").read_text(encoding="utf-8").splitlines()[0]
    assert {"generator/cross_reconstruction", "validation/val_negative_cross_l1"} <= set(header.split(","))


def test_what_a_batch_holds(run_of, brain):
    """Different subjects with different sequences; what is absent is NaN and marked, and nothing else is."""
    _, workflow = run_of
    loader = workflow.parser.get_parsed_content("train#dataloader")
    listed = [item for item in read(brain / "datalist.json")["training"] if item["fold"] == 1]
    have = Counter(item["subject"] for item in listed)
    assert len(have) == 2
    assert min(have.values()) < 4
    for batch in loader:
        assert batch["image"].shape[1:] == (12, 32, 32)
        absent = batch["image"].unflatten(1, (4, 3)).isnan().flatten(2)
        assert torch.equal(absent.any(2), ~batch["present"])
        assert torch.equal(absent.all(2), ~batch["present"])
        assert [have[name] for name in batch["subject"]] == batch["present"].sum(1).tolist()
        assert (batch["subject_index"][1:] != batch["subject_index"][:-1]).all()
        inside = batch["image"][(batch["image"] != 0) & batch["image"].isfinite()]
        assert inside.std() == pytest.approx(1, abs=0.3)
    validated = {item["subject"] for item in workflow.parser.get_parsed_content("validate#dataset#data")}
    assert validated == {item["subject"] for item in read(brain / "datalist.json")["training"] if item["fold"] == 0}


def test_the_key_metric_is_the_error_of_the_objective_in_eval_mode(run_of):
    """Of all slices and one batch a subject; the objective averages over neighbours, so they are all the same here."""
    _, workflow = run_of
    network = workflow.network_def.eval()
    errors = []
    for item in workflow.parser.get_parsed_content("validate#dataset"):
        image = item["image"].as_tensor().movedim(-1, 0)
        images, there = network.split(image)
        factors = network.factors(image)
        for i in range(4):
            for j in range(4):
                if i != j and there[0, i] and there[0, j]:
                    drawn = network.decode(factors.anatomy[:, i], factors.code[:, j], j)
                    errors.append((i, j, float((drawn - images[:, j])[:, 1].abs().mean().detach())))
    pairs = {(i, j) for i, j, _ in errors}
    expected = np.mean([np.mean([e for i, j, e in errors if (i, j) == pair]) for pair in pairs])
    evaluator = workflow.evaluator
    evaluator.run()
    assert evaluator.state.metrics["val_negative_cross_l1"] == pytest.approx(-expected, rel=1e-3)


def test_training_goes_on_where_it_was(brain, tmp_path):
    """Two epochs in one go, or one and then the other: the same weights."""
    settings, more = ("plateau",), {"drop_prob": 0.2}
    BRAIN.train(tmp_path / "whole", brain, *settings, **more, max_epochs=2)
    BRAIN.train(tmp_path / "parts", brain, *settings, **more, max_epochs=1)
    BRAIN.train(tmp_path / "parts", brain, *settings, **more, max_epochs=2, resume=True)
    states = [torch.load(tmp_path / part / "models" / "last.pt", weights_only=True) for part in ("whole", "parts")]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    lines = (tmp_path / "parts" / "eval" / "terms.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]


@pytest.mark.parametrize("setting", ["conv_adv", pytest.param("original", marks=pytest.mark.slow)])
def test_other_settings_train(setting, brain, tmp_path):
    workflow = BRAIN.train(tmp_path, brain, setting)
    assert all(np.isfinite(value) for value in workflow.trainer.state.metrics.values())
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == FILES
    assert saved_shapes(tmp_path / "models" / "model.pt") == shapes(workflow.network_def)


def test_evaluation_scores_every_pair(run_of, brain, tmp_path):
    result = BRAIN.evaluate(tmp_path, brain, **saved(run_of))
    rows = json.loads(next(result.glob("reconstruction*.json")).read_text("utf-8"))
    rows = rows["scores"]
    pairs = Counter((row["case"]["source"], row["case"]["target"]) for row in rows)
    assert {(i, j) for i in MODALITIES for j in MODALITIES} <= set(pairs)
    assert {row["subject"] for row in rows} == {"s05"}
    assert "data:image/" in (result / "report.html").read_text(encoding="utf-8")


# ---- inference, from whatever is there


def saved(run_of):
    return {"ckpt_dir": str(run_of[0] / "models")}


def grid_of(path):
    file = nib.load(path)
    return file.shape, file.affine


@pytest.mark.parametrize(
    ("sources", "reference", "frame"),
    [
        (MODALITIES, "t1", "t1"),
        (MODALITIES, "t2", "t2"),
        (["t2", "flair"], "t1", "t2"),  # the reference is not there: the first that is
        (["flair"], "t1", "flair"),
    ],
)
def test_a_sequence_is_drawn_from_any_others_on_their_grids(sources, reference, frame, run_of, brain, tmp_path):
    found = BRAIN.infer(tmp_path, brain, sources=sources, reference=reference, target="t1gd", **saved(run_of))
    assert list(found) == [f"s05_{frame}_redrawn_t1gd.nii.gz"]
    (volume,) = found.values()
    shape, affine = grid_of(brain / "images" / f"s05_{frame}.nii.gz")
    assert volume.shape == shape
    np.testing.assert_allclose(volume.affine, affine, atol=1e-3)
    assert volume.get_data_dtype() == np.float32
    values, image = volume.get_fdata(), nib.load(brain / "images" / f"s05_{frame}.nii.gz").get_fdata()
    assert np.isfinite(values).all()
    # where the brain is, there is an image, and nothing outside (up to what differs between grids)
    assert (values[image > 0] > 250).mean() > 0.9
    assert (values > 250).mean() < 1.4 * (image > 0).mean()


def test_the_target_is_what_the_user_asked_for(run_of, brain, tmp_path):
    weights = saved(run_of)
    drawn = {}
    for target in ("t2", "flair"):
        (volume,) = BRAIN.infer(tmp_path / target, brain, target=target, **weights).values()
        drawn[target] = volume.get_fdata()
    assert not np.array_equal(drawn["t2"], drawn["flair"])
    # as a viewer sets it
    (volume,) = BRAIN.infer(tmp_path / "shown", brain, **{"displayable_configs#target": "t2"}, **weights).values()
    np.testing.assert_array_equal(volume.get_fdata(), drawn["t2"])


def test_the_drawing_lies_where_the_image_lies(run_of, brain, tmp_path):
    """A subject stored with other axes, and lying askew in the scanner, gets the same drawing in space."""
    content = read(brain / "datalist.json")
    test = [item for item in content["test"] if item["modality"] in ("t1", "flair")]
    plain = write(tmp_path / "plain", {**content, "test": [dict(item) for item in test]}, brain)
    order, flips, rigid = (2, 0, 1), (1,), rotation(5, 8, -6)
    for item in test:
        image = turned(nib.load(brain / item["image"]), order, flips, rigid)
        item["image"] = f"{item['subject']}_{item['modality']}.nii.gz"
        item.pop("label", None)
        (tmp_path / "askew").mkdir(exist_ok=True)
        nib.save(image, tmp_path / "askew" / item["image"])
    write(tmp_path / "askew", {**content, "training": [], "test": test})
    (before,) = BRAIN.infer(tmp_path / "a", plain, **saved(run_of)).values()
    (after,) = BRAIN.infer(tmp_path / "b", tmp_path / "askew", **saved(run_of)).values()
    expected = np.asarray(turned(before, order, flips, rigid).dataobj)
    np.testing.assert_allclose(after.affine, turned(before, order, flips, rigid).affine, atol=1e-3)
    both = (expected > 0) & (after.get_fdata() > 0)
    assert both.mean() > 0.9 * (expected > 0).mean()
    assert np.corrcoef(expected[both], after.get_fdata()[both])[0, 1] > 0.95


def test_stacks_and_single_files(run_of, brain, tmp_path):
    """A 4D file with the modalities last, one of them NaN, and the image of one sequence."""
    reference = nib.load(brain / "images" / "s05_t1gd.nii.gz")
    stack = np.stack([reference.get_fdata(dtype=np.float32)] * 4, -1)
    stack[..., 2] = np.nan
    (tmp_path / "data").mkdir()
    nib.save(nib.Nifti1Image(stack, reference.affine), tmp_path / "data" / "a.nii.gz")
    nib.save(reference, tmp_path / "data" / "b.nii.gz")
    found = BRAIN.infer(tmp_path, tmp_path / "data", default_modality="t1gd", **saved(run_of))
    assert list(found) == ["a_redrawn_flair.nii.gz", "b_redrawn_flair.nii.gz"]
    for volume in found.values():
        assert volume.shape == reference.shape
        assert np.isfinite(volume.get_fdata()).all()
        assert (volume.get_fdata() > 0).any()


def test_a_drawing_can_be_read_as_a_sequence(run_of, brain, tmp_path):
    (volume,) = BRAIN.infer(tmp_path, brain, **saved(run_of)).values()
    again = NormalizeForeground()(torch.as_tensor(volume.get_fdata())[None])
    inside = again[torch.as_tensor(volume.get_fdata())[None] > 0]
    assert inside.std() == pytest.approx(1, abs=1e-3)


# ---- what is deployed


@pytest.mark.filterwarnings("ignore")  # tracing warns of every size that it keeps
def test_the_network_of_tools_takes_one_tensor(run_of):
    """Traced with all that is there; then NaN for what is absent, another for each row."""
    _, workflow = run_of
    network: nn.Module = workflow.network_def.eval()
    image = batch_of(MODALITIES, (32, 32), 3)["image"]
    with torch.no_grad():
        exported = torch.jit.trace(network, torch.rand(4, 12, 32, 32), check_trace=False)
        torch.testing.assert_close(exported(image), network(image), rtol=1e-4, atol=1e-4)


def test_a_packed_bundle(run_of, brain, tmp_path):
    out, _ = run_of
    packed = pack_bundle(
        BRAIN.root,
        tmp_path / "packed",
        overlays=["demo"],
        overrides={**BRAIN.network, "amp": False, "num_slices": 7},
        no_model=True,
    )
    formats = json.loads((packed / "configs" / "metadata.json").read_text("utf-8"))["network_data_format"]
    image, pred = formats["inputs"]["image"], formats["outputs"]["pred"]
    assert (image["num_channels"], pred["num_channels"]) == (28, 7)
    assert image["spatial_shape"] == pred["spatial_shape"] == [32, 32]
    assert image["channel_def"]["10"] == "t1gd, slice"
    plain = pack_bundle(
        BRAIN.root, tmp_path / "plain", overlays=["demo"], overrides={**BRAIN.network, "amp": False},
        model=out / "models" / "model.pt",
    )  # fmt: skip
    served = Bundle("plain", folder=tmp_path)
    weights = {"ckpt_dir": str(plain / "models")}
    run(served.load(("inference",), tmp_path / "mine", brain, **weights))
    (found,) = (tmp_path / "mine" / "eval").iterdir()
    (expected,) = BRAIN.infer(tmp_path / "both", brain, **saved(run_of)).values()
    np.testing.assert_array_equal(nib.load(found).get_fdata(), expected.get_fdata())
