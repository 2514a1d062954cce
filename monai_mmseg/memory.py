# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Freed memory that stays with the process, so that a step does not fetch its tensors from the kernel anew."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # parameters of mallopt(3) in glibc's malloc.h
_OWN_CHOICE = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory(device: str | torch.device = "cpu") -> bool:
    """Let the C library keep freed blocks for the next allocation, once for the whole process.

    When to use: before a loop on a CPU that makes and frees large tensors. By default glibc gives blocks of 32 MB and
    more back to the kernel when they are freed, and smaller ones when they lie on top; the kernel then hands out pages
    of zeros one by one, which can be half of a training step. Trainer and inferers of this package call it.

    The process keeps its peak until :func:`give_back_freed_memory`. Somebody's own choice is left alone: a
    ``MALLOC_...`` variable, ``GLIBC_TUNABLES`` for malloc, or ``MMSEG_KEEP_MEMORY=0``. With another allocator
    (``LD_PRELOAD``) the call has no effect.

    Args:
        device: where the loop runs; nothing is done for other devices than CPUs.

    Returns:
        Whether freed memory is kept; False where the C library is not glibc.

    Examples:
        >>> keep_freed_memory("cuda")
        False
    """
    return str(device).partition(":")[0] == "cpu" and _keep()


def give_back_freed_memory() -> None:
    """Hand what is kept and not in use back to the system; nothing where nothing was kept.

    Examples:
        >>> give_back_freed_memory()
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@contextmanager
def large_blocks_not_kept() -> Iterator[None]:
    """While this lasts, blocks of 1 MB and more go back to the system when they are freed.

    When to use: to make a few very large tensors once, such as a volume that is read, in a process that keeps freed
    memory. Blocks of hundreds of MB seldom fit into holes that others left, which then stay beside them.

    Examples:
        >>> with large_blocks_not_kept():
        ...     zeros = bytes(1 << 22)
    """
    library = _glibc()
    kept = library is not None and _keep.cache_info().currsize > 0 and _keep()
    if library is not None and kept:
        library.malloc_trim(0)
        library.mallopt(_MMAP_THRESHOLD, 1 << 20)
        library.mallopt(_MMAP_MAX, 1 << 16)
    try:
        yield
    finally:
        if library is not None and kept:
            library.mallopt(_MMAP_MAX, 0)


@cache
def _keep() -> bool:
    library = _glibc()
    chosen = any(name in os.environ for name in _OWN_CHOICE) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if library is None or chosen or os.environ.get("MMSEG_KEEP_MEMORY") == "0":
        return False
    # no block of its own mapping, whose end is the kernel's, and no cut at the top: -1 is "never" there
    return bool(library.mallopt(_MMAP_MAX, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, -1))


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - only glibc has it; musl has no mallopt either
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no library of the process itself
        return None
    return library
