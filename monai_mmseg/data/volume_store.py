# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Preprocessed volumes in a folder, recognised by what they were made of."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_mmseg.data.disk_arrays import DiskArray, need_compression, write_array
from monai_mmseg.data.fingerprint import (
    NotDescribed,
    describe,
    digest,
    environment,
    identity,
    names_subject,
)
from monai_mmseg.distributed import rank, world_size
from monai_mmseg.files import atomic_folder, is_unfinished, remove_leftovers
from monai_mmseg.memory import give_back_freed_memory

NOTES = "notes.pkl"
SMALL = 2**14
"""Bytes up to which a tensor is kept among the notes, which are held in memory."""


class _Array(NamedTuple):
    """Stands in the notes for a tensor that has a file of its own."""

    name: str
    shape: tuple[int, ...]
    like: MetaTensor | None  # empty, with the metadata


class VolumeStore:
    """Makes what a transform gives for an item once, keeps it on disk, and finds it again.

    An entry is a folder with the large tensors as files and everything else in ``notes.pkl``. Its name is made of the
    transform with all its parameters, the item with its files (inode, size, time of change, bytes at both ends), the
    versions of the libraries and the sources of the transforms here: if one of them changes, there is another entry.
    Entries are written aside and renamed: several processes may fill one folder, and be killed at any time. They share
    the work, as what one is making the others leave for later.

    Items that differ by their ``subject`` alone share an entry, where the transform does not use the name.

    Args:
        folder: made if it is not there. As it holds pickles, nobody else should be able to write into it.
        transform: what is kept is made by it.
        kind: further text, numbers and lists that decide what is kept.
        compress: compress with blosc2.
        whole: read all of an entry, with metadata, which holds the paths of the files: linked files do not share it.

    Raises:
        ValueError: if no text describes the transform.
        OptionalImportError: if blosc2 is wanted and not there.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        transform: Any,
        kind: Sequence[Any] = (),
        *,
        compress: bool = True,
        whole: bool = False,
    ) -> None:
        if compress:
            need_compression()
        try:
            described = describe(transform)
        except NotDescribed as error:
            raise ValueError(f"a transform cannot be recognised, so cache must be 'memory' or false: {error}") from None
        self.folder, self.compress, self.whole = Path(os.path.abspath(folder)), compress, whole
        self.shares = not whole and not names_subject(transform)
        self.made_by = digest(described, describe(list(kind)), environment(), compress, whole)

    def key(self, item: Mapping[str, Any]) -> str:
        """Name of the entry of an item."""
        shared = self.shares and isinstance(item.get("subject"), str)
        told = {key: one for key, one in item.items() if not (shared and key in ("subject", "person", "visit", "fold"))}
        try:
            return digest(self.made_by, identity(told, path_matters=not shared))
        except NotDescribed as error:
            raise ValueError(f"an item cannot be recognised, so cache must be 'memory' or false: {error}") from None

    def fill(self, keys: Sequence[str], make: Callable[[int], Any]) -> Iterator[int]:
        """Make the entries that are missing; yields the places in `keys` as they are done.

        Args:
            keys: names of entries; equal ones are made once.
            make: gives the content of the entry at a place of `keys`.
        """
        first: dict[str, int] = {}
        for place, key in enumerate(keys):
            first.setdefault(key, place)
        places = list(first.items())
        start = len(places) * rank() // world_size()  # each process of a run begins elsewhere
        waiting = [(key, place) for key, place in places[start:] + places[:start] if not self._has(key)]
        later = []
        for key, place in waiting:
            if self._in_work(key):
                later.append((key, place))
            else:
                self._write(key, make, place)
            yield place
        for key, place in later:  # of a process that was killed meanwhile, or is not ready: never wait for others
            self._write(key, make, place)
        if waiting:  # the volumes are gone, but the C library holds on to hundreds of MB of them
            give_back_freed_memory()

    def read(self, key: str) -> Any:
        """What is kept under a name, with a :class:`DiskArray` for each large tensor; its time of last use is set.

        Raises:
            FileNotFoundError: there is no such entry.
        """
        place = self._place(key)
        content = pickle.loads((place / NOTES).read_bytes())
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(place)
        return _map(content, lambda one: _opened(one, place, self.whole), _Array)

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _has(self, key: str) -> bool:
        return (self._place(key) / NOTES).is_file()

    def _in_work(self, key: str) -> bool:
        remove_leftovers(self._place(key).parent, of=key)
        with contextlib.suppress(FileNotFoundError):
            return any(is_unfinished(one) and key in one for one in os.listdir(self._place(key).parent))
        return False

    def _write(self, key: str, make: Callable[[int], Any], place: int) -> None:
        if self._has(key):
            return
        _mark(self.folder)
        try:
            with atomic_folder(self._place(key)) as part:
                _save(make(place), part, self.compress)
        except OSError:
            if not self._has(key):  # else another process was faster, and its entry is as good
                raise


def remove_unused(folder: str | os.PathLike[str], days: float = 30.0) -> list[Path]:
    """Remove entries of a cache that no run has opened for some days, and what killed processes left.

    When to use: now and then; entries of old settings and files stay until somebody removes them. Do not remove what a
    running training uses: with some days, nothing of it is.

    Args:
        folder: ``cache_dir`` of the runs.
        days: since the last use; 0 removes everything.

    Returns:
        The entries that were removed.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     remove_unused(folder)
        []
    """
    removed = []
    for group in Path(folder).glob("[0-9a-f][0-9a-f]"):
        remove_leftovers(group)
        for entry in group.glob("[0-9a-f]*"):
            if time.time() - entry.stat().st_mtime >= days * 86400:
                aside = entry.with_name(f".{entry.name}.removed-{os.getpid()}.part")
                os.rename(entry, aside)  # a name that no process opens, before its files go one by one
                shutil.rmtree(aside, ignore_errors=True)
                removed.append(entry)
        with contextlib.suppress(OSError):
            group.rmdir()
    return removed


def _mark(folder: Path) -> None:
    """Tell git and backups that the folder can be made again."""
    if not (folder / ".gitignore").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n", encoding="utf-8")


def _save(content: Any, part: Path, compress: bool) -> None:
    count = 0

    def stored(tensor: Tensor) -> Any:
        nonlocal count
        # one number that stands for a whole array stays one number
        if tensor.numel() * tensor.element_size() <= SMALL or tensor.untyped_storage().nbytes() <= SMALL:
            return tensor
        count += 1
        path = write_array(part / str(count), tensor, compress=compress)
        empty = MetaTensor(torch.empty(0)).copy_meta_from(tensor) if isinstance(tensor, MetaTensor) else None
        return _Array(path.name, tuple(tensor.shape), empty)

    (part / NOTES).write_bytes(pickle.dumps(_map(content, stored, Tensor)))
    for path in part.iterdir():  # else a crash of the machine may leave the name on an empty file
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _opened(array: _Array, place: Path, whole: bool) -> Any:
    rows = DiskArray(place / array.name, array.shape)
    if not whole:
        return rows
    return rows[:] if array.like is None else MetaTensor(rows[:]).copy_meta_from(array.like)


def _map(value: Any, change: Callable[[Any], Any], kind: type) -> Any:
    """The same structure with all values of a kind changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: _map(one, change, kind) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[_map(one, change, kind) for one in value])
    if type(value) in (list, tuple):
        return type(value)(_map(one, change, kind) for one in value)
    return value
