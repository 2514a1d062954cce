# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The network at the end of training."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ignite.engine import Engine, Events
from torch import nn

from monai_mmseg.engines.averaging import WeightAveraging
from monai_mmseg.files import atomic_save


class FinalModelSaver:
    """Writes the plain state of the network, with averaged weights, when training ends.

    When to use: in ``train#handlers`` of runs in which no metric chooses the model, for instance because the target has
    no labels. The file loads with ``weights_only=True`` and its keys are those of the network.

    Args:
        save_dir: folder of the file.
        network: what is deployed.
        averaging: save these weights; ``None`` saves the current ones.
        filename: name of the file.
        every: also write it every so many epochs, so that a run that is killed leaves a model.

    Raises:
        ValueError: if ``every`` is less than 1.

    Examples:
        >>> import tempfile, torch
        >>> trainer, network = Engine(lambda engine, batch: None), nn.Linear(1, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FinalModelSaver(folder, network).attach(trainer)
        ...     _ = trainer.run([0])
        ...     sorted(torch.load(Path(folder) / "model.pt", weights_only=True))
        ['bias', 'weight']
    """

    def __init__(
        self,
        save_dir: str | os.PathLike[str],
        network: nn.Module,
        averaging: WeightAveraging | None = None,
        *,
        filename: str = "model.pt",
        every: int | None = None,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        self.path = Path(save_dir) / filename
        self.network, self.averaging, self.every = network, averaging, every

    def attach(self, engine: Engine) -> None:
        """Save when ``engine`` completes, and every so many epochs."""
        engine.add_event_handler(Events.COMPLETED, self)
        if self.every is not None:
            engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self)

    def __call__(self, engine: Engine) -> None:
        """Write the file, on process 0."""
        if getattr(engine.state, "rank", 0) != 0:
            return
        with contextlib.nullcontext() if self.averaging is None else self.averaging.swapped():
            atomic_save(self.network.state_dict(), self.path)
