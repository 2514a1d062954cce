# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine

from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.planning import timing


@pytest.mark.parametrize(("share", "step"), [(0.6, 0.6 * 1.0 + 0.4 * 2.0), (0.0, 2.0), (1.0, 1.0)])
def test_steps_of_a_pretraining_count_by_their_share(monkeypatch, share, step):
    seconds = {0.0: 2.0, 1.0: 1.0}

    def measure(bundle, overlays, overrides, device, folder, clock):
        return {"step": seconds[float(overrides.get("pretraining", 0.0))]}

    monkeypatch.setattr(timing, "_measure", measure)
    found = timing.measure_bundle(bundles_folder() / "dafnet", device="cpu", overrides={"pretraining": share})
    assert found["step"] == pytest.approx(step)


def _timed(monkeypatch, seconds, short=3.0, steps=60):
    """What is found of a trainer whose steps take the given seconds, and how many steps that took."""
    now, weight = [0.0], torch.ones(10, requires_grad=True)
    costs = iter(seconds)

    def step(engine, batch):
        (weight**2).sum().backward()
        now[0] += next(costs)

    trainer = Engine(step)
    trainer.objective = SimpleNamespace(parameters=lambda: [weight])
    run = trainer.run
    monkeypatch.setattr(trainer, "run", lambda: run(range(steps), max_epochs=1))
    monkeypatch.setattr(timing, "SHORT", short)
    return timing._steps(trainer, torch.device("cpu"), lambda: now[0]), trainer.state.iteration


def test_slow_steps_at_the_start_do_not_count(monkeypatch):
    """A cold machine takes several times as long for the first steps: eight of them alone said 1.6 times the step."""
    (step, _), count = _timed(monkeypatch, [0.4, 0.2, *[0.09] * 8, *[0.05] * 60])
    assert step == pytest.approx(0.05)
    assert 30 <= count <= 60


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 8), (20.0, 3), (0.01, 60)])
def test_a_measurement_takes_seconds_not_minutes(monkeypatch, seconds, count):
    (step, _), found = _timed(monkeypatch, [seconds] * 60)
    assert step == pytest.approx(seconds)
    assert found == count


def test_memory_is_of_one_step(monkeypatch):
    (_, memory), _ = _timed(monkeypatch, [1.0] * 60)
    assert memory == 40 + 4 * 40  # the weight that the square keeps; the weight with its gradient and Adam's two
