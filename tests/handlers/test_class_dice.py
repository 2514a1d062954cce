# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Dice by modality and class: the parts of MONAI's DiceMetric, whatever the processes."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import DiceMetric

from monai_mmseg.handlers import ClassDiceHandler, RunRecordHandler
from monai_mmseg.runs import read_terms

LABELS = {"0": "background", "1": "LV", "2": "myocardium", "3": "RV"}


def one_hot(values):
    return torch.nn.functional.one_hot(values, len(LABELS)).movedim(-1, 0).float()


def samples(count=4, classes=3):
    """Random masks; class 3 is in no label of "ct", and in the prediction of the first volume only."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for number in range(count):
        label = torch.randint(classes, (6, 5, 4), generator=generator)
        prediction = torch.randint(classes, (6, 5, 4), generator=generator)
        if number == 0:
            prediction[0, 0] = 3
        elif number % 2:
            label[0, 0] = 3
        made.append({"modality": ["ct", "mr"][number % 2], "label": one_hot(label), "pred": one_hot(prediction)})
    return made


def evaluator(*handlers, **settings):
    def step(engine, batch):
        engine.state.batch, engine.state.output = [batch], [{key: batch[key] for key in ("pred", "label")}]
        return engine.state.output

    engine = Engine(step)
    for handler in (ClassDiceHandler(LABELS, **settings), *handlers):
        handler.attach(engine)
    return engine


def test_parts_of_the_metric_of_monai():
    data = samples()
    engine = evaluator()
    IgniteMetricHandler(
        DiceMetric(include_background=False, ignore_empty=False), output_transform=from_engine(["pred", "label"])
    ).attach(engine, "val_mean_dice")
    found = engine.run(data).metrics
    for number, modality in enumerate(("ct", "mr")):
        metric = DiceMetric(include_background=False, ignore_empty=False, reduction="none")
        for one in data[number::2]:
            metric([one["pred"]], [one["label"]])
        expected = metric.aggregate()
        assert found[f"dice/{modality}"] == pytest.approx(expected.mean().item(), abs=1e-6)
        for index, name in enumerate(("LV", "myocardium", "RV")):
            assert found[f"dice/{modality}/{name}"] == pytest.approx(expected[:, index].mean().item(), abs=1e-6)
    assert (found["dice/ct"] + found["dice/mr"]) / 2 == pytest.approx(found["val_mean_dice"], abs=1e-6)


def test_a_class_without_label_is_named():
    state = evaluator().run(samples())
    assert state.metrics["dice/ct/RV"] == 0.5  # predicted in one of two volumes that do not have it
    assert state.dice_without_label == ["dice/ct/RV"]


def test_the_modality_is_given_or_an_index():
    data = samples()
    assert set(evaluator(modality="lge").run(data).metrics) == {
        "dice/lge",
        *(f"dice/lge/{name}" for name in ("LV", "myocardium", "RV")),
    }
    indexed = [{**one, "modality": torch.tensor(["ct", "mr"].index(one["modality"]))} for one in data]
    assert evaluator(modalities=["ct", "mr"]).run(indexed).metrics == evaluator().run(data).metrics


def test_a_modality_that_is_gone_leaves_no_old_value():
    engine = evaluator()
    engine.run(samples(4))
    engine.run(samples(1))
    assert {key.split("/")[1] for key in engine.state.metrics} == {"ct"}


def test_columns_of_the_run_folder(tmp_path):
    validator = evaluator()
    trainer = Engine(lambda engine, batch: None)
    RunRecordHandler(tmp_path, "trial", validator=validator).attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: validator.run(samples()))
    trainer.run([0])
    assert {"validation/dice/ct", "validation/dice/mr/LV"} < set(read_terms(tmp_path / "terms.csv")[1])


def test_processes_see_the_volumes_of_all(monkeypatch):
    """Two of ct in this process, one of mr in another, whose part comes with the gathering."""
    parts = {}
    gather = "monai_mmseg.handlers.class_dice.gather_mapping"
    monkeypatch.setattr(gather, lambda own: parts.setdefault("1", own["0"]) and own)
    evaluator().run(samples(3)[1::2])
    monkeypatch.setattr(gather, lambda own: {**own, **parts})
    found = evaluator().run(samples(3)[0::2]).metrics
    monkeypatch.undo()
    assert found == evaluator().run(samples(3)).metrics
    assert set(found) > {"dice/ct", "dice/mr"}


def test_what_cannot_be_meant():
    with pytest.raises(ValueError, match=r"labels must name the classes 0, 1, \.\.\., got \{'1': 'LV'\}"):
        ClassDiceHandler({"1": "LV"})
    engine = evaluator()
    with pytest.raises(ValueError, match=r"the background and \('LV', 'myocardium', 'RV'\), got shapes \(2, 6, 5, 4\)"):
        engine.run([{**samples(1)[0], "pred": samples(1)[0]["pred"][:2]}])
    with pytest.raises(
        KeyError, match=r"ClassDiceHandler needs 'modality' in the batch, there are \['label', 'pred'\]"
    ):
        evaluator().run([{key: samples(1)[0][key] for key in ("pred", "label")}])


def test_a_class_that_the_label_does_not_show_counts_nowhere():
    right, hidden = one_hot(torch.tensor([[[0, 1, 2]]])), torch.tensor([False, False, True, False])
    wrong = {"modality": "ct", "label": right, "pred": one_hot(torch.tensor([[[0, 1, 0]]]))}
    partly = {**wrong, "label": one_hot(torch.tensor([[[0, 1, 0]]])), "unknown": hidden}
    engine = evaluator(ClassDiceHandler(LABELS, modalities=["ct"]))
    engine.run([wrong, partly])
    assert engine.state.metrics["dice/ct/LV"] == 1
    assert engine.state.metrics["dice/ct/myocardium"] == 0  # of the first alone
    assert engine.state.metrics["dice/ct"] == pytest.approx((1 + 0 + 1 + 1 + 1) / 5)


def test_a_class_that_no_label_shows_has_no_value():
    right, hidden = one_hot(torch.tensor([[[0, 1, 0]]])), torch.tensor([False, False, True, False])
    engine = evaluator(ClassDiceHandler(LABELS, modalities=["ct"]))
    engine.run([{"modality": "ct", "label": right, "pred": right, "unknown": hidden}])
    assert "dice/ct/myocardium" not in engine.state.metrics
    assert engine.state.metrics["dice/ct"] == 1
