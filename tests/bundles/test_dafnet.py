# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The DAFNet bundle: every setting trains, scores and segments, on data as they come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import monai_mmseg.phantom
from monai_mmseg.bundle import ConfigError, check_overrides
from monai_mmseg.networks.nets import SPADEDecoder
from tests.bundles.dafnet_runs import (
    BUNDLE,
    CONFIGS,
    NETWORK,
    SETTINGS,
    TINY,
    files,
    infer,
    load,
    read,
    train,
    turned,
    write,
)
from tests.synthetic_volumes import rotation

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu():
    """Small networks, and numbers that are compared: a GPU would give others."""
    patch = pytest.MonkeyPatch()
    patch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    patch.undo()


def parser(*names, **overrides):
    """A config that is merged but not run."""
    config = ConfigParser()
    config.read_config(files(*names))
    config.read_meta(str(CONFIGS / "metadata.json"))
    for key, value in {"bundle_root": str(BUNDLE), **overrides}.items():
        config[key] = value
    return config


def shapes(network):
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


# ---- settings: what each changes against train.json with demo.json, in the network, the objective, or the data

PAPER_WEIGHTS = {
    **{"supervised": 10, "adversarial_mask": 1, "reconstruction": 1, "adversarial_image": 1, "kl": 0.1, "latent": 1},
    "offset": 0,  # no term of the paper
}
WEIGHTS = {
    "ablation_mask_adversary_only": {"kl": 0, "reconstruction": 0, "adversarial_image": 0, "latent": 0},
    "ablation_without_mask_adversary": {"adversarial_mask": 0},
    "ablation_without_image_adversary": {"adversarial_image": 0},
    "ablation_without_latent": {"latent": 0},
    "ablation_all_losses": {},
}
UNETS = {"unet_target": [(1, 1)], "unet_source": [(0, 0)], "unet_both": [(0, 0), (1, 1)], "unet_copied_masks": [(1, 0)]}
NETWORKS = [
    *("film", "spade", "automated_pairing", "expert_pairing", "without_transformer", "single_modal_inference"),
    *("channels_4", "channels_16", "style_4", "style_16"),
]
UNLABELLED = {"target_0", "target_0_paper_selection", "unet_source", "unet_copied_masks"}
ON_SOURCE = {"target_0", "unet_source", "unet_copied_masks"}


@pytest.fixture(scope="module")
def trained(heart, tmp_path_factory):
    """One run of each setting, kept for all tests of this file."""
    runs = {}

    def get(setting):
        if setting not in runs:
            out = tmp_path_factory.mktemp(setting or "plain")
            # SPADE halves the image five times; a narrow one is told from a wide one as well
            small = {"spatial_size": [64, 64], "network_def#decoder_features": 8} if setting == "spade" else {}
            runs[setting] = out, train(out, heart, *([setting] if setting else []), **small)
        return runs[setting]

    return get


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_trains(setting, trained):
    check_overrides(files("train", "demo", setting), {})
    out, workflow = trained(setting)
    trainer, evaluator = workflow.trainer, workflow.evaluator
    assert (trainer.state.epoch, trainer.state.iteration) == (1, 2)
    assert all(np.isfinite(value) for value in trainer.state.metrics.values())
    assert 0 <= evaluator.state.metrics["val_mean_dice"] <= 1
    assert sorted(path.name for path in (out / "models").iterdir()) == ["last.pt", "model.pt", "resume.pt"]
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    assert {key: tuple(value.shape) for key, value in state.items()} == shapes(workflow.network_def)
    phase = "segmentation" if setting in UNETS else "generator"
    assert trainer.state.metrics[f"{phase}/supervised"] > 0
    assert set(trainer.optimizers) == (
        {"segmentation"} if setting in UNETS else {"generator", "mask_discriminator", "image_discriminators"}
    )
    # what is validated, and on which labels
    assert workflow.parser.get_parsed_content("validation_target") == ("cine" if setting in ON_SOURCE else "lge")
    seen = {name for item in workflow.parser.get_parsed_content("validate#dataset#data") for name in item["image"]}
    assert seen == ({"cine"} if setting in ON_SOURCE else {"cine", "lge"})
    labelled = Counter(
        item["modality"] for item in workflow.parser.get_parsed_content("train#dataset#data") if "label" in item
    )
    assert labelled["cine"] == 2
    # a quarter of two subjects is half a subject, which is rounded to none
    assert bool(labelled["lge"]) == (setting not in UNLABELLED | {"target_12.5", "target_25"})


