# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What TensorBoard and MLflow are told of a training."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.handlers import MLFlowHandler, mlflow_handler

from monai_mmseg.handlers import MLflowRecord, TensorBoardRecord, ValidationPicture

SETTINGS = {"max_epochs": 2, "labels": {"0": "background", "1": "LV"}, "sizes": [8, 16]}


def volume_batch(shape=(8, 6, 4), shown=2):
    """A volume whose label has most voxels in one slice."""
    label = torch.zeros(shape)
    label[2:4, 2, 0], label[2:5, 1:4, shown] = 1, 1
    onehot = MetaTensor(torch.stack([1 - label, label]), affine=torch.eye(4))
    image = MetaTensor(torch.arange(label.numel()).reshape(1, *shape).float(), affine=torch.eye(4))
    return {"subject": "s01", "modality": "lge", "image": image, "label": onehot, "pred": onehot}


def evaluator():
    def step(engine, batch):
        engine.state.batch, engine.state.output = [batch], [batch]
        engine.state.metrics["dice/lge/LV"] = 1.0
        return engine.state.output

    return Engine(step)


def trainer(validator, *handlers, fail=False):
    weight = torch.nn.Parameter(torch.zeros(1))

    def step(engine, batch):
        if fail and engine.state.epoch == 2:
            raise FloatingPointError("not finite")
        engine.state.metrics["fit/total"] = 1.0 / engine.state.epoch
        return [{"loss": torch.tensor(0.5)}]

    engine = Engine(step)
    engine.optimizers = {"fit": torch.optim.SGD([weight], lr=0.1)}
    for handler in handlers:
        handler.attach(engine)

    def validate(engine):
        validator.state.max_epochs = engine.state.epoch
        validator.state.epoch = engine.state.epoch - 1
        validator.run([volume_batch()], max_epochs=engine.state.epoch)
        engine.optimizers["fit"].param_groups[0]["lr"] /= 2

    engine.add_event_handler(Events.EPOCH_COMPLETED, validate)
    return engine


def test_the_picture_is_of_the_slice_with_most_label():
    pytest.importorskip("matplotlib")
    engine, picture = evaluator(), ValidationPicture(SETTINGS["labels"])
    picture.attach(engine)
    picture.attach(engine)  # whoever asks
    assert picture.figure() is None
    other = {**volume_batch(), "modality": "cine", "subject": "s02"}
    engine.run([volume_batch(), other, volume_batch()])
    texts = [text.get_text() for axes in picture.figure("epoch 1").axes for text in (*axes.texts, axes._left_title)]
    assert [text for text in texts if text.startswith("slice")] == ["slice 3", "slice 3"]
    assert [text for text in texts if text.startswith("s0")] == ["s01 lge", "s02 cine"]


