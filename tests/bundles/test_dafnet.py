# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The DAFNet bundle: what its settings change, and how it trains and scores."""

from __future__ import annotations

import json
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_mmseg.engines import seed_data
from monai_mmseg.networks.nets import SPADEDecoder
from tests.bundles.runs import DAFNET, causes, read, same_place, saved_shapes, shapes, write

# ---- settings: what each changes in the network, the objective, or the data

NOT_OF_THE_PAPER = ("randomised", "own_supervision", "agreement")
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
    "film": {},
}
SDNETS = {"sdnet_single": [(1, 1)], "sdnet_multi": [(0, 0), (1, 1)]}
UNETS = {"unet_target": [(1, 1)], "unet_source": [(0, 0)], "unet_both": [(0, 0), (1, 1)], "unet_copied_masks": [(1, 0)]}
UNLABELLED = {"target_0", "target_0_paper_selection", "unet_source", "unet_copied_masks"}
ON_SOURCE = {"target_0", "unet_source", "unet_copied_masks"}


def network_of(setting):
    return DAFNET.parser("train", "demo", setting, small=True).get_parsed_content("network_def")


@pytest.mark.parametrize("setting", DAFNET.settings)
def test_what_is_read_and_on_which_labels_it_is_validated(setting, heart):
    config = DAFNET.parser("train", "demo", setting, small=True, dataset_dir=str(heart))
    assert config.get_parsed_content("validation_target") == ("cine" if setting in ON_SOURCE else "lge")
    seen = {name for item in config.get_parsed_content("validate#dataset#data") for name in item["image"]}
    assert seen == ({"cine"} if setting in ON_SOURCE else {"cine", "lge"})
    labelled = Counter(item["modality"] for item in config.get_parsed_content("train#dataset#data") if "label" in item)
    assert labelled["cine"] == 2
    # a quarter of two subjects is half a subject, which is rounded to none
    assert bool(labelled["lge"]) == (setting not in UNLABELLED | {"target_12.5", "target_25"})


def test_pretraining_is_a_share_of_the_run(heart):
    given = {"dataset_dir": str(heart), "max_epochs": 5, "epoch_length": 4, "small": True}
    config = DAFNET.parser("train", "demo", "randomised_pretraining", **given)
    objective, factor = (config.get_parsed_content(name) for name in ("objective_def", "lr_scheduler#lr_lambda"))
    assert objective.pretraining == 3 * 4  # 0.6 of the epochs
    assert objective.asked == ["randomised"]
    assert [factor(epoch) for epoch in (0, 3)] == [1, 1]  # each stage has a curve of its own
    assert factor(2) < 1


def test_augmentation_on_the_device_is_that_of_the_loader(heart):
    batches = []
    for place in ("loader", "device"):
        config = DAFNET.parser("train", "demo", small=True, dataset_dir=str(heart), augment_on=place)
        loader, trainer = (config.get_parsed_content(f"train#{name}") for name in ("dataloader", "trainer"))
        seed_data(loader, 0, 3)
        batches.append(trainer.prepare_batch(next(iter(loader)), "cpu"))
    loader, device = batches
    torch.testing.assert_close(device["image"], loader["image"], atol=1e-4, rtol=0)
    assert (device["label"] != loader["label"]).float().mean() < 1e-3
    assert set(device) == set(loader)


def test_networks_of_the_settings():
    plain = network_of("film")
    assert type(plain.decoder).__name__ == "FiLMDecoder"
    assert isinstance(network_of("spade").decoder, SPADEDecoder)
    assert plain.transformer is not None
    assert network_of("without_transformer").transformer is None
    assert plain.balancer is None
    assert network_of("expert_pairing").num_candidates == 1
    automated = network_of("automated_pairing")
    assert (automated.num_candidates, automated.balancer is not None) == (3, True)
    assert plain.inference == "fused"
    assert network_of("single_modal_inference").inference == "single"
    for channels in (4, 16):
        network = network_of(f"channels_{channels}")
        assert network.segment(torch.zeros(1, channels, 48, 48)).shape == (1, 4, 48, 48)
        network = network_of(f"style_{channels}")
        assert network.style(torch.zeros(1, 8, 48, 48), torch.zeros(1, 1, 48, 48)).mu.shape == (1, channels)


@pytest.mark.parametrize("setting", WEIGHTS)
def test_weights_of_the_ablations(setting):
    """On the paper's weights, and on those of the demo, which differ."""
    for names in (("train",), ("train", "demo")):
        before = DAFNET.parser(*names).get_parsed_content("loss_weights")["generator"]
        assert [before.pop(name) for name in NOT_OF_THE_PAPER] == [0.0] * 3  # then the objective has none
        assert names != ("train",) or before == PAPER_WEIGHTS
        unread = {"objective_def#pretraining": 0}  # the number of steps, for which all images would be read
        config = DAFNET.parser(*names, setting, small=True, **unread)
        after = config.get_parsed_content("objective_def").weights["generator"]
        assert after == {**before, **WEIGHTS[setting]}