@pytest.mark.parametrize("setting", NETWORKS)
def test_inference_builds_the_network_that_was_trained(setting, trained, heart, tmp_path):
    out, workflow = trained(setting)
    check_overrides(files("inference", "demo_inference", setting), {})
    small = {"spatial_size": [64, 64], "network_def#decoder_features": 8} if setting == "spade" else {}
    overrides = {**NETWORK, **small, "dataset_dir": str(heart), "ckpt_dir": str(out / "models")}
    built = parser("inference", "demo_inference", setting, **overrides).get_parsed_content("network_def")
    assert shapes(built) == shapes(workflow.network_def)
    assert (built.inference, built.num_candidates) == (
        workflow.network_def.inference,
        workflow.network_def.num_candidates,
    )
    volumes = infer(tmp_path, heart, setting, ckpt_dir=str(out / "models"), **small)
    assert list(volumes) == ["s05_lge_seg.nii.gz", "s06_lge_seg.nii.gz"]


def test_networks_of_the_settings(trained):
    plain = trained("film")[1].network_def
    assert type(plain.decoder).__name__ == "FiLMDecoder"
    assert isinstance(trained("spade")[1].network_def.decoder, SPADEDecoder)
    assert plain.transformer is not None
    assert trained("without_transformer")[1].network_def.transformer is None
    assert plain.balancer is None
    assert trained("expert_pairing")[1].network_def.num_candidates == 1
    automated = trained("automated_pairing")[1]
    assert (automated.network_def.num_candidates, automated.network_def.balancer is not None) == (3, True)
    assert automated.parser.get_parsed_content("train#dataset")[0]["image"].shape == (6, 48, 48)
    assert plain.inference == "fused"
    assert trained("single_modal_inference")[1].network_def.inference == "single"
    for channels in (4, 16):
        network = trained(f"channels_{channels}")[1].network_def
        assert network.segment(torch.zeros(1, channels, 48, 48)).shape == (1, 4, 48, 48)
        network = trained(f"style_{channels}")[1].network_def
        assert network.style(torch.zeros(1, 8, 48, 48), torch.zeros(1, 1, 48, 48)).mu.shape == (1, channels)


@pytest.mark.parametrize("setting", [*WEIGHTS, "film"])
def test_weights_of_the_ablations(setting, trained):
    """On the paper's weights, and on those of the demo, which differ."""
    changed = WEIGHTS.get(setting, {})
    assert parser("train", setting).get_parsed_content("loss_weights")["generator"] == {**PAPER_WEIGHTS, **changed}
    weights = trained(setting)[1].parser.get_parsed_content("objective_def").weights["generator"]
    assert weights == {**parser("train", "demo").get_parsed_content("loss_weights")["generator"], **changed}


def test_inference_of_a_baseline(trained, heart, tmp_path):
    """The network of all of them is the same; their settings hold training as well, which inference.json has not."""
    out, workflow = trained("unet_both")
    check_overrides(files("inference", "demo_inference", "unet_inference"), {})
    config = load(("inference", "demo_inference", "unet_inference"), "infer", tmp_path, heart, **NETWORK).parser
    assert shapes(config.get_parsed_content("network_def")) == shapes(workflow.network_def)
    assert len(infer(tmp_path, heart, "unet_inference", ckpt_dir=str(out / "models"))) == 2


@pytest.mark.parametrize("setting", UNETS)
def test_sources_of_the_baselines(setting, trained):
    config = trained(setting)[1].parser
    assert type(config.get_parsed_content("objective_def")).__name__ == "SegmentationObjective"
    assert [tuple(pair) for pair in config.get_parsed_content("objective_def#sources")] == UNETS[setting]


@pytest.mark.parametrize(
    ("setting", "shares"),
    [("target_100", 16), ("target_50", 8), ("target_25", 4), ("target_12.5", 2), ("target_0", 0),
     ("target_0_paper_selection", 0)],
)  # fmt: skip
def test_share_of_target_labels(setting, shares, tmp_path):
    """By hand: 16 training subjects; the labels of the source stay."""
    items = [
        {"image": f"{s}{m}.nii", "label": f"{s}{m}l.nii", "modality": m, "subject": f"s{s:02}", "fold": int(s < 3)}
        for s in range(19)
        for m in ("cine", "lge")
    ]
    write(tmp_path, {"name": "x", "modalities": ["cine", "lge"], "labels": {"0": "b", "1": "a"}, "training": items})
    chosen = {}
    for name in (setting, "target_100"):
        config = parser("train", name, dataset_dir=str(tmp_path), fold=1)
        found = [item for item in config.get_parsed_content("train#dataset#data") if "label" in item]
        chosen[name] = {item["subject"] for item in found if item["modality"] == "lge"}
        assert sum(item["modality"] == "cine" for item in found) == 16
    assert len(chosen[setting]) == shares
    assert chosen[setting] <= chosen["target_100"]


