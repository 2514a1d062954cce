# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Errors in configs and overrides, found before anything is trained.

MONAI takes an override with any name: ``--train#trainer#max_epoch 3`` adds an entry that nobody reads, or stops with a
message that does not list what would have been right. The checks here know which ids the config files have, which of
them something refers to, and which arguments each ``_target_`` takes.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS

from monai_mmseg.bundle.command_line import RunCommand, is_own_process, parse_run_command, run_arguments
from monai_mmseg.bundle.merging import idle_errors, merge_value
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.references import SEPARATOR
from monai_mmseg.bundle.references import config_references as config_references
from monai_mmseg.bundle.suggestions import close_ids
from monai_mmseg.bundle.targets import accepted_arguments, find_target
from monai_mmseg.bundle.values import read_booleans, value_errors
from monai_mmseg.errors import install_hook

logger = logging.getLogger(__name__)

ALWAYS_KNOWN = frozenset(
    {"_meta_", "imports", "initialize", "run", "finalize", "training", "evaluating", "displayable_configs", "run_name"}
)
"""Top-level ids that tools read without a reference in the config."""


if is_own_process():  # so early that errors before the first check are shown as well
    install_hook()


class ConfigError(ValueError):
    """A config or an override has a name that nothing would read, or a value that cannot be meant."""


def check_config(
    config_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    argv: Sequence[str] | None = None,
    allow: Iterable[str] = (),
) -> None:
    """Check the config files and the overrides of the running ``python -m monai.bundle run`` command.

    When to use: as first entry of a bundle's ``initialize``. Started in another way (MONAI Label, ``MonaiAlgo``, a
    script), the command line says nothing about the config; then ``config_files`` are checked by themselves, if given.

    Args:
        config_files: files to check when the command line names none, the base first.
        argv: command line; ``sys.argv`` by default.
        allow: further top-level ids that overlays and overrides may add.

    Raises:
        SystemExit: with the list of errors as message, if the command line is a ``monai.bundle`` run.
        ConfigError: with the same message otherwise.

    Examples:
        In ``train.json``::

            "initialize": ["$monai_mmseg.bundle.check_config(@bundle_root + '/configs/train.json')", ...]
    """
    command = parse_run_command(sys.argv if argv is None else argv)
    parser = resolving_parser()
    files, overrides, allowed = _given(command, config_files)
    errors = _name_errors(files, overrides, {*allow, *allowed}) if files else []
    _tell_overruled(files, overrides)
    if parser is not None:
        defaults = _defaults(files)
        read_booleans(parser, defaults)
        if is_own_process():
            install_hook(_error_log(parser))
        errors += value_errors(parser, defaults)
        if files and (command is None or not command.config_files):
            errors += _unread(parser, Path(files[0]).parent, {*allow, *ALWAYS_KNOWN})
    if not errors:
        return
    error = _config_error(errors)
    if command is not None and command.config_files:
        # the message alone: a traceback through MONAI's parser would bury it
        raise SystemExit(f"Nothing was run. {error}{_hint(command)}")
    raise error


def _given(
    command: RunCommand | None, config_files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
) -> tuple[list[str], Mapping[str, Any], set[str]]:
    """Config files, overrides and further ids that are right: of the command line, or of the files by themselves."""
    if command is not None and command.config_files:
        return command.config_files, command.overrides, command.known_ids
    if config_files is None:
        return [], {}, set()
    files = [config_files] if isinstance(config_files, (str, os.PathLike)) else config_files
    paths = [os.fspath(file) for file in files]
    # a client of a federation works in a folder of its own, from which the bundle's may not be found
    return (paths if all(os.path.isfile(path) for path in paths) else []), {}, set()


def _unread(parser: ConfigParser, folder: Path, allowed: Iterable[str]) -> Iterator[str]:
    """Overrides of a script or a federated client whose names no config of the bundle has, and nothing refers to."""
    content = parser.get()
    known = {*allowed, *DEFAULT_MLFLOW_SETTINGS["configs"], *map(_top, config_references(content))}
    known |= known_names(folder) - run_arguments()
    others = {name: value for name, value in content.items() if name in known}
    return (f"{name}: {_place(others, name)}" for name in content if name not in known)


def _defaults(files: Sequence[str]) -> dict[str, Any]:
    """Settings as the first file has them that has them at all, and those of the ``evaluate.json`` beside."""
    beside = [os.path.join(os.path.dirname(files[0]), "evaluate.json")] if files else []
    found: dict[str, Any] = {}
    for path in (*files, *filter(os.path.isfile, beside)):
        found = {**ConfigParser.load_config_file(path), **found}
    return found


def _error_log(parser: ConfigParser) -> Path | None:
    """Where the traceback of an error goes."""
    try:
        return Path(parser.get_parsed_content("output_dir")) / "error.log"
    except Exception:  # there is none, or it is an expression that fails: the run will say so
        return None


