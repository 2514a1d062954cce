# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``mmseg`` or ``python -m monai_mmseg``.

Commands are functions. Their signatures say which words and flags there are, their docstrings are the help; heavy
packages are imported where a command runs. Exit codes: 0 all is well, 1 something is wrong with the data or the run,
2 wrong use, 130 interrupted. ``MMSEG_TRACEBACK=1`` prints the traceback of an error.
"""

from __future__ import annotations

import argparse
import inspect
import os
import re
import signal
import sys
import threading
import traceback
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from monai_mmseg import __version__
from monai_mmseg.cli import baseline, bundle, compare, data, export, imports, phantom, plan, predict, report
from monai_mmseg.errors import SHOW_TRACEBACK, short_message

# what is typed; a new command is one line here
COMMANDS: dict[str, Callable[..., int | None]] = {
    "baseline active_contour": baseline.active_contour,
    "baseline copy": baseline.copy,
    "baseline register": baseline.register,
    "bundle copy": bundle.copy,
    "bundle list": bundle.names,
    "bundle pack": bundle.pack,
    "compare": compare.compare,
    "data check": data.check,
    "data export nnunet": export.nnunet,
    **{f"data import {kind}": command for kind, command in imports.COMMANDS.items()},
    "data label": data.label,
    "data layout": imports.layout,
    "data merge": data.merge,
    **{f"data phantom {kind}": command for kind, command in phantom.COMMANDS.items()},
    "data split": data.split,
    "data stack": data.stack,
    "data stats": data.stats,
    "evaluate": report.evaluate,
    "plan": plan.plan,
    "predict": predict.predict,
    "quality": report.quality,
    "report": report.report,
}

OLDER = ("data layout",)
"""Names of earlier versions, which scripts may use: they work, but are not listed."""

HELP = ("-h", "--help")


class UsageError(Exception):
    """Wrong use of the command line; the message says what would be right."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n`{self.prog} --help` lists what it takes.")


class _Several(argparse.Action):
    """All words up to the next flag; commas part words, too."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        words = [word for value in values for word in value.split(",") if word]
        if not words:
            raise argparse.ArgumentError(self, "needs one or more values")
        setattr(namespace, self.dest, self.read(words))

    def read(self, words: list[str]) -> Any:
        return words


class _Numbers(_Several):
    """Numbers up to the next flag."""

    def read(self, words: list[str]) -> list[Any]:
        try:
            return [self.of(word) for word in words]
        except ValueError:
            raise argparse.ArgumentError(self, f"needs {self.what}, got {' '.join(words)}") from None

    of: Callable[[str], Any] = int
    what = "whole numbers"


class _Shares(_Numbers):
    """Numbers with a point."""

    of, what = float, "numbers"


class _Counts(_Several):
    """Words such as ``ct=30``."""

    def read(self, words: list[str]) -> dict[str, int]:
        pairs = [word.partition("=") for word in words]
        counts = {name: int(number) for name, _, number in pairs if name and re.fullmatch(r"[0-9]+", number)}
        if len(counts) < len(words):
            example = " ".join(f"{name}={number}" for name, number in (self.default or {}).items()) or "ct=3 mr=3"
            raise argparse.ArgumentError(
                self, f"needs a number for each modality, such as {example}, got {' '.join(words)}"
            )
        return counts


# how words become a value of the annotated type
READERS: dict[Any, dict[str, Any]] = {
    str: {},
    int: {"type": int, "metavar": "N"},
    float: {"type": float, "metavar": "X"},
    bool: {"action": "store_true"},
    Sequence[int]: {"action": _Numbers, "nargs": "+", "metavar": "N"},
    Sequence[float]: {"action": _Shares, "nargs": "+", "metavar": "X"},
    Sequence[str]: {"action": _Several, "nargs": "+", "metavar": "NAME"},
    Mapping[str, int]: {"action": _Counts, "nargs": "+", "metavar": "MODALITY=N"},
}


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), 3, 0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _overview(group: str) -> str:
    """Commands of a group; of all groups if it is empty."""
    lines = [f"usage: mmseg {group or 'COMMAND'} ... [--flag value ...]", "", "commands:"]
    width = max(map(len, COMMANDS))
    for name, function in sorted(COMMANDS.items()):
        if name.startswith(group) and name not in OLDER:
            lines.append(f"  mmseg {name:<{width}}  {(inspect.getdoc(function) or '').partition(chr(10))[0]}")
    return "\n".join([*lines, "", "`mmseg COMMAND --help` lists the flags of a command; `mmseg --version`."])


def _find(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Command, or group of commands, and the words after it."""
    name = ""
    while words and name not in COMMANDS:
        longer = f"{name} {words[0]}".strip()
        if not any(f"{command} ".startswith(f"{longer} ") for command in COMMANDS):
            groups = [command.rpartition(" ")[0] for command in COMMANDS]
            known = dict.fromkeys(filter(None, [*COMMANDS, *groups, *HELP, "--version"]))
            close = _did_you_mean(longer, known)
            raise UsageError(f"unknown command {longer!r}.{close}\n`mmseg --help` lists the commands.")
        name, words = longer, words[1:]
    return name, words


