# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Validation, and what it saves, with averaged weights."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

from monai_mmseg.engines.averaging import WeightAveraging


class AveragedValidationHandler(ValidationHandler):
    """MONAI's ``ValidationHandler``, also after the last epoch, with averaged weights while the validator runs.

    When to use: in ``train#handlers`` in place of ``ValidationHandler``. Everything the validator does, a
    ``CheckpointSaver`` that writes ``model.pt`` included, sees averaged weights; afterwards the network has its own
    again, also when the validator fails. An evaluation on its own (``evaluate.json``) is not touched. The last epoch is
    always validated: a training shorter than `interval` would leave no ``model.pt`` else.

    Args:
        interval: epochs (or iterations) between two validations.
        validator: evaluator of the same network.
        averaging: the average that the trainer updates; ``None`` validates the current weights.
        epoch_level: count epochs, else iterations.
        exec_at_start: validate once before training.

    Raises:
        ValueError: when it runs, if the validator has another network than the average.

    Examples:
        In ``train#handlers``::

            {"_target_": "monai_mmseg.handlers.AveragedValidationHandler", "interval": "@val_interval",
             "validator": "@validate#evaluator", "averaging": "@averaging"}
    """

    def __init__(
        self,
        interval: int,
        validator: Evaluator | None = None,
        averaging: WeightAveraging | None = None,
        epoch_level: bool = True,
        exec_at_start: bool = False,
    ) -> None:
        super().__init__(interval, validator, epoch_level, exec_at_start)
        self.averaging = averaging

    def attach(self, engine: Engine) -> None:
        """Validate each `interval` epochs and after the last one, or each `interval` iterations."""
        super().attach(engine)
        if self.epoch_level:
            last = Events.EPOCH_COMPLETED(event_filter=self._is_a_last_one_left)
            engine.add_event_handler(last, self)

    def _is_a_last_one_left(self, engine: Engine, epoch: int) -> bool:
        return epoch == engine.state.max_epochs and epoch % self.interval != 0

    def __call__(self, engine: Engine) -> None:
        """Validate with averaged weights."""
        if self.averaging is None:
            super().__call__(engine)
            return
        if getattr(self.validator, "network", self.averaging.network) is not self.averaging.network:
            raise ValueError("validator and averaging must hold the same network.")
        with self.averaging.swapped():
            super().__call__(engine)
