# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import copy
import logging

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader, StatsHandler, from_engine
from monai.transforms import Lambdad

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.objectives import PhaseOutput
from tests.engines.toy import PHASES, ToyNetwork, ToyObjective, toy_items, toy_trainer


def joined(items):
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}


def deterministic_trainer(loader, epochs=1, *, optimizer=torch.optim.SGD, lr=0.1, objective=None, **arguments):
    if objective is None:
        torch.manual_seed(0)
        objective = ToyObjective(ToyNetwork(norm="instance", dropout=0.0))
    optimizers = {name: optimizer(objective.parameters_of(name), lr=lr) for name in PHASES}
    return ObjectiveTrainer("cpu", epochs, loader, objective, optimizers, **arguments)


def test_a_step_is_the_step_of_a_plain_loop():
    batch = joined(toy_items(4))
    trainer = deterministic_trainer([batch])
    reference = copy.deepcopy(trainer.objective)
    trainer.run()
    generator = torch.optim.SGD(reference.network.parameters(), lr=0.1)
    critic = torch.optim.SGD(reference.critic.parameters(), lr=0.1)
    made = reference(batch, "fit")
    loss = made.terms["supervised"] + 0.1 * made.terms["adversarial"]
    loss.backward()
    generator.step()
    critic.zero_grad()
    terms = reference(batch, "critic", made.outputs).terms
    (terms["real"] + terms["fake"]).backward()
    critic.step()
    for (name, mine), other in zip(trainer.objective.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-7, msg=name)
    assert trainer.state.metrics["fit/total"] == pytest.approx(loss.item(), abs=1e-7)
    assert trainer.state.metrics["critic/real"] == pytest.approx(terms["real"].item(), abs=1e-7)


def test_output_is_what_monai_handlers_read():
    seen = {}
    trainer = toy_trainer(1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.update(engine.state.output.batch))
    trainer.run()
    output = trainer.state.output
    assert isinstance(trainer, SupervisedTrainer)
    assert set(seen) == {"image", "label", "loss", "fit/supervised", "fit/adversarial", "critic/real", "critic/fake"}
    assert not any(value.requires_grad for value in seen.values())
    assert from_engine(["loss"], first=True)(output) is seen["loss"] is output["loss"]
    assert [label.shape for label in from_engine(["label"])(output)] == [(2, 6, 6)] * 2
    assert set(output.scalars()) == set(seen) - {"image", "label"}
    assert trainer.network is trainer.objective.network
    assert trainer.optimizer is trainer.optimizers["fit"]


def test_output_with_postprocessing_is_decollated_by_monai():
    trainer = toy_trainer(1, postprocessing=Lambdad("label", lambda label: label + 100))
    trainer.run()
    assert [int(sample["label"].min()) for sample in trainer.state.output] == [100, 100]
    assert isinstance(from_engine(["loss"], first=True)(trainer.state.output), float)


def test_output_of_the_batch():
    trainer = toy_trainer(1, decollate=False)
    trainer.run()
    assert trainer.state.output["label"].shape == (2, 2, 6, 6)


def test_stats_handler_logs_every_term():
    # a logger of its own: bundles that ran before may have set up the root logger
    logger, lines = logging.getLogger("tests.every_term"), []
    logger.setLevel(logging.INFO)
    keep = logging.Handler()
    keep.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(keep)
    stats = StatsHandler(name=logger.name, output_transform=lambda output: output.scalars())
    toy_trainer(1, handlers=lambda *_: [stats]).run()
    epoch = next(line for line in lines if "Metrics" in line)
    assert all(name in epoch for name in ["fit/supervised", "fit/adversarial", "fit/total", "critic/real"])
    assert sum("Iter:" in line and "critic/fake" in line for line in lines) == 5


def test_tensorboard_gets_every_term(tmp_path):
    pytest.importorskip("tensorboard")
    from monai.handlers import TensorBoardStatsHandler

    class Writer:
        def __init__(self):
            self.tags = {}

        def add_scalar(self, tag, value, step):
            self.tags.setdefault(tag, []).append((step, float(value)))

        def flush(self):
            pass

        def close(self):
            pass

    writer = Writer()
    toy_trainer(2, handlers=lambda *_: [TensorBoardStatsHandler(summary_writer=writer, iteration_log=False)]).run()
    assert {"fit/supervised", "fit/adversarial", "critic/real", "critic/fake", "fit/total"} <= set(writer.tags)
    assert [step for step, _ in writer.tags["fit/total"]] == [1, 2]


