# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Validation, and what it saves, with averaged weights."""

from __future__ import annotations

from ignite.engine import Engine
from monai.engines import Evaluator
from monai.handlers import ValidationHandler

from monai_mmseg.engines.averaging import WeightAveraging

__all__ = ["AveragedValidationHandler"]


class AveragedValidationHandler(ValidationHandler):
    """MONAI's ``ValidationHandler`` with the averaged weights in the network while the validator runs.

    When to use: in ``train#handlers`` in place of ``ValidationHandler``. Everything the validator does, a
    ``CheckpointSaver`` that writes ``model.pt`` included, sees averaged weights; afterwards the network has its own
    again, also when the validator fails. An evaluation on its own (``evaluate.json``) is not touched.

    Args:
        interval: epochs (or iterations) between two validations.
        validator: evaluator of the same network.
        averaging: the average that the trainer updates; ``None`` validates the current weights.
        epoch_level: count epochs, else iterations.
        exec_at_start: validate once before training.

    Raises:
        ValueError: when it runs, if the validator has another network than the average.

    Example:
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

    def __call__(self, engine: Engine) -> None:
        """Validate with averaged weights."""
        if self.averaging is None:
            super().__call__(engine)
            return
        if getattr(self.validator, "network", self.averaging.network) is not self.averaging.network:
            raise ValueError("validator and averaging must hold the same network.")
        with self.averaging.swapped():
            super().__call__(engine)
