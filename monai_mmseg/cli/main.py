# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``mmseg`` or ``python -m monai_mmseg``.

Commands are functions, called through ``fire``, which turns text into numbers, lists and so on. ``fire`` alone is
lenient; here an unknown command or flag is an error. Exit codes: 0 all is well, 1 something is wrong with the data or
the run, 2 wrong use.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from monai_mmseg import __version__

__all__ = ["COMMANDS", "main"]

# what is typed -> module:function; a new command is one line here
COMMANDS: dict[str, str] = {
    "baseline copy": "monai_mmseg.cli.report:copy",
    "bundle pack": "monai_mmseg.cli.bundle:pack",
    "data check": "monai_mmseg.cli.data:check",
    "data layout": "monai_mmseg.cli.data:layout",
    "data merge": "monai_mmseg.cli.data:merge",
    "data phantom": "monai_mmseg.cli.data:phantom",
    "data phantom abdomen": "monai_mmseg.cli.phantom:abdomen",
    "data phantom brain": "monai_mmseg.cli.phantom:brain",
    "data phantom cardiac": "monai_mmseg.cli.phantom:cardiac",
    "data phantom cmr": "monai_mmseg.cli.phantom:cmr",
    "data split": "monai_mmseg.cli.data:split",
    "data stack": "monai_mmseg.cli.data:stack",
    "data stats": "monai_mmseg.cli.data:stats",
    "evaluate": "monai_mmseg.cli.report:evaluate",
    "report": "monai_mmseg.cli.report:report",
}


class UsageError(Exception):
    """Wrong use of the command line; the message says what would be right."""


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, 3, 0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _load(command: str) -> Callable[..., Any]:
    module, name = COMMANDS[command].split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _overview(prefix: str = "") -> str:
    lines = ["usage: mmseg COMMAND [VALUE ...] [--flag value ...]", "", "commands:"]
    for command in sorted(COMMANDS):
        if command.startswith(prefix):
            summary = (inspect.getdoc(_load(command)) or "").splitlines()[0]
            lines.append(f"  mmseg {command:<14} {summary}")
    return "\n".join([*lines, "", "`mmseg COMMAND --help` lists the flags of a command."])


def _help(command: str, function: Callable[..., Any]) -> str:
    parts = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            required = parameter.default is parameter.empty
            text = f"--{name.replace('_', '-')} {'...' if _is_list(parameter) else name.upper()}"
            parts.append(text if required else f"[{text}]")
        else:
            parts.append(name.upper())
    text = (inspect.getdoc(function) or "").split("\nReturns:")[0].rstrip()
    return f"usage: mmseg {command} {' '.join(parts)}\n\n{text}"


def _kind(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _is_list(parameter: inspect.Parameter) -> bool:
    return _kind(parameter).startswith(("list", "Sequence", "tuple"))


def _split_command(words: Sequence[str]) -> tuple[str, list[str]]:
    for length in (3, 2, 1):
        command = " ".join(words[:length])
        if command in COMMANDS:
            return command, list(words[length:])
    typed = [word for word in words[:2] if not word.startswith("-")]
    groups = {command.split()[0] for command in COMMANDS if " " in command}
    if len(typed) == 1 and typed[0] in groups:
        raise UsageError(f"{typed[0]!r} is followed by what to do with it.\n\n{_overview(typed[0])}")
    raise UsageError(
        f"unknown command {' '.join(typed)!r}.{_did_you_mean(' '.join(typed), sorted(COMMANDS))}\n\n{_overview()}"
    )


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _flags(words: Sequence[str], function: Callable[..., Any], command: str) -> list[str]:
    """Arguments for ``fire``: values by position, then ``--name=value`` with checked names.

    A flag for several values takes all words up to the next flag: ``--modalities cine lge``.
    """
    parameters = inspect.signature(function).parameters
    flags = {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    wanted = [name for name in parameters if name not in flags]
    positional: list[str] = []
    named: dict[str, str] = {}
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not word.startswith("-") or word.lstrip("-")[:1].isdigit():
            positional.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = typed.lstrip("-").replace("-", "_")
        if name not in flags:
            known = [f"--{flag.replace('_', '-')}" for flag in flags]
            raise UsageError(
                f"{command} has no flag {typed}.{_did_you_mean(typed, known)} It has {', '.join(known) or 'none'}."
            )
        if name in named:
            raise UsageError(f"{typed} is given twice.")
        values = [value] if equals else []
        while not equals and place < len(words) and (_is_list(flags[name]) or not values):
            if words[place].startswith("--"):
                break
            values.append(words[place])
            place += 1
        named[name] = _value_for_fire(typed, values, flags[name])
    if len(positional) != len(wanted):
        raise UsageError(
            f"{command} needs {len(wanted)} values ({', '.join(name.upper() for name in wanted)}), got "
            f"{len(positional)}: {positional}.\n\n{_help(command, function)}"
        )
    required = [name for name, one in flags.items() if one.default is one.empty and name not in named]
    if required:
        raise UsageError(f"{command} needs --{required[0].replace('_', '-')}.\n\n{_help(command, function)}")
    return [*(repr(value) for value in positional), *(f"--{name}={value}" for name, value in named.items())]


def _value_for_fire(typed: str, values: Sequence[str], parameter: inspect.Parameter) -> str:
    if _is_list(parameter):
        items = [part for value in values for part in value.split(",") if part]
        if not items:
            raise UsageError(f"{typed} needs one or more values.")
        return repr([_literal(item) for item in items])
    if _kind(parameter) == "bool" and not values:
        return "True"
    if not values:
        raise UsageError(f"{typed} needs a value.")
    # text stays text, also when it looks like a number: a folder may be called 2024
    return repr(values[0]) if _kind(parameter).startswith("str") else values[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after ``mmseg``; default is the command line.

    Returns:
        Exit code: 0 all is well, 1 something is wrong with the data or the run, 2 wrong use.

    Examples:
        >>> main(["--version"])
        0.1.0
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else 2
    if words[0] == "--version":
        print(__version__)
        return 0
    try:
        command, rest = _split_command(words)
        function = _load(command)
        if "--help" in rest or "-h" in rest:
            print(_help(command, function))
            return 0
        arguments = _flags(rest, function, command)
    except UsageError as error:
        print(f"mmseg: {error}", file=sys.stderr)
        return 2
    import fire

    try:
        # what a command returns is its exit code, nothing to be printed
        result = fire.Fire(function, command=arguments, name=f"mmseg {command}", serialize=lambda _: None)
    except fire.core.FireExit as error:
        return int(error.code or 0)
    except (FileNotFoundError, FileExistsError, KeyError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"mmseg {command}: {message}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
