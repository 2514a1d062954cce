# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights that are not there, noticed before anything else is done."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.handlers import CheckpointLoader

from monai_mmseg.bundle.command_line import parse_run_command

logger = logging.getLogger(__name__)


def check_weights(
    handlers: Sequence[Any], train_config: str | os.PathLike[str], argv: Sequence[str] | None = None
) -> None:
    """Check that the files of weights that a run will load are there.

    When to use: in a bundle's ``initialize``, so that a run without weights ends before data are made or read, and with
    the command that makes the weights. Other programs (MONAI Label, a federated client, a script) may bring weights of
    their own after initialising: for them the message is a warning.

    Args:
        handlers: files, or handlers of the evaluator, of which the ``CheckpointLoader`` ones are checked. By their
            ``load_path`` in a config, so that no network is made yet.
        train_config: path of the bundle's ``train.json``, for the message.
        argv: command line; ``sys.argv`` by default.

    Raises:
        SystemExit: with the path, what is there instead and the command as message, if the command line is a
            ``monai.bundle`` run.

    Examples:
        In ``inference.json``::

            "$monai_mmseg.bundle.check_weights([@checkpointloader#load_path], 'configs/train.json')"
    """
    paths = [Path(one.load_path) for one in handlers if isinstance(one, CheckpointLoader)]
    paths += [Path(one) for one in handlers if isinstance(one, str | os.PathLike)]
    missing = [path for path in paths if not path.is_file()]
    if not missing:
        return
    message = "\n".join(_message(path, train_config) for path in missing)
    if parse_run_command(sys.argv if argv is None else argv) is not None:
        # the message alone: a traceback through MONAI's parser would bury it
        raise SystemExit(f"Nothing was run. {message}")
    logger.warning(message)


def _message(path: Path, train_config: str | os.PathLike[str]) -> str:
    folder = path.parent
    others = sorted(file.name for file in folder.glob("*.pt")) if folder.is_dir() else []
    if not folder.is_dir():
        there = "there is no such folder"
    else:
        there = f"its folder holds {', '.join(others)}" if others else "its folder holds no weights"
    return (
        f"The trained weights {path.as_posix()} are missing ({there}). Training writes them; add the overlays and the "
        f"dataset_dir that you want:\n  python -m monai.bundle run training --config_file "
        f"{shlex.quote(os.fspath(train_config))}\n"
        "Weights that lie elsewhere: --ckpt_dir FOLDER, in which they are called model.pt."
    )
