# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MONAI's tools drive a bundle with an ObjectiveTrainer as one with a SupervisedTrainer."""

import sys
import types

import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

from tests.bundle.toy_bundle import write_bundle
from tests.engines.toy import ToyNetwork

# monai reminds that configs received from a server are code
pytestmark = pytest.mark.filterwarnings("ignore:.*(config|bundle).*:UserWarning")


def test_federated_rounds_exchange_the_bare_network(tmp_path):
    train = write_bundle(tmp_path / "toy")
    algo = MonaiAlgo(str(train.parent.parent), local_epochs=1, config_evaluate_filename=None, send_weight_diff=False)
    algo.initialize(extra={ExtraItems.CLIENT_NAME: "site-1"})
    weights = {k: v.clone() for k, v in ToyNetwork().state_dict().items()}
    for round_ in (1, 2):
        algo.train(ExchangeObject(weights=weights))
        received = algo.get_weights()
        assert received.weights.keys() == weights.keys()
        assert received.statistics["num_executed_iterations"] == 3
        assert algo.trainer.state.epoch == round_
        assert not torch.equal(received.weights["shared.3.weight"], weights["shared.3.weight"])
        weights = {k: v.clone() for k, v in received.weights.items()}


def test_monai_label_overrides(tmp_path):
    train = write_bundle(tmp_path / "toy")
    torch.save(ToyNetwork().state_dict(), tmp_path / "start.pt")
    workflow = ConfigWorkflow(str(train), workflow_type="train", device="cpu", **{"train#trainer#max_epochs": 2})
    loader = {
        "_target_": "CheckpointLoader",
        "load_path": str(tmp_path / "start.pt"),
        "load_dict": {"model": "@network"},
    }
    workflow.parser["train#handlers"].insert(0, loader)
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    assert workflow.trainer.state.epoch == 2


def test_tracking_with_mlflow(tmp_path, monkeypatch):
    """MONAI's handler with a client that keeps what it is told: the loss each iteration, every term each epoch."""
    logged = {}

    class Client:
        tracking_uri = "memory"

        def __init__(self, tracking_uri=None):
            pass

        def get_experiment_by_name(self, name):
            return types.SimpleNamespace(experiment_id="0", lifecycle_stage="active")

        def search_runs(self, experiment):
            return []

        def create_run(self, experiment_id, run_name):
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r", run_name=run_name))

        def get_run(self, run_id):
            return types.SimpleNamespace(data=types.SimpleNamespace(params={}))

        def log_batch(self, run_id, metrics, params, tags):
            for key, value, _, step in metrics:
                logged.setdefault(key, {})[step] = float(value)

        def log_artifact(self, *_):
            pass

        def set_terminated(self, *_):
            pass

    entities = types.SimpleNamespace(
        Metric=lambda *fields: fields,
        Param=lambda *fields: fields,
        RunStatus=types.SimpleNamespace(to_string=str, FINISHED="finished"),
        LifecycleStage=types.SimpleNamespace(ACTIVE="active"),
    )
    from monai.handlers import mlflow_handler

    monkeypatch.setattr(mlflow_handler, "mlflow", types.SimpleNamespace(MlflowClient=Client, entities=entities))
    train = write_bundle(tmp_path / "toy")
    argv = ["monai/bundle/__main__.py", "run", "--config_file", str(train), "--tracking", "mlflow", "--run_name", "a"]
    monkeypatch.setattr(sys, "argv", argv)
    workflow = ConfigWorkflow(str(train), workflow_type="train", tracking="mlflow", run_name="a")
    workflow.initialize()
    workflow.run()
    assert sorted(logged["train_loss"]) == [1, 2, 3]
    assert {"fit/supervised", "fit/adversarial", "fit/total", "critic/real", "critic/fake"} <= logged.keys()
    assert sum(logged["train_loss"].values()) / 3 == pytest.approx(logged["fit/total"][1], abs=1e-6)
    assert "mean_error" in logged
