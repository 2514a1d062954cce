# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""An error in one to three lines: what happened, where, and what to do.

Libraries wrap what went wrong: MONAI's config resolver and its transforms, PyTorch's data loader and its processes.
What a user needs is one line of it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

SHOW_TRACEBACK = "MMSEG_TRACEBACK"
"""Variable of the environment: ``1`` prints the traceback."""

_LENGTH = 400  # characters of a line
_WRAPPERS = re.compile(r"Failed to evaluate |Failed to instantiate component |applying transform |Caught \w+ in \w+ ")
_LOGGED = ("Engine run is terminating due to exception", "Current run is terminating due to exception", "Exception: ")
_FAULTS = (
    "KeyError",
    "IndexError",
    "TypeError",
    "AttributeError",
    "NameError",
    "AssertionError",
    "NotImplementedError",
)
_STEPS = re.compile(r"(initialize|run|finalize|training|evaluating)(#|$)")


class _Link(NamedTuple):
    """One error of a chain."""

    name: str
    message: str
    error: BaseException | None = None


def short_message(error: BaseException, lines: int = 3) -> str:
    """What went wrong, in few lines: the cause below all wrappers, its place and, where it is known, what to do.

    When to use: wherever an error ends a command.

    Args:
        error: as it was caught.
        lines: at most so many.

    Returns:
        The lines, without a traceback.

    Examples:
        >>> try:
        ...     try:
        ...         raise ValueError("scan.nii: cannot be read.")
        ...     except ValueError as error:
        ...         raise RuntimeError("applying transform <LoadImage object>") from error
        ... except RuntimeError as error:
        ...     short_message(error)
        'scan.nii: cannot be read.'
        >>> print(short_message(OSError(28, "No space left on device", "out/metrics.json")))
        out/metrics.json: no space left on the disk.
        Free some, or write elsewhere (--output_dir, --ckpt_dir, --out).
    """
    links = list(_chain(error))
    cause = next((link for link in links if not _WRAPPERS.match(link.message)), links[-1])
    for known in _KNOWN:
        if found := known(cause, error):
            text, advice = found
            break
    else:
        text, advice = _plain(cause, error), ""
    kept = [line for line in (re.sub(r"\s+", " ", one).strip() for one in text.splitlines()) if line]
    room = max(1, lines - bool(advice))
    if len(kept) > room:
        kept = [*kept[: room - 1], f"{kept[room - 1]} (and {len(kept) - room} more lines)"]
    if (place := _config_id(error)) and f"{place}" not in text:
        kept[0] = f"{kept[0]} (in {place} of the config)"
    return "\n".join(_cut(line) for line in [*kept, *filter(None, [advice])])


def _chain(error: BaseException) -> Iterator[_Link]:
    """Errors from the outermost to the one that came first; those of another process are read from its traceback."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        message = _text(one)
        yield _Link(type(one).__name__, message, one)
        if "Original Traceback (most recent call last)" in message:
            yield from reversed(list(_of_traceback(message)))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else f"{os.fspath(error.filename)!s}: "
        return f"{name}{error.strerror.lower() if name else error.strerror}."
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # its own text puts the message in quotes
    return str(error)


def _of_traceback(text: str) -> Iterator[_Link]:
    """The errors in a printed chain, the one that came first in front."""
    for block in re.split(r"Traceback \(most recent call last\):\n", text)[1:]:
        # frames are indented; what follows them is the error, up to the blank line before the next block
        after = re.sub(r"\n\n(The above exception was|During handling of).*", "", block, flags=re.S)
        rest = "\n".join(line for line in after.splitlines() if not line.startswith("  ")).strip()
        if match := re.match(r"([\w.]+)(?:: (.*))?$", rest, re.S):
            yield _Link(match[1].rpartition(".")[2], match[2] or "")


def _plain(cause: _Link, error: BaseException) -> str:
    if cause.message and cause.name not in _FAULTS:
        return cause.message
    frames = [] if cause.error is None else traceback.extract_tb(cause.error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}monai_mmseg{os.sep}" in frame.filename] or frames
    written = cause.name == "KeyError" or (frames and (frames[-1].line or "").startswith("raise "))
    if cause.message.count(" ") > 2 and written:
        return cause.message  # a sentence for people
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{cause.name}: {cause.message}{place}" if cause.message else f"{cause.name}{place}"


def _cut(line: str) -> str:
    return line if len(line) <= _LENGTH else f"{line[: _LENGTH - 2]} …"


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Frames of an error and of all that it came from, the last call first."""
    for link in reversed(list(_chain(error))):
        steps: list[FrameType] = []
        step: TracebackType | None = None if link.error is None else link.error.__traceback__
        while step is not None:
            steps.append(step.tb_frame)
            step = step.tb_next
        yield from reversed(steps)