def _parser(command: str) -> argparse.ArgumentParser:
    """What a function takes, from its signature and its docstring."""
    function = COMMANDS[command]
    text = imports.help_of(function)
    described = {
        name: " ".join(words.split()) for name, words in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", text, re.M)
    }
    parser = _Parser(prog=f"mmseg {command}", description=text.partition("\n\nArgs:")[0], allow_abbrev=False)
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        kind, default = parameter.annotation, parameter.default
        reader = READERS[kind if kind in READERS else typing.get_args(kind)[0]]  # X, or X | None
        about = described.get(name, "").replace("%", "%%")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            optional = {} if default is parameter.empty else {"nargs": "?", "default": default}
            parser.add_argument(name, help=about, **{"metavar": name.upper(), **reader, **optional})
        elif default is parameter.empty:
            parser.add_argument(_flag(name), help=about, required=True, **reader)
        else:
            parser.add_argument(_flag(name), help=about + _shown(default), default=default, **reader)
    return parser


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(default: Any) -> str:
    if isinstance(default, Mapping):
        default = [f"{name}={count}" for name, count in default.items()]
    text = " ".join(default) if isinstance(default, list | tuple) else str(default)
    return f" (default: {text})" if text not in ("", "None", "False") else ""


def _arguments(command: str, words: Sequence[str]) -> dict[str, Any]:
    parser = _parser(command)
    # as in configs, and as in the overrides of MONAI's commands
    words = [re.sub(r"^--[a-z][\w-]*", lambda match: match[0].replace("_", "-"), word) for word in words]
    parameters = inspect.signature(COMMANDS[command]).parameters.values()
    known = [_flag(one.name) for one in parameters if one.kind is one.KEYWORD_ONLY]
    typed = Counter(match[1] for word in words if (match := re.match(r"(--?[A-Za-z][\w-]*)(=|$)", word)))
    for flag, times in typed.items():
        if flag not in known:
            parser.error(f"no flag {flag}.{_did_you_mean(flag, known)} It has {', '.join(known) or 'none'}.")
        if times > 1:
            parser.error(f"{flag} is given twice.")
    return vars(parser.parse_args(words))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after ``mmseg``; default is the command line.

    Returns:
        Exit code: 0 all is well, 1 something is wrong with the data or the run, 2 wrong use, 130 interrupted.

    Examples:
        >>> main(["--version"])
        0.1.0
        0
    """
    given = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in given if word not in HELP]
    wants_help = words != given
    if words == ["--version"]:
        print(__version__)
        return 0
    name = ""
    try:
        name, rest = _find(words)
        if wants_help:
            print(_parser(name).format_help() if name in COMMANDS else _overview(name))
            return 0
        if name not in COMMANDS:
            raise UsageError(f"{name or 'mmseg'!r} is followed by what to do with it.\n\n{_overview(name)}")
        if argv is None and name != "compare" and threading.current_thread() is threading.main_thread():
            # what ends jobs on clusters is an interruption: copies of images in the folder for temporary files go, too.
            # A study ends at once: its trainings follow by themselves, for which an interruption would wait
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        return COMMANDS[name](**_arguments(name, rest)) or 0
    except UsageError as error:
        message, code = str(error), 2
    except KeyboardInterrupt:
        message, code = "interrupted.", 130
    except Exception as error:
        if os.environ.get(SHOW_TRACEBACK) == "1":
            traceback.print_exc()
        message, code = str(error) if getattr(error, "says_all", False) else short_message(error), 1
    print(f"{f'mmseg {name}'.rstrip()}: {message}", file=sys.stderr)
    return code
