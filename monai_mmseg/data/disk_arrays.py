# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Arrays on disk that are read by blocks of their first axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from monai.utils import OptionalImportError, optional_import
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor


class Rows(Protocol):
    """What a tensor and an array on disk have in common."""

    @property
    def shape(self) -> torch.Size:
        """Size of each axis."""

    def __getitem__(self, places: slice) -> Tensor: ...


def slices_first(rows: Rows) -> Tensor:
    """All of a volume, whose slices are its last axis, with that axis first in memory.

    Examples:
        >>> slices_first(torch.zeros(2, 8, 9, 4)).shape
        torch.Size([4, 2, 8, 9])
    """
    return rows[:].movedim(-1, 0).contiguous()


def neighbours(rows: Rows, place: int, count: int) -> Tensor:
    """Rows about a place, that in the middle; the first and the last one stand in for what is not there.

    Args:
        rows: ``(D, ...)``, a tensor or on disk.
        place: 0 to D - 1.
        count: an odd number.

    Returns:
        ``(count, ...)``; of a tensor a view, where all are there.

    Examples:
        >>> neighbours(torch.arange(4), 0, 3).tolist(), neighbours(torch.arange(4), 2, 3).tolist()
        ([0, 0, 1], [1, 2, 3])
    """
    half, depth = count // 2, rows.shape[0]
    first, last = max(0, place - half), min(depth, place + half + 1)
    block = rows[first:last]
    if last - first == count:
        return block
    return block[torch.arange(place - half, place + half + 1).clamp(0, depth - 1) - first]


class DiskArray:
    """An array in a file, of which ``array[first:last]`` reads some rows; it holds no memory and no open file.

    Files that end on ``.npy`` are mapped into memory: a tensor of rows is read when it is used. Files that end on
    ``.b2nd`` are compressed, each row by itself; ``blosc2`` reads them.

    Args:
        path: the file.
        shape: of the array.

    Raises:
        RuntimeError: (in an access) if the file is no longer there.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_array(Path(folder) / "a", torch.arange(6).reshape(3, 2), compress=False)
        ...     DiskArray(path, (3, 2))[1:].tolist()
        [[2, 3], [4, 5]]
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, torch.Size(shape)

    def __getitem__(self, places: slice) -> Tensor:
        try:
            if self.path.suffix == ".npy":
                # copy on write: what a transform writes stays out of the file
                return torch.from_numpy(np.load(self.path, mmap_mode="c")[places])
            opened = _blosc2().open(str(self.path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
            return torch.from_numpy(opened[places])
        except FileNotFoundError as error:
            raise RuntimeError(f"{self.path} was removed while it was in use; start again, it is made anew.") from error


class SlicesLast:
    """A volume ``(C, X, Y, Z)`` on disk, stored slices first, of which ``volume[..., first:last]`` reads some slices.

    Slices of the other axes are cut out of what was read.

    Args:
        rows: ``(Z, C, X, Y)``.

    Examples:
        >>> volume = torch.arange(24).reshape(1, 2, 3, 4)
        >>> bool((SlicesLast(slices_first(volume))[:, 1:, :2, 2:] == volume[:, 1:, :2, 2:]).all())
        True
    """

    def __init__(self, rows: Rows) -> None:
        depth, *rest = rows.shape
        self.rows, self.shape, self.ndim = rows, torch.Size([*rest, depth]), len(rows.shape)

    def __getitem__(self, places: tuple[Any, ...]) -> Tensor:
        return self.rows[places[-1]].movedim(0, -1)[places[:-1]]


def write_array(path: Path, array: Tensor, *, compress: bool) -> Path:
    """Write a tensor for :class:`DiskArray`.

    Args:
        path: the file without its ending.
        array: any shape; each row along the first axis is compressed by itself.
        compress: with blosc2; off, it can be mapped into memory.

    Returns:
        The file.
    """
    values = plain_tensor(array).detach().cpu().contiguous().numpy()
    if not compress:
        np.save(path.with_suffix(".npy"), values)
        return path.with_suffix(".npy")
    blosc2, target = _blosc2(), path.with_suffix(".b2nd")
    # of the codecs measured, LZ4 with shuffled bytes is read twice as fast as zstd and is a fifth larger
    settings = {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
    blosc2.asarray(values, urlpath=str(target), mode="w", cparams=settings, **_chunks(values.shape))
    return target


def need_compression() -> None:
    """Raise an error that says what to install, if compressed arrays cannot be written and read."""
    _blosc2()


def _chunks(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """One row a chunk, for rows that are worth it."""
    return {"chunks": (1, *shape[1:])} if len(shape) > 1 and np.prod(shape[1:]) >= 4096 else {}


def _blosc2() -> Any:
    module, found = optional_import("blosc2")
    if not found:
        raise OptionalImportError(
            "cache 'disk' compresses with blosc2: pip install 'monai-mmseg[disk]', or take cache 'disk_raw', which "
            "needs two and a half times the space and no further package."
        )
    return module