def _config_id(error: BaseException) -> str:
    """What MONAI's config resolver was making; steps such as ``run`` say nothing."""
    for frame in _frames(error):
        if frame.f_code.co_name == "_resolve_one_item":
            name = str(frame.f_locals.get("id", "")).replace("::", "#")
            return "" if _STEPS.match(name) else name
    return ""


def _path_of(error: BaseException, function: str, *names: str) -> str:
    """A path that some function of the traceback had in hand."""
    for frame in _frames(error):
        if frame.f_code.co_name == function:
            for name in names:
                owner, _, attribute = name.partition(".")
                value = frame.f_locals.get(owner)
                value = getattr(value, attribute, None) if attribute else value
                if isinstance(value, str | os.PathLike):
                    return os.fspath(value)
    return ""


def _weights_of(error: BaseException) -> str:
    path = _path_of(error, "load", "f") or _path_of(error, "__call__", "self.load_path")
    return f"weights {path}" if path else "weights"


def image_of(error: BaseException) -> str:
    """The image that was read or segmented when an error came up.

    Args:
        error: as it was caught.

    Returns:
        Its path, or those of its modalities; empty where no frame had one image in hand.

    Examples:
        >>> image_of(ValueError("no frames"))
        ''
    """
    for frame in _frames(error):
        for name in ("data_i", "batchdata"):  # MONAI's dataset, its evaluator
            item = frame.f_locals.get(name)
            image = item.get("image") if isinstance(item, Mapping) else None
            image = getattr(image, "meta", {}).get("filename_or_obj", image)
            images = list(image.values()) if isinstance(image, Mapping) else image
            images = images if isinstance(images, list) else [images]
            several = len(images) > 1 and not isinstance(image, Mapping)  # a batch: which of them is not known
            if images and not several and all(isinstance(one, str | os.PathLike) for one in images):
                return ", ".join(map(os.fspath, images))
    return ""


_Found = tuple[str, str] | None


def _disk_full(cause: _Link, error: BaseException) -> _Found:
    full = isinstance(cause.error, OSError) and cause.error.errno in (errno.ENOSPC, errno.EDQUOT)
    # PyTorch's writer says only how many bytes it got rid of
    writer = re.search(r"PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+", cause.message)
    if not full and not writer and "no space left on device" not in cause.message.lower():
        return None
    name = getattr(cause.error, "filename2", None) or getattr(cause.error, "filename", None)  # of a copy: the new one
    text = f"{name}: no space left on the disk." if name else "No space left on the disk."
    return text, "Free some, or write elsewhere (--output_dir, --ckpt_dir, --out)."


def _out_of_memory(cause: _Link, error: BaseException) -> _Found:
    found = cause.name in ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError") or re.search(
        r"out of memory|can't allocate memory|cannot allocate memory|Unable to allocate", cause.message, re.I
    )
    if not found:
        return None
    first = cause.message.strip().partition("\n")[0] or "Out of memory."
    sentences = re.split(r"(?<=\.) ", first)
    text = " ".join(sentences[:2])
    text = text if "memory" in text.lower() else f"Out of memory: {text}"
    if image := image_of(error):
        text = text if image in text else f"{image}: {text}"
        return text, "On the network's grid the image needs more memory than there is: are its voxel sizes in mm?"
    return text, "Smaller batch_size, spatial_size or features need less memory."


def _worker_killed(cause: _Link, error: BaseException) -> _Found:
    if not re.search(r"DataLoader worker .*(killed by signal|exited unexpectedly)", cause.message):
        return None
    text = cause.message.strip().partition("\n")[0]
    return text, "It was out of memory, or of shared memory (/dev/shm); num_workers 0 loads without such processes."


def _weights_differ(cause: _Link, error: BaseException) -> _Found:
    match = re.match(r"Error\(s\) in loading state_dict for ([\w.]+)", cause.message)
    if match is None:
        return None
    sizes = re.findall(
        r"size mismatch for (\S+): copying a param with shape torch\.Size\((.*?)\) from checkpoint, "
        r"the shape in current model is torch\.Size\((.*?)\)",
        cause.message,
    )
    said = []
    if sizes:
        key, file, network = sizes[0]
        said.append(f"{len(sizes)} of another size (first: {key} is {file} there, {network} here)")
    for word, what in (("Missing", "not in the file"), ("Unexpected", "not in the network")):
        if listed := re.search(rf"{word} key\(s\) in state_dict: (.*)", cause.message):
            names = re.findall(r'"([^"]+)"', listed[1])
            said.append(f"{len(names)} {what} (first: {names[0]})" if names else what)
    text = f"The {_weights_of(error)} do not fit the network {match[1]}: {'; '.join(said) or 'see the traceback'}."
    return text, "Give the overlays and the settings that they were trained with."


_DAMAGED = re.compile(
    r"Weights only load failed|PytorchStreamReader failed|invalid load key|Ran out of input|pickle data was truncated"
)


