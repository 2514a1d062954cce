# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Inference in windows, as many at a time as memory takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from monai_mmseg.memory import keep_freed_memory

MOST_WINDOWS = 32
"""Windows at a time at most: more do not make a GPU faster."""
OF_EACH = ("modality", "present")
"""What networks are told of each volume, by name."""
SHARE_OF_FREE_MEMORY = 0.5
"""Of a GPU's free memory, for the windows of one batch."""


class WindowInferer(SlidingWindowInferer):
    """MONAI's ``SlidingWindowInferer`` that finds out how many windows fit at a time.

    When to use: for networks of whole windows. The inferers of slices of this package do the same.

    Arguments are those of ``SlidingWindowInferer``; ``sw_batch_size`` may be ``"auto"``: on a CPU one window, which is
    as fast as several and takes the least memory; on a GPU as many as fill half of the free memory, 32 at most, found
    with the first window of each kind (which resets torch's peak of allocated memory).

    On CPUs freed memory stays with the process, see :func:`~monai_mmseg.memory.keep_freed_memory`.

    Examples:
        >>> infer = WindowInferer(roi_size=(4, 4), sw_batch_size="auto", overlap=0.5)
        >>> infer(torch.ones(1, 1, 8, 8), lambda image: 2 * image).unique().tolist()
        [2.0]
    """

    sw_batch_size: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.windows: Any = self.sw_batch_size
        if self.windows != "auto" and (not isinstance(self.windows, int) or self.windows < 1):
            raise ValueError(f'sw_batch_size must be a whole number of at least 1 or "auto", got {self.windows!r}.')
        self._fitting: dict[Any, int] = {}

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the network gives, put together.

        Args:
            inputs: ``(B, C, *spatial)``.
            network: takes windows ``(N, C, *roi_size)``.
            *args: for the network.
            **kwargs: for the network; ``modality`` and ``present`` may have one entry for each volume, which are then
                run one after the other.
        """
        return by_volume(self._run, inputs, network, args, kwargs)

    def _run(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        device = torch.device(self.sw_device or inputs.device)
        keep_freed_memory(device)
        if self.windows != "auto":
            return super().__call__(inputs, network, *args, **kwargs)
        self.sw_batch_size = MOST_WINDOWS if device.type == "cuda" else 1

        def run(windows: Tensor, *more: Any, **named: Any) -> Any:
            return self._in_parts(network, windows, more, named)

        return super().__call__(inputs, run if device.type == "cuda" else network, *args, **kwargs)

    def _in_parts(
        self, network: Callable[..., Any], windows: Tensor, more: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        """The network on as many windows at a time as fit; the first one tells how many those are."""

        def part(start: int, stop: int) -> Any:
            # what has a row for each window goes with it: a condition
            cut = [_rows(one, start, stop, len(windows)) for one in more]
            also = {name: _rows(one, start, stop, len(windows)) for name, one in named.items()}
            return network(windows[start:stop], *cut, **also)

        kind = (tuple(windows.shape[1:]), windows.dtype, torch.is_autocast_enabled(windows.device.type))
        done: list[Any] = []
        start = 0
        if kind not in self._fitting:
            held = torch.cuda.memory_allocated(windows.device)
            torch.cuda.reset_peak_memory_stats(windows.device)
            done.append(part(0, 1))
            start = 1
            each = max(1, torch.cuda.max_memory_allocated(windows.device) - held)
            cached = torch.cuda.memory_reserved(windows.device) - torch.cuda.memory_allocated(windows.device)
            free = torch.cuda.mem_get_info(windows.device)[0] + cached
            self._fitting[kind] = max(1, min(MOST_WINDOWS, int(SHARE_OF_FREE_MEMORY * free / each)))
        while start < len(windows):
            stop = min(start + self._fitting[kind], len(windows))
            done.append(part(start, stop))
            start = stop
        return _joined(done)


def by_volume(
    infer: Callable[..., Any],
    inputs: Tensor,
    network: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """What an inferer gives, volume by volume where its network is told something of each.

    Inferers cut a batch into windows of their own order, in which what is told of a volume would meet another one.

    Args:
        infer: ``(inputs, network, *args, **kwargs)``.
        inputs: ``(B, C, *spatial)``.
        network: takes windows of ``inputs``.
        args: for the network.
        kwargs: likewise; :data:`OF_EACH` may have an entry for each volume.

    Raises:
        ValueError: if it has another number of entries.

    Examples:
        >>> def whole(windows, network, **kwargs):
        ...     return network(windows, **kwargs)
        >>> net = lambda windows, modality: windows * modality
        >>> by_volume(whole, torch.ones(2, 1, 3), net, (), {"modality": torch.tensor([1, 2])}).flatten()
        tensor([1., 1., 1., 2., 2., 2.])
    """
    told: dict[str, Any] = {name: value for name in OF_EACH if _is_list(value := kwargs.get(name))}
    if not told:
        return infer(inputs, network, *args, **kwargs)
    if wrong := {name: len(value) for name, value in told.items() if len(value) != len(inputs)}:
        raise ValueError(f"the network must be told of each of {len(inputs)} volumes, got entries {wrong}.")
    others = {name: value for name, value in kwargs.items() if name not in told}
    done = []
    for row in range(len(inputs)):
        own = {name: _plain(value[row]) for name, value in told.items()}

        def run(windows: Tensor, *more: Any, own: Mapping[str, Any] = own, **named: Any) -> Any:
            return network(windows, *more, **named, **{name: _for_all(one, windows) for name, one in own.items()})

        cut = {name: _rows(value, row, row + 1, len(inputs)) for name, value in others.items()}
        done.append(infer(inputs[row : row + 1], run, *args, **cut))
    return _joined(done)


def _is_list(value: Any) -> bool:
    return value.ndim > 0 if isinstance(value, Tensor) else isinstance(value, Sequence) and not isinstance(value, str)


def _for_all(value: Any, windows: Tensor) -> Any:
    """What is told of a volume, for all of its windows: one name or number, or a row for each."""
    return value.expand(len(windows), *value.shape) if isinstance(value, Tensor) else value


def _plain(value: Any) -> Any:
    """A number for a tensor of one: read once a volume, not once for its every batch of windows."""
    return value.item() if isinstance(value, Tensor) and value.ndim == 0 else value


def _rows(value: Any, start: int, stop: int, count: int) -> Any:
    return value[start:stop] if isinstance(value, Tensor) and value.ndim > 1 and len(value) == count else value


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, Mapping):
        return {name: _joined([cast(Mapping[Any, Any], one)[name] for one in parts]) for name in first}
    return tuple(_joined(list(members)) for members in zip(*parts, strict=True))
