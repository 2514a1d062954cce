# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Early stopping that speaks ignite's present language."""

from __future__ import annotations

from inspect import signature

from ignite.engine import Engine
from ignite.handlers import EarlyStopping
from monai.handlers import EarlyStopHandler


class EarlyStop(EarlyStopHandler):
    """MONAI's ``EarlyStopHandler``, without the deprecation warnings that it draws from ignite.

    When to use: in ``validate#handlers`` where ``EarlyStopHandler`` would stand, with the same arguments. MONAI hands
    ``min_delta`` and ``cumulative_delta`` on to ignite, which has called them ``threshold`` and ``cumulative`` since
    0.5.5; an older ignite gets the older names here.

    Args:
        patience: validations without progress after which training stops.
        score_function: score of an engine; more is better.
        trainer: the engine to stop; else call :meth:`set_trainer` before training.
        min_delta: the least increase of the score that counts as progress.
        cumulative_delta: count the increase since the last progress, not since the last validation.
        epoch_level: check after every epoch of the engine, else after every iteration.

    Raises:
        ValueError: by :meth:`set_trainer`, if ``patience`` is less than 1 or ``min_delta`` is negative.

    Examples:
        >>> from ignite.engine import Events
        >>> scores = iter([0.5, 0.4, 0.3, 0.2])
        >>> trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
        >>> EarlyStop(patience=2, score_function=lambda engine: next(scores), trainer=trainer).attach(evaluator)
        >>> _ = trainer.on(Events.EPOCH_COMPLETED)(lambda: evaluator.run([0]))
        >>> trainer.run([0], max_epochs=10).epoch
        3
    """

    def set_trainer(self, trainer: Engine) -> None:
        """Say which engine is stopped."""
        deltas = {"threshold": self.min_delta, "cumulative": self.cumulative_delta}
        if "threshold" not in signature(EarlyStopping).parameters:
            deltas = {"min_delta": self.min_delta, "cumulative_delta": self.cumulative_delta}
        self._handler = EarlyStopping(
            patience=self.patience, score_function=self.score_function, trainer=trainer, **deltas
        )