def test_random_pairing_shifts_partners(trained):
    shifted, plain = (
        trained(name)[1].parser.get_parsed_content("train#dataset") for name in ("random_pairing", "film")
    )
    assert parser("train", "random_pairing").get_parsed_content("random_shift") == 2
    differing = [not torch.equal(shifted.subject(n)["image"][0], plain.subject(n)["image"][0]) for n in range(2)]
    assert any(differing)  # the cine slice, which is the partner
    assert all(torch.equal(shifted.subject(n)["image"][1], plain.subject(n)["image"][1]) for n in range(2))


def test_paper_size():
    """By hand: the paper counts 43,252,120 for five classes; the segmentor's 1 x 1 layer has 64 + 1 weights a class."""
    for name in ("train", "inference"):
        network = parser(name).get_parsed_content("network_def")
        assert sum(p.numel() for p in network.parameters()) == 43_252_120 - 65
    meta = ConfigParser.load_config_file(str(CONFIGS / "metadata.json"))["network_data_format"]
    labels = parser("train").get_parsed_content("labels")
    assert meta["outputs"]["pred"]["channel_def"] == labels
    assert list(meta["inputs"]["image"]["channel_def"].values()) == parser("train").get_parsed_content("modalities")
    discriminator = parser("train").get_parsed_content("mask_discriminator")
    # by hand: four classes have three foreground channels; the first 4 x 4 layer has 16 * 64 weights a channel
    assert sum(p.numel() for p in discriminator.parameters()) == 2_942_401 - 16 * 64


# ---- a run and what it leaves


def test_the_demo_keeps_the_last_model(heart, tmp_path):
    """Scores of one small validation fold choose badly; the weights at the end do not depend on them."""
    config = parser("train", "demo")
    assert (config["final_model"], config["averaging"], config["val_interval"]) == (
        "model.pt",
        None,
        config["max_epochs"],
    )
    workflow = train(tmp_path, heart, "unet_source", final_model=config["final_model"])
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["model.pt", "resume.pt"]
    kept = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(kept, workflow.network_def.state_dict(), rtol=0, atol=0)


def test_the_method_keeps_the_best_and_the_last_average(heart, tmp_path):
    """As the bundle's docs say: ``model.pt`` by the validation, ``last.pt`` at the end, both of averaged weights."""
    config = parser("train")
    assert (config["final_model"], config["val_interval"], config["averaging#start_epoch"]) == ("last.pt", 1, 40)
    settings = {"averaging": {**config["averaging"], "start_epoch": 0}, "max_epochs": 3}
    workflow = load(("train", "demo", "unet_source"), "train", tmp_path, heart, **{**TINY, **settings})
    workflow.initialize()
    scores, averages = [], []

    def note(engine):
        scores.append(engine.state.metrics["val_mean_dice"])
        averages.append({key: value.clone() for key, value in workflow.network_def.state_dict().items()})

    workflow.evaluator.add_event_handler("COMPLETED", note)  # the averaged weights are in the network here
    workflow.run()
    best, last = (torch.load(tmp_path / "models" / name, weights_only=True) for name in ("model.pt", "last.pt"))
    torch.testing.assert_close(best, averages[scores.index(max(scores))], rtol=0, atol=0)
    torch.testing.assert_close(last, averages[-1], rtol=0, atol=0)
    now = workflow.network_def.state_dict()
    assert any(not torch.equal(last[key], now[key]) for key in now)


