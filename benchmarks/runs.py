# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundles of the demonstration, trained and evaluated as a user does it: each command is said as one would type."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import ROOT
from monai_mmseg.files import read_json, write_json
from monai_mmseg.study.process import command_words, run_module


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


def train_and_evaluate(
    run: Run,
    folder: Path,
    dataset_dir: Path,
    *,
    bundle: str = "dafnet",
    threads: int = 1,
    echo: Callable[[str], object] | None = None,
) -> Result:
    """Run the two commands, or read what they left if they ran before.

    Args:
        run: what to run.
        folder: where everything goes; a run that was cut off is taken up at its last epoch.
        dataset_dir: folder with ``datalist.json``.
        bundle: name of the bundle.
        threads: CPU threads of each command.
        echo: called with each command.

    Returns:
        Where the scores of the test subjects are.

    Raises:
        CommandError: a command failed; the message names its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clock, scores = folder / "seconds.json", folder / "metrics" / f"{run.name}.json"
    if not (scores.is_file() and clock.is_file()):
        common = {
            "dataset_dir": str(dataset_dir.resolve()),
            "ckpt_dir": str((folder / "models").resolve()),
            "output_dir": str(folder.resolve()),
            "method": run.name,
            **run.overrides,
        }
        start, cpu, whole = time.monotonic(), {}, not (folder / "models" / "resume.pt").is_file()
        before = read_json(clock)["seconds"] if clock.is_file() else 0.0
        for run_id, configs, more in (
            ("training", ("train", *run.overlays), {"resume": True}),
            ("evaluating", ("train", *run.overlays, "evaluate"), {}),
        ):
            words = command_words(run_id, Path("bundles") / bundle, configs, {**common, **more})
            if echo is not None:
                shown = (quoted(word.replace(str(ROOT) + os.sep, "")) for word in words)
                echo(" ".join(["$ python -m monai.bundle", *shown]))
            log = folder / f"{run_id}.log"
            used = run_module("monai.bundle", words, log, folder=ROOT, environment={}, threads=threads)
            cpu[run_id] = round(used.cpu, 1)
        seconds = round(before + time.monotonic() - start, 1)
        write_json(clock, {"seconds": seconds, "threads": threads, "cpu": cpu if whole else {}})
    took = read_json(clock)
    return Result(folder, scores, float(took["seconds"]), took.get("cpu", {}).get("training"))


def quoted(word: str) -> str:
    """The word as one would type it in a shell: a list of files in double quotes."""
    return f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)
