# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Independent calls in processes of their own; threads would wait for Python's lock."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from monai_mmseg.memory import keep_freed_memory

MOST_WORKERS = 8
"""More processes than this are not started."""

WORTH = 1.0
"""Seconds of work below which no process is started."""

Result = TypeVar("Result")


def in_workers(
    function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], most: int = MOST_WORKERS
) -> Iterator[Result]:
    """Results of independent calls, in order; by several processes where the first call shows that it pays.

    The processes are plain ones with this Python, not forks (threads of the caller do not matter) and not those of
    :mod:`multiprocessing` (a script needs no ``if __name__ == "__main__"``). They end with the iterator.

    Args:
        function: what to call; it and its results can be pickled.
        jobs: arguments of each call.
        most: processes that may run at a time; one calls in this process.

    Returns:
        Iterator over the results; an error of a call is raised in its place.

    Examples:
        >>> list(in_workers(pow, [(2, 3), (3, 2)]))
        [8, 9]
    """
    rest = jobs[1:]
    lanes = min(most, usable_cores(), len(rest))
    if lanes < 2:
        yield from (function(*job) for job in jobs)
        return
    crew = _Crew(pickle.dumps(function), rest, lanes)  # what cannot be sent says so here, not when a call takes long
    timer = threading.Timer(WORTH / len(rest), crew.start)  # a first call that takes longer says so while it runs
    timer.daemon = True
    try:
        begun = time.perf_counter()
        timer.start()
        first = function(*jobs[0])
        timer.cancel()
        timer.join()
        if (time.perf_counter() - begun) * len(rest) >= WORTH:
            crew.start()
        yield first
        yield from crew.results or (function(*job) for job in rest)
    finally:
        timer.cancel()
        timer.join()
        crew.close()


def usable_cores() -> int:
    """Cores that this process may use: of the machine, its affinity, and the quota of its control group.

    Examples:
        >>> usable_cores() >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such group, or "max"
        pass
    return cores


def with_bar(results: Iterable[Result], what: str, total: int, wanted: bool | None = None) -> Iterable[Result]:
    """Results, with a bar on the screen of how many there are so far, if the package ``tqdm`` is installed.

    Args:
        results: from :func:`in_workers` or anything that takes its time.
        what: words in front of the bar.
        total: how many there will be.
        wanted: whether there is a bar; ``None``: on a terminal.

    Returns:
        The same results.
    """
    from monai.utils import optional_import  # here: workers start without it

    tqdm, installed = optional_import("tqdm.auto", name="tqdm")
    if not installed or not (sys.stderr.isatty() if wanted is None else wanted):
        return results
    shown: Iterable[Result] = tqdm(results, desc=what, total=total, leave=False)
    return shown


class _Crew:
    """Processes that share the jobs; none before :meth:`start`."""

    def __init__(self, function: bytes, jobs: Sequence[tuple[Any, ...]], lanes: int) -> None:
        self.function, self.jobs = function, jobs
        self.pool = ThreadPoolExecutor(lanes)
        self.lanes, self.workers = lanes, list[_Worker]()
        self.results: Iterator[Any] | None = None
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the processes, once, and give them the jobs."""
        if self.results is None:
            self.workers = [_Worker(self.function) for _ in range(self.lanes)]
            for worker in self.workers:
                self._idle.put(worker)
            self.results = self.pool.map(self._call, self.jobs)

    def close(self) -> None:
        """End the processes in the middle of their calls."""
        for worker in self.workers:
            worker.process.kill()
        self.pool.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.close()

    def _call(self, job: tuple[Any, ...]) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(job)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process that answers calls of one function, one at a time."""

    def __init__(self, function: bytes) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _serve; _serve()"
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **alone}
        )
        self._send(function)

    def _send(self, pickled: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(pickled)
        self.process.stdin.flush()

    def call(self, job: tuple[Any, ...]) -> Any:
        """What the function returns; its error is raised."""
        assert self.process.stdout
        try:
            self._send(pickle.dumps(job))
            result, error = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            status = self.process.wait()
            raise RuntimeError(f"a worker process ended with status {status}.") from None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Wait for the end of a killed process: none may write to a folder that is given up."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was not sent is of no use
                assert pipe
                pipe.close()
        self.process.wait()


def _serve() -> None:
    """Answer calls until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller gets it, too, and ends this process
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # what a call prints is no answer
    answer: tuple[Any, BaseException | None]
    keep_freed_memory()  # a tenth of the time of a subject was fetching pages
    try:
        function = pickle.load(sys.stdin.buffer)
        while True:
            job = pickle.load(sys.stdin.buffer)
            try:
                answer = function(*job), None
            except Exception as error:
                answer = None, error
            pickle.dump(answer, answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        return
