# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Reading of the next volume while the network works on this one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import RLock
from typing import Any

from monai.data import DataLoader

PREPROCESSING = RLock()
"""Held while a volume is preprocessed or a prediction inverted: both use, and for a moment change, the same objects."""

_END = object()


class AheadLoader(DataLoader):
    """MONAI's ``DataLoader`` that reads one batch ahead, in a thread.

    When to use: for inference on volumes, where reading and preprocessing would otherwise alternate with the network.
    Order and errors are those of ``DataLoader``: what is wrong with a volume is said when its turn comes. No more than
    one batch waits.

    Arguments are those of ``DataLoader``.

    Examples:
        >>> [batch.item() for batch in AheadLoader([1, 2, 3], batch_size=1)]
        [1, 2, 3]
    """

    def __iter__(self) -> Iterator[Any]:
        """Batches in order."""
        batches = super().__iter__()
        pool = ThreadPoolExecutor(1, thread_name_prefix="mmseg_read")
        try:
            waiting = pool.submit(_next, batches)
            while (batch := waiting.result()) is not _END:
                waiting = pool.submit(_next, batches)
                yield batch
                del batch  # it must not live on beside the next two
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _next(batches: Iterator[Any]) -> Any:
    with PREPROCESSING:
        return next(batches, _END)