def test_training_goes_on_where_it_was(heart, tmp_path):
    train(tmp_path, heart, max_epochs=1)
    first = torch.load(tmp_path / "models" / "resume.pt", weights_only=True)
    workflow = train(tmp_path, heart, max_epochs=3, resume=True)
    last = torch.load(tmp_path / "models" / "resume.pt", weights_only=True)
    assert (first["epoch"], last["epoch"], workflow.trainer.state.iteration) == (1, 3, 6)
    terms = (tmp_path / "eval" / "terms.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in terms] == ["epoch", "1", "2", "3"]
    # a third run has nothing to do, and does not spoil what is there
    train(tmp_path, heart, max_epochs=3, resume=True)
    again = torch.load(tmp_path / "models" / "resume.pt", weights_only=True)
    key = next(key for key, value in last["objective"].items() if torch.is_tensor(value))
    assert torch.equal(last["objective"][key], again["objective"][key])


def test_evaluation_scores_pictures_and_page(trained, heart, tmp_path):
    out, _ = trained("target_0")
    names = ("train", "demo", "target_0", "evaluate")
    check_overrides(files(*names), {})
    workflow = load(names, "train", tmp_path, heart, **{**TINY, "ckpt_dir": str(out / "models")})
    workflow.initialize()
    workflow.run()
    run = tmp_path / "eval"
    for subject in ("s05", "s06"):
        predicted = nib.load(run / "predictions" / f"{subject}_lge_seg.nii.gz")
        target = nib.load(heart / "images" / f"{subject}_lge.nii.gz")
        assert predicted.shape == target.shape
        np.testing.assert_allclose(predicted.affine, target.affine, atol=1e-4)
        assert predicted.get_data_dtype() == np.uint8
    assert sorted(p.name for p in (run / "metrics").iterdir()) == ["dafnet.csv", "dafnet.json", "dafnet.md"]
    rows = (run / "metrics" / "dafnet.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 3  # subjects times classes
    figures = {"alignment.png", "anatomy.png", "overlay.png", "traversal_cine.png", "traversal_lge.png"}
    assert figures < {p.name for p in (run / "figures").iterdir()}
    measures = json.loads((run / "disentanglement.json").read_text(encoding="utf-8"))
    assert measures["registration"]["cine"]["subjects"] == 2
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") + page.count("data:image/jpeg") >= len(figures)
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_evaluation_of_a_baseline(trained, heart, tmp_path):
    out, _ = trained("unet_source")
    names = ("train", "demo", "unet_source", "evaluate")
    workflow = load(
        names,
        "train",
        tmp_path,
        heart,
        **{**TINY, "ckpt_dir": str(out / "models"), "method": "unet", "paper_dice": True},
    )
    workflow.initialize()
    workflow.run()
    assert "| Dice as in the paper |" in (tmp_path / "eval" / "metrics" / "unet.md").read_text(encoding="utf-8")
    assert [p.name for p in (tmp_path / "eval" / "figures").glob("*.png")] == ["overlay.png"]


@pytest.mark.parametrize("renamed", [("s05", "s06"), ("s01.a", "s01.b"), ("1.2.840.113", "1.2.840.114")])
def test_files_of_one_name_are_kept_apart(renamed, trained, heart, tmp_path):
    """Every subject has its own folder with ``lge.nii.gz``, as the bundle's docs show it."""
    new = dict(zip(("s05", "s06"), renamed, strict=True))
    content = read(heart / "datalist.json")
    data = tmp_path / "data"
    for items in (content["training"], content["test"]):
        for item in items:
            item["subject"] = new.get(item["subject"], item["subject"])
            for key, name in (("image", item["modality"]), ("label", f"{item['modality']}_label")):
                path = Path(item["subject"]) / f"{name}.nii.gz"
                (data / path).parent.mkdir(parents=True, exist_ok=True)
                (data / path).symlink_to(heart / item[key])
                item[key] = path.as_posix()
    write(data, content)
    out, _ = trained("film")
    volumes = infer(tmp_path / "inference", data, ckpt_dir=str(out / "models"))
    assert list(volumes) == [f"{subject}_lge_seg.nii.gz" for subject in renamed]
    same = infer(tmp_path / "flat", heart, ckpt_dir=str(out / "models"))
    for volume, expected in zip(volumes.values(), same.values(), strict=True):
        np.testing.assert_array_equal(volume.get_fdata(), expected.get_fdata())
    workflow = load(("train", "demo", "evaluate"), "train", tmp_path, data, **{**TINY, "ckpt_dir": str(out / "models")})
    workflow.initialize()
    workflow.run()
    lines = (tmp_path / "eval" / "metrics" / "dafnet.csv").read_text(encoding="utf-8").splitlines()
    assert Counter(line.split(",")[2] for line in lines[1:]) == dict.fromkeys(renamed, 3)
    predictions = sorted(path.name for path in (tmp_path / "eval" / "predictions").iterdir())
    assert predictions == [f"{subject}_lge_seg.nii.gz" for subject in renamed]
    assert all(subject in (tmp_path / "eval" / "report.html").read_text(encoding="utf-8") for subject in renamed)


# ---- inference on data as they come


@pytest.fixture(scope="module")
def checkpoint(trained):
    """A network that does segment something: random weights give many classes."""
    return str(trained("film")[0] / "models")


def one_subject(heart, subject="s05"):
    return [item for item in read(heart / "datalist.json")["test"] if item["subject"] == subject]


def listed(items):
    return {"name": "x", "modalities": ["cine", "lge"], "labels": {"0": "background", "1": "LV"}, "test": items}


def same_place(volume, image):
    assert volume.shape == image.shape[:3]
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-4)
    assert set(np.unique(volume.get_fdata())) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("order", "flips", "angles"),
    [
        ((0, 1, 2), (), (20, -35, 50)),
        ((0, 1, 2), (0, 2), None),
        ((2, 0, 1), (1,), (5, 10, -8)),
        ((1, 2, 0), (0, 1, 2), None),
    ],
)
def test_the_mask_lies_where_the_image_lies(order, flips, angles, heart, checkpoint, tmp_path):
    """A subject stored with other axes, and lying elsewhere in the scanner, gets the same mask in space."""
    rigid = None if angles is None else rotation(*angles)
    items = one_subject(heart)
    (tmp_path / "data").mkdir()
    for item in items:
        path = tmp_path / "data" / f"{item['modality']}.nii.gz"
        nib.save(turned(nib.load(heart / item["image"]), order, flips, rigid), path)
        item.update(image=path.name)
        item.pop("label")
    plain = infer(tmp_path / "plain", heart, ckpt_dir=checkpoint)["s05_lge_seg.nii.gz"]
    found = infer(tmp_path / "turned", write(tmp_path / "data", listed(items)), ckpt_dir=checkpoint)
    volume = found["s05_lge_seg.nii.gz"]
    same_place(volume, nib.load(tmp_path / "data" / "lge.nii.gz"))
    expected = turned(plain, order, flips, rigid)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-3)
    assert len(np.unique(plain.get_fdata())) > 1
    # flips change which way ties and half pixels are rounded: all but a few voxels agree
    # an untrained network sits on its decision boundary, where resampling by another order of axes decides
    assert (volume.get_fdata() == np.asarray(expected.dataobj)).mean() > 0.97


