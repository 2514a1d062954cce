# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One process at a time trains into a folder."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

LOCK = ".lock"
BEAT_S, SILENT_S = 20.0, 180.0
"""A lock is touched every so many seconds; one of another machine that was not for longer counts as left behind."""


class FolderInUse(RuntimeError):
    """Another process that still runs trains into the folder."""

    says_all = True


class FolderLock:
    """A file with the process and the machine that own a folder; the lock of a process that is gone is taken over.

    Use it around everything that writes into the folder. A process may take its own lock again.

    Args:
        folder: made if it is not there.
        other: settings that would name another folder, for the message.

    Raises:
        FolderInUse: by :meth:`acquire`, if the owner still runs, or runs on another machine and is not silent.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = FolderLock(folder)
        ...     lock.acquire()
        ...     held = (Path(folder) / LOCK).is_file()
        ...     lock.release()
        ...     held, (Path(folder) / LOCK).exists()
        (True, False)
    """

    def __init__(self, folder: str | os.PathLike[str], other: str = "other folders (ckpt_dir, output_dir)") -> None:
        self.path, self.other = Path(folder) / LOCK, other
        self._beat: threading.Event | None = None

    def check(self) -> None:
        """Refuse as :meth:`acquire` would, and write nothing."""
        owner = _read(self.path)
        if self._beat is None and owner is not None and owner != _this_process() and self._lives(owner):
            raise FolderInUse(self._refusal(owner))

    def acquire(self) -> None:
        """Take the lock; nothing happens if this object holds it."""
        if self._beat is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        mine = _this_process()
        for _ in range(50):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                self._take_over_or_refuse(mine)
                continue
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(mine, file)
            self._hold()
            return
        raise FolderInUse(f"{self.path} is taken again and again by other processes.")

    def release(self) -> None:
        """Give the folder back, if this object holds it."""
        if self._beat is None:
            return
        self._beat.set()
        self._beat = None
        atexit.unregister(self.release)
        if _read(self.path) == _this_process():
            self.path.unlink(missing_ok=True)

    def _hold(self) -> None:
        stop = self._beat = threading.Event()

        def beat() -> None:
            while not stop.wait(BEAT_S):
                with contextlib.suppress(OSError):
                    os.utime(self.path)

        threading.Thread(target=beat, name="folder lock", daemon=True).start()
        atexit.register(self.release)

    def _take_over_or_refuse(self, mine: dict[str, Any]) -> None:
        owner = _read(self.path)
        if owner is None:  # just being written, or left empty by a crash
            time.sleep(0.1)
            owner = _read(self.path)
        if owner is not None and owner != mine and self._lives(owner):
            raise FolderInUse(self._refusal(owner))
        aside = self.path.with_name(f"{LOCK}.{uuid.uuid4().hex}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return  # somebody else was faster
        if _read(aside) != owner:  # a third process took it over in between: it keeps it
            with contextlib.suppress(OSError):
                os.link(aside, self.path)
        elif owner is not None and owner != mine:
            logger.warning(
                "%s was left locked by process %s on %s, which is gone: taken over.",
                self.path.parent,
                owner.get("pid"),
                owner.get("host"),
            )
        aside.unlink(missing_ok=True)

    def _refusal(self, owner: dict[str, Any]) -> str:
        return (
            f"{self.path.parent} is in use: process {owner.get('pid')} on {owner.get('host')} has trained into it "
            f"since {owner.get('since')}. Wait for it, stop it, or name {self.other}."
        )

    def _lives(self, owner: dict[str, Any]) -> bool:
        if owner.get("host") != socket.gethostname():
            return self._age() < SILENT_S
        try:
            os.kill(int(owner["pid"]), 0)
        except (ProcessLookupError, KeyError, ValueError, TypeError):
            return False
        except PermissionError:
            return True
        # numbers of processes are used again
        born = _born(int(owner["pid"]))
        return born is None or owner.get("born") in (None, born)

    def _age(self) -> float:
        """Seconds since the lock was touched, by the clock of its own file system."""
        probe = self.path.with_name(f"{LOCK}.{uuid.uuid4().hex}")
        probe.touch()
        try:
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return float("inf")
        finally:
            probe.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


_SINCE = time.strftime("%Y-%m-%d %H:%M:%S")


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "born": _born(os.getpid()), "since": _SINCE}


def _born(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; ``None`` where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
