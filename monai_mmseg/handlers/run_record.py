# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Leaves a run folder behind a training: what was run, for how long, and every loss term per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from monai_mmseg.errors import short_message
from monai_mmseg.runs.owner import RunOwner
from monai_mmseg.runs.run_folder import ENDED, RunRecorder


class RunRecordHandler:
    """Handler that writes ``run.json`` and ``terms.csv`` of a run folder, which ``mmseg report`` makes a page of.

    When to use: in ``train#handlers``. It reads the means of the epoch that the trainer keeps in
    ``engine.state.metrics`` as ``"<phase>/<term>"``, so it never waits for the GPU. Only process 0 writes. A resumed
    run goes on in the same file, and the epochs that are trained again replace their lines. An exception is noted as a
    warning and raised on.

    Args:
        run_dir: the folder; that of the owner by default.
        name: short name of the run.
        what: one sentence on what is trained.
        method: name of the method in the evaluations; `name` by default.
        modality: the modality that matters.
        settings: what somebody needs to repeat the run; a bundle takes :func:`monai_mmseg.bundle.run_settings`.
        seed: of the run; that of the settings by default.
        validator: an evaluator whose metrics go into the columns ``validation/<name>``.
        owner: claims the folders when the training starts, and writes the settings of the model with it.

    Raises:
        ValueError: neither a folder nor an owner is given.

    Examples:
        >>> import tempfile
        >>> engine = Engine(lambda engine, batch: engine.state.metrics.update({"fit/error": 0.5}))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     RunRecordHandler(folder, "trial").attach(engine)
        ...     _ = engine.run([0], max_epochs=2)
        ...     print((Path(folder) / "terms.csv").read_text(encoding="utf-8"))
        epoch,fit/error
        1,0.5
        2,0.5
        <BLANKLINE>
    """

    def __init__(
        self,
        run_dir: str | Path | None = None,
        name: str = "run",
        what: str = "",
        method: str | None = None,
        modality: str | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        validator: Engine | None = None,
        owner: RunOwner | None = None,
    ) -> None:
        if run_dir is None and owner is None:
            raise ValueError("run_dir or owner must be given: where does the record go?")
        if settings is None and owner is not None:
            settings = owner.settings.get("knobs", {})
        if seed is None and settings:
            seed = settings.get("seed")
        self.owner = owner
        folder = run_dir if owner is None or run_dir is not None else owner.output_dir
        assert folder is not None
        self.recorder = RunRecorder(
            folder, name, what=what, method=method or name, modality=modality, settings=settings, seed=seed
        )
        self.validator = validator
        self._trainer: Engine | None = None
        self._resumed = self._started = False

    def attach(self, engine: Engine) -> None:
        """Listen to a trainer, and to the validator if there is one.

        Args:
            engine: the trainer.
        """
        if getattr(engine.state, "rank", 0) != 0:
            return
        self._trainer = engine
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._resume)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write_terms)
        engine.add_event_handler(Events.COMPLETED, self._finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)
        if self.validator is not None:
            self.validator.add_event_handler(Events.COMPLETED, self._write_validation)

    def _start(self, engine: Engine) -> None:
        if self.owner is not None:
            self.owner.claim()
            known = self.owner.settings
            about = {"id": self.owner.id, "bundle": known.get("bundle"), "datalist": known.get("datalist")}
            self.recorder.about = {**about, **self.recorder.about}
        self.recorder.start(resumed=self.owner is not None and self.owner.resumed)
        self._resumed, self._started = False, True

    def _resume(self, engine: Engine) -> None:
        # not at the start: a handler that comes after this one may set the epoch there
        if not self._resumed:
            self.recorder.drop_terms_from(engine.state.epoch)
            self._resumed = True

    def _write_terms(self, engine: Engine) -> None:
        terms = {name: value for name, value in engine.state.metrics.items() if "/" in name and _is_number(value)}
        if terms:
            self.recorder.add_terms(engine.state.epoch, terms)

    def _write_validation(self, validator: Engine) -> None:
        # the validator may run before or after the trainer's line is written: both are merged into one
        if self._trainer is None or not self._trainer.state.epoch:
            return
        found = {f"validation/{name}": value for name, value in validator.state.metrics.items() if _is_number(value)}
        if found:
            self.recorder.add_terms(self._trainer.state.epoch, found)

    def _finish(self, engine: Engine) -> None:
        self._end("completed" if not engine.should_terminate else "stopped early", "trained")

    def _end(self, status: str, state: str) -> None:
        if self.owner is not None:
            self.recorder.about["model"] = self.owner.model()
        self.recorder.finish(status)
        if self.owner is not None:
            self.owner.finish(state)

    def _fail(self, engine: Engine, error: BaseException) -> None:
        if not self._started:  # the folder is not this run's
            raise error
        self.recorder.warn(f"{ENDED} in epoch {engine.state.epoch}: {type(error).__name__}: {short_message(error)}")
        self._end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", "training")
        # a handler of this event replaces the raise of the engine
        raise error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
