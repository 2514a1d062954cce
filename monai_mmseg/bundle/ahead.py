# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Reading of the next volume while the network works on this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from math import prod
from pathlib import Path
from threading import RLock
from typing import Any

from monai.data import DataLoader
from torch.utils.data import SequentialSampler

from monai_mmseg.memory import large_blocks_not_kept

PREPROCESSING = RLock()
"""Held while a volume is preprocessed or a prediction inverted: both use, and for a moment change, the same objects."""

_END = object()


class AheadLoader(DataLoader):
    """MONAI's ``DataLoader`` that reads one batch ahead, in a thread.

    When to use: for inference on volumes, where reading and preprocessing would otherwise alternate with the network.
    Order and errors are those of ``DataLoader``: what is wrong with a volume is said when its turn comes. No more than
    one batch waits. A volume that is too large for that is read when the one before is done, which
    takes longer but little more memory than one volume alone.

    Args:
        *args: of ``DataLoader``.
        ahead_mb: the most voxels, in MB of single precision, that are read ahead (reading needs up to six times as
            much); known of NIfTI files, one a batch, in order.
        **kwargs: of ``DataLoader``.

    Examples:
        >>> [batch.item() for batch in AheadLoader([1, 2, 3], batch_size=1)]
        [1, 2, 3]
    """

    def __init__(self, *args: Any, ahead_mb: float = 200.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ahead_mb = float(ahead_mb)

    def __iter__(self) -> Iterator[Any]:
        """Batches in order."""
        batches = super().__iter__()
        small = [megabytes <= self.ahead_mb for megabytes in self._megabytes()]
        pool = ThreadPoolExecutor(1, thread_name_prefix="mmseg_read")
        try:
            number, waiting = 0, self._submit(pool, batches, ahead=True)
            while (batch := waiting.result()) is not _END:
                number += 1
                ahead = number >= len(small) or small[number]
                if ahead:
                    waiting = self._submit(pool, batches, ahead=True)
                yield batch
                del batch  # it must not live on beside the next two
                if not ahead:
                    waiting = self._submit(pool, batches, ahead=False)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @staticmethod
    def _submit(pool: ThreadPoolExecutor, batches: Iterator[Any], *, ahead: bool) -> Future[Any]:
        return pool.submit(_next if ahead else _next_alone, batches)

    def _megabytes(self) -> list[float]:
        """Size of each batch's volumes as they are read; 0 where nobody knows."""
        items = getattr(self.dataset, "data", None)
        if self.batch_size != 1 or not isinstance(self.sampler, SequentialSampler) or not isinstance(items, list):
            return []
        return [_megabytes(item.get("image")) if isinstance(item, Mapping) else 0.0 for item in items]


def _megabytes(image: Any) -> float:
    """Voxels of NIfTI files in single precision, by their headers."""
    if isinstance(image, Mapping | list | tuple):
        return sum(_megabytes(one) for one in (image.values() if isinstance(image, Mapping) else image))
    if isinstance(image, str | Path) and str(image).lower().endswith((".nii", ".nii.gz")):
        with suppress(Exception):  # what is wrong with it is said when it is read
            import nibabel as nib

            file: Any = nib.load(image)  # reads the header alone
            return float(4 * prod(file.shape) / 2**20)
    return 0.0


def _next(batches: Iterator[Any]) -> Any:
    with PREPROCESSING:
        return next(batches, _END)


def _next_alone(batches: Iterator[Any]) -> Any:
    with large_blocks_not_kept():
        return _next(batches)
