# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math
import multiprocessing
import signal

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointSaver, LrScheduleHandler

from monai_mmseg.engines import HoldThenCosine
from monai_mmseg.handlers import AveragedValidationHandler, EarlyStop, FinalModelSaver, ResumeCheckpoint
from tests.engines.toy import toy_items, toy_trainer
from tests.handlers.killed_run import run
from tests.processes import run_module


@pytest.mark.slow
@pytest.mark.parametrize(("decay", "workers"), [(None, 0), (0.9, 2)])
def test_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, repository, decay, workers):
    averaging = {"start_epoch": 1, "decay": decay}
    whole, whole_weights, _ = run(tmp_path / "whole", resume=False, averaging=averaging, workers=workers)
    words = ["tests.handlers.killed_run", str(tmp_path / "run"), str(decay).lower(), str(workers)]
    code, _, said = run_module(words, cwd=repository)
    assert code == -signal.SIGKILL, said
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["resume.pt"]
    rest, rest_weights, trainer = run(tmp_path / "run", resume=True, averaging=averaging, workers=workers)
    # killed in iteration 13, the third of epoch 3: the run goes on after epoch 2
    assert sorted(rest) == list(range(11, 36))
    assert trainer.state.epoch == 7
    # the first epochs were computed by another process, which may round the last bit otherwise; another draw of random
    # numbers would differ in the third digit
    for iteration, values in rest.items():
        assert values == pytest.approx(whole[iteration], rel=1e-4, abs=1e-5), f"iteration {iteration}"
    torch.testing.assert_close(rest_weights, whole_weights, rtol=1e-4, atol=1e-4)
    assert trainer.bare_objective.steps == 35


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_resumed_run_is_equal_bit_by_bit_whatever_the_workers(tmp_path, workers):
    averaging = {"start_epoch": 1, "decay": 0.9}
    whole, whole_weights, _ = run(tmp_path / "whole", resume=False, averaging=averaging, epochs=4)
    run(tmp_path / "run", resume=False, averaging=averaging, workers=workers, epochs=2)
    rest, weights, trainer = run(tmp_path / "run", resume=True, averaging=averaging, workers=workers, epochs=4)
    assert rest == {iteration: losses for iteration, losses in whole.items() if iteration > 10}
    assert torch.equal(weights, whole_weights)
    assert trainer.data_loader._iterator is None  # no worker outlives the run
    assert multiprocessing.active_children() == []


def test_file_holds_plain_values_and_every_part(tmp_path):
    def handlers(*_):
        return [ResumeCheckpoint(tmp_path)]

    toy_trainer(1, handlers=handlers, averaging={"start_epoch": 0}).run()
    state = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert (state["epoch"], state["iteration"], state["epoch_length"], state["seed"]) == (1, 5, 5, 5)
    assert state["objective"]["_extra_state"] == {"steps": 5}
    assert set(state["optimizers"]) == {"fit", "critic"}
    assert state["averaging"]["averaged"]["n_averaged"].item() == 1


def test_gradient_scalers_are_kept(tmp_path):
    def with_scaler(epochs, scale):
        trainer = toy_trainer(epochs, handlers=lambda *_: [ResumeCheckpoint(tmp_path, resume=True)])
        for phase in trainer.phases:
            phase.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer.run()
        return [phase.scaler.get_scale() for phase in trainer.phases]

    assert with_scaler(1, 2.0**8) == [2.0**8] * 2
    assert with_scaler(2, 2.0**4) == [2.0**8] * 2


def test_every_and_the_last_epoch(tmp_path):
    saved = []
    handler = ResumeCheckpoint(tmp_path, every=2)
    trainer = toy_trainer(3, handlers=lambda *_: [handler])
    trainer.add_event_handler(
        Events.EPOCH_STARTED,
        lambda engine: saved.append(handler.path.exists() and torch.load(handler.path, weights_only=True)["epoch"]),
    )
    trainer.run()
    assert saved == [False, False, 2]
    assert torch.load(handler.path, weights_only=True)["epoch"] == 3


def test_without_resume_the_run_starts_anew(tmp_path):
    for resume, iterations in [(False, 5), (False, 5), (True, 0)]:
        done = []
        trainer = toy_trainer(1, handlers=lambda *_, resume=resume: [ResumeCheckpoint(tmp_path, resume=resume)])
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine, done=done: done.append(0))
        trainer.run()
        assert len(done) == iterations


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 6}, r"seed 5 \(now 6\)"),
        ({"epoch_length": 3}, r"epoch_length 5 \(now 3\)"),
        ({"averaging": {"start_epoch": 0}}, r"averaging False \(now True\)"),
    ],
)
def test_file_of_another_run_is_refused(tmp_path, change, message):
    toy_trainer(1, handlers=lambda *_: [ResumeCheckpoint(tmp_path)]).run()
    with pytest.raises(ValueError, match=message):
        toy_trainer(2, handlers=lambda *_: [ResumeCheckpoint(tmp_path, resume=True)], **change).run()


def test_forgotten_scheduler_is_an_error(tmp_path):
    trainer = toy_trainer(1, handlers=lambda *_: [ResumeCheckpoint(tmp_path)])
    torch.optim.lr_scheduler.StepLR(trainer.optimizers["critic"], 1)
    with pytest.raises(ValueError, match=r"optimizers\['critic'\] has a learning-rate scheduler"):
        trainer.run()


def test_needs_an_objective_trainer(tmp_path):
    with pytest.raises(TypeError, match="got Engine"):
        ResumeCheckpoint(tmp_path).attach(Engine(lambda *_: None))
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        ResumeCheckpoint(tmp_path, every=0)


