# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Figures and measures of a trained DAFNet, on volumes whose answers are known."""

from __future__ import annotations

import json

import matplotlib.image
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_mmseg.networks.nets import DAFNet, SDNet, SelectModality
from monai_mmseg.report import dafnet, describe_dafnet, reconstructions
from monai_mmseg.runs import RunRecorder

SIZE, SLICES = 48, 3
LABELS = {"0": "background", "1": "LV"}


def network(**changes):
    settings = {
        "modalities": ("cine", "lge"),
        "target": "lge",
        "spatial_size": (SIZE, SIZE),
        "features": (4, 4, 8),
        "segmentor_features": 4,
    }
    return DAFNet(2, 1, 2, **{**settings, **changes}).train()


def volume(shift=0, modalities=2, present=None, labelled=None):
    """A square that lies ``shift`` columns further in modality 0; every class map is true."""
    label = torch.zeros(modalities, SIZE, SIZE, SLICES, dtype=torch.uint8)
    label[:, 16:32, 16:32] = 1
    label[0] = label[0].roll(shift, 1)
    image = label.float() * 1.5 - 1 + 0.1 * torch.rand(label.shape)
    seen = torch.ones(modalities, dtype=torch.bool) if present is None else torch.tensor(present)
    image[~seen] = float("nan")
    known = seen if labelled is None else torch.tensor(labelled)
    return {"image": MetaTensor(image), "label": MetaTensor(label), "labelled": known}


def subjects(number):
    return [{"subject": f"s{n}", "image": {}, "label": {}} for n in range(number)]


def describe(folder, net, transform, number=3, **more):
    with RunRecorder(folder, "trial") as recorder:
        return describe_dafnet(recorder, net, subjects(number), transform, LABELS, target="lge", **more)


def figures(folder):
    return {path.stem for path in (folder / "figures").glob("*.png")}


@pytest.fixture
def drawn(monkeypatch):
    """Names of the figures that would be drawn: most tests look at numbers, and drawing takes seconds."""
    names = set()
    for function in ("anatomy_figure", "alignment_figure", "traversal_figure"):
        monkeypatch.setattr(dafnet, function, lambda *args, **kwargs: None)
    monkeypatch.setattr(reconstructions, "cross_reconstruction_figure", lambda *args, **kwargs: None)
    monkeypatch.setattr(RunRecorder, "add_figure", lambda self, figure, name, caption: names.add(name))
    return names


def test_figures_and_measures(tmp_path):
    net = network()
    measures = describe(tmp_path, net, lambda item: volume())
    assert not net.training
    assert figures(tmp_path) == {"anatomy", "alignment", "reconstruction", "traversal_cine", "traversal_lge"}
    captions = json.loads((tmp_path / "figures" / "captions.json").read_text(encoding="utf-8"))
    assert {name.removesuffix(".png") for name in captions} == figures(tmp_path)
    for path in (tmp_path / "figures").glob("*.png"):
        assert np.ptp(matplotlib.image.imread(path)[..., :3]) > 0.5  # not blank
    stored = json.loads((tmp_path / "disentanglement.json").read_text(encoding="utf-8"))
    assert stored["registration"] == measures["registration"]


@pytest.mark.parametrize(("shift", "dice"), [(0, 1.0), (8, 0.5), (16, 0.0)])
def test_registration_before_the_deformation(shift, dice, drawn, tmp_path):
    """By hand: squares of 16 columns that are ``shift`` apart share 16 - shift; new transformers leave all as it is."""
    found = describe(tmp_path, network(), lambda item: volume(shift))["registration"]["cine"]
    assert found["subjects"] == 3
    assert found["before"] == pytest.approx(dice, abs=1e-6)
    assert found["after"] == pytest.approx(dice, abs=1e-6)


