# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Knowledge of validation data: that of all volumes together, whatever comes after the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted
from torch import nn

from monai_mmseg.engines import PrepareModalityBatch
from monai_mmseg.handlers import ClassConfusionHandler, RunRecordHandler
from monai_mmseg.losses import knowledge_distillation_loss
from monai_mmseg.runs import read_knowledge, read_terms

MODALITIES, LABELS = ["ct", "mr"], {"0": "background", "1": "liver", "2": "spleen"}


class Shift(nn.Module):
    """Three logits of one channel, another offset for each modality."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)

    def forward(self, image, modality="ct"):
        return self.conv(image) + (modality == "mr") * torch.tensor([0.0, 2.0, 1.0])[:, None, None]


def volumes(modalities=("ct", "mr", "mr"), names=True, classes=3, size=6):
    generator = torch.Generator().manual_seed(5)
    return [
        {
            "image": MetaTensor(torch.randn(1, 1, size, size + i, generator=generator)),
            "label": MetaTensor(torch.randint(classes, (1, 1, size, size + i), generator=generator).float()),
            "modality": [name] if names else torch.tensor([MODALITIES.index(name)]),
        }
        for i, name in enumerate(modalities)
    ]


def evaluator(data, *handlers, network=None, **settings):
    torch.manual_seed(1)
    return SupervisedEvaluator(
        "cpu",
        data,
        network or Shift(),
        prepare_batch=PrepareModalityBatch(MODALITIES),
        postprocessing=AsDiscreted(["pred", "label"], argmax=[True, False], to_onehot=3),
        val_handlers=handlers,
        **settings,
    )


def expected_loss(data, **settings):
    torch.manual_seed(1)
    network, logits, labels = Shift(), {"ct": [], "mr": []}, {"ct": [], "mr": []}
    for item in data:
        (name,) = item["modality"]
        with torch.no_grad():
            logits[name].append(network(item["image"].as_tensor(), name).flatten(2))
        labels[name].append(item["label"].as_tensor().flatten(2))
    return knowledge_distillation_loss(
        [torch.cat(logits[name], 2) for name in MODALITIES],
        [torch.cat(labels[name], 2) for name in MODALITIES],
        **settings,
    ).item()


@pytest.mark.parametrize("names", [True, False])
def test_loss_of_all_volumes_together(tmp_path, names):
    record = ClassConfusionHandler(tmp_path, MODALITIES, LABELS, temperature=3)
    engine = evaluator(volumes(names=names), record)
    engine.run()
    engine.run()  # nothing is left from the run before
    history = read_knowledge(tmp_path / "knowledge.npz")
    assert history.epochs.tolist() == [1]
    assert (history.modalities, history.classes) == (("ct", "mr"), ("background", "liver", "spleen"))
    assert history.matrices.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(history.matrices.sum(-1), 1)
    assert history.loss[0] == pytest.approx(expected_loss(volumes(), temperature=3), rel=1e-5)
    assert engine.state.metrics["knowledge_distillation"] == history.loss[0]


def test_epochs_of_a_training_and_its_curve(tmp_path):
    data, record = volumes(), ClassConfusionHandler(tmp_path, MODALITIES, LABELS)
    validator = evaluator(data, record)
    trainer = Engine(lambda engine, batch: engine.state.metrics.update({"fit/error": 1.0}))
    RunRecordHandler(tmp_path, "a", validator=validator).attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate():
        with torch.no_grad():
            validator.network.conv.bias.mul_(0)
        validator.run(trainer.state.epoch)

    trainer.run([0], max_epochs=3)
    history = read_knowledge(tmp_path / "knowledge.npz")
    assert history.epochs.tolist() == [1, 2, 3]
    epochs, terms = read_terms(tmp_path / "terms.csv")
    assert epochs == [1, 2, 3]
    assert terms["validation/knowledge_distillation"] == pytest.approx(history.loss.tolist(), rel=1e-6)


def test_what_is_not_there_is_nan(tmp_path):
    record = ClassConfusionHandler(tmp_path, MODALITIES, LABELS)
    engine = evaluator(volumes(classes=2), record)
    engine.run()
    assert np.isfinite(engine.state.metrics["knowledge_distillation"])
    engine = evaluator(volumes(("mr", "mr")), record)
    engine.state.metrics["knowledge_distillation"] = 0.5
    engine.run(2)
    history = read_knowledge(tmp_path / "knowledge.npz")
    assert np.isnan(history.matrices[0, :, 2]).all()  # no pixel of class 2
    assert np.isfinite(history.matrices[0, :, :2]).all()
    assert np.isnan(history.matrices[1, 0]).all()  # no volume of ct
    assert np.isfinite(history.matrices[1, 1]).all()
    assert np.isnan(history.loss[1])
    assert "knowledge_distillation" not in engine.state.metrics


def test_rows_without_a_label_do_not_count(tmp_path):
    data = volumes()
    for item, labelled in zip(data, (True, True, False), strict=True):
        item["labelled"] = torch.tensor([labelled])
    evaluator(data, ClassConfusionHandler(tmp_path, MODALITIES, LABELS)).run()
    assert read_knowledge(tmp_path / "knowledge.npz").loss[0] == pytest.approx(expected_loss(data[:2]), rel=1e-5)


def test_no_data_at_all(tmp_path):
    record, engine = ClassConfusionHandler(tmp_path, MODALITIES, LABELS), Engine(lambda engine, batch: None)
    engine.state.epoch = 1
    record._finish(engine)
    assert np.isnan(read_knowledge(tmp_path / "knowledge.npz").matrices).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"labels": {1: "liver", 2: "spleen"}},
            "labels must name the classes 0, 1, ..., got {1: 'liver', 2: 'spleen'}.",
        ),
        ({"modalities": "ct"}, "modalities must list names, got 'ct'."),
        ({"temperature": 0}, "temperature must be positive, got 0."),
        ({"absent": "none"}, "absent must be 'uniform' or 'skip', got 'none'."),
    ],
)
def test_messages_of_settings(settings, message):
    with pytest.raises(ValueError) as error:
        ClassConfusionHandler(**{"run_dir": ".", "modalities": MODALITIES, "labels": LABELS, **settings})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("modality", "labels", "message"),
    [
        (["pet"], LABELS, "'modality' must name or index ('ct', 'mr'), got ['pet']."),
        (torch.tensor([2]), LABELS, "'modality' must name or index ('ct', 'mr'), got [2]."),
        (["ct", "ct"], LABELS, "'modality' must have one entry for each of 1 rows, got 2."),
        (None, LABELS, "ClassConfusionHandler needs 'modality' in the batch, there are ['image', 'label']."),
        (
            ["ct"],
            {0: "background", 1: "liver"},
            "ClassConfusionHandler needs logits of the classes ('background', 'liver'), got",
        ),
    ],
)
def test_messages_of_batches(tmp_path, modality, labels, message):
    data = volumes(("ct",))
    del data[0]["modality"]
    if modality is not None:
        data[0]["modality"] = modality
    record = ClassConfusionHandler(tmp_path, MODALITIES, labels)
    engine = evaluator(data, record)
    engine.prepare_batch = lambda batch, *_, **__: (batch["image"], batch["label"], (), {})
    with pytest.raises((ValueError, KeyError)) as error:
        engine.run()
    assert message in str(error.value)
