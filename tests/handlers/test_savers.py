# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The best model by a key metric, and curves where TensorBoard is installed."""

import sys

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_mmseg.handlers import BestModelSaver, TensorBoardRecord


def test_the_best_network_is_kept(tmp_path):
    network, scores = nn.Linear(1, 1), iter([0.2, 0.6, 0.4])
    evaluator = SupervisedEvaluator(
        torch.device("cpu"), [{"image": torch.zeros(1, 1), "label": torch.zeros(1)}], network
    )
    evaluator.add_event_handler("EPOCH_COMPLETED", lambda engine: note(engine, next(scores)))
    BestModelSaver(tmp_path, network, "best.pt").attach(evaluator)

    def note(engine, score):
        nn.init.constant_(network.weight, score)
        engine.state.metrics["dice"] = score
        engine.state.key_metric_name = "dice"
        if score > engine.state.best_metric:
            engine.state.best_metric, engine.state.best_metric_epoch = score, engine.state.epoch

    for _ in range(3):
        evaluator.run()
    (path,) = tmp_path.iterdir()
    state = torch.load(path, weights_only=True)
    assert path.name == "best.pt"
    assert set(state) == set(network.state_dict())
    assert state["weight"].item() == pytest.approx(0.6)


def test_curves_need_the_package(tmp_path, monkeypatch):
    engine = Engine(lambda engine, batch: engine.state.metrics.update({"error": 0.5}))
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    TensorBoardRecord(tmp_path / "none").attach(engine)
    engine.run([0])
    assert not (tmp_path / "none").exists()
    monkeypatch.undo()
    pytest.importorskip("tensorboard")
    TensorBoardRecord(tmp_path / "some").attach(engine)
    engine.run([0], max_epochs=2)
    assert list((tmp_path / "some").glob("events.*"))
