# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the user typed after ``python -m monai.bundle run``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow, run, run_workflow
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

_COMMANDS = {"run": run, "run_workflow": run_workflow}


@dataclass
class RunCommand:
    """A call of MONAI's ``run``: config files, ids to override with their values, and what else it was given."""

    config_files: list[str]
    overrides: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def known_ids(self) -> set[str]:
        """Ids that mean something though no config file has them: run ids, and the settings of experiment tracking."""
        ids = {str(self.arguments[name]) for name in ("run_id", "init_id", "final_id") if self.arguments.get(name)}
        tracking = self.arguments.get("tracking")
        if isinstance(tracking, str):
            tracking = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) or ConfigParser.load_config_files(tracking)
        return ids | set(tracking.get("configs", ())) if isinstance(tracking, Mapping) else ids


def run_arguments() -> set[str]:
    """Names of the arguments of MONAI's ``run`` and ``run_workflow``, which are no config ids."""
    names: set[str] = set()
    for function in (run, run_workflow, ConfigWorkflow.__init__):
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"}
    return names


def parse_run_command(argv: Sequence[str]) -> RunCommand | None:
    """The call that the command line makes, or ``None`` if it is another program's.

    Follows the rules of ``fire``, which reads the command line for MONAI: ``--key value``, ``--key=value``, a bare
    ``--key`` is true, hyphens in keys are underscores, everything after a lone ``--`` is for ``fire`` itself.

    Args:
        argv: command line with the program first, as in ``sys.argv``.

    Returns:
        The call, with the contents of ``--args_file`` merged in.

    Examples:
        >>> command = ["x/monai/bundle/__main__.py", "run", "training", "--config_file", "['a.json', 'b.json']"]
        >>> call = parse_run_command([*command, "--lr=0.1"])
        >>> call.config_files, call.overrides, call.arguments["run_id"]
        (['a.json', 'b.json'], {'lr': 0.1}, 'training')
        >>> parse_run_command(["pytest", "run", "--lr=0.1"]) is None
        True
    """
    if len(argv) < 2 or Path(argv[0]).parts[-3:] != ("monai", "bundle", "__main__.py") or argv[1] not in _COMMANDS:
        return None
    positional, named = _split(argv[2:])
    names = [
        p.name for p in inspect.signature(_COMMANDS[argv[1]]).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    given = {**dict(zip(names, positional, strict=False)), **named}
    if isinstance(given.get("args_file"), str):
        given = {**ConfigParser.load_config_file(given["args_file"]), **given}
    arguments = {key: given.pop(key) for key in run_arguments() & given.keys()}
    files = arguments.get("config_file") or []
    return RunCommand(_file_list(files), given, arguments)


def is_own_process() -> bool:
    """Whether this process was started as ``python -m monai.bundle run``, and does nothing else.

    Returns:
        True if it was; a program that only has such words, as a test, is another's.

    Examples:
        >>> is_own_process()
        False
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", "") == "monai.bundle.__main__" and parse_run_command(sys.argv) is not None


def _split(tokens: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    from fire.parser import DefaultParseValue

    tokens = list(tokens[: tokens.index("--")]) if "--" in tokens else list(tokens)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    while tokens:
        token = tokens.pop(0)
        if not _is_flag(token):
            positional.append(DefaultParseValue(token))
            continue
        key, equals, value = token.lstrip("-").partition("=")
        if not equals:
            value = tokens.pop(0) if tokens and not _is_flag(tokens[0]) else "True"
        named[key.replace("-", "_")] = DefaultParseValue(value)
    return positional, named


def _is_flag(token: str) -> bool:
    return token.startswith("--") or re.match(r"-[a-zA-Z]", token) is not None


def _file_list(files: Any) -> list[str]:
    if isinstance(files, str):
        return files.split(",") if "," in files and not Path(files).is_file() else [files]
    return [str(file) for file in files]
