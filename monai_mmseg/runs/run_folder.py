# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A run folder: everything that one run leaves behind for its report, as plain files.

======================  ================================================================================
``run.json``            name, purpose, method, modality, settings, seed, status, times, versions, commit
``metrics/*.json``      scores (:class:`~monai_mmseg.evaluation.ScoreTable`) of label volumes, one or several methods each
``terms.csv``           ``epoch`` and one column for each ``<phase>/<term>``; empty cells are gaps
``figures/*.png``       pictures; ``figures/captions.json`` maps file name to caption, in the order of the page
``disentanglement.json``  what :func:`~monai_mmseg.metrics.disentanglement_report` returns, or ``silhouettes``
``reconstruction.json``  such a table of reconstructed images, beside it as CSV and Markdown
``subsets.json``        such a table of subsets of the modalities, beside it as CSV and Markdown
``warnings.txt``        one warning a line
======================  ================================================================================

Every part may be missing.
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import monai_mmseg
from monai_mmseg.files import atomic_path, write_text
from monai_mmseg.visualize.figure import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN, TERMS, METRICS, FIGURES = "run.json", "terms.csv", "metrics", "figures"
CAPTIONS, DISENTANGLEMENT, WARNINGS = "captions.json", "disentanglement.json", "warnings.txt"
RECONSTRUCTION, SUBSETS = "reconstruction.json", "subsets.json"
PACKAGES = ("torch", "monai", "pytorch-ignite", "numpy", "nibabel")


class _Table(Protocol):
    def to_json(self) -> str: ...


class RunRecorder:
    """Writes a run folder, part by part.

    Use it in scripts; bundles use :class:`monai_mmseg.handlers.RunRecordHandler`. As a context manager it notes how long the
    run took and whether it failed. Nothing is written before :meth:`start`.

    Args:
        run_dir: folder; made by :meth:`start`.
        name: short name of the run.
        what: one sentence on what was done, for the top of the page.
        method: name of the method that this run is about; the page's headline is about it.
        modality: the modality that matters; ``None`` means the first of the table.
        settings: what somebody needs to repeat the run; nested mappings are fine.
        seed: of the run.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RunRecorder(folder, "trial", seed=0) as recorder:
        ...         recorder.add_terms(1, {"generator/kl": 0.5})
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['run.json', 'terms.csv']
    """

    def __init__(
        self,
        run_dir: str | Path,
        name: str,
        *,
        what: str = "",
        method: str | None = None,
        modality: str | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        self.run_dir = Path(run_dir)
        self.about: dict[str, Any] = {
            "format": "monai_mmseg.run/1",
            "name": name,
            "what": what,
            "method": method,
            "modality": modality,
            "seed": seed,
            "settings": dict(settings or {}),
        }
        self._since = 0.0
        self._warned: list[str] = []

    def start(self) -> None:
        """Make the folder and write ``run.json`` with the status ``running``."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._since = time.monotonic()
        self.about.update(
            status="running",
            started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions=software_versions(),
            git=git_commit(),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        )
        self._write_about()

    def finish(self, status: str = "completed") -> None:
        """Write how it ended and how long it took.

        Args:
            status: ``"completed"``, ``"failed"`` or ``"interrupted"``.
        """
        self.about.update(status=status, duration_s=round(time.monotonic() - self._since, 1))
        self._write_about()

    def __enter__(self) -> RunRecorder:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        self.warn(f"The run ended early: {type(error).__name__}: {error}")
        self.finish("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")

    def add_table(self, table: _Table, stem: str = "evaluation") -> Path:
        """Write scores of label volumes.

        Args:
            table: one or several methods.
            stem: file name without ending.

        Returns:
            The path.
        """
        return write_text(self.run_dir / METRICS / f"{stem}.json", table.to_json())

    def add_figure(self, figure: Figure, name: str, caption: str) -> Path:
        """Save a figure and its caption.

        Args:
            figure: matplotlib figure.
            name: file name without ending; a name given before is replaced and keeps its place.
            caption: one or two sentences that say what is seen.

        Returns:
            The path.
        """
        path = save_figure(figure, self.run_dir / FIGURES / f"{name}.png")
        captions = path.parent / CAPTIONS
        known = json.loads(captions.read_text(encoding="utf-8")) if captions.is_file() else {}
        _write_json(captions, {**known, path.name: caption})
        return path

    def add_terms(self, epoch: int, terms: Mapping[str, float]) -> None:
        """Write the means of an epoch's terms into ``terms.csv``.

        Terms of an epoch that is there already are merged into its line, so a resumed run leaves no double lines.

        Args:
            epoch: counted from 1.
            terms: ``"<phase>/<term>"`` to value; a value that is not finite is kept as it is.
        """
        path = self.run_dir / TERMS
        lines: dict[int, dict[str, float | None]] = {}
        if path.is_file():
            epochs, columns = read_terms(path)
            lines = {at: {name: values[row] for name, values in columns.items()} for row, at in enumerate(epochs)}
        lines.setdefault(int(epoch), {}).update(terms)
        names = list(dict.fromkeys(name for line in lines.values() for name in line))
        with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["epoch", *names])
            for at, line in sorted(lines.items()):
                cells = [line.get(name) for name in names]
                writer.writerow([at, *("" if value is None else f"{value:.8g}" for value in cells)])

    def drop_terms_from(self, epoch: int) -> None:
        """Forget the terms of this epoch and all later ones: a resumed run makes them again.

        Args:
            epoch: first epoch to forget.
        """
        path = self.run_dir / TERMS
        if not path.is_file():
            return
        epochs, columns = read_terms(path)
        path.unlink()
        for row, at in enumerate(epochs):
            if at < epoch:
                known = {name: values[row] for name, values in columns.items()}
                self.add_terms(at, {name: value for name, value in known.items() if value is not None})

    def add_disentanglement(self, measures: Mapping[str, Any]) -> Path:
        """Write the measures of disentanglement.

        Args:
            measures: from :func:`~monai_mmseg.metrics.disentanglement_report`.

        Returns:
            The path.
        """
        return _write_json(self.run_dir / DISENTANGLEMENT, measures)

    def warn(self, text: str) -> None:
        """Append a warning for the reader of the report; the same text is written once.

        Args:
            text: one sentence.
        """
        line = " ".join(text.split())
        if line not in self._warned:
            self._warned.append(line)
            self.run_dir.mkdir(parents=True, exist_ok=True)
            with (self.run_dir / WARNINGS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _write_about(self) -> None:
        _write_json(self.run_dir / RUN, self.about)


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


def software_versions() -> dict[str, str]:
    """Versions of Python, this package and what it stands on."""
    found = {"python": platform.python_version(), "monai_mmseg": monai_mmseg.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the checkout that this package is imported from; ``+`` marks changes; ``None`` outside of one."""
    root = Path(monai_mmseg.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None

    def git(*arguments: Sequence[str] | str) -> str:
        command = ["git", "-C", str(root), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    return write_text(path, json.dumps(_finite(content), indent=1, ensure_ascii=False, default=str) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN: such numbers become text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