def test_tensorboard_has_terms_rates_scores_settings_and_pictures(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("matplotlib")
    validator = evaluator()
    record = TensorBoardRecord(
        tmp_path, validator=validator, settings=SETTINGS, picture=ValidationPicture(SETTINGS["labels"])
    )
    trainer(validator, record).run([0], max_epochs=2)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == {"fit/total", "dice/lge/LV", "learning_rate/fit"}
    assert [(one.step, one.value) for one in events.Scalars("learning_rate/fit")] == [
        (1, pytest.approx(0.1)),
        (2, pytest.approx(0.05)),
    ]
    assert [one.step for one in events.Images("validation")] == [1, 2]
    (text,) = events.Tensors("settings/text_summary")
    assert "| labels#1 | LV |" in text.tensor_proto.string_val[0].decode()


def test_other_processes_write_nothing(tmp_path):
    engine = trainer(evaluator())
    engine.state.rank = 1
    TensorBoardRecord(tmp_path / "events").attach(engine)
    engine.run([0])
    assert not (tmp_path / "events").exists()


class Client:
    """Keeps what it is told, for all clients."""

    tracking_uri = "memory"

    def __init__(self, tracking_uri=None):
        self.__dict__ = STORE

    def get_experiment_by_name(self, name):
        return self.experiments.get(name)

    def create_experiment(self, name, artifact_location=None):
        self.experiments[name] = SimpleNamespace(experiment_id=name, lifecycle_stage="active")
        return name

    def get_experiment(self, name):
        return self.experiments[name]

    def search_runs(self, experiment):
        return [run for run in self.runs if run.experiment == experiment]

    def create_run(self, experiment_id, run_name):
        info = SimpleNamespace(run_id=str(len(self.runs)), run_name=run_name, status="RUNNING")
        self.runs.append(SimpleNamespace(info=info, data=SimpleNamespace(params={}), experiment=experiment_id))
        return self.runs[-1]

    def get_run(self, run_id):
        return self.runs[int(run_id)]

    def log_batch(self, run_id, metrics, params, tags):
        assert len(params) <= 100
        for key, value in params:
            assert self.get_run(run_id).data.params.setdefault(key, value) == value
        self.metrics += [(run_id, key, value, step) for key, value, _, step in metrics]

    def log_metric(self, run_id, key, value, step):
        self.metrics.append((run_id, key, value, step))

    def log_figure(self, run_id, figure, name):
        self.pictures.append((run_id, name))

    def log_artifact(self, *_):
        pass

    def set_terminated(self, run_id, status):
        self.get_run(run_id).info.status = status


STORE: dict = {}


@pytest.fixture
def mlflow(monkeypatch):
    STORE.clear()
    STORE.update(experiments={}, runs=[], metrics=[], pictures=[])
    entities = SimpleNamespace(
        Metric=lambda *fields: fields,
        Param=lambda *fields: fields,
        RunStatus=SimpleNamespace(to_string=str, FINISHED="FINISHED"),
        LifecycleStage=SimpleNamespace(ACTIVE="active"),
    )
    package = SimpleNamespace(MlflowClient=Client, entities=entities)
    monkeypatch.setattr(mlflow_handler, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    return SimpleNamespace(**STORE)


def tracked(folder, run_id="r1", fail=False, **of_monai):
    """A training with this handler and those that MONAI appends."""
    (folder / "run.json").write_text(json.dumps({"id": run_id}), encoding="utf-8")
    validator, uri = evaluator(), "sqlite:///memory.db"
    picture = ValidationPicture(SETTINGS["labels"])
    record = MLflowRecord(folder, "dafnet", validator=validator, settings=SETTINGS, picture=picture)
    loss = {"output_transform": lambda output: output[0]["loss"], "tag_name": "train_loss", "close_on_complete": True}
    MLFlowHandler(tracking_uri=uri, iteration_log=False, **of_monai).attach(validator)
    engine = trainer(validator, record, MLFlowHandler(tracking_uri=uri, **loss, **of_monai), fail=fail)
    engine.optimizer = engine.optimizers["fit"]  # MONAI's handler logs it under a name of its own
    engine.run([0], max_epochs=2)


def test_mlflow_has_one_run_with_all_of_it(mlflow, tmp_path):
    pytest.importorskip("matplotlib")
    tracked(tmp_path)
    assert list(mlflow.experiments) == ["dafnet"]
    (run,) = mlflow.runs
    assert (run.info.run_name, run.info.status) == ("r1", "FINISHED")
    assert run.data.params.items() >= {"labels/1": "LV", "sizes": "[8, 16]", "max_epochs": "2"}.items()
    assert {("0", "fit/total", 0.5, 2), ("0", "dice/lge/LV", 1.0, 2), ("0", "learning_rate/fit", 0.05, 2)} <= set(
        mlflow.metrics
    )
    assert mlflow.pictures == [("0", "validation/epoch_0001.png"), ("0", "validation/epoch_0002.png")]


def test_mlflow_goes_on_after_a_failure_and_keeps_names_of_the_user(mlflow, tmp_path):
    with pytest.raises(FloatingPointError, match="not finite"):
        tracked(tmp_path, fail=True)
    assert [run.info.status for run in mlflow.runs] == ["FAILED"]
    tracked(tmp_path)
    assert [run.info.status for run in mlflow.runs] == ["FINISHED"]
    tracked(tmp_path, "r2")
    tracked(tmp_path, experiment_name="mine", run_name="first")
    assert [(run.experiment, run.info.run_name) for run in mlflow.runs] == [
        ("dafnet", "r1"),
        ("dafnet", "r2"),
        ("mine", "first"),
    ]


def test_no_tracking_no_word(mlflow, tmp_path):
    trainer(evaluator(), MLflowRecord(tmp_path, "dafnet", settings=SETTINGS)).run([0])
    assert mlflow.runs == []


def test_without_the_packages_nothing_is_attached(monkeypatch, tmp_path):
    for name in ("mlflow", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    record = MLflowRecord(tmp_path, "dafnet", settings=SETTINGS), TensorBoardRecord(tmp_path, settings=SETTINGS)
    trainer(evaluator(), *record).run([0])
    assert list(tmp_path.iterdir()) == []
