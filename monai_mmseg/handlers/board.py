# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves, settings and pictures for TensorBoard, where it is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import TensorBoardStatsHandler
from monai.utils import optional_import

from monai_mmseg.handlers.tracked import learning_rates
from monai_mmseg.handlers.validation_picture import ValidationPicture
from monai_mmseg.runs.setting_texts import flat_settings


class TensorBoardRecord:
    """MONAI's ``TensorBoardStatsHandler`` once an epoch; learning rates, settings and pictures beside it.

    When to use: in ``train#handlers``. Without the package ``tensorboard`` it does nothing. Only process 0 writes.

    Args:
        log_dir: folder of the events.
        validator: evaluator whose metrics are curves too, at the trainer's epochs.
        settings: what somebody needs to repeat the run, a table under *Text*.
        picture: is drawn after each validation.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     TensorBoardRecord(folder).attach(Engine(lambda engine, batch: None))
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        validator: Engine | None = None,
        settings: Mapping[str, Any] | None = None,
        picture: ValidationPicture | None = None,
    ) -> None:
        self.log_dir = os.fspath(log_dir)
        self.validator, self.settings, self.picture = validator, dict(settings or {}), picture
        self._writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Write the engine's metrics at the end of each of its epochs.

        Args:
            engine: a trainer or an evaluator.
        """
        if getattr(engine.state, "rank", 0) != 0 or not optional_import("tensorboard")[1]:
            return
        engine.add_event_handler(Events.STARTED, self._start)  # the file is opened by a run, not by a config
        engine.add_event_handler(Events.EPOCH_STARTED, self._write_rates)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write_epoch)
        engine.add_event_handler(Events.COMPLETED, self._close)
        if self.validator is not None:
            if self.picture is not None:
                self.picture.attach(self.validator)
            self.validator.add_event_handler(Events.EPOCH_COMPLETED, self._write_epoch)
            self.validator.add_event_handler(Events.COMPLETED, self._write_picture)

    def _start(self, engine: Engine) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(self.log_dir)
            self._stats = TensorBoardStatsHandler(summary_writer=self._writer, iteration_log=False)
        if self.settings:
            rows = [f"| {name} | {text} |" for name, text in flat_settings(self.settings).items()]
            self._writer.add_text("settings", "\n".join(["| setting | value |", "| --- | --- |", *rows]))

    def _write_rates(self, engine: Engine) -> None:
        for name, rate in learning_rates(engine).items():
            self._writer.add_scalar(name, rate, engine.state.epoch)

    def _write_epoch(self, engine: Engine) -> None:
        if self._writer is not None:
            self._stats.epoch_completed(engine)
            self._writer.flush()  # a run that fails or is killed keeps its curves

    def _write_picture(self, engine: Engine) -> None:
        figure = self.picture.figure(f"epoch {engine.state.epoch}") if self.picture and self._writer else None
        if figure is not None:
            self._writer.add_figure("validation", figure, engine.state.epoch, close=False)
            self._writer.flush()

    def _close(self, engine: Engine) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
