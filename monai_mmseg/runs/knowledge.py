# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a network takes each class for in every modality, over the epochs of a training: one small file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.files import atomic_path


class KnowledgeHistory(NamedTuple):
    """Knowledge matrices and the distillation loss of every recorded epoch; NaN marks what was not there."""

    epochs: NDArray[np.int64]  # (E,), ascending
    matrices: NDArray[np.float64]  # (E, M, K, K), softened probabilities, row = true class
    loss: NDArray[np.float64]  # (E,)
    modalities: tuple[str, ...]  # M
    classes: tuple[str, ...]  # K, background first


def add_knowledge(
    path: str | Path,
    epoch: int,
    matrices: ArrayLike,
    loss: float,
    *,
    modalities: Sequence[str],
    classes: Sequence[str],
) -> Path:
    """Append an epoch to the file; this epoch and later ones that are there already are replaced.

    When to use: :class:`~monai_mmseg.handlers.ClassConfusionHandler` calls it. A resumed run leaves no double epochs,
    and a reader never sees half a file.

    Args:
        path: the file, ``.npz``; its folder is made.
        epoch: number of the epoch.
        matrices: shape ``(M, K, K)``.
        loss: distillation loss, NaN where there is none.
        modalities: M names.
        classes: K names.

    Returns:
        The path.

    Raises:
        ValueError: when the shapes do not fit, or the file holds other modalities or classes.

    Examples:
        >>> import tempfile
        >>> matrices, names = np.full((1, 2, 2), 0.5), {"modalities": ["ct"], "classes": ["background", "liver"]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for epoch in (1, 2, 2):
        ...         path = add_knowledge(f"{folder}/knowledge.npz", epoch, matrices, 0.1, **names)
        ...     read_knowledge(path).epochs.tolist()
        [1, 2]
    """
    path, names = Path(path), (tuple(map(str, modalities)), tuple(map(str, classes)))
    new: NDArray[np.float64] = np.asarray(matrices, dtype=np.float64)
    if new.shape != (len(names[0]), len(names[1]), len(names[1])):
        raise ValueError(
            f"matrices must have shape {(len(names[0]), len(names[1]), len(names[1]))} for {names[0]} and {names[1]}, "
            f"got {new.shape}."
        )
    epochs, history, losses = np.array([epoch]), new[None], np.array([loss], dtype=np.float64)
    if path.is_file():
        old = read_knowledge(path)
        if (old.modalities, old.classes) != names:
            raise ValueError(f"{path.name} is of {old.modalities} and {old.classes}, got {names[0]} and {names[1]}.")
        kept = old.epochs < epoch
        epochs, losses = np.append(old.epochs[kept], epochs), np.append(old.loss[kept], losses)
        history = np.concatenate([old.matrices[kept], history])
    columns: dict[str, Any] = {"epochs": epochs, "matrices": history, "loss": losses}
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(file, **columns, modalities=np.array(names[0]), classes=np.array(names[1]))
    return path


def read_knowledge(path: str | Path) -> KnowledgeHistory:
    """All epochs of a file, for :func:`~monai_mmseg.visualize.knowledge_figure`.

    Args:
        path: written by :func:`add_knowledge`.

    Returns:
        The history.

    Raises:
        ValueError: when the file is of something else.
    """
    with np.load(path, allow_pickle=False) as stored:
        if missing := [name for name in KnowledgeHistory._fields if name not in stored.files]:
            raise ValueError(f"{Path(path).name} must hold {list(KnowledgeHistory._fields)}, {missing} missing.")
        return KnowledgeHistory(
            stored["epochs"].astype(np.int64),
            stored["matrices"],
            stored["loss"],
            tuple(stored["modalities"].tolist()),
            tuple(stored["classes"].tolist()),
        )