@pytest.mark.parametrize("setting", UNETS)
def test_sources_of_the_baselines(setting):
    config = DAFNET.parser("train", "demo", setting, small=True)
    assert type(config.get_parsed_content("objective_def")).__name__ == "SegmentationObjective"
    assert [tuple(pair) for pair in config.get_parsed_content("objective_def#sources")] == UNETS[setting]
    assert set(config.get_parsed_content("optimizers")) == {"segmentation"}


COMPARED = {  # sections 1 to 3 of the fact sheet
    **dict.fromkeys(("unet_target", "unet_both"), 34_526_149),
    **dict.fromkeys(SDNETS, 34_645_910),
    "dualstream": 54_890_053,
    "dadr_features": 34_526_149 + 9 * 64 * 255 + 2 * 5_379_584,  # a first convolution of 256 channels; two encoders
}


@pytest.mark.parametrize("setting", COMPARED)
def test_systems_of_the_paper(setting):
    """At five classes."""
    labels = {str(value): name for value, name in enumerate("abcde")}
    config = DAFNET.parser("train", setting, labels=labels, network="@network_def")  # not moved off the meta device
    with torch.device("meta"):
        network, objective = (config.get_parsed_content(name) for name in ("network_def", "objective_def"))
    assert sum(p.numel() for p in network.parameters()) == COMPARED[setting]
    sources = list(zip(objective.image_modality, objective.label_modality, strict=True))
    assert sources == {**UNETS, **SDNETS}.get(setting, [(0, 0), (1, 1)])
    if setting in SDNETS:
        assert sum(p.numel() for p in objective.mask_discriminator.parameters()) == 11_294_657
        adam = config.get_parsed_content("optimizers")["latent"].param_groups[0]
        assert (adam["lr"], adam["betas"], adam["decay"]) == (1e-4, (0.5, 0.999), 1e-4)


def test_without_target_labels_the_source_stream_serves_the_target():
    config = [DAFNET.parser("train", "demo", "dualstream", *more, small=True) for more in ((), ("target_0",))]
    assert [one.get_parsed_content("network_def").stream_of for one in config] == [[0, 1], [0, 0]]


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
        config = DAFNET.parser("train", name, dataset_dir=str(tmp_path), fold=1)
        found = [item for item in config.get_parsed_content("train#dataset#data") if "label" in item]
        chosen[name] = {item["subject"] for item in found if item["modality"] == "lge"}
        assert sum(item["modality"] == "cine" for item in found) == 16
    assert len(chosen[setting]) == shares
    assert chosen[setting] <= chosen["target_100"]


def test_random_pairing_shifts_partners(heart):
    shifted, plain = (
        DAFNET.parser("train", "demo", name, small=True, dataset_dir=str(heart)).get_parsed_content("train#dataset")
        for name in ("random_pairing", "film")
    )
    differing = [not torch.equal(shifted.subject(n)["image"][0], plain.subject(n)["image"][0]) for n in range(2)]
    assert any(differing)  # the cine slice, which is the partner
    assert all(torch.equal(shifted.subject(n)["image"][1], plain.subject(n)["image"][1]) for n in range(2))


def test_paper_size():
    """By hand: the paper counts 43,252,120 for five classes; the segmentor's 1 x 1 layer has 64 + 1 weights a class."""
    config = DAFNET.parser("train")
    with torch.device("meta"):
        network, discriminator = (config.get_parsed_content(name) for name in ("network_def", "mask_discriminator"))
    assert sum(p.numel() for p in network.parameters()) == 43_252_120 - 65
    channels = DAFNET.content("metadata")["network_data_format"]["inputs"]["image"]["channel_def"]
    assert list(channels.values()) == config["modalities"]
    # by hand: four classes have three foreground channels; the first 4 x 4 layer has 16 * 64 weights a channel
    assert sum(p.numel() for p in discriminator.parameters()) == 2_942_401 - 16 * 64


# ---- a run and what it leaves


@pytest.mark.parametrize("overlays", [(), ("automated_pairing",), ("unet_both",), ("sdnet_multi", "target_0")])
def test_a_run_leaves_weights_and_inference_builds_their_network(overlays, trained, heart, tmp_path):
    out, workflow = trained(DAFNET, heart, *overlays)
    trainer, evaluator = workflow.trainer, workflow.evaluator
    assert (trainer.state.epoch, trainer.state.iteration) == (1, 2)
    assert all(np.isfinite(value) for value in trainer.state.metrics.values())
    assert 0 <= evaluator.state.metrics["val_mean_dice"] <= 1
    assert sorted(path.name for path in (out / "models").iterdir()) == [
        "last.pt",
        "model.pt",
        "resume.pt",
        "settings.json",
    ]
    assert saved_shapes(out / "models" / "model.pt") == shapes(workflow.network_def)
    phases = ["generator", "mask_discriminator", "image_discriminators"]
    phases = {"unet_both": ["segmentation"], "sdnet_multi": ["generator", "latent", "mask_discriminator"]}.get(
        (*overlays, "")[0], phases
    )
    assert sorted(trainer.optimizers) == sorted(phases)
    assert trainer.state.metrics[f"{phases[0]}/supervised"] > 0
    weights = [value for name, value in trainer.state.metrics.items() if "/pair_weight_" in name]
    assert (len(weights), sum(weights)) == ((3, pytest.approx(1)) if "automated_pairing" in overlays else (0, 0))
    channels = 6 if "automated_pairing" in overlays else 2
    assert workflow.parser.get_parsed_content("train#dataset")[0]["image"].shape == (channels, 48, 48)
    volumes = DAFNET.infer(tmp_path, heart, ckpt_dir=str(out / "models"))
    assert list(volumes) == ["s05_lge_seg.nii.gz", "s06_lge_seg.nii.gz"]