def _weights_damaged(cause: _Link, error: BaseException) -> _Found:
    reading = any(
        frame.f_code.co_filename.endswith(os.path.join("torch", "serialization.py")) for frame in _frames(error)
    )
    if isinstance(cause.error, OSError) or not (reading or _DAMAGED.match(cause.message)):
        return None
    return f"The {_weights_of(error)} cannot be read: the file is damaged, or holds more than weights.", ""


def _no_json(cause: _Link, error: BaseException) -> _Found:
    if not isinstance(cause.error, json.JSONDecodeError):
        return None
    path = _path_of(error, "load_config_file", "_filepath", "filepath") or "a file"
    return f"{path} is no JSON: {cause.message}.", ""


def _no_package(cause: _Link, error: BaseException) -> _Found:
    if cause.name not in ("ModuleNotFoundError", "OptionalImportError"):
        return None
    match = re.search(r"No module named '([\w.]+)'", cause.message)
    text = cause.message.strip().partition("\n")[0]
    return text, f"Install the package that has it (most have its name: pip install {match[1]})." if match else ""


def _no_gpu(cause: _Link, error: BaseException) -> _Found:
    if not re.search(
        r"not compiled with CUDA|No CUDA GPUs are available|no NVIDIA driver|invalid device ordinal", cause.message
    ):
        return None
    text = cause.message.strip().partition("\n")[0]
    return text, "On the CPU: --device \"$torch.device('cpu')\"."


_KNOWN: tuple[Callable[[_Link, BaseException], _Found], ...] = (
    _disk_full,
    _worker_killed,
    _no_gpu,
    _out_of_memory,
    _weights_differ,
    _weights_damaged,
    _no_json,
    _no_package,
)


@dataclass
class _Hook:
    """What is called for an error that nobody caught, and what was called before it."""

    error_log: Path | None = None
    before: Callable[..., Any] = field(default=sys.__excepthook__)

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if os.environ.get(SHOW_TRACEBACK) == "1" or not issubclass(kind, Exception | KeyboardInterrupt):
            self.before(kind, error, trace)
            return
        rank = os.environ.get("RANK", "0")
        who = f"process {rank}: " if os.environ.get("WORLD_SIZE", "1") != "1" else ""
        sys.stdout.flush()
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(f"{who}Interrupted.\n")
            return
        if said := next((link.error for link in _chain(error) if getattr(link.error, "says_all", False)), None):
            sys.stderr.write(f"{who}Error: {said}\n")  # a refusal: no traceback would tell more
            return
        place = self._write("".join(traceback.format_exception(kind, error, trace)), rank)
        sys.stderr.write(f"{who}Error: {short_message(error, lines=2)}\n(traceback: {place})\n")

    def _write(self, text: str, rank: str) -> str:
        name = "error.log" if rank == "0" else f"error_process{rank}.log"
        head = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n\n"
        for folder in (None if self.error_log is None else self.error_log.parent, None):
            try:
                place = Path(tempfile.mkdtemp(prefix="mmseg_")) if folder is None else folder
                place.mkdir(parents=True, exist_ok=True)
                (place / name).write_text(head + text, encoding="utf-8", errors="replace")
                return (place / name).as_posix()
            except OSError:
                continue
        return f"could not be written; {SHOW_TRACEBACK}=1 prints it"


class _Quiet(logging.Filter):
    """Holds back what engines log of an error that the hook will show."""

    def filter(self, record: logging.LogRecord) -> bool:
        return os.environ.get(SHOW_TRACEBACK) == "1" or not str(record.msg).startswith(_LOGGED)


def install_hook(error_log: Path | None = None) -> None:
    """Show an error that nobody catches in one to three lines, with its traceback in a file.

    When to use: in a process that is one command and no more, as ``python -m monai.bundle run``. ``MMSEG_TRACEBACK=1``
    prints the traceback as Python does. May be called again when the place of the file is known.

    Args:
        error_log: file of the traceback; processes beyond the first write one of their own beside it. Default, and
            where it cannot be written: a temporary folder.

    Examples:
        >>> before = sys.excepthook
        >>> install_hook(Path("eval/error.log"))
        >>> sys.excepthook is before
        False
        >>> sys.excepthook = before
    """
    if isinstance(sys.excepthook, _Hook):
        sys.excepthook.error_log = error_log or sys.excepthook.error_log
    else:
        sys.excepthook = _Hook(error_log, sys.excepthook)
    from monai.apps import get_logger  # MONAI gives this logger an output of its own, if nobody has named it before

    loggers = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    outputs = [handler for one in (logging.getLogger(), *loggers) for handler in one.handlers]
    for place in (*outputs, logging.lastResort, get_logger("monai.handlers.StatsHandler")):
        if place is not None and not any(isinstance(one, _Quiet) for one in place.filters):
            place.addFilter(_Quiet())
