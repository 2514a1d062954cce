# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``terms.csv`` of a run: the mean of every loss term and metric in every epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from monai_mmseg.files import atomic_path

Lines = dict[int, dict[str, float | None]]  # epoch -> column -> value


def read_terms(path: str | Path) -> tuple[list[int], dict[str, list[float | None]]]:
    r"""Epochs and curves of a ``terms.csv``.

    Use it to draw or compare the curves of runs.

    Args:
        path: the file.

    Returns:
        Epochs, and for each column its values; ``None`` where the cell is empty.

    Raises:
        ValueError: the file has no column ``epoch``, or a cell is no number.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "terms.csv"
        ...     _ = path.write_text("epoch,generator/kl,validation/dice\n1,0.5,\n2,0.25,0.7\n")
        ...     read_terms(path)
        ([1, 2], {'generator/kl': [0.5, 0.25], 'validation/dice': [None, 0.7]})
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        if not head or head[0] != "epoch":
            raise ValueError(f"{Path(path).name} must start with the column 'epoch', got {head[:1]}.")
        epochs: list[int] = []
        columns: dict[str, list[float | None]] = {name: [] for name in head[1:]}
        for line in reader:
            try:
                epochs.append(int(float(line[0])))
                for name, cell in zip(head[1:], line[1:], strict=True):
                    columns[name].append(float(cell) if cell else None)
            except ValueError as error:
                raise ValueError(f"{Path(path).name} must hold one number a cell, got {line}.") from error
    return epochs, columns


def add_terms(path: Path, epoch: int, terms: Mapping[str, float]) -> None:
    """Merge terms into the line of an epoch; see :meth:`RunRecorder.add_terms`."""
    lines = _lines(path)
    lines.setdefault(int(epoch), {}).update(terms)
    _write(path, lines)


def drop_terms_from(path: Path, epoch: int) -> None:
    """Forget an epoch and all later ones; see :meth:`RunRecorder.drop_terms_from`."""
    kept = {at: line for at, line in _lines(path).items() if at < epoch}
    # a term that only the forgotten epochs had is forgotten as well
    known = {name for line in kept.values() for name, value in line.items() if value is not None}
    if kept:
        _write(path, {at: {name: line[name] for name in line if name in known} for at, line in kept.items()})
    else:
        path.unlink(missing_ok=True)


def _lines(path: Path) -> Lines:
    if not path.is_file():
        return {}
    epochs, columns = read_terms(path)
    return {at: {name: values[place] for name, values in columns.items()} for place, at in enumerate(epochs)}


def _write(path: Path, lines: Lines) -> None:
    names = list(dict.fromkeys(name for line in lines.values() for name in line))
    with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", *names])
        for at, line in sorted(lines.items()):
            cells = [line.get(name) for name in names]
            writer.writerow([at, *("" if value is None else f"{value:.8g}" for value in cells)])
