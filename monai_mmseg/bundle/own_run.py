# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The folders of a training, claimed in the words of a config."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from monai_mmseg.bundle.class_volumes import VOLUMES, class_volumes
from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.bundle.datalist import find_datalist
from monai_mmseg.bundle.gaps import training_gaps
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.seen import seen_images
from monai_mmseg.bundle.settings import model_settings
from monai_mmseg.distributed import of_first
from monai_mmseg.runs.lock import FolderInUse
from monai_mmseg.runs.model_settings import read_settings
from monai_mmseg.runs.owner import FolderTaken, RunOwner

logger = logging.getLogger(__name__)


def own_run(
    ckpt_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    dataset_dir: str | os.PathLike[str],
    phantom_dir: str | os.PathLike[str] | None = None,
    phantom: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> RunOwner:
    """The :class:`~monai_mmseg.runs.RunOwner` of a bundle's training.

    When to use: as ``owner`` of ``train.json``. A finished run in the folders is refused on the command line; MONAI
    Label, ``MonaiAlgo`` and scripts, which train into one folder again and again, replace it. The datalist is recorded
    where the items come from it, and its folder where it is not the bundle's own phantom.

    Args:
        ckpt_dir: folder of the weights.
        output_dir: folder of the run.
        dataset_dir: folder with ``datalist.json``.
        phantom_dir: see :func:`~monai_mmseg.bundle.find_datalist`.
        phantom: see there.
        resume: go on with the run that is there.
        overwrite: move the run that is there to ``previous``.

    Returns:
        The owner, which has not claimed anything yet.

    Examples:
        In ``train.json``::

            "owner": "$monai_mmseg.bundle.own_run(@ckpt_dir, @output_dir, @dataset_dir, resume=@resume)"
    """
    parser = resolving_parser()
    reads_list = parser is not None and "dataset_dir" in json.dumps(parser.get("train#dataset#data"), default=str)

    own = phantom_dir is not None and Path(dataset_dir).absolute() == Path(phantom_dir).absolute()

    def datalist() -> Path | None:
        if not own and not Path(dataset_dir, "datalist.json").is_file() and parse_run_command(sys.argv) is None:
            return None  # a server may bring its data later
        return find_datalist(dataset_dir, phantom_dir, phantom) if reads_list else None

    strict = is_training_command()
    settings = model_settings()
    learned: Callable[[], Mapping[str, Any]] | None = None
    if parser is not None and reads_list and Path(dataset_dir, "datalist.json").is_file():
        settings.update(training_gaps(parser) | seen_images(parser))
        items = parser.get_parsed_content("train#dataset#data")
        start = parser.get_parsed_content("start", default=None)
        before = read_settings(Path(start).parent).get(VOLUMES, {}) if isinstance(start, str) else {}
        learned = partial(_volumes, items, settings.get("knobs", {}).get("labels") or {}, before)
    return RunOwner(
        ckpt_dir,
        output_dir,
        datalist,
        settings={**settings, "phantom": own},
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        learned=learned,
    )


def _volumes(items: list[dict[str, Any]], labels: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """What a training learned from, read when it has ended; files that are gone by then must not end it otherwise."""
    try:
        return class_volumes(items, labels, before)
    except (OSError, ValueError, MemoryError) as error:
        logger.warning("the volumes of the classes are not kept with the weights: %s", error)
        return {VOLUMES: dict(before)}


def check_folders(owner: RunOwner) -> None:
    """Refuse folders that are not free; on the command line a refusal is a message and nothing else.

    When to use: last in ``initialize`` of ``train.json``.

    Args:
        owner: from :func:`own_run`.

    Raises:
        SystemExit: with the message, if the command line is a ``monai.bundle`` run.
        FolderTaken: with the same message otherwise.
        FolderInUse: likewise.

    Examples:
        In ``initialize`` of ``train.json``::

            "$monai_mmseg.bundle.check_folders(@owner)"
    """
    on_command = parse_run_command(sys.argv) is not None
    message = ""
    try:
        owner.check()
    except (FolderTaken, FolderInUse) as error:
        if not on_command:
            raise
        message = f"Nothing was run. {error}"
    if refused := of_first(message):
        raise SystemExit(refused if owner.is_main else 1)
    if on_command and threading.current_thread() is threading.main_thread():
        # what ends jobs on clusters is an interruption: it is noted, and the folders are given back
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def is_training_command() -> bool:
    """Whether this process is a ``monai.bundle`` run of a ``train.json`` that somebody typed.

    MONAI Label runs a config of its own making in processes that look alike.

    Examples:
        >>> is_training_command()
        False
    """
    command = parse_run_command(sys.argv)
    return command is not None and bool(command.config_files) and Path(command.config_files[0]).stem == "train"
