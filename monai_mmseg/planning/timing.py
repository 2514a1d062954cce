# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How long a step, a validation and the start of a planned bundle take on this device, and how much memory a step."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

WARM_UP = 2  # steps that fetch memory and compile kernels
FEW, STEPS = 8, 60  # steps of a measurement, at least and at most
SHORT, LONG = 3.0, 30.0  # seconds that it takes: at least, while there are steps; at most, where few last longer
PER_MODALITY = 2  # images that are read for it
IMPORTS = 6.0  # seconds before a training command does anything


def measure_bundle(
    bundle: Path,
    *,
    device: str,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Train a planned bundle for a few steps, validate a few images, and keep nothing.

    With a ``pretraining``, steps of both kinds are timed, and ``step`` is their mean in its proportion.

    Args:
        bundle: its folder.
        device: where.
        overlays: names below its ``configs``, without ending, laid over ``train.json``.
        overrides: values by id.
        clock: seconds; ``time.process_time`` where other work shares the CPU.

    Returns:
        ``step``, ``validation`` and ``start`` in seconds, ``memory`` of a step in bytes, ``length`` of an epoch in
        steps.
    """
    given = dict(overrides or {})
    with tempfile.TemporaryDirectory() as folder, _quiet():
        parser = _parser(bundle, overlays, given, device, folder)
        share = float(parser.get_parsed_content("pretraining")) if "pretraining" in parser else 0.0
        found = _measure(bundle, overlays, given | ({"pretraining": 0.0} if share else {}), device, folder, clock)
        if share:
            first = _measure(bundle, overlays, {**given, "pretraining": 1.0}, device, folder, clock)
            found["step"] = share * first["step"] + (1 - share) * found["step"]
    return found


def _measure(
    bundle: Path,
    overlays: Sequence[str],
    overrides: Mapping[str, Any],
    device: str,
    folder: str,
    clock: Callable[[], float],
) -> dict[str, float]:
    """One kind of step, the validation and the start."""
    parser = _parser(bundle, overlays, overrides, device, folder)
    items = parser.get_parsed_content("train#dataset#data")
    content = ConfigParser.load_config_files([str(bundle / "configs" / f"{one}.json") for one in ("train", *overlays)])
    length = content.get("epoch_length") or math.ceil(len(items) / parser.get_parsed_content("batch_size"))
    checks = parser.get_parsed_content("validate#dataset#data")
    few, one = _few(items, PER_MODALITY), _few(checks, 1)
    parser = _parser(bundle, overlays, overrides, device, folder)
    parser["train#dataset#data"], parser["validate#dataset#data"] = few, one
    begun = clock()
    if "prepare" in parser:
        parser.get_parsed_content("prepare")
    trainer = parser.get_parsed_content("train#trainer")
    reading = (clock() - begun) / len(few)
    try:
        step, memory = _steps(trainer, torch.device(device), clock)
    except torch.cuda.OutOfMemoryError:
        return {"step": math.inf, "validation": 0.0, "start": 0.0, "memory": math.inf, "length": length}
    begun = clock()
    if one:
        evaluator = parser.get_parsed_content("validate#evaluator")
        evaluator.run()
    check = (clock() - begun) / max(1, len(one))
    return {
        "step": step,
        "validation": check * len(checks),
        "start": IMPORTS + reading * (len(items) + len(checks)),
        "memory": memory,
        "length": length,
    }


def _parser(
    bundle: Path, overlays: Sequence[str], overrides: Mapping[str, Any], device: str, folder: str
) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in ("train", *overlays)])
    for key, value in overrides.items():
        parser[key] = value
    parser["bundle_root"], parser["ckpt_dir"], parser["output_dir"] = str(bundle), folder, folder
    parser["device"] = f"$torch.device({device!r})"
    parser["train#handlers"], parser["validate#handlers"] = [], []
    parser["epoch_length"], parser["max_epochs"], parser["cache"] = STEPS, 1, "memory"
    if "align_start" in parser:
        parser["align_start"] = 0  # the few steps without deformations cost less than all others
    if "@stage_one" in str(parser.get("prepare")):
        parser["prepare"] = None  # weights of a first stage are not there yet, and take no time
    return parser


def _few(items: list[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Some items of each modality, or some subjects, those with labels first."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for item in sorted(items, key=lambda one: not one.get("label")):
        kinds.setdefault(str(item.get("modality", "")), []).append(item)
    return [one for found in kinds.values() for one in found[:count]]


def _steps(trainer: Any, device: torch.device, clock: Callable[[], float]) -> tuple[float, float]:
    """Median seconds of a step, and the bytes that one took at most."""
    ends: list[float] = []
    kept: dict[int, int] = {}
    watching = contextlib.ExitStack()  # during one step alone: it takes time itself

    def keep(tensor: Tensor) -> Tensor:  # storages are told apart by their place
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def begin() -> None:
        if len(ends) == WARM_UP - 1:
            watching.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))

    def end() -> None:
        watching.close()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ends.append(clock())
        spent, count = ends[-1] - begun, len(ends)
        if (spent > SHORT and count >= FEW) or (spent > LONG and count > WARM_UP):
            trainer.terminate()

    trainer.add_event_handler(Events.ITERATION_STARTED, begin)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begun = clock()
    with watching:
        trainer.run()
    times = np.diff(ends)[WARM_UP - 1 :]
    own = sum(one.numel() * one.element_size() for one in trainer.objective.parameters())
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else sum(kept.values()) + 4 * own
    return float(np.median(times if len(times) else np.array([ends[-1] - begun]))), float(memory)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without bars and lines of a training."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