def test_registration_after_a_known_deformation(drawn, tmp_path):
    """All control points look 8 columns further: the mask of the source comes back onto the target's."""
    net = network()
    offsets = torch.zeros(25, 2)
    offsets[:, 1] = 8 / (SIZE - 1)
    last = [layer for layer in net.transformer.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.copy_(offsets.flatten())
    found = describe(tmp_path, net, lambda item: volume(8))["registration"]["cine"]
    assert found["before"] == pytest.approx(0.5, abs=1e-6)
    assert found["after"] == pytest.approx(1.0, abs=1e-6)


def test_subjects_without_one_of_the_masks_do_not_count(drawn, tmp_path):
    known = {"s0": volume(), "s1": volume(labelled=[True, False]), "s2": volume(present=[False, True])}
    found = describe(tmp_path, network(), lambda item: known[item["subject"]])
    assert found["registration"]["cine"]["subjects"] == 1


def test_nobody_to_register(drawn, tmp_path):
    found = describe(tmp_path, network(), lambda item: volume(labelled=[True, False]))
    assert found["registration"] == {}
    assert drawn == {"anatomy", "reconstruction", "traversal_cine", "traversal_lge"}


def test_without_transformer_nothing_is_registered(drawn, tmp_path):
    found = describe(tmp_path, network(align=False), lambda item: volume())
    assert "registration" not in found
    assert "alignment" not in drawn


def test_three_modalities(drawn, tmp_path):
    net = network(modalities=("cine", "lge", "t2"))
    found = describe(tmp_path, net, lambda item: volume(8, modalities=3))
    assert set(found["registration"]) == {"cine", "t2"}
    assert found["registration"]["t2"]["before"] == pytest.approx(1.0, abs=1e-6)
    assert found["registration"]["cine"]["before"] == pytest.approx(0.5, abs=1e-6)
    assert "traversal_t2" in drawn


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_two_pictures_show_the_same_slice(number, monkeypatch, tmp_path):
    """Every slice has a grey value of its own, by which it is known again."""

    def known(item):
        one = volume()
        one["image"] = MetaTensor(one["image"] * 0 + float(item["subject"][1]) + 0.1 * torch.arange(SLICES))
        return one

    shown, titles = [], []
    monkeypatch.setattr(reconstructions, "cross_reconstruction_figure", lambda *args, **kwargs: None)
    monkeypatch.setattr(RunRecorder, "add_figure", lambda self, figure, name, caption: None)
    monkeypatch.setattr(dafnet, "anatomy_figure", lambda images, *_, title: shown.append(float(images["lge"].mean())))
    monkeypatch.setattr(
        dafnet, "alignment_figure", lambda pairs, *_, **__: shown.extend(float(pair.fixed.mean()) for pair in pairs)
    )
    monkeypatch.setattr(dafnet, "traversal_figure", lambda found, title: titles.append(title.split(", ", 2)[2]))
    describe(tmp_path, network(), known, number)
    shown += [int(title[1]) + 0.1 * (int(title[-1]) - 1) for title in titles]  # "s0, slice 2"
    found = [round(value, 3) for value in shown]
    assert len(found) == 1 + number + 2
    assert len(set(found)) == min(len(found), number * SLICES)


def test_one_subject_keeps_its_figures(drawn, tmp_path):
    """Subjects are split for the modality classification; one alone cannot be, and that costs no picture."""
    describe(tmp_path, network(), lambda item: volume(), number=1)
    assert drawn == {"anatomy", "alignment", "reconstruction", "traversal_cine", "traversal_lge"}


def test_modality_is_told_by_subjects_of_the_training(drawn, tmp_path):
    """Tested on all that is evaluated; a subject that is there too is not trained on."""
    training = [{"subject": name, "image": {}, "label": {}} for name in ("t0", "t1", "s0")]
    describe(tmp_path, network(), lambda item: volume(), number=1, training=training)
    found = json.loads((tmp_path / "disentanglement.json").read_text(encoding="utf-8"))["modality_classification"]
    assert (found["train_subjects"], found["test_subjects"]) == (["t0", "t1"], ["s0"])


def test_reconstructions_of_one_image_at_a_time(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(RunRecorder, "add_figure", lambda self, figure, name, caption: shown.append(name))
    monkeypatch.setattr(
        reconstructions, "cross_reconstruction_figure", lambda images, rebuilt, title: shown.append((images, rebuilt))
    )
    net = SelectModality(SDNet(2, 1, 2, spatial_size=(SIZE, SIZE), features=(2, 4)), 1, 2)
    assert describe(tmp_path, net, lambda item: volume(present=[True, True])) == {}
    (images, rebuilt), name = shown
    assert name == "reconstruction"
    assert [target for _, target in rebuilt] == list(images) == ["modality 1", "modality 2"]
    assert all(np.abs(image).max() <= 1 for image in rebuilt.values())


def test_other_networks_get_no_factors(tmp_path):
    assert describe(tmp_path, nn.Conv2d(2, 2, 1), lambda item: volume()) == {}
    assert not (tmp_path / "figures").exists()


def test_no_subject_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one subject"):
        describe(tmp_path, network(), lambda item: volume(), number=0)
