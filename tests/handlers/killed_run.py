# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A toy training that kills itself in the middle of an epoch, for test_resume.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from ignite.engine import Events
from monai.handlers import LrScheduleHandler

from monai_mmseg.handlers import ResumeCheckpoint
from tests.engines.toy import toy_trainer


def run(folder: Path, *, resume: bool, averaging: dict, workers: int = 0, kill_at: int | None = None, epochs: int = 7):
    """Losses of every phase by iteration, and the averaged weights at the end."""
    losses: dict[int, list[float]] = {}

    def handlers(objective, optimizers, average):
        schedules = {
            "fit": torch.optim.lr_scheduler.MultiStepLR(optimizers["fit"], [2, 4], gamma=0.5),
            "critic": torch.optim.lr_scheduler.LambdaLR(optimizers["critic"], lambda epoch: 0.9**epoch),
        }
        return [
            ResumeCheckpoint(folder, schedules, resume=resume),  # saves after the schedules' steps all the same
            *(LrScheduleHandler(schedule, print_lr=False) for schedule in schedules.values()),
        ]

    trainer = toy_trainer(epochs, workers=workers, handlers=handlers, averaging=averaging)

    def note(engine):
        losses[engine.state.iteration] = [value.item() for value in engine.state.output.scalars().values()]
        if engine.state.iteration == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    with trainer.averaging.swapped():
        weights = torch.cat([p.detach().flatten().clone() for p in trainer.network.state_dict().values()])
    return losses, weights, trainer


if __name__ == "__main__":
    torch.set_num_threads(1)
    decay = None if sys.argv[2] == "none" else float(sys.argv[2])
    run(
        Path(sys.argv[1]),
        resume=False,
        averaging={"start_epoch": 1, "decay": decay},
        workers=int(sys.argv[3]),
        kill_at=13,
    )