def test_means_are_those_of_the_iterations():
    losses = []
    trainer = toy_trainer(1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"]))
    trainer.run()
    assert trainer.state.metrics["fit/total"] == pytest.approx(np.mean([loss.item() for loss in losses]), abs=1e-6)


def test_other_phases_stand_still_and_are_free_afterwards():
    trainer = toy_trainer(1)
    states = {}

    def look(engine):
        frozen = not next(engine.objective.network.parameters()).requires_grad
        states.setdefault(frozen, set()).add(next(engine.objective.critic.parameters()).requires_grad)

    from monai.engines import IterationEvents

    trainer.add_event_handler(IterationEvents.FORWARD_COMPLETED, look)
    trainer.run()
    assert states == {False: {False}, True: {True}}
    assert all(p.requires_grad for p in trainer.objective.parameters())


def test_frozen_parameters_stay_frozen():
    torch.manual_seed(0)
    objective = ToyObjective(ToyNetwork())
    objective.network.encoders[0].requires_grad_(False)
    before = objective.network.encoders[0].weight.clone()
    trainer = deterministic_trainer([joined(toy_items(4))], objective=objective)
    trainer.run()
    assert torch.equal(before, objective.network.encoders[0].weight)
    assert not objective.network.encoders[0].weight.requires_grad


def test_updates_and_previous():
    calls = []

    class Counting(ToyObjective):
        def forward(self, batch, phase, previous=None):
            calls.append((phase, previous["update"], "fakes" in previous))
            return super().forward(batch, phase, previous)

    objective = Counting(ToyNetwork())
    deterministic_trainer([joined(toy_items(2))], objective=objective, updates={"critic": 2}).run()
    assert calls == [("fit", 0, False), ("critic", 0, True), ("critic", 1, True)]


def test_accumulation_is_the_step_of_the_joined_batch():
    items = [{**item, "present": torch.ones(2).bool(), "labelled": torch.ones(2).bool()} for item in toy_items(4)]
    halves = deterministic_trainer([joined(items[:2]), joined(items[2:])], accumulation_steps=2)
    whole = deterministic_trainer([joined(items)])
    halves.run()
    whole.run()
    for mine, other in zip(halves.objective.parameters(), whole.objective.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)


def test_accumulation_ends_with_the_epoch():
    steps = []
    batches = [joined(toy_items(2))] * 3
    trainer = deterministic_trainer(batches, 2, accumulation_steps=2)
    step = trainer.optimizers["fit"].step
    trainer.optimizers["fit"].step = lambda *a, **k: (steps.append(trainer.state.iteration), step(*a, **k))
    trainer.run()
    assert steps == [2, 3, 5, 6]


def test_a_step_of_what_an_epoch_has_left_is_that_of_its_batch():
    batches = [joined(toy_items(2))] * 3
    alone, summed = deterministic_trainer(batches[:1]), deterministic_trainer(batches[:1], accumulation_steps=4)
    for trainer in (alone, summed):
        for optimizer in trainer.optimizers.values():  # Adam would not see the scale of the gradient
            optimizer.step = lambda *a, **k: None
        trainer.run()
    for mine, other in zip(summed.objective.parameters(), alone.objective.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_clipping():
    trainer = deterministic_trainer([joined(toy_items(4))], clip_norm={"fit": 1e-3})
    trainer.run()
    norms = {
        name: torch.stack([p.grad.norm() for p in trainer.objective.parameters_of(name) if p.grad is not None]).norm()
        for name in PHASES
    }
    assert norms["fit"] <= 1.001e-3 < norms["critic"]


@pytest.mark.parametrize("where", ["supervised", "real"])
def test_nan_names_its_term_and_leaves_the_weights(where):
    class Broken(ToyObjective):
        def forward(self, batch, phase, previous=None):
            out = super().forward(batch, phase, previous)
            if where in out.terms and self.steps == 2:
                out.terms[where] = out.terms[where] * float("nan")
            return out

    phase = {"supervised": "fit", "real": "critic"}[where]
    trainer = deterministic_trainer([joined(toy_items(2))] * 3, objective=Broken(ToyNetwork()))
    with pytest.raises(FloatingPointError, match=f"term '{where}' of phase '{phase}'.* at epoch 1, iteration 2"):
        trainer.run()
    assert all(p.isfinite().all() for p in trainer.objective.parameters())


def test_nan_is_found_at_the_epochs_end_where_steps_are_not_checked():
    trainer = deterministic_trainer([joined(toy_items(2))] * 3)
    trainer.nan_check_interval = 100  # as on a GPU
    with torch.no_grad():
        trainer.objective.critic[0].bias.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match=r"'adversarial' of phase 'fit'.* at epoch 1, iteration 1"):
        trainer.run()


def test_mixed_precision_on_cpu():
    trainer = toy_trainer(1, amp=True, amp_kwargs={"dtype": "bfloat16"})
    kinds = set()
    trainer.network.shared[3].register_forward_hook(lambda m, i, o: kinds.add(o.dtype))
    trainer.run()
    assert kinds == {torch.bfloat16}
    assert trainer.state.output["loss"].dtype == torch.float32
    assert all(phase.scaler is None for phase in trainer.phases)


def test_scaled_gradients_make_the_same_steps_and_skip_overflow():
    batch = joined(toy_items(4))
    plain = deterministic_trainer([batch] * 3, clip_norm=0.1)
    scaled = deterministic_trainer([batch] * 3, clip_norm=0.1)
    for phase in scaled.phases:  # on a GPU with float16 the trainer makes them itself
        phase.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    plain.run()
    scaled.run()
    for mine, other in zip(scaled.objective.parameters(), plain.objective.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)
    before = [p.detach().clone() for p in scaled.objective.network.parameters()]
    for p in scaled.objective.network.parameters():
        p.grad = torch.full_like(p, float("inf"))
    scaled.phases[0].scaler.scale(torch.ones(1))
    scaled.phases[0].step()
    assert all(torch.equal(p, q) for p, q in zip(scaled.objective.network.parameters(), before, strict=True))
    assert scaled.phases[0].scaler.get_scale() == 2.0**9
    assert scaled.phases[1].scaler.get_scale() == 2.0**10


@pytest.mark.parametrize("scaled", [False, True])
def test_batch_without_any_gradient_makes_no_step(scaled):
    class Empty(ToyObjective):
        def forward(self, batch, phase, previous=None):
            return PhaseOutput({name: torch.zeros(()) for name in self.weights[phase]}, {})

    trainer = deterministic_trainer([joined(toy_items(2))], objective=Empty(ToyNetwork()))
    if scaled:
        for phase in trainer.phases:
            phase.scaler = torch.amp.GradScaler("cpu")
    trainer.run()
    assert trainer.state.metrics["fit/total"] == 0.0
    assert all(p.grad is None for p in trainer.objective.parameters())


def test_an_epoch_depends_on_seed_and_number_alone():
    def draws(trainer):
        seen = []
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output["image"].sum().item())
        )
        torch.rand(3)
        np.random.rand(2)
        trainer.run()
        return seen

    first, again, other = draws(toy_trainer(2)), draws(toy_trainer(2)), draws(toy_trainer(2, seed=6))
    assert first == again
    assert first != other
    assert first[:5] != first[5:]