def trainer_with_validation(folder, epochs, metrics, *, resume=False, patience=None):
    """Toy trainer whose validator reports the given metrics, one per epoch, and saves the best averaged network."""
    validators = []

    def handlers(objective, optimizers, average):
        saver = CheckpointSaver(
            str(folder), {"model": objective.network}, save_key_metric=True, key_metric_filename="model.pt"
        )
        loader = [{"image": item["image"][None]} for item in toy_items(1)]
        validator = SupervisedEvaluator(torch.device("cpu"), loader, objective.network, val_handlers=[saver])
        validator.state.key_metric_name = "dice"

        @validator.on(Events.EPOCH_STARTED)
        def score(engine):
            value = metrics[engine.state.epoch - 1]
            engine.state.metrics["dice"] = value
            if value > engine.state.best_metric:
                engine.state.best_metric, engine.state.best_metric_epoch = value, engine.state.epoch

        validators.append(validator)
        stops = []
        if patience:
            stops = [EarlyStop(patience, lambda engine: engine.state.metrics["dice"])]
            stops[0].attach(validator)
        return [
            AveragedValidationHandler(1, validator, average),
            ResumeCheckpoint(folder, validator=validator, resume=resume),
        ], stops

    made = {}

    def only_handlers(*parts):
        made["handlers"], made["stops"] = handlers(*parts)
        return made["handlers"]

    trainer = toy_trainer(epochs, handlers=only_handlers, averaging={"start_epoch": 0})
    for stop in made["stops"]:
        stop.set_trainer(trainer)
    return trainer, validators[0]


def test_best_model_survives_a_resume(tmp_path):
    metrics = [0.5, 0.9, 0.6, 0.7]
    trainer, validator = trainer_with_validation(tmp_path, 2, metrics)
    trainer.run()
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    # the saver wrote the averaged weights of epoch 2, under the network's own keys
    assert best.keys() == trainer.network.state_dict().keys()
    with trainer.averaging.swapped():
        assert all(torch.equal(best[k], v) for k, v in trainer.network.state_dict().items())
    assert not torch.equal(best["shared.3.weight"], trainer.network.shared[3].weight)
    trainer, validator = trainer_with_validation(tmp_path, 4, metrics, resume=True)
    trainer.run()
    assert trainer.state.epoch == 4
    assert (validator.state.best_metric, validator.state.best_metric_epoch) == (0.9, 2)
    after = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(best[k], after[k]) for k in best)


def test_patience_of_early_stopping_survives_a_resume(tmp_path):
    metrics = [0.9, 0.5, 0.4, 0.3, 0.2]
    trainer, _ = trainer_with_validation(tmp_path, 2, metrics, patience=2)
    trainer.run()
    trainer, _ = trainer_with_validation(tmp_path, 5, metrics, resume=True, patience=2)
    trainer.run()
    assert trainer.state.epoch == 3  # the second epoch without progress in a row


def test_final_model_has_averaged_weights(tmp_path):
    def handlers(objective, optimizers, average):
        return [FinalModelSaver(tmp_path, objective.network, average, every=2)]

    trainer = toy_trainer(3, handlers=handlers, averaging={"start_epoch": 0})
    seen = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append((tmp_path / "model.pt").exists()))
    trainer.run()
    assert seen == [False, True, True]
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    with trainer.averaging.swapped():
        assert all(torch.equal(saved[k], v) for k, v in trainer.network.state_dict().items())
    with pytest.raises(ValueError, match="every must be at least 1"):
        FinalModelSaver(tmp_path, trainer.network, every=0)


@pytest.mark.parametrize(("ends", "rates"), [(2, [1.0, 0.5]), (4, [1.0, 0.75])])  # 1 - epoch / ends
@pytest.mark.parametrize("kind", ["polynomial", "cosine"])
def test_a_schedule_that_ends_with_the_run_is_as_long_as_the_run_is_now(tmp_path, kind, ends, rates):
    seen = []

    def train(epochs, *, resume=False):
        def handlers(objective, optimizers, average):
            schedulers = []
            for optimizer in optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = 1e-3
                if kind == "polynomial":
                    schedulers.append(torch.optim.lr_scheduler.PolynomialLR(optimizer, epochs))
                else:
                    factor = HoldThenCosine(epochs, hold=0, final=0)
                    schedulers.append(torch.optim.lr_scheduler.LambdaLR(optimizer, factor))
            keep = ResumeCheckpoint(tmp_path, schedulers, resume=resume)
            return [*(LrScheduleHandler(one, print_lr=False) for one in schedulers), keep]

        trainer = toy_trainer(epochs, handlers=handlers)
        optimizers = list(trainer.optimizers.values())
        first = Events.EPOCH_STARTED
        trainer.add_event_handler(first, lambda: seen.append(optimizers[0].param_groups[0]["lr"] / 1e-3))
        trainer.run()

    train(ends)
    if kind == "cosine":
        rates = [(1 + math.cos(math.pi * (1 - rate))) / 2 for rate in rates]
    assert seen[:2] == pytest.approx(rates)
    train(2 * ends, resume=True)  # epochs ends to 2 * ends - 1 of a straight run
    assert len(seen) == 2 * ends
    assert seen[ends] == pytest.approx(0.5)  # half of the run: both curves are at a half
    assert seen[-1] == pytest.approx(1 / (2 * ends) if kind == "polynomial" else (1 - math.cos(math.pi / 2 / ends)) / 2)
