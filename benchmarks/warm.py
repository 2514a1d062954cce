# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``python -m module ...`` in a process that has its libraries imported already: seconds less for each command."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

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


def warm_up() -> None:
    """Start the process that imports, without waiting for it; where processes cannot be forked, do nothing."""
    if WARM:
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(IMPORTED))
        forkserver.ensure_running()


def run_module(
    module: str, words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], threads: int
) -> int:
    """Exit status of the module run with these words in a folder, with everything that it says in a file."""
    warm_up()
    given = (module, list(words), str(folder), str(log.resolve()), dict(environment), threads)
    process = multiprocessing.get_context("forkserver").Process(target=_run, args=given)
    process.start()
    process.join()
    return int(process.exitcode or 0)


def run_function(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function of a module, in a process that has imported what it needs; it prints where this one does.

    Raises:
        RuntimeError: if it ends with an error, which it has printed.
    """
    if not WARM:
        function(*arguments)
        return
    warm_up()
    process = multiprocessing.get_context("forkserver").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__} ended with status {process.exitcode}.")


def _run(module: str, words: list[str], folder: str, log: str, environment: dict[str, str], threads: int) -> None:
    import torch

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(folder)
    sys.path.insert(0, folder)  # as -m does
    os.environ.update(environment)
    torch.set_num_threads(threads)  # the variable was read when torch was imported
    warnings.simplefilter("ignore")
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
