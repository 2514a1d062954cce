# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A training writes its own run folder, also when it fails or goes on."""

from __future__ import annotations

import json

import pytest
import torch
from ignite.engine import Engine, Events

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.handlers import RunRecordHandler
from monai_mmseg.objectives import SegmentationObjective
from monai_mmseg.report import write_report
from monai_mmseg.runs import read_terms


def trainer(fail_at=None):
    def step(engine, batch):
        if engine.state.epoch == fail_at:
            raise FloatingPointError("fit/error is NaN")
        engine.state.metrics.update({"fit/error": 1.0 / engine.state.epoch, "other": 3.0, "fit/text": "no number"})

    return Engine(step)


def test_terms_and_validation_share_a_line(tmp_path):
    engine, validator = trainer(), Engine(lambda engine, batch: engine.state.metrics.update({"dice": 0.5}))
    RunRecordHandler(tmp_path, "a", seed=4, validator=validator).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), lambda: validator.run([0]))
    engine.run([0, 1], max_epochs=3)
    epochs, terms = read_terms(tmp_path / "terms.csv")
    assert epochs == [1, 2, 3]
    assert terms == {"fit/error": [1.0, 0.5, pytest.approx(1 / 3)], "validation/dice": [None, 0.5, None]}
    about = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (about["status"], about["seed"]) == ("completed", 4)
    assert "fit" in write_report(tmp_path).read_text(encoding="utf-8")


def test_validation_before_the_line_and_before_training(tmp_path):
    engine, validator = trainer(), Engine(lambda engine, batch: engine.state.metrics.update({"dice": 0.5}))
    engine.add_event_handler(Events.STARTED, lambda: validator.run([0]))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: validator.run([0]))
    RunRecordHandler(tmp_path, "a", validator=validator).attach(engine)
    engine.run([0], max_epochs=1)
    assert read_terms(tmp_path / "terms.csv") == ([1], {"validation/dice": [0.5], "fit/error": [1.0]})


def test_failure_is_noted_and_raised(tmp_path):
    engine = trainer(fail_at=2)
    RunRecordHandler(tmp_path, "a").attach(engine)
    with pytest.raises(FloatingPointError, match="fit/error is NaN"):
        engine.run([0], max_epochs=3)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["status"] == "failed"
    assert "epoch 2: FloatingPointError: fit/error is NaN" in (tmp_path / "warnings.txt").read_text(encoding="utf-8")
    assert read_terms(tmp_path / "terms.csv")[0] == [1]


def test_resumed_run_replaces_its_lines(tmp_path):
    first = trainer()
    RunRecordHandler(tmp_path, "a").attach(first)
    first.run([0], max_epochs=4)
    again = Engine(lambda engine, batch: engine.state.metrics.update({"fit/error": 9.0}))
    RunRecordHandler(tmp_path, "a").attach(again)
    again.load_state_dict({"epoch": 2, "max_epochs": 3, "epoch_length": 1})
    again.run([0])
    assert read_terms(tmp_path / "terms.csv") == ([1, 2, 3], {"fit/error": [1.0, 0.5, 9.0]})


def test_checkpoint_that_is_loaded_later_keeps_the_lines(tmp_path):
    first = trainer()
    RunRecordHandler(tmp_path, "a").attach(first)
    first.run([0], max_epochs=2)
    again = trainer()
    RunRecordHandler(tmp_path, "a").attach(again)
    again.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "epoch", 1))
    again.run([0], max_epochs=3)
    assert read_terms(tmp_path / "terms.csv")[0] == [1, 2, 3]


def test_every_term_of_the_project_trainer(tmp_path):
    objective = SegmentationObjective(torch.nn.Conv2d(1, 2, 1), num_classes=2)
    present = torch.tensor([[True]] * 2)
    batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8).long()}
    adam = torch.optim.Adam(objective.parameter_groups("segmentation", lr=1e-2))
    batches = [{**batch, "present": present, "labelled": present}]
    handlers = [RunRecordHandler(tmp_path, "a")]
    ObjectiveTrainer("cpu", 3, batches, objective, {"segmentation": adam}, train_handlers=handlers).run()
    epochs, terms = read_terms(tmp_path / "terms.csv")
    assert epochs == [1, 2, 3]
    losses = terms["segmentation/total"]
    assert losses[0] > losses[1] > losses[2]  # each epoch its own mean, not that of the epoch before
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["status"] == "completed"


def test_only_the_first_process_writes(tmp_path):
    engine = trainer()
    engine.state.rank = 1
    RunRecordHandler(tmp_path / "run", "a").attach(engine)
    engine.run([0], max_epochs=1)
    assert not (tmp_path / "run").exists()
