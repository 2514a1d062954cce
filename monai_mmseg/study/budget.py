# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Epochs and steps that give every training the same time, or the same number of updates."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from monai_mmseg.planning.timing import IMPORTS, measure_bundle
from monai_mmseg.planning.training_rules import epochs_of, schedule
from monai_mmseg.study.process import IMPORTED, WARM


def settings_of_steps(steps: int, checks: int = 5) -> dict[str, Any]:
    """Values by id for a training of so many steps.

    Args:
        steps: updates of the weights; a few fewer where epochs do not part them evenly.
        checks: validations.

    Examples:
        >>> settings_of_steps(400)
        {'max_epochs': 40, 'epoch_length': 10, 'val_interval': 8}
    """
    epochs = epochs_of(steps)
    return _settings(epochs, max(1, steps // epochs), checks)


def settings_of_time(
    seconds: float, bundle: Path, *, device: str, overlays: Sequence[str], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Values by id for a training of so many seconds: a few steps and a validation are timed.

    On a CPU that is CPU time, which other work on the machine does not change; on a GPU that of the clock.

    Args:
        seconds: of the training, with its start and its validations.
        bundle: its folder.
        device: where.
        overlays: names below its ``configs``.
        overrides: values by id.

    Returns:
        The values, and what was measured; ``over``: times the budget that it will take, where that is too short.
    """
    if WARM:  # as in the cells: the first method that is timed would pay for all
        for name in IMPORTED:
            import_module(name)
    clock = time.process_time if torch.device(device).type == "cpu" else time.perf_counter
    measured = measure_bundle(bundle, device=device, overlays=overlays, overrides=overrides, clock=clock)
    start = measured["start"] - (IMPORTS if WARM else 0.0)  # cells begin with their imports done
    epochs, length, checks, _, expected = schedule(seconds, measured["step"], measured["validation"], start)
    over = {"over": expected / seconds} if expected > 1.1 * seconds else {}  # no training has fewer than some steps
    return _settings(epochs, length, checks), {**measured, **over}


def _settings(epochs: int, length: int, checks: int) -> dict[str, Any]:
    return {"max_epochs": epochs, "epoch_length": length, "val_interval": max(1, -(-epochs // checks))}


def decay_of(settings: Mapping[str, Any], config: Collection[str]) -> dict[str, Any]:
    """What else in a config speaks of epochs: the rate falls to a twentieth by the last one, and none is left out.

    Args:
        settings: with ``max_epochs`` and ``epoch_length``.
        config: settings that the bundle reads.
    """
    epochs, length = settings["max_epochs"], settings["epoch_length"]
    known = {"lr_decay": round(0.055 ** (1 / epochs), 4), "lr_decay_steps": length, "patience": epochs}
    return {name: value for name, value in known.items() if name in config}
