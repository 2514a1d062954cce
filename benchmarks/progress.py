# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One line on the screen: what runs, how much of everything is done, and how long the rest will take."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from monai_mmseg.handlers.clock import clock_time

ON_SCREEN, IN_A_LOG = 0.5, 15.0  # seconds between two lines; a terminal shows one in place of the other


class Progress:
    """Work in stages, of which each says how far it is.

    Args:
        stages: name and the seconds that each is expected to take; the clock corrects them all by one factor.
        stream: where the lines go.

    Examples:
        >>> progress = Progress({"bake": 6.0, "eat": 2.0}, stream=sys.stdout)
        >>> with progress.stage("bake", lambda: 0.5):
        ...     progress.line()
        'bake  38 %, 0:05 left'
    """

    def __init__(self, stages: Mapping[str, float], *, stream: TextIO | None = None) -> None:
        self.stages, self.done = dict(stages), dict.fromkeys(stages, 0.0)
        self.stream = stream or sys.stdout
        self.begun, self._before = time.monotonic(), 0.0
        self._current, self._share = "", lambda: 0.0
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with self._lock:
            self._write(f"{text}\n")

    def line(self) -> str:
        """What runs, per cent of everything, and the time left."""
        if self._current:
            self.done[self._current] = max(self.done[self._current], min(1.0, self._share()))
        every = sum(self.stages.values())
        worked = sum(seconds * self.done[name] for name, seconds in self.stages.items())
        # what was expected counts for a tenth, so that the first second says little; what an earlier call did, nothing
        trust = every / 10
        pace = (time.monotonic() - self.begun + trust) / (max(worked - self._before, 0) + trust)
        return f"{self._current}  {100 * worked / every:.0f} %, {clock_time(pace * (every - worked))} left"

    @contextmanager
    def stage(self, name: str, share: Callable[[], float]) -> Iterator[None]:
        """Show a stage while the block runs.

        Args:
            name: one of the stages.
            share: how much of it is done, from 0 to 1.
        """
        self._current, self._share = name, share
        self._before += self.stages[name] * min(1.0, share())  # by an earlier call that was cut off
        ended = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(ended,), daemon=True)
        ticker.start()
        try:
            yield
            self.done[name] = 1.0
        finally:
            ended.set()
            ticker.join()
            self._current = ""
            with self._lock:
                self._write("")

    def _tick(self, ended: threading.Event) -> None:
        screen = self.stream.isatty()
        while not ended.wait(ON_SCREEN if screen else IN_A_LOG):
            text = self.line()
            with self._lock:
                self._write(text if screen else f"{text}\n")

    def _write(self, text: str) -> None:
        # a terminal's line is written over
        self.stream.write(f"\r\x1b[K{text}" if self.stream.isatty() else text)
        self.stream.flush()


class Counted(logging.Handler):
    """Counts what a logger says: the phantom says one line a subject.

    Args:
        logger: its name.
        of: how many there will be.
    """

    def __init__(self, logger: str, of: int) -> None:
        super().__init__(logging.INFO)
        self.count, self.of = 0, of
        self.logger = logging.getLogger(logger)
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.count += 1

    def share(self) -> float:
        """How much is done, from 0 to 1."""
        return self.count / self.of


def trained_share(folder: Path) -> float:
    """How much of a training and its evaluation is done, by their logs.

    Args:
        folder: of a run of :func:`benchmarks.runs.train_and_evaluate`.

    Returns:
        From 0 to 1; the evaluation counts for a tenth.

    Examples:
        >>> trained_share(Path("no such folder"))
        0.0
    """
    if (folder / "seconds.json").is_file():
        return 1.0
    try:
        text = (folder / "training.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    if "trained before" in text:
        return 0.9
    lines = re.findall(r"^epoch (\d+)/(\d+)(?:  step (\d+)/(\d+))?", text, re.MULTILINE)
    if not lines:
        return 0.0
    epoch, last, step, steps = (int(number or 0) for number in lines[-1])
    return 0.9 * (epoch - 1 + step / steps if steps else epoch) / last