def test_the_record_holds_the_settings_as_they_were_run(trained, heart):
    """Of the files, the overlays and the overrides; what is built is no setting."""
    about = json.loads(
        (trained(DAFNET, heart, "automated_pairing")[0] / "eval" / "run.json").read_text(encoding="utf-8")
    )
    settings = about["settings"]
    given = {"num_candidates": 3, "candidates": "random", "max_epochs": 1, "features": [4, 4, 4, 4, 8], "seed": 10}
    assert {name: settings[name] for name in given} == given
    assert settings["loss_weights"]["generator"]["offset"] == 1000.0
    assert settings["phantom"]["modalities"] == settings["validation_modalities"] == ["cine", "lge"]
    assert not {"network_def", "device", "image_discriminators", "train", "run", "imports"} & set(settings)
    assert (about["seed"], about["method"], about["modality"]) == (10, "dafnet", "lge")


def test_the_demo_keeps_the_last_model(heart, tmp_path):
    """Scores of one small validation fold choose badly; the weights at the end do not depend on them."""
    config = DAFNET.parser("train", "demo")
    assert (config["final_model"], config["averaging"], config["val_interval"]) == (
        "model.pt",
        None,
        config["max_epochs"],
    )
    workflow = DAFNET.train(tmp_path, heart, "unet_source", final_model=config["final_model"])
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["model.pt", "resume.pt", "settings.json"]
    kept = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    torch.testing.assert_close(kept, workflow.network_def.state_dict(), rtol=0, atol=0)


def test_the_method_keeps_the_best_and_the_last_average(heart, tmp_path):
    """As the bundle's docs say: ``model.pt`` by the validation, ``last.pt`` at the end, both of averaged weights."""
    config = DAFNET.parser("train")
    assert (config["final_model"], config["val_interval"], config["averaging#start_epoch"]) == ("last.pt", 1, 40)
    settings = {"averaging": {**config["averaging"], "start_epoch": 0}, "max_epochs": 3}
    workflow = DAFNET.load(("train", "demo", "unet_source"), tmp_path, heart, **settings)
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
    DAFNET.train(tmp_path, heart, max_epochs=1)
    first = torch.load(tmp_path / "models" / "resume.pt", weights_only=True)
    workflow = DAFNET.train(tmp_path, heart, max_epochs=3, resume=True)
    last = torch.load(tmp_path / "models" / "resume.pt", weights_only=True)
    assert (first["epoch"], last["epoch"], workflow.trainer.state.iteration) == (1, 3, 6)
    terms = (tmp_path / "eval" / "terms.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in terms] == ["epoch", "1", "2", "3"]
    # a third run has nothing to do, and does not spoil what is there
    DAFNET.train(tmp_path, heart, max_epochs=3, resume=True)
    again = torch.load(tmp_path / "models" / "resume.pt", weights_only=True)
    key = next(key for key, value in last["objective"].items() if torch.is_tensor(value))
    assert torch.equal(last["objective"][key], again["objective"][key])


def test_evaluation_scores_pictures_and_page(trained, heart, tmp_path):
    out, _ = trained(DAFNET, heart, "target_0")
    run = DAFNET.evaluate(tmp_path, heart, "target_0", ckpt_dir=str(out / "models"))
    for subject in ("s05", "s06"):
        predicted = nib.load(run / "predictions" / f"{subject}_lge_seg.nii.gz")
        same_place(predicted, nib.load(heart / "images" / f"{subject}_lge.nii.gz"), classes=4)
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
    out, _ = trained(DAFNET, heart, "unet_source")
    DAFNET.evaluate(tmp_path, heart, "unet_source", ckpt_dir=str(out / "models"), method="unet", paper_dice=True)
    assert "| Dice as in the paper |" in (tmp_path / "eval" / "metrics" / "unet.md").read_text(encoding="utf-8")
    assert [p.name for p in (tmp_path / "eval" / "figures").glob("*.png")] == ["overlay.png"]


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
    workflow = DAFNET.train(tmp_path, data, setting)
    assert workflow.trainer.state.iteration == 2
    assert str(bad) not in opened
    assert any("lge" in path for path in opened) or opened == []
    # the paper's way of choosing the model does read those of the validation fold
    with pytest.raises((RuntimeError, ValueError)) as error:
        DAFNET.train(tmp_path / "paper", data, "target_0_paper_selection")
    assert "bad.nii.gz" in causes(error.value)
