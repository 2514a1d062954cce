# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which modality each row of a batch has, and how layers deep inside a network are told."""

from __future__ import annotations

import functools
import itertools
import operator
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor

_THREAD = threading.local()  # per thread: services run one network in several


@dataclass(frozen=True)
class ModalitySelection:
    """The modality of a whole batch, or of each of its rows.

    Args:
        modality: of the whole batch; ``None`` where rows differ.
        runs: where rows differ, neighbouring rows of one modality, in order: name and number of rows.

    Examples:
        >>> mixed = ModalitySelection(runs=(("ct", 1), ("mr", 2), ("ct", 1)))
        >>> parts = mixed.gather(torch.arange(4))
        >>> parts
        {'ct': tensor([0, 3]), 'mr': tensor([1, 2])}
        >>> mixed.scatter(parts)
        tensor([0, 1, 2, 3])
    """

    modality: str | None = None
    runs: tuple[tuple[str, int], ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows of a mixed batch."""
        return sum(length for _, length in self.runs)

    def gather(self, batch: Tensor) -> dict[str, Tensor]:
        """Rows of each modality: a view where they are neighbours, else a copy."""
        chunks: dict[str, list[Tensor]] = {}
        for (name, _), chunk in zip(self.runs, batch.split([length for _, length in self.runs]), strict=True):
            chunks.setdefault(name, []).append(chunk)
        return {name: part[0] if len(part) == 1 else torch.cat(part) for name, part in chunks.items()}

    def scatter(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Rows of all modalities in the order of the batch, the opposite of :meth:`gather`."""
        if len(parts) == len(self.runs):
            return torch.cat([parts[name] for name, _ in self.runs])
        chunks = {
            name: iter(part.split([length for other, length in self.runs if other == name]))
            for name, part in parts.items()
        }
        return torch.cat([next(chunks[name]) for name, _ in self.runs])


def select_modality(
    modality: str | int | Sequence[str | int] | Tensor | None,
    modalities: Sequence[str],
    default: str,
    rows: int | None = None,
) -> ModalitySelection:
    """What the ``modality`` argument of a network means.

    Args:
        modality: a name or its index in ``modalities`` for the whole batch; one for each row (list, or integer tensor
            ``(B,)``, best on the CPU: reading it waits for the GPU); ``None`` for the default.
        modalities: the known names.
        default: the name that ``None`` stands for.
        rows: number ``B`` of rows of the batch; ``None`` leaves it unchecked.

    Returns:
        The selection; rows that all have one modality become a selection of the whole batch.

    Raises:
        ValueError: for an unknown name or index, or a list whose length is not ``rows``.
        TypeError: for anything that is no name and no index.

    Examples:
        >>> select_modality(torch.tensor([0, 0, 1]), ["ct", "mr"], "ct").runs
        (('ct', 2), ('mr', 1))
        >>> select_modality([1, 1], ["ct", "mr"], "ct").modality
        'mr'
    """
    if modality is None:
        return ModalitySelection(default)
    if isinstance(modality, Tensor):
        if modality.is_floating_point() or modality.is_complex() or modality.dtype == torch.bool or modality.dim() > 1:
            raise TypeError(
                f"modality must be an integer tensor of shape (B,), got {modality.dtype} {tuple(modality.shape)}."
            )
        modality = modality.tolist()
    if isinstance(modality, (str, int)) or not hasattr(modality, "__iter__"):
        return ModalitySelection(modality_name(modality, modalities))
    names = [modality_name(each, modalities) for each in modality]
    if rows is not None and len(names) != rows:
        raise ValueError(f"modality must name one modality for each of the {rows} rows of the batch, got {len(names)}.")
    runs = tuple((name, sum(1 for _ in run)) for name, run in itertools.groupby(names))
    if len(runs) < 2:
        return ModalitySelection(runs[0][0] if runs else default)
    return ModalitySelection(runs=runs)


def modality_name(modality: Any, modalities: Sequence[str]) -> str:
    """Name of one modality, given by name or by its index in ``modalities``, the known names.

    Raises:
        ValueError: if it is not known.
        TypeError: if it is neither a name nor an index.

    Examples:
        >>> modality_name(1, ["ct", "mr"])
        'mr'
    """
    known = ", ".join(f"{name!r} ({index})" for index, name in enumerate(modalities))
    if isinstance(modality, str):
        if modality not in modalities:
            raise ValueError(f"unknown modality {modality!r}; known are {known}.")
        return modality
    try:
        index = operator.index(modality)
    except TypeError:
        index = None
    if index is None or isinstance(modality, bool):
        raise TypeError(f"modality must be a name or an index, got {modality!r}; known are {known}.")
    if not 0 <= index < len(modalities):
        raise ValueError(f"unknown modality {index}; known are {known}.")
    return modalities[index]


def active_selection() -> ModalitySelection | None:
    """The selection that holds in this thread now, ``None`` outside of any forward pass."""
    return getattr(_THREAD, "selection", None)


@contextmanager
def selection_active(selection: ModalitySelection) -> Iterator[None]:
    """Let a selection hold in this thread for the time of a ``with`` block.

    Gradient checkpoints made inside remember it, and run again under it in the backward pass.
    """
    if not torch.compiler.is_compiling():
        _bind_checkpoints()
    outer = active_selection()
    _THREAD.selection = selection
    try:
        yield
    finally:
        _THREAD.selection = outer


class _Bound:
    """A function that runs under the selection that held when it was made."""

    def __init__(self, function: Callable[..., Any], selection: ModalitySelection) -> None:
        self.function, self.selection = function, selection

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with selection_active(self.selection):
            return self.function(*args, **kwargs)


def _bound(function: Callable[..., Any]) -> Callable[..., Any]:
    selection = active_selection()
    return function if selection is None else _Bound(function, selection)


@functools.cache
def _bind_checkpoints() -> None:
    """Make gradient checkpoints remember the selection; without effect on those made where none holds.

    A checkpointed function runs twice: in the forward pass, and in the backward pass when the selection is long gone.
    :func:`torch.utils.checkpoint.checkpoint` itself may have been imported by name anywhere, so what it calls is
    wrapped. Should a version of torch lack these names, layers refuse to run again without a selection.
    """
    module: Any = torch.utils.checkpoint
    if hasattr(module, "CheckpointFunction"):  # use_reentrant=True
        reentrant = module.CheckpointFunction.forward

        @functools.wraps(reentrant)
        def forward(ctx: Any, run_function: Callable[..., Any], *args: Any) -> Any:
            return reentrant(ctx, _bound(run_function), *args)

        module.CheckpointFunction.forward = staticmethod(forward)
    if hasattr(module, "_checkpoint_without_reentrant_generator"):  # use_reentrant=False
        generator = module._checkpoint_without_reentrant_generator

        @functools.wraps(generator)
        def recomputed(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return generator(_bound(fn), *args, **kwargs)

        module._checkpoint_without_reentrant_generator = recomputed