def check_overrides(config_files: Sequence[str], overrides: Mapping[str, Any], allow: Iterable[str] = ()) -> None:
    """Check that overlays and overrides name what exists, and that every component takes the arguments it is given.

    An id that no file had before is right if its place is an argument that the component takes, or anywhere inside such
    an argument, or if something in the merged config refers to it; top-level ids that tools read are right as well.
    Overlays over ``inference.json`` may also set what the ``train.json`` beside it has, so that those of the training
    serve for inference.

    Args:
        config_files: the base config and its overlays, in the order of merging.
        overrides: values by id.
        allow: further top-level ids that may be added.

    Raises:
        ConfigError: listing all errors, each with the closest names.

    Examples:
        >>> import json, tempfile, pathlib
        >>> layer = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "train.json"
        ...     _ = file.write_text(json.dumps({"net": layer}))
        ...     check_overrides([str(file)], {"net#bias": False})
        ...     check_overrides([str(file)], {"net#bais": False})
        Traceback (most recent call last):
        monai_mmseg.bundle.checks.ConfigError: Errors in the config:
          net#bais: torch.nn.Linear has no argument 'bais'; did you mean 'bias'?
    """
    if errors := _name_errors(config_files, overrides, allow):
        raise _config_error(errors)


def check_ahead(config_files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Check names and values of a command that will be run, as far as :func:`check_config` will without its data.

    Args:
        config_files: the base config and its overlays, in the order of merging.
        overrides: values by id, and arguments of MONAI's ``run``.

    Raises:
        ConfigError: listing all errors.

    Examples:
        >>> import json, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "train.json"
        ...     _ = file.write_text(json.dumps({"max_epochs": 5}))
        ...     check_ahead([str(file)], {"max_epochs": 1.5})
        Traceback (most recent call last):
        monai_mmseg.bundle.checks.ConfigError: Errors in the config:
          max_epochs must be a whole number of at least 1, got 1.5.
    """
    given = {name: value for name, value in overrides.items() if name not in run_arguments()}
    check_overrides(config_files, given)
    parser = ConfigParser()
    parser.read_config(list(config_files))
    parser.update(given)
    defaults = _defaults(config_files)
    read_booleans(parser, defaults)
    if errors := value_errors(parser, defaults):
        raise _config_error(errors)


def known_names(configs: Path) -> set[str]:
    """Top-level ids that a config of a bundle has or refers to, and arguments of MONAI's ``run``.

    Args:
        configs: folder of the bundle's configs.

    Examples:
        >>> sorted(known_names(Path("no such folder")) & {"training", "logging_file", "learning_rate"})
        ['logging_file', 'training']
    """
    found = {*ALWAYS_KNOWN, *run_arguments()}
    for path in (*configs.glob("*.json"), *configs.glob("settings/*.json")):
        if path.name == "metadata.json":
            continue
        content = ConfigParser.load_config_file(path)
        found |= {*map(_top, content), *map(_top, config_references(content))}
    return found


def _config_error(errors: Iterable[str]) -> ConfigError:
    return ConfigError("\n  ".join(["Errors in the config:", *errors]))


def _name_errors(config_files: Sequence[str], overrides: Mapping[str, Any], allow: Iterable[str]) -> list[str]:
    sources = [(os.path.basename(str(f)), ConfigParser.load_config_file(f)) for f in config_files]
    # an entry that is nothing but a description holds a place in MONAI's parser for ids that are reported here
    sources = [(source, {k: v for k, v in content.items() if not _is_placeholder(v)}) for source, content in sources]
    if overrides:
        sources.append(("", dict(overrides)))
    # what a file reads is right, where a later one replaces that as well
    used = set().union(*(config_references(list(content.values())) for _, content in sources))
    known = {*allow, *ALWAYS_KNOWN}
    elsewhere = _ids_of_training(config_files[0]) - set(sources[0][1])
    if _makes_none(sources[0][1]):
        elsewhere.add("phantom")  # overlays speak of theirs
    parser = ConfigParser(config={})
    errors = _late_bases(sources)
    for number, (source, content) in enumerate(sources):
        for key, value in content.items():
            name = key.removeprefix("+")
            right = _top(name) in known or _normal(name) in used or (source and _top(name) in elsewhere)
            if number and not right and name not in parser and SEPARATOR.split(name)[-1] != "_desc_":
                problem = _place(parser.get(), name)
                errors += [f"{f'{source}: ' if source else ''}{name}: {problem}"] if problem is not None else []
            merge_value(parser, name, value, extend=key.startswith("+"))
    config = parser.get()
    errors += [error for error in _argument_errors(config) if not any(error.split(": ")[0] in e for e in errors)]
    return [*errors, *idle_errors(sources, overrides)]


def _late_bases(sources: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What is wrong with whole configs, with ``imports`` and ``run``, that are laid over other files."""
    before = [source for source, _ in sources]
    return [
        f"{source}: is a whole config and would set back what {' and '.join(before[:number])} says; give it first."
        for number, (source, content) in enumerate(sources)
        if number and source and {"imports", "run"} <= set(content)
    ]


def _tell_overruled(files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Warn of overlays of ``settings`` that contradict each other: two of one kind, of which one has no effect."""
    said: dict[str, tuple[str, Any]] = {}
    given = set(map(_normal, overrides))
    for path in files:
        if os.path.basename(os.path.dirname(os.path.abspath(path))) != "settings":
            continue
        for name, value in ConfigParser.load_config_file(path).items():
            key = _normal(name)
            if key.startswith(("_", "+")) or key in given:
                continue
            other, before = said.get(key, (path, value))
            if before != value:
                names = os.path.basename(other), os.path.basename(path)
                logger.warning("%s and %s set %s otherwise: that of %s holds, the later one.", *names, key, names[1])
            said[key] = path, value


def _ids_of_training(base: str) -> set[str]:
    """Top-level ids of the ``train.json`` beside another base config."""
    path = os.path.join(os.path.dirname(base), "train.json")
    if os.path.basename(base) == "train.json" or not os.path.isfile(path):
        return set()
    return set(ConfigParser.load_config_file(path))


def _is_placeholder(value: Any) -> bool:
    """Nothing but descriptions, at any depth."""
    if not isinstance(value, dict) or not value:
        return False
    return list(value) == ["_desc_"] or all(map(_is_placeholder, value.values()))


def _place(config: Any, name: str) -> str | None:
    """What is wrong with adding an id to the config; ``None`` if its place is an argument of a component."""
    steps = SEPARATOR.split(name)
    node, inside = config, False
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        if isinstance(node, list):
            if not step.isdigit() or int(step) >= len(node):
                return f"{'#'.join(steps[:depth])!r} is a list of {len(node)}, it has no entry {step!r}."
            node = node[int(step)]
            continue
        if not isinstance(node, dict):
            return f"{'#'.join(steps[:depth])!r} is {node!r}, which has no parts{_meant(close_ids(name, config), '.')}"
        if step not in node:
            if "_target_" in node:
                return _argument_error(node["_target_"], step)
            if steps[:depth] == ["phantom"]:  # arguments of the function that makes it
                if _makes_none(config):
                    return "the bundle was set up for its own data and makes no phantom."
                return _argument_error(f"monai_mmseg.phantom.make_{node.get('kind', 'heart')}_phantom", step)
            if inside and last:
                return None
            others = [_join([*steps[:depth], str(key)]) for key in node if key != "_meta_"]
            unknown = _join(steps[: depth + 1])
            close = close_ids(name, config, run_arguments()) or difflib.get_close_matches(unknown, others, n=3)
            return f"there is no {unknown!r}{_meant(close, ', and nothing refers to it.')}"
        inside = inside or "_target_" in node
        node = node[step]
    return None


def _makes_none(config: Mapping[str, Any]) -> bool:
    """Whether a bundle makes no phantom, as one that `mmseg plan` has set up."""
    return config.get("phantom_dir", "") is None


def _argument_errors(config: Any, name: str = "") -> Iterator[str]:
    if isinstance(config, dict):
        if "_target_" in config:
            yield from _component_errors(config, name)
        for key, value in config.items():
            yield from _argument_errors(value, _join([name, str(key)]))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from _argument_errors(value, _join([name, str(index)]))


def _component_errors(config: Mapping[str, Any], name: str) -> Iterator[str]:
    target = config["_target_"]
    if not isinstance(target, str) or target.startswith(("$", "@", "%")):
        return
    if find_target(target) is None:
        if "_disabled_" not in config:
            yield f"{name}: _target_ {target!r} cannot be found."
        return
    for key in config:
        if problem := _argument_error(target, key):
            yield f"{_join([name, key])}: {problem}"


def _argument_error(target: Any, key: str) -> str | None:
    if key in ConfigComponent.non_arg_keys or not isinstance(target, str):
        return None
    accepted = accepted_arguments(target)
    if accepted is None or key in accepted:
        return None
    otherwise = f"; it takes {', '.join(accepted) or 'none'}."
    return f"{target} has no argument {key!r}{_meant(difflib.get_close_matches(key, accepted, n=3), otherwise)}"


def _normal(name: str) -> str:
    return "#".join(SEPARATOR.split(name))


def _top(name: str) -> str:
    return SEPARATOR.split(name.removeprefix("+"))[0]


def _join(steps: Sequence[str]) -> str:
    return "#".join(step for step in steps if step)


def _meant(names: Sequence[str], otherwise: str) -> str:
    return f"; did you mean {' or '.join(repr(name) for name in names)}?" if names else otherwise


def _hint(command: RunCommand) -> str:
    return f"\n(config files: {', '.join(command.config_files)})"
