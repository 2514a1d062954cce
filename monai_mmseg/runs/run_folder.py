# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A run folder: everything that one run leaves behind for its report, as plain files.

======================  =============================================================================================
``run.json``            id, name, purpose, method, modality, settings, data, model, seed, status, times, versions
``metrics/*.json``      scores (:class:`~monai_mmseg.evaluation.ScoreTable`) of label volumes, of one method or several
``terms.csv``           ``epoch`` and one column for each ``<phase>/<term>``; empty cells are gaps
``figures/*.png``       pictures; ``figures/captions.json`` maps file name to caption, in the order of the page
``disentanglement.json``  what :func:`~monai_mmseg.metrics.disentanglement_report` returns, or ``silhouettes``
``reconstruction.json``  such a table of reconstructed images, beside it as CSV and Markdown
``subsets.json``        such a table of subsets of the modalities, beside it as CSV and Markdown
``evaluations.json``    which model each of the tables scored, and its hash
``warnings.txt``        one warning a line
======================  =============================================================================================

Every part may be missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from monai_mmseg.files import read_json, read_record, write_json, write_text
from monai_mmseg.runs.terms import add_terms, drop_terms_from
from monai_mmseg.runs.versions import git_commit, machine_name, software_versions
from monai_mmseg.visualize.figure import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN, TERMS, METRICS, FIGURES = "run.json", "terms.csv", "metrics", "figures"
CAPTIONS, DISENTANGLEMENT, WARNINGS = "captions.json", "disentanglement.json", "warnings.txt"
RECONSTRUCTION, SUBSETS = "reconstruction.json", "subsets.json"
ENDED = "The run ended"


class _Table(Protocol):
    def to_json(self) -> str: ...


class RunRecorder:
    """Writes a run folder, part by part.

    Use it in scripts; bundles use :class:`monai_mmseg.handlers.RunRecordHandler`. As a context manager it notes how
    long the run took and whether it failed. Nothing is written before :meth:`start`.

    Args:
        run_dir: folder; made by :meth:`start`.
        name: short name of the run.
        what: one sentence on what was done, for the top of the page.
        method: name of the method that this run is about; the page's headline is about it. ``None``: ``name``.
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
            "method": method or name,
            "modality": modality,
            "seed": seed,
            "settings": dict(settings or {}),
        }
        self._since = self._before = 0.0
        self._warned: list[str] = []

    def start(self, *, resumed: bool = False) -> None:
        """Make the folder and write ``run.json`` with the status ``running``.

        Args:
            resumed: the run goes on: it keeps when it began, and how its last part ended is no news any more.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._since = time.monotonic()
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        before = read_record(self.run_dir / RUN) if resumed else {}
        if before:
            self.about["resumed"] = [*before.get("resumed", []), now]
            self._before = float(before.get("duration_s") or 0)
            # a part that was killed wrote no time
            self.about["untimed"] = before.get("untimed", 0) + (before.get("status") == "running")
            self.about["duration_s"] = self._before
            self._drop_warnings(ENDED)
        self.about.update(
            status="running",
            started=before.get("started", now),
            versions=software_versions(),
            git=git_commit(),
            machine=machine_name(),
        )
        self._write_about()

    def finish(self, status: str = "completed") -> None:
        """Write how it ended (``"completed"``, ``"failed"`` or ``"interrupted"``) and how long all its parts took."""
        self.about.update(status=status, duration_s=round(self._before + time.monotonic() - self._since, 1))
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
        self.warn(f"{ENDED} early: {type(error).__name__}: {error}")
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
        known = read_json(captions) if captions.is_file() else {}
        _write_json(captions, {**known, path.name: caption})
        return path

    def add_terms(self, epoch: int, terms: Mapping[str, float]) -> None:
        """Write the means of an epoch's terms into ``terms.csv``.

        Terms of an epoch that is there already are merged into its line, so a resumed run leaves no double lines.

        Args:
            epoch: counted from 1.
            terms: ``"<phase>/<term>"`` to value; a value that is not finite is kept as it is.
        """
        add_terms(self.run_dir / TERMS, epoch, terms)

    def drop_terms_from(self, epoch: int) -> None:
        """Forget the terms of this epoch and all later ones: a resumed run makes them again."""
        drop_terms_from(self.run_dir / TERMS, epoch)

    def add_disentanglement(self, measures: Mapping[str, Any]) -> Path:
        """Write what :func:`~monai_mmseg.metrics.disentanglement_report` returns."""
        return _write_json(self.run_dir / DISENTANGLEMENT, measures)

    def warn(self, text: str) -> None:
        """Append a warning, one sentence, for the reader of the report; the same text is written once."""
        line = " ".join(text.split())
        if line not in self._warned:
            self._warned.append(line)
            self.run_dir.mkdir(parents=True, exist_ok=True)
            with (self.run_dir / WARNINGS).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _drop_warnings(self, beginning: str) -> None:
        path = self.run_dir / WARNINGS
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            write_text(path, "".join(f"{line}\n" for line in lines if not line.startswith(beginning)))

    def _write_about(self) -> None:
        _write_json(self.run_dir / RUN, self.about)


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    return write_json(path, {str(key): _plain(value) for key, value in content.items()})


def _plain(value: Any) -> Any:
    """What JSON knows: numbers that are not finite, and all other things, become text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    known = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)