@pytest.mark.parametrize("missing", ["cine", "lge"])
def test_one_modality_alone(missing, heart, checkpoint, tmp_path):
    items = [item for item in one_subject(heart) if item["modality"] != missing]
    (there,) = items
    volumes = infer(tmp_path, write(tmp_path / "data", listed(items), heart), ckpt_dir=checkpoint)
    (name,) = volumes
    assert name == f"s05_{there['modality']}_seg.nii.gz"
    same_place(volumes[name], nib.load(there["image"]))


def test_a_single_slice(heart, checkpoint, tmp_path):
    items = one_subject(heart)
    (tmp_path / "data").mkdir()
    for item in items:
        nib.save(nib.load(heart / item["image"]).slicer[:, :, 2:3], tmp_path / "data" / f"{item['modality']}.nii.gz")
        item.update(image=f"{item['modality']}.nii.gz")
        item.pop("label")
    (volume,) = infer(tmp_path, write(tmp_path / "data", listed(items)), ckpt_dir=checkpoint).values()
    same_place(volume, nib.load(tmp_path / "data" / "lge.nii.gz"))


def test_a_folder_of_files(heart, checkpoint, tmp_path):
    """No datalist: one image of the target, and a stack whose source is absent, which must give the same."""
    image = nib.load(heart / "images" / "s05_lge.nii.gz")
    array = image.get_fdata().astype(np.float32)
    data = tmp_path / "data"
    data.mkdir()
    nib.save(nib.Nifti1Image(array, image.affine), data / "alone.nii.gz")
    absent = np.full_like(array, np.nan)
    nib.save(nib.Nifti1Image(np.stack([absent, array], -1), image.affine), data / "absent.nii.gz")
    nib.save(nib.Nifti1Image(np.stack([array, array], -1), image.affine), data / "both.nii.gz")
    volumes = infer(tmp_path, data, ckpt_dir=checkpoint)
    assert list(volumes) == ["absent_seg.nii.gz", "alone_seg.nii.gz", "both_seg.nii.gz"]
    for volume in volumes.values():
        same_place(volume, image)
    np.testing.assert_array_equal(volumes["absent_seg.nii.gz"].dataobj, volumes["alone_seg.nii.gz"].dataobj)