def test_epochs_shorter_than_the_data_start_anew():
    batches = [joined(toy_items(2))] * 5
    seen = []

    class Loader(list):
        def __iter__(self):
            seen.append(0)
            return super().__iter__()

    trainer = deterministic_trainer(Loader(batches), 3, epoch_length=2)
    trainer.run()
    assert (trainer.state.iteration, len(seen)) == (6, 3)


@pytest.mark.parametrize("stop", [FloatingPointError, KeyboardInterrupt])
def test_a_run_after_one_that_broke_off_trains(stop):
    """Ignite keeps the generator that ended, so the round after a failed one came back untrained, as if trained."""
    trainer = toy_trainer(1)

    @trainer.on(Events.ITERATION_COMPLETED(once=1))
    def _(_engine):
        raise stop

    with pytest.raises(stop):
        trainer.run()
    before = [value.clone() for value in trainer.objective.network.parameters()]
    trainer.state.max_epochs = trainer.state.epoch + 1  # as MONAI's client does
    trainer.run()
    assert trainer.state.epoch == 2
    after = list(trainer.objective.network.parameters())
    assert not all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_run_goes_on_as_federated_rounds_do():
    trainer = toy_trainer(1)
    trainer.run()
    trainer.state.max_epochs = trainer.state.epoch + 1
    trainer.run()
    assert (trainer.state.epoch, trainer.state.iteration) == (2, 10)


def test_checkpoint_loader_in_the_handlers(tmp_path):
    wanted = ToyNetwork()
    torch.save(wanted.state_dict(), tmp_path / "model.pt")

    def handlers(objective, *_):
        return [CheckpointLoader(str(tmp_path / "model.pt"), {"model": objective.network})]

    trainer = toy_trainer(1, handlers=handlers)
    started = []
    trainer.add_event_handler(
        Events.STARTED, lambda engine: started.append(engine.network.shared[3].weight.detach().clone())
    )
    trainer.run()
    assert torch.equal(started[0], wanted.shared[3].weight)


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_as_before_after_a_run(before):
    torch.set_flush_denormal(before)
    try:
        toy_trainer(1).run()
        assert (float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0) is before
    finally:
        torch.set_flush_denormal(False)


def test_a_compiled_objective_trains_as_the_plain_one_and_keeps_its_names():
    batch = joined(toy_items(4))
    plain, compiled = deterministic_trainer([batch], 3), deterministic_trainer([batch], 3, compile={"backend": "eager"})
    names = list(plain.objective.state_dict())
    for trainer in (plain, compiled):
        trainer.run()
    assert list(compiled.objective.state_dict()) == names
    for (name, mine), other in zip(plain.objective.named_parameters(), compiled.objective.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6, msg=name)
    copied = copy.deepcopy(compiled.network)  # what is exported and averaged
    assert copied._compiled_call_impl is None
