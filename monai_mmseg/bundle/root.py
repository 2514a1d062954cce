# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where the bundle lies whose config is being resolved."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from monai.bundle import ConfigWorkflow

from monai_mmseg.bundle.command_line import parse_run_command


def bundle_root(*places: str, argv: Sequence[str] | None = None) -> str:
    """Folder of the bundle, found from the place of its config file: a bundle works wherever it is put or started.

    When to use: as ``bundle_root`` of every config. Looked at in this order: the config file of the workflow that is
    running, ``--config_file`` of the command line (any command of ``monai.bundle``), the current folder, `places`.

    Args:
        *places: folders where the bundle may be, seen from the current one.
        argv: command line; ``sys.argv`` by default.

    Returns:
        The first folder that holds ``configs/metadata.json``; ``"."`` if none does.

    Examples:
        In a config::

            "bundle_root": "$monai_mmseg.bundle.bundle_root('bundles/dafnet')"
    """
    files = [*_workflow_configs(), *_command_line_configs(sys.argv if argv is None else argv)]
    folders = [os.path.dirname(os.path.dirname(os.path.abspath(file))) for file in files]
    for folder in (*map(_shorter, folders), ".", *places):
        if os.path.isfile(os.path.join(folder, "configs", "metadata.json")):
            return folder
    return "."


def _shorter(folder: str) -> str:
    """Relative to the current folder, if it lies there: what is written is then the same on every machine."""
    here = os.getcwd()
    inside = folder == here or folder.startswith(here.rstrip(os.sep) + os.sep)
    return os.path.relpath(folder, here).replace(os.sep, "/") if inside else folder


def _workflow_configs() -> Iterator[str]:
    frame = inspect.currentframe()
    while frame is not None:
        workflow = frame.f_locals.get("self")
        if isinstance(workflow, ConfigWorkflow) and hasattr(workflow, "config_root_path"):
            yield os.path.join(workflow.config_root_path, "metadata.json")
            return
        frame = frame.f_back


def _command_line_configs(argv: Sequence[str]) -> Iterator[str]:
    command = parse_run_command(argv)
    if command is not None:
        yield from command.config_files[:1]
    elif argv and Path(argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py"):  # ckpt_export and the like
        for number, word in enumerate(argv):
            flag, equals, _ = word.replace("-", "_").partition("=")
            if flag == "__config_file":
                text = word.partition("=")[2] if equals else "".join(argv[number + 1 : number + 2])
                yield text.strip("[]").split(",")[0].strip(" '\"")