def test_sizes_that_are_not_the_networks(heart, checkpoint, tmp_path):
    """Large pixels make the image smaller than the network's, small ones larger; both are brought back."""
    for pixdim in ([3.0, 3.0], [11.0, 11.0]):
        volumes = infer(tmp_path / str(pixdim[0]), heart, ckpt_dir=checkpoint, pixdim=pixdim)
        for subject in ("s05", "s06"):
            same_place(volumes[f"{subject}_lge_seg.nii.gz"], nib.load(heart / "images" / f"{subject}_lge.nii.gz"))


def test_largest_components(heart, checkpoint, tmp_path):
    """SciPy's labelling says what remains of each class; without the switch nothing is taken away."""
    pytest.importorskip("skimage")
    ndimage = pytest.importorskip("scipy.ndimage")
    plain = infer(tmp_path / "plain", heart, ckpt_dir=checkpoint)
    kept = infer(tmp_path / "kept", heart, ckpt_dir=checkpoint, largest_component=True)
    lost = 0
    for name, volume in plain.items():
        values, found = (np.asarray(one.dataobj) for one in (volume, kept[name]))
        np.testing.assert_array_equal(kept[name].affine, volume.affine)
        assert found.dtype == values.dtype
        for label in (1, 2, 3):
            parts, number = ndimage.label(values == label, structure=np.ones((3, 3, 3)))
            sizes = np.bincount(parts.ravel())[1:]
            remaining = found == label
            assert (values[remaining] == label).all()
            assert remaining.sum() == (sizes.max() if number else 0)
            assert ndimage.label(remaining, structure=np.ones((3, 3, 3)))[1] == min(number, 1)
            lost += number > 1
    assert lost  # otherwise nothing was tested


def test_the_switch_alone_asks_for_scikit_image(heart, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)  # as if it were not installed
    settings = {**NETWORK, "ckpt_dir": checkpoint}
    load(("inference", "demo_inference"), "infer", tmp_path, heart, **settings).initialize()
    workflow = load(("inference", "demo_inference"), "infer", tmp_path, heart, **settings, largest_component=True)
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert "largest_component needs the package scikit-image" in causes(error.value)


@pytest.mark.parametrize(
    ("names", "kind"), [(("inference", "demo_inference"), "infer"), (("train", "demo", "evaluate"), "train")]
)
def test_without_weights_nothing_is_read(names, kind, tmp_path, monkeypatch):
    """Not even the phantom is made; the folder of data is not there either."""
    small = TINY if kind == "train" else NETWORK
    workflow = load(names, kind, tmp_path, tmp_path / "nowhere", **small)
    words = ["x/monai/bundle/__main__.py", "run", "--config_file", str(files(*names)), "--dataset_dir", "nowhere"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="models/model.pt are missing") as error:
        workflow.initialize()
    assert f"run training --config_file {(CONFIGS / 'train.json').as_posix()}" in str(error.value)
    # scripts and servers bring weights later; who wants none says so
    monkeypatch.setattr(sys, "argv", ["script.py"])
    workflow.initialize()
    if kind == "infer":
        monkeypatch.setattr(sys, "argv", words)
        load(names, kind, tmp_path, tmp_path / "nowhere", load_pretrain=False, **small).initialize()


def test_three_modalities(heart_of_three, tmp_path):
    three = {"modalities": ["cine", "lge", "t2"]}
    workflow = train(tmp_path, heart_of_three, **three)
    assert workflow.network_def.num_modalities == 3
    assert workflow.parser.get_parsed_content("train#dataset")[0]["image"].shape == (3, 48, 48)
    (volume,) = infer(tmp_path, heart_of_three, **three).values()
    same_place(volume, nib.load(heart_of_three / "images" / "s03_lge.nii.gz"))
    items = [item for item in read(heart_of_three / "datalist.json")["test"] if item["modality"] != "lge"]
    data = write(tmp_path / "data", {**listed(items), **three}, heart_of_three)
    (volume,) = infer(tmp_path / "rest", data, ckpt_dir=str(tmp_path / "models"), **three).values()
    same_place(volume, nib.load(heart_of_three / "images" / "s03_cine.nii.gz"))  # the first that is there


