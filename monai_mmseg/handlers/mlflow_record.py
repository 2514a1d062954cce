# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What MONAI's experiment tracking with MLflow is told besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler
from monai.utils import optional_import

from monai_mmseg.files import read_record
from monai_mmseg.handlers.tracked import learning_rates
from monai_mmseg.handlers.validation_picture import ValidationPicture
from monai_mmseg.runs.setting_texts import flat_settings

UNNAMED = "monai_experiment"  # what MONAI calls an experiment that nobody named
MOST_PARAMETERS, LONGEST = 100, 500  # of a call of MLflow, and characters of a value in its older data bases


class MLflowRecord:
    """Completes the run that MONAI's ``--tracking mlflow`` writes; without tracking it does nothing.

    When to use: in ``train#handlers``. MONAI appends its ``MLFlowHandler`` to trainer and validator; this one finds
    them when the training starts and sees to it that there is one MLflow run for one run folder, under the name of the
    bundle as experiment, with all settings as parameters, learning rates beside the losses, a picture a validation.
    What the user named (``--experiment_name``, ``--run_name``) stays. A training that fails ends its run as failed.

    Args:
        run_dir: the run folder; a resumed run goes on in the MLflow run of its id.
        experiment: name of the bundle.
        validator: evaluator that MONAI tracks too.
        settings: what somebody needs to repeat the run.
        picture: is drawn after each validation.

    Examples:
        In ``train#handlers``::

            {"_target_": "monai_mmseg.handlers.MLflowRecord", "run_dir": "@output_dir", "experiment": "dafnet",
             "validator": "@validate#evaluator", "settings": "$monai_mmseg.bundle.run_settings()"}
    """

    def __init__(
        self,
        run_dir: str | Path,
        experiment: str,
        *,
        validator: Engine | None = None,
        settings: Mapping[str, Any] | None = None,
        picture: ValidationPicture | None = None,
    ) -> None:
        self.run_dir, self.experiment = Path(run_dir), experiment
        self.validator, self.settings, self.picture = validator, dict(settings or {}), picture
        self._handler: Any = None

    def attach(self, engine: Engine) -> None:
        """Listen to a trainer; MONAI's handler may come before or after this one.

        Args:
            engine: the trainer.
        """
        if getattr(engine.state, "rank", 0) != 0 or not optional_import("mlflow")[1]:
            return
        engine.add_event_handler(Events.STARTED, self._prepare)
        engine.add_event_handler(Events.EPOCH_STARTED, self._write_rates)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)
        listeners = engine._event_handlers[Events.EXCEPTION_RAISED]
        listeners.insert(0, listeners.pop())  # the first one that raises, as others do, is the last that is called

    def _prepare(self, engine: Engine) -> None:
        own = list(_mlflow_handlers(engine))
        if not own:
            return
        self._handler = own[0]
        for handler in [*own, *_mlflow_handlers(self.validator)]:
            if handler.experiment_name == UNNAMED:
                handler.experiment_name = self.experiment
            handler.run_name = handler.run_name or self._run_name()
        self._handler.start(engine)  # else the parameters had to wait for MONAI's turn
        self._write_settings()
        if self.validator is not None:
            for handler in _mlflow_handlers(self.validator):
                handler.experiment, handler.cur_run = self._handler.experiment, self._handler.cur_run
            if self.picture is not None:
                self.picture.attach(self.validator)
                self.validator.add_event_handler(Events.COMPLETED, self._write_picture)

    def _run_name(self) -> str:
        about = read_record(self.run_dir / "run.json")
        return str(about.get("id") or f"{self.experiment} {about.get('started', '')}".strip())

    def _write_settings(self) -> None:
        client, run_id = self._handler.client, self._handler.cur_run.info.run_id
        known = client.get_run(run_id).data.params
        entities = optional_import("mlflow.entities")[0]
        found = [
            entities.Param(name.replace("#", "/"), text[:LONGEST])
            for name, text in flat_settings(self.settings).items()
            if name.replace("#", "/") not in known
        ]
        for first in range(0, len(found), MOST_PARAMETERS):
            client.log_batch(run_id=run_id, metrics=[], params=found[first : first + MOST_PARAMETERS], tags=[])

    def _write_rates(self, engine: Engine) -> None:
        if self._handler is None:
            return
        run_id = self._handler.cur_run.info.run_id
        for name, rate in learning_rates(engine).items():
            self._handler.client.log_metric(run_id, name, rate, step=engine.state.epoch)

    def _write_picture(self, validator: Engine) -> None:
        figure = self.picture.figure(f"epoch {validator.state.epoch}") if self.picture else None
        if figure is not None and self._handler.cur_run is not None:
            name = f"validation/epoch_{validator.state.epoch:04d}.png"
            self._handler.client.log_figure(self._handler.cur_run.info.run_id, figure, name)

    def _fail(self, engine: Engine, error: BaseException) -> None:
        if self._handler is not None and self._handler.cur_run is not None:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            self._handler.client.set_terminated(self._handler.cur_run.info.run_id, status)
        if len(engine._event_handlers[Events.EXCEPTION_RAISED]) == 1:
            raise error


def _mlflow_handlers(engine: Engine | None) -> Iterator[Any]:
    """MONAI's handlers that an engine has; ignite tells of none, but keeps them by event."""
    for listener, *_ in getattr(engine, "_event_handlers", {}).get(Events.STARTED, ()):
        owner = getattr(listener, "__self__", None)
        if isinstance(owner, MLFlowHandler):
            yield owner
