# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Train and evaluate a bundle with overlays, as a user does: two commands, resumable, one folder a run."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from monai_mmseg.study.process import run_module

if TYPE_CHECKING:
    from monai_mmseg.evaluation import ScoreTable

ROOT = Path(__file__).resolve().parents[1]


class Run(NamedTuple):
    """One training and its evaluation."""

    name: str  # of the method in tables
    overlays: tuple[str, ...]  # files in the bundle's configs folder, without ending, after train.json
    overrides: Mapping[str, Any] = {}


class Result(NamedTuple):
    """What a run left behind."""

    folder: Path
    scores: Path
    seconds: float  # of training and evaluation
    training_cpu: float | None  # seconds of all threads of the training; None: it was cut off and taken up

    @property
    def table(self) -> ScoreTable:
        """The scores of the test subjects; imported here, for a demonstration starts without all of MONAI."""
        from monai_mmseg.evaluation import ScoreTable

        return ScoreTable.from_json(self.scores)


def command(bundle: str, run_id: str, configs: Sequence[str], overrides: Mapping[str, Any]) -> list[str]:
    """The command line that runs a bundle."""
    files = [f"bundles/{bundle}/configs/{config}.json" for config in configs]
    line = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", str(files)]
    for key, value in overrides.items():
        line += [f"--{key}", value if isinstance(value, str) else json.dumps(value)]
    return line


def run_bundle(
    run: Run,
    folder: Path,
    dataset_dir: Path,
    *,
    done: str,
    bundle: str = "dafnet",
    overrides: Mapping[str, Any] | None = None,
    evaluating: Mapping[str, Any] | None = None,
    threads: int = 1,
    echo: Callable[[str], object] | None = None,
) -> float:
    """Run the two commands, unless they ran before.

    Args:
        run: what to run.
        folder: where everything goes; a run that was cut off is taken up at its last epoch.
        dataset_dir: folder with ``datalist.json``.
        done: file in the folder that the evaluation writes.
        bundle: name of the bundle.
        overrides: further overrides of both commands.
        evaluating: overrides of the evaluation alone.
        threads: CPU threads of each command.
        echo: called with each command.

    Returns:
        Seconds of training and evaluation.

    Raises:
        RuntimeError: if a command fails; the message names its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / "seconds.json"
    if not ((folder / done).is_file() and clock.is_file()):
        common = {
            "dataset_dir": str(dataset_dir.resolve()),
            "ckpt_dir": str((folder / "models").resolve()),
            "output_dir": str(folder.resolve()),
            "method": run.name,
            **run.overrides,
            **(overrides or {}),
        }
        start = time.monotonic()
        before = json.loads(clock.read_text(encoding="utf-8"))["seconds"] if clock.is_file() else 0.0
        whole, cpu = not (folder / "models" / "resume.pt").is_file(), {}
        for run_id, configs, more in (
            ("training", ("train", *run.overlays), {"resume": True}),
            ("evaluating", ("train", *run.overlays, "evaluate"), dict(evaluating or {})),
        ):
            line = command(bundle, run_id, configs, {**common, **more})
            cpu[run_id] = round(_call(line, folder / f"{run_id}.log", threads, echo=echo), 1)
        seconds = round(before + time.monotonic() - start, 1)
        clock.write_text(json.dumps({"seconds": seconds, "threads": threads, "cpu": cpu if whole else {}}))
    return float(json.loads(clock.read_text(encoding="utf-8"))["seconds"])


def train_and_evaluate(
    run: Run,
    folder: Path,
    dataset_dir: Path,
    *,
    bundle: str = "dafnet",
    overrides: Mapping[str, Any] | None = None,
    threads: int = 1,
    echo: Callable[[str], object] | None = None,
) -> Result:
    """Run a bundle that segments, or read what it left if it ran before.

    Args:
        run: what to run.
        folder: where everything goes; a run that was cut off is taken up at its last epoch.
        dataset_dir: folder with ``datalist.json``.
        bundle: name of the bundle.
        overrides: further overrides of both commands.
        threads: CPU threads of each command.
        echo: called with each command.

    Returns:
        The table of the test subjects.

    Raises:
        RuntimeError: if a command fails; the message names its log.
    """
    scores = f"metrics/{run.name}.json"
    given = {"bundle": bundle, "overrides": overrides, "threads": threads, "echo": echo}
    seconds = run_bundle(run, folder, dataset_dir, done=scores, **given)
    cpu = json.loads((folder / "seconds.json").read_text(encoding="utf-8")).get("cpu", {})
    return Result(folder, folder / scores, seconds, cpu.get("training"))


def quoted(word: str) -> str:
    """The word as one would type it in a shell: a list of files in double quotes."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _call(line: list[str], log: Path, threads: int, *, echo: Callable[[str], object] | None) -> float:
    if echo is not None:
        shown = ["python", *line[1:]]
        echo(" ".join(["$", *(quoted(part.replace(str(ROOT) + os.sep, "")) for part in shown)]))
    return run_module(line[2], line[3:], log, folder=ROOT, environment={}, threads=threads).cpu