# ---- what is read, and when


@pytest.mark.parametrize("setting", ["target_0", "unet_source", "unet_copied_masks"])
def test_without_target_labels_none_is_read(setting, heart, tmp_path, monkeypatch):
    """The target's label files of both folds are rubbish, and nobody opens them."""
    content = read(heart / "datalist.json")
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    opened = []
    original = nib.load
    monkeypatch.setattr(nib, "load", lambda path, *a, **k: opened.append(str(path)) or original(path, *a, **k))
    data = write(tmp_path / "data", content, heart)
    for item in content["training"]:
        if item["modality"] == "lge":
            item["label"] = str(bad)
    write(data, content)
    workflow = train(tmp_path, data, setting)
    assert workflow.trainer.state.iteration == 2
    assert str(bad) not in opened
    assert any("lge" in path for path in opened) or opened == []
    # the paper's way of choosing the model does read those of the validation fold
    with pytest.raises((RuntimeError, ValueError)) as error:
        train(tmp_path / "paper", data, "target_0_paper_selection")
    assert "bad.nii.gz" in causes(error.value)


def causes(error):
    text = ""
    while error is not None:
        text, error = f"{text}\n{error}", error.__cause__ or error.__context__
    return text


def break_nothing_there(data, content):
    (data / "datalist.json").unlink()
    return "datalist.json is not there"


def break_folds(data, content):
    for item in content["training"]:
        item.pop("fold")
    write(data, content)
    return "datalist.json: folds are asked for"


def break_value(data, content):
    item = content["training"][0]
    volume = nib.load(item["label"])
    nib.save(nib.Nifti1Image(volume.get_fdata() + 5, volume.affine), data / "values.nii.gz")
    item["label"] = str(data / "values.nii.gz")
    write(data, content)
    return "values.nii.gz: label values must be one of the declared"


def break_grid(data, content):
    item = content["training"][0]
    volume = nib.load(item["label"])
    nib.save(nib.Nifti1Image(volume.get_fdata()[:-1], volume.affine), data / "shape.nii.gz")
    item["label"] = str(data / "shape.nii.gz")
    write(data, content)
    return "shape.nii.gz: the label lies on another grid than its image"


@pytest.mark.parametrize("spoil", [break_nothing_there, break_folds, break_value, break_grid])
def test_bad_data_are_named(spoil, heart, tmp_path):
    content = read(heart / "datalist.json")
    data = write(tmp_path / "data", content, heart)
    message = spoil(data, content)
    with pytest.raises((RuntimeError, ValueError, FileNotFoundError)) as error:
        train(tmp_path, data, fold=1)
    assert message in causes(error.value)
    assert not (tmp_path / "models").exists()


def test_the_phantom_is_made_when_it_is_needed(heart, tmp_path, monkeypatch):
    made = []

    def make(folder, **arguments):
        made.append((str(folder), arguments))
        Path(folder).symlink_to(heart)
        return Path(folder) / "datalist.json"

    monkeypatch.setattr(monai_mmseg.phantom, "make_heart_phantom", make)
    (tmp_path / "data").mkdir()
    paths = {"phantom_dir": str(tmp_path / "data" / "phantom"), "dataset_dir": "@phantom_dir"}
    workflow = load(("train", "demo"), "train", tmp_path, heart, **{**TINY, **paths})
    workflow.parser.parse()
    workflow.parser.get_parsed_content("network_def")
    assert made == []
    workflow.initialize()
    workflow.run()
    settings = parser("train", "demo").get_parsed_content("phantom")
    assert made == [(paths["phantom_dir"], settings)]  # once, though three parts ask for it


# ---- as users type it


def shell(*words, cwd, **environment):
    """A command with the project importable from any folder."""
    repository = str(BUNDLE.parents[1])
    own = {"PYTHONPATH": repository, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**os.environ, **own, **environment}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def bundle_copy(folder):
    """A repository with nothing but the bundle, without what earlier runs left."""
    copy = folder / "bundles" / "dafnet"
    for path in BUNDLE.rglob("*"):
        part = path.relative_to(BUNDLE)
        if path.is_file() and part.parts[0] in ("configs", "docs", "LICENSE", "large_files.yml"):
            (copy / part).parent.mkdir(parents=True, exist_ok=True)
            (copy / part).write_bytes(path.read_bytes())
    return copy


