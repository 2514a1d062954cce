# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Other processes at the price of a fork: of one that has imported torch and MONAI, which takes five seconds."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT = multiprocessing.get_context(_METHOD)
if _METHOD == "forkserver":
    # packages of others alone: what an import of our own says or does is still seen
    _CONTEXT.set_forkserver_preload(
        ["torch", "monai.bundle", "monai.engines", "monai.handlers", "ignite.engine", "torch._dynamo"]
    )


def start_processes(work: Callable[..., None], arguments: tuple[Any, ...], count: int = 2) -> None:
    """Run ``work(rank, *arguments)`` in some processes; what one raises is raised here."""
    torch.multiprocessing.start_processes(work, arguments, count, start_method=_METHOD)


def start_module(words: Sequence[str], *, cwd: Path, said: Sequence[Path], env: Mapping[str, str] | None = None) -> Any:
    """The process in which ``python -m words...`` runs, or ``python -c`` with the code and its arguments.

    What it says to stdout and to stderr goes into two files.
    """
    process = _CONTEXT.Process(
        target=_as_main, args=(list(words), str(cwd), dict(env or {}), [str(one) for one in said])
    )
    process.start()
    return process


def run_module(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 600
) -> tuple[int, str, str]:
    """What ``python -m words...`` or ``python -c ...`` does; exit status, and what it says to stdout and to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, "out"), Path(folder, "err")]
        process = start_module(words, cwd=cwd, said=said, env=env)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{list(words)} took more than {timeout} s: {said[1].read_text('utf-8')[-2000:]}")
        texts = [path.read_text("utf-8") if path.exists() else "" for path in said]
        return process.exitcode, texts[0], texts[1]


def _as_main(words: list[str], cwd: str, env: dict[str, str], said: list[str]) -> None:
    for stream, path in zip((1, 2), said, strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # both may be one file
        os.dup2(file, stream)
        os.close(file)
    os.chdir(cwd)
    os.environ.update(env)
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # that of a process which was started by hand
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = words.copy()
    status = 0
    try:
        if words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # multiprocessing would not ask it
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
