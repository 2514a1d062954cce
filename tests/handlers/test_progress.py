# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The lines of a training and its bar."""

import logging
import re

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator

from monai_mmseg.handlers import Progress
from monai_mmseg.handlers.clock import EpochClock
from monai_mmseg.handlers.progress import validation_lines
from tests.engines.toy import toy_trainer


@pytest.fixture
def lines():
    """What goes to the console's logger, one text a line."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    console = logging.getLogger("monai_mmseg.console")
    level = console.level
    console.addHandler(handler)
    console.setLevel(logging.INFO)
    yield found
    console.removeHandler(handler)
    console.setLevel(level)


def validator(**metrics):
    engine = Engine(lambda engine, batch: None)
    engine.state.key_metric_name, engine.state.best_metric, engine.state.best_metric_epoch = "val_mean_dice", 0.73, 2

    def note(engine):
        engine.state.metrics.update(metrics)

    engine.add_event_handler(Events.EPOCH_COMPLETED, note)
    return engine


def run_validator(engine, every=1):
    def validate(trainer):
        engine.state.epoch, engine.state.max_epochs = trainer.state.epoch - 1, trainer.state.epoch
        engine.run([0], max_epochs=trainer.state.epoch)

    class Validate:
        def attach(self, trainer):
            trainer.add_event_handler(Events.EPOCH_COMPLETED(every=every), validate)

    return Validate()


def test_a_line_an_epoch(lines):
    toy_trainer(2, handlers=lambda *_: [Progress()]).run()
    assert re.fullmatch(r"training epochs 1 to 2, \d+ steps each", lines[0])
    epochs = [line for line in lines if line.startswith("epoch")]
    form = (
        r"epoch {}/2  fit [\d.e-]+ \(supervised [\d.e-]+, adversarial [\d.e-]+\)  critic [\d.e-]+  [\d.e+]+ steps/s{}"
    )
    assert re.fullmatch(form.format(1, r"  \d+:\d\d left"), epochs[0])
    assert re.fullmatch(form.format(2, ""), epochs[1])
    assert re.fullmatch(r"trained 2 epochs in \d+:\d\d", lines[-1])
    assert len(lines) == 4


def test_validation_by_modality_and_class_below_its_epoch(lines):
    metrics = {"dice/lge": 0.71, "dice/lge/LV": 0.8, "dice/lge/RV": 0.62, "val_mean_dice": 0.71}
    ours = validator(**metrics)
    toy_trainer(3, handlers=lambda *_: [run_validator(ours, 3), Progress(validator=ours, interval=3)]).run()
    kinds = [line.split()[0] for line in lines]
    assert kinds == ["training", "epoch", "epoch", "epoch", "lge", "trained"]
    assert lines[4] == "  lge 0.71: LV 0.80, RV 0.62 (best 0.73 at epoch 2)"
    assert "over " in lines[1]  # no validation was measured yet


def test_lines_of_several_modalities_and_of_classes_without_label():
    engine = validator()
    state = engine.state
    state.epoch = 2
    state.metrics = {
        "val_mean_dice": 0.6,
        "knowledge_distillation": 0.25,
        "dice/ct": 0.7,
        "dice/ct/liver": 1.0,
        "dice/mr": 0.5,
        "dice/mr/liver": 0.5,
        "text": "no number",
    }
    state.dice_without_label = ["dice/ct/liver"]
    assert validation_lines(state) == [
        "ct 0.70: liver 1.00 (in no label)",
        "mr 0.50: liver 0.50",
        "validation: mean Dice 0.60 (best so far), knowledge distillation 0.25",
    ]


def test_time_left_counts_validations(monkeypatch):
    """Epochs of 10 s, validations of 4 s after every second and the last one."""
    now = [100.0]
    monkeypatch.setattr("monai_mmseg.handlers.clock.time.monotonic", lambda: now[0])
    clock = EpochClock(interval=2)
    left = []
    for epoch in range(1, 4):
        clock.start_epoch()
        for _ in range(5):
            now[0] += 2
            clock.step()
        assert clock.steps_per_second() == pytest.approx(0.5)
        if epoch == 2:
            clock.start_validation()
            now[0] += 4
            clock.end_validation()
        clock.end_epoch()
        left.append(clock.left(epoch, 5))
    # after 1: 4 epochs; after 2: 3 epochs, validations after 4 and 5; after 3: 2 epochs and the same two
    assert left == ["over 0:40", "0:38", "0:28"]
    clock.interval = None  # one validation in three epochs: two epochs to come have two thirds of one
    assert clock.left(3, 5) == "0:23"


def test_early_end_is_said(lines):
    trainer = toy_trainer(5, handlers=lambda *_: [Progress()])
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda engine: engine.terminate())
    trainer.run()
    assert re.fullmatch(r"stopped early after epoch 2 of 5, in \d+:\d\d", lines[-1])


def test_long_epochs_and_evaluations_have_lines_between(lines):
    trainer = toy_trainer(1, handlers=lambda *_: [Progress(every=0.0)])
    trainer.run()
    assert re.fullmatch(r"epoch 1/1  step 1/\d+  [\d.e+]+ steps/s", lines[1])
    lines.clear()
    data = [{"image": torch.zeros(1, 1), "label": torch.zeros(1)}] * 3
    SupervisedEvaluator(torch.device("cpu"), data, torch.nn.Linear(1, 1), val_handlers=[Progress(every=0.0)]).run()
    assert lines == ["  volume 1/3  0:00 left", "  volume 2/3  0:00 left"]


def test_quiet_where_nobody_asked_for_it(capfd):
    toy_trainer(1, handlers=lambda *_: [Progress()]).run()
    shown = capfd.readouterr()
    assert "epoch" not in shown.err + shown.out


def test_bar_shows_the_means_of_the_epoch_before(capfd):
    pytest.importorskip("tqdm")
    toy_trainer(2, handlers=lambda *_: [Progress(["fit/total"], enabled=True)]).run()
    shown = capfd.readouterr().err
    assert "epoch [2/2]" in shown
    assert "fit/total=" in shown


def test_other_processes_are_quiet(capfd, lines):
    trainer = toy_trainer(1)
    trainer.state.rank = 1
    Progress(enabled=True).attach(trainer)
    trainer.run()
    assert "epoch" not in capfd.readouterr().err
    assert lines == []