def tiny_words(**more):
    return [word for key, value in {**TINY, **more}.items() for word in (f"--{key}", str(value))]


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("start", [".", "bundles/dafnet"])
def test_runs_write_into_the_bundle_only(start, heart, tmp_path):
    bundle_copy(tmp_path)
    before, cwd = tree(tmp_path), tmp_path / start
    root = "" if start != "." else "bundles/dafnet/"
    configs = [f"{root}configs/{name}.json" for name in ("train", "demo")]
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(configs), "--dataset_dir", str(heart)]
    code, text = shell(*words, *tiny_words(), cwd=cwd)
    assert code == 0, text
    configs = [f"{root}configs/{name}.json" for name in ("inference", "demo_inference")]
    words = ["-m", "monai.bundle", "run", "--config_file", str(configs), "--dataset_dir", str(heart)]
    code, text = shell(*words, *[w for k, v in NETWORK.items() for w in (f"--{k}", str(v))], cwd=cwd)
    assert code == 0, text
    new = tree(tmp_path) - before
    assert {"bundles/dafnet/models/model.pt", "bundles/dafnet/eval/s05_lge_seg.nii.gz"} < new
    assert {path.rsplit("/", 1)[0] for path in new} == {"bundles/dafnet/models", "bundles/dafnet/eval"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer#max_epoch", "3"], "there is no 'trainer'; did you mean 'train#trainer#max_epochs'"),
        (["--train#trainer#max_epoch", "3"], "did you mean 'max_epochs'"),
        (["--learning_rat", "3"], "did you mean 'learning_rate'"),
        ({"anatomy_chanels": 4}, "did you mean 'anatomy_channels'"),
    ],
)
def test_misspelt_names_stop_the_run(words, message, heart, tmp_path):
    bundle_copy(tmp_path)
    configs = ["bundles/dafnet/configs/train.json", "bundles/dafnet/configs/demo.json"]
    if isinstance(words, dict):
        (tmp_path / "mine.json").write_text(json.dumps(words))
        configs, words = [*configs, "mine.json"], []
    command = ["-m", "monai.bundle", "run", "training", "--config_file", str(configs), "--dataset_dir", str(heart)]
    code, text = shell(*command, *words, cwd=tmp_path)
    assert code != 0
    assert message in text
    assert "Epoch" not in text
    assert not (tmp_path / "bundles" / "dafnet" / "models").exists()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("loss_weights#generator#kll", "'loss_weights#generator#kl'"),
        ("weights#generator#kl", "'loss_weights#generator#kl'"),
        ("trainer#max_epoch", "'train#trainer#max_epochs'"),
        ("train#trainer#max_epoch", "'max_epochs'"),
        ("network_def#feature", "'features'"),
        ("network#features", "'network_def#features'"),
    ],
)
def test_misspelt_overlays_name_what_is_close(key, meant, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({key: 1}))
    with pytest.raises(ConfigError, match=f"mine.json: {key}: .*did you mean {meant}"):
        check_overrides([*files("train", "demo"), str(path)], {})


@pytest.mark.slow
def test_two_processes_end_with_equal_weights(heart, tmp_path):
    """Each process writes the objective it ends with; validation, savers and records are process 0's."""
    (tmp_path / "look.json").write_text(
        json.dumps(
            {
                "finalize": [
                    "$torch.save(@objective_def.state_dict(), @output_dir + '/rank' + str(dist.get_rank()) + '.pt')",
                    "$dist.barrier()",
                    "$dist.destroy_process_group()",
                ]
            }
        )
    )
    configs = [*files("train", "demo", "multi_gpu_train"), str(tmp_path / "look.json")]
    paths = {"ckpt_dir": str(tmp_path / "models"), "output_dir": str(tmp_path / "eval"), "dataset_dir": str(heart)}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2", "-m", "monai.bundle"]
    words = [*torchrun, "run", "training", "--config_file", str(configs), "--bundle_root", str(BUNDLE)]
    code, text = shell(*words, *tiny_words(**paths), cwd=tmp_path)
    assert code == 0, text
    first, second = (torch.load(tmp_path / "eval" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == second.keys()
    buffers = ("running_mean", "running_var", "num_batches_tracked")  # batch norm looks at its own half of the batch
    for key in first:
        if not key.endswith(buffers):
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0, msg=key)
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert not any(key.startswith("module.") for key in state)
    assert (tmp_path / "eval" / "terms.csv").read_text(encoding="utf-8").count("\n") == 2
