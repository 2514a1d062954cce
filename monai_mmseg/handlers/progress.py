# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A progress bar that is quiet where nobody looks."""

from __future__ import annotations

import logging
import sys

from ignite.engine import Engine
from ignite.handlers import ProgressBar
from monai.utils import optional_import

logger = logging.getLogger(__name__)


class Progress:
    """Bar over the iterations of an epoch, with the number of the epoch and some means of the epoch before.

    When to use: in ``train#handlers`` or ``validate#handlers``. Only process 0 shows it, and only if ``stderr`` is a
    terminal. It reads ``engine.state.metrics``, so it never waits for the GPU. Needs ``tqdm``; without it there is no
    bar.

    Args:
        metrics: names in ``engine.state.metrics`` to show, e.g. ``["generator/total"]``.
        enabled: ``None`` decides by the terminal.
        desc: word before the bar.

    Examples:
        >>> engine = Engine(lambda engine, batch: None)
        >>> Progress(enabled=False).attach(engine)
        >>> _ = engine.run([0])
    """

    def __init__(self, metrics: list[str] | None = None, enabled: bool | None = None, desc: str = "epoch") -> None:
        self.metrics, self.enabled, self.desc = list(metrics or []), enabled, desc

    def attach(self, engine: Engine) -> None:
        """Show the bar while ``engine`` runs."""
        enabled = sys.stderr.isatty() if self.enabled is None else self.enabled
        if not enabled or getattr(engine.state, "rank", 0) != 0:
            return
        if not optional_import("tqdm")[1]:
            logger.info("No progress bar: tqdm is not installed.")
            return
        ProgressBar(desc=self.desc).attach(engine, output_transform=lambda _: self._shown(engine))

    def _shown(self, engine: Engine) -> dict[str, float]:
        return {name: engine.state.metrics[name] for name in self.metrics if name in engine.state.metrics}
