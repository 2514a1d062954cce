# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Seconds and memory of training steps: peers in turn in one process, so that ratios hold when the speed drifts."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import RESULTS, ROOT
from monai_mmseg.files import write_json
from monai_mmseg.objectives import Objective


def speed_parser(doc: str | None, steps: int = 3) -> argparse.ArgumentParser:
    """What the command lines of all measurements have in common; denormal numbers are zero from here on."""
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    about = "count the seconds that the process was at work, which other processes disturb less"
    parser.add_argument("--cpu-time", action="store_true", help=about)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file")
    return parser


def write_report(arguments: argparse.Namespace, name: str, report: Mapping[str, Any], *, say: bool = True) -> None:
    """Write a report with the machine and the clock in front, and print it."""
    clock = "CPU time of the process" if arguments.cpu_time else "wall"
    content = {**machine(arguments.device), "clock": clock, **report}
    write_json(ROOT / arguments.results / f"{name}.json", content)
    if say:
        print(json.dumps(content, indent=1))


class PlainLoop:
    """Phases in turn, forward, backward, step: what anybody would write."""

    def __init__(self, objective: Objective, batch: dict[str, Any]) -> None:
        self.objective, self.batch = objective.train(), batch
        self.optimizers = {p: torch.optim.Adam(objective.parameters_of(p), 1e-4) for p in objective.phases}
        self.parameters = {p: objective.parameters_of(p) for p in objective.phases}

    def __call__(self) -> None:
        """Make one step."""
        previous: dict[str, Any] = {}
        for phase, optimizer in self.optimizers.items():
            for name, parameters in self.parameters.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == phase)
            optimizer.zero_grad(set_to_none=True)
            result = self.objective(self.batch, phase, previous)
            self.objective.total(result.terms, phase).backward()
            optimizer.step()
            previous.update(result.outputs)


def clock(device: torch.device) -> float:
    """Seconds, after the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timer(device: torch.device, *, cpu_time: bool = False) -> Callable[[], float]:
    """What to take times with: the clock, or the time that this process was at work."""
    return time.process_time if cpu_time else partial(clock, device)


def interleaved(
    calls: Mapping[str, Callable[[], Any]], steps: int, timer: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each call, A B A B ..., after one warm-up each."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(steps):
        for name, call in calls.items():
            start = timer()
            call()
            found[name].append(timer() - start)
    return found


def ratios(found: Sequence[float], base: Sequence[float]) -> list[float]:
    """Step by step, the one over the other: drift of the machine's speed falls out."""
    return [a / b for a, b in zip(found, base, strict=True)]


def peak_memory(device: torch.device) -> float:
    """MB at most so far: on the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def peak_memory_of(module: str, *words: str) -> float:
    """MB at most of a process of its own: a module of the benchmarks that ends with printing them."""
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were taken on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    return {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}
