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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

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
    begun = time.perf_counter()
    for job in jobs[:1]:
        yield function(*job)
    rest = jobs[1:]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    lanes = min(most, usable, len(rest))
    if lanes < 2 or (time.perf_counter() - begun) * len(rest) < WORTH:
        yield from (function(*job) for job in rest)
        return
    workers = [_Worker(function) for _ in range(lanes)]
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def call(job: tuple[Any, ...]) -> Any:
        worker = idle.get()
        try:
            return worker.call(job)
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(lanes)
    try:
        yield from pool.map(call, rest)
    finally:
        for worker in workers:
            worker.process.kill()  # its call ends
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    """A process that answers calls of one function, one at a time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _serve; _serve()"
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **alone}
        )
        self._send(function)

    def _send(self, content: Any) -> None:
        assert self.process.stdin
        pickle.dump(content, self.process.stdin)
        self.process.stdin.flush()

    def call(self, job: tuple[Any, ...]) -> Any:
        """What the function returns; its error is raised."""
        assert self.process.stdout
        try:
            self._send(job)
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
