# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A run that was killed goes on from the end of its last epoch as if nothing had happened."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.handlers import CheckpointSaver, EarlyStopHandler

from monai_mmseg.engines.objective_trainer import ObjectiveTrainer
from monai_mmseg.files import atomic_save

logger = logging.getLogger(__name__)

FORMAT = 1
_LENGTHS = ("total_iters", "T_max", "steps", "first")  # of PolynomialLR, CosineAnnealingLR and HoldThenCosine


class ResumeCheckpoint:
    """Saves everything a run needs to go on at the end of epochs, and restores it when a run starts.

    When to use: once, as the **last** entry of ``train#handlers``, so that the validation of an epoch is part of what
    is saved with it. It takes from the trainer: the objective with its extra state, the optimisers, gradient scalers,
    weight averaging, and counters (``max_epochs`` then means the total, and a schedule that ends with the run is run
    through anew where that is another). Random numbers need no saving, because the
    trainer seeds them from its seed and the number of the epoch. From ``validator`` it takes the best metric, what
    ``CheckpointSaver`` knows of the best file, and the patience of ``EarlyStopHandler``.

    The file holds tensors, numbers and strings only and is written aside and renamed, so it is whole at any moment.
    Only process 0 writes; all processes read.

    Not saved: progress inside an epoch (it starts again), other handlers' own state, and what a metric accumulates.

    Args:
        save_dir: folder of the file.
        schedulers: the learning-rate schedulers, as list or by name, that handlers step; a schedule left out here would
            start anew, so that is an error when the run starts.
        validator: the evaluator whose best metric is kept.
        resume: restore from the file if it is there; otherwise the run starts anew and replaces it.
        every: epochs between two saves; the last epoch is always saved.
        filename: name of the file.

    Raises:
        ValueError: if ``every`` is less than 1; when the run starts, if the file belongs to another run.

    Examples:
        >>> import tempfile
        >>> from torch import nn
        >>> from monai_mmseg.objectives import SegmentationObjective
        >>> batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8).long(),
        ...          "present": torch.tensor([[True]] * 2), "labelled": torch.tensor([[True]] * 2)}
        >>> def train(folder, max_epochs):
        ...     objective = SegmentationObjective(nn.Conv2d(1, 2, 1), num_classes=2)
        ...     adam = torch.optim.Adam(objective.parameter_groups("segmentation", lr=1e-3))
        ...     handlers = [ResumeCheckpoint(folder, resume=True)]
        ...     trainer = ObjectiveTrainer(
        ...         "cpu", max_epochs, [batch], objective, {"segmentation": adam}, train_handlers=handlers)
        ...     trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: print("epoch", engine.state.epoch))
        ...     trainer.run()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = train(folder, 1)
        ...     _ = train(folder, 2)
        epoch 1
        epoch 2
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        schedulers: Mapping[str, Any] | Sequence[Any] | None = None,
        validator: Engine | None = None,
        *,
        resume: bool = False,
        every: int = 1,
        filename: str = "resume.pt",
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        self.path = Path(save_dir) / filename
        listed = schedulers or {}
        named = listed if isinstance(listed, Mapping) else {str(i): s for i, s in enumerate(listed)}
        self.schedulers: dict[str, Any] = dict(named)
        self.validator = validator
        self.resume, self.every = bool(resume), int(every)

    def attach(self, engine: Engine) -> None:
        """Restore when ``engine`` starts, save when its epochs have ended.

        Raises:
            TypeError: if ``engine`` is not an ``ObjectiveTrainer``.
        """
        if not isinstance(engine, ObjectiveTrainer):
            raise TypeError(f"ResumeCheckpoint works with an ObjectiveTrainer, got {type(engine).__name__}.")
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.STARTED, self._come_last)

    def _come_last(self, engine: ObjectiveTrainer) -> None:
        # all handlers are attached before the run starts, so one added now is called after them
        if not engine.has_event_handler(self.save, Events.EPOCH_COMPLETED):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: ObjectiveTrainer) -> None:
        """Write the file, if it is this epoch's turn and this is process 0."""
        epoch, last = engine.state.epoch, engine.state.epoch == engine.state.max_epochs
        if engine.state.rank != 0 or (epoch % self.every and not last):
            return
        atomic_save(self.state_dict(engine), self.path)

    def restore(self, engine: ObjectiveTrainer) -> None:
        """Take everything back from the file, if asked and it is there."""
        self._check_schedulers(engine)
        if engine.state.epoch:
            return  # the same trainer runs on, e.g. in the next round of federated training
        if not self.resume:
            return
        if not self.path.exists():
            logger.info("Nothing to resume from: %s is not there; starting anew.", self.path)
            return
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        self.load_state_dict(engine, state)
        logger.info("Resumed %s after epoch %d of %d.", self.path, engine.state.epoch, engine.state.max_epochs)

    def state_dict(self, trainer: ObjectiveTrainer) -> dict[str, Any]:
        """Everything, as tensors, numbers and strings."""
        return {
            "format": FORMAT,
            "epoch": trainer.state.epoch,
            "iteration": trainer.state.iteration,
            "epoch_length": trainer.state.epoch_length,
            "seed": trainer.seed,
            "objective": trainer.bare_objective.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in trainer.optimizers.items()},
            "schedulers": {name: scheduler.state_dict() for name, scheduler in self.schedulers.items()},
            "scalers": {p.name: p.scaler.state_dict() for p in trainer.phases if p.scaler is not None},
            "averaging": None if trainer.averaging is None else trainer.averaging.state_dict(),
            "trainer_best": _best_of(trainer),
            "validator_best": None if self.validator is None else _best_of(self.validator),
        }

    def load_state_dict(self, trainer: ObjectiveTrainer, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave.

        Raises:
            ValueError: if the state belongs to a run of another kind.
        """
        self._check_same_run(trainer, state)
        trainer.bare_objective.load_state_dict(state["objective"])
        for name, optimizer in trainer.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, scheduler in self.schedulers.items():
            _restore_schedule(scheduler, state["schedulers"][name])
        for phase in trainer.phases:
            if phase.scaler is not None and phase.name in state["scalers"]:
                phase.scaler.load_state_dict(state["scalers"][phase.name])
        if trainer.averaging is not None:
            trainer.averaging.load_state_dict(state["averaging"])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["iteration"]
        _restore_best(trainer, state["trainer_best"])
        if self.validator is not None and state["validator_best"] is not None:
            _restore_best(self.validator, state["validator_best"])

    def _check_same_run(self, trainer: ObjectiveTrainer, state: Mapping[str, Any]) -> None:
        asked = {
            "format": FORMAT,
            "seed": trainer.seed,
            "epoch_length": trainer.state.epoch_length,
            "phases": sorted(trainer.optimizers),
            "schedulers": sorted(self.schedulers),
            "averaging": trainer.averaging is not None,
        }
        saved = {
            **{name: state.get(name) for name in ("format", "seed", "epoch_length")},
            "phases": sorted(state.get("optimizers", ())),
            "schedulers": sorted(state.get("schedulers", ())),
            "averaging": state.get("averaging") is not None,
        }
        if differing := [f"{k} {saved[k]} (now {asked[k]})" for k in asked if saved[k] != asked[k]]:
            raise ValueError(f"{self.path} was saved by a run with {', '.join(differing)}: it cannot be resumed here.")

    def _check_schedulers(self, trainer: ObjectiveTrainer) -> None:
        known = {id(getattr(s, "optimizer", None)) for s in self.schedulers.values()}
        for name, optimizer in trainer.optimizers.items():
            if id(optimizer) not in known and any("initial_lr" in group for group in optimizer.param_groups):
                raise ValueError(
                    f"optimizers[{name!r}] has a learning-rate scheduler that `schedulers` of ResumeCheckpoint lacks."
                )


def _restore_schedule(scheduler: Any, state: Mapping[str, Any]) -> None:
    """The place in a schedule; one of another length is run through, so that rates are those of a run that long."""
    if _lengths(scheduler.state_dict()) == _lengths(state):
        scheduler.load_state_dict(state)
        return
    for group, rate in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, strict=True):
        group["lr"] = rate
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of .lr_scheduler.step")  # no step of the optimiser
        for _ in range(state["last_epoch"]):
            scheduler.step()


def _lengths(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = [state, *(one or {} for one in state.get("lr_lambdas", ()))]
    return [{name: part[name] for name in _LENGTHS if name in part} for part in parts]


def _best_of(engine: Engine) -> dict[str, Any]:
    """Best metric of an engine, and what its savers and early-stop handlers remember."""
    metric = getattr(engine.state, "best_metric", -1)
    return {
        "metric": float(metric),
        "epoch": int(getattr(engine.state, "best_metric_epoch", -1)),
        "saved": [
            [[float(i.priority), str(i.filename)] for i in _saved(s)] for s in _handlers(engine, CheckpointSaver)
        ],
        "early_stop": [_plain(h._handler.state_dict()) for h in _handlers(engine, EarlyStopHandler) if h._handler],
    }


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.item() if hasattr(value, "item") else value for key, value in state.items()}


def _restore_best(engine: Engine, state: Mapping[str, Any]) -> None:
    engine.state.best_metric, engine.state.best_metric_epoch = state["metric"], state["epoch"]
    for saver, saved in zip(_handlers(engine, CheckpointSaver), state["saved"], strict=False):
        # ignite keeps the name it would have given the file; MONAI's saver may use a fixed one instead
        if saver._key_metric_checkpoint is not None:
            fixed = saver._key_metric_checkpoint.save_handler.filename
            existing = [item for item in saved if (Path(saver.save_dir) / (fixed or item[1])).exists()]
            saver.load_state_dict({"_saved": [tuple(item) for item in existing]})
    for handler, early in zip(_handlers(engine, EarlyStopHandler), state["early_stop"], strict=False):
        if handler._handler:
            handler._handler.load_state_dict(early)


def _saved(saver: CheckpointSaver) -> list[Any]:
    return [] if saver._key_metric_checkpoint is None else list(saver._key_metric_checkpoint._saved)


def _handlers(engine: Engine, kind: type) -> list[Any]:
    """Handlers of a kind that are attached to an engine, in their order; ignite has no public way to ask."""
    found: list[Any] = []
    for entries in engine._event_handlers.values():
        for handler, *_ in entries:
            for candidate in (handler, getattr(handler, "__wrapped__", None)):
                owner = getattr(candidate, "__self__", candidate)
                if isinstance(owner, kind) and all(owner is not other for other in found):
                    found.append(owner)
    return found
