# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Commands in processes of their own, with a log and their time; Python modules start with what they import there."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from fire.parser import DefaultParseValue

import monai_mmseg

IMPORTED = (
    "monai.bundle",
    "monai.handlers",
    "monai.inferers",
    "monai_mmseg.bundle",
    "monai_mmseg.engines",
    "monai_mmseg.evaluation",
    "monai_mmseg.handlers",
    "monai_mmseg.inferers",
    "monai_mmseg.networks.nets",
    "monai_mmseg.objectives",
    "monai_mmseg.transforms",
    "torch._dynamo",  # an optimiser imports it
)
WARM = "forkserver" in multiprocessing.get_all_start_methods()


class Used(NamedTuple):
    """What a command took, in seconds."""

    clock: float = 0.0
    cpu: float = 0.0  # of all its threads and of the processes that it waited for


class CommandError(RuntimeError):
    """A command has failed; the message names its log."""

    says_all = True


def warm_up() -> None:
    """Start the process that imports, without waiting for it; where processes cannot be forked, do nothing."""
    if WARM:
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(IMPORTED))
        resource_tracker.ensure_running()  # it lets interrupts through when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C would end its imports aloud
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_module(
    module: str, words: Sequence[str], log: Path, *, folder: Path, environment: Mapping[str, str], threads: int = 1
) -> Used:
    """Run ``python -m module words``: seconds faster than a new Python where processes can be forked.

    Args:
        module: its name.
        words: after it.
        log: file for everything that it says.
        folder: where it runs.
        environment: further variables.
        threads: of the CPU.

    Returns:
        The time that it took.

    Raises:
        CommandError: it ended with an error.
    """
    root = str(Path(monai_mmseg.__file__).resolve().parents[1])
    whole = {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore", **environment}
    whole["PYTHONPATH"] = os.pathsep.join(filter(None, [root, whole.get("PYTHONPATH") or os.environ.get("PYTHONPATH")]))
    if not WARM:
        return run_program([sys.executable, "-m", module, *words], log, folder=folder, environment=whole)
    warm_up()
    context = multiprocessing.get_context("forkserver")
    told, telling = context.Pipe(duplex=False)
    given = (module, list(words), str(folder), str(log.resolve()), whole, threads, telling, os.getpid())
    begun = time.monotonic()
    process = context.Process(target=_run, args=given)
    process.start()
    telling.close()
    process.join()
    _check(int(process.exitcode or 0), log)
    try:
        return Used(time.monotonic() - begun, told.recv())
    except EOFError:  # it ended without a word
        return Used(time.monotonic() - begun)


def command_words(run_id: str, bundle: Path, configs: Sequence[str], overrides: Mapping[str, Any]) -> list[str]:
    """Words after ``python -m monai.bundle``.

    Args:
        run_id: ``training`` or ``evaluating``.
        bundle: its folder.
        configs: names below its ``configs``, without ending.
        overrides: values by id.

    Examples:
        >>> command_words("training", Path("b"), ["train", "demo"], {"seed": 1, "target": "lge"})[3:]
        ["['b/configs/train.json', 'b/configs/demo.json']", '--seed', '1', '--target', 'lge']
        >>> command_words("training", Path("b"), ["train"], {"frozen": False, "target": "1"})[4:]
        ['--frozen', 'False', '--target', "'1'"]
    """
    files = [(bundle / "configs" / f"{name}.json").as_posix() for name in configs]
    words = ["run", run_id, "--config_file", str(files)]
    for name, value in overrides.items():
        words += [f"--{name}", _word(value)]
    return words


def _word(value: Any) -> str:
    """What ``fire`` reads as this value: JSON's false and null are texts to it, and a text such as 1 is a number."""
    return value if isinstance(value, str) and DefaultParseValue(value) == value else repr(value)


def run_program(
    line: Sequence[str], log: Path, *, folder: Path, environment: Mapping[str, str], append: bool = False
) -> Used:
    """Run a program; arguments and errors are those of :func:`run_module`.

    Args:
        line: the program and its words.
        log: file for everything that it says.
        folder: where it runs.
        environment: further variables.
        append: keep what the log holds.
    """
    begun = time.monotonic()
    with log.open("a" if append else "w", encoding="utf-8") as file:
        whole = {**os.environ, **environment}
        process = subprocess.Popen(list(line), cwd=folder, env=whole, stdout=file, stderr=subprocess.STDOUT)
        if not hasattr(os, "wait4"):
            process.wait()
            used = Used(time.monotonic() - begun, time.monotonic() - begun)
        else:
            _, status, resources = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            used = Used(time.monotonic() - begun, resources.ru_utime + resources.ru_stime)
    _check(int(process.returncode), log)
    return used


def run_function(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function of a module, in a process that has imported what it needs; it prints where this one does.

    Raises:
        RuntimeError: if it ends with an error, which it has printed.
    """
    if not WARM:
        function(*arguments)
        return
    warm_up()
    process = multiprocessing.get_context("forkserver").Process(target=_call, args=(function, arguments))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__} ended with status {process.exitcode}.")


def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    _hear()
    function(*arguments)


def _hear() -> None:
    """Ctrl-C ends this process; the one that it was forked from is deaf."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _check(code: int, log: Path) -> None:
    if code:
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        lines = [text.strip() for text in said.splitlines()]
        # of a chain of errors, the first one is the cause
        causes = [text for text in lines if re.match(r"[\w.]*(Error|Conflict|Exception|Taken): ", text)][:1]
        told = causes or [text for text in lines if text and not text.startswith("(config files")][-2:]
        raise CommandError(f"a command ended with status {code}; its log is {log}. It says: {' | '.join(told)}")


def _run(
    module: str,
    words: list[str],
    folder: str,
    log: str,
    environment: dict[str, str],
    threads: int,
    tell: Connection,
    study: int,
) -> None:
    import torch

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    _hear()
    os.chdir(folder)
    sys.path.insert(0, folder)  # as -m does
    os.environ.update(environment)
    torch.set_num_threads(threads)  # the variable was read when torch was imported
    warnings.simplefilter("ignore")
    sys.argv = [module, *words]
    threading.Thread(target=_end_with, args=(study,), daemon=True).start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        tell.send(sum(os.times()[:4]))


def _end_with(study: int) -> None:
    """End once the process of the study was killed: nobody waits for this one, and the next call runs it again."""
    while True:
        time.sleep(1.0)
        try:
            os.kill(study, 0)  # asks only
        except ProcessLookupError:
            break
    os.kill(os.getpid(), signal.SIGTERM)  # a training gives its folders back
    time.sleep(20.0)
    os._exit(1)
