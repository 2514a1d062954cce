# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves for TensorBoard, where it is installed."""

from __future__ import annotations

import os

from ignite.engine import Engine
from monai.handlers import TensorBoardStatsHandler
from monai.utils import optional_import


class TensorBoardRecord:
    """MONAI's ``TensorBoardStatsHandler`` once an epoch; without the package ``tensorboard`` it does nothing.

    Args:
        log_dir: folder of the events.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     TensorBoardRecord(folder).attach(Engine(lambda engine, batch: None))
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = os.fspath(log_dir)

    def attach(self, engine: Engine) -> None:
        """Write the engine's metrics at the end of each of its epochs.

        Args:
            engine: a trainer or an evaluator.
        """
        if optional_import("tensorboard")[1]:
            TensorBoardStatsHandler(log_dir=self.log_dir, iteration_log=False).attach(engine)
