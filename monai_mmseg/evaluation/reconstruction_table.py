# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The table of redrawn images: rows in, means by pair and by target, and files out."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from monai_mmseg.evaluation.reconstruction import IMAGE_MEASURES, OTHERS, ReconstructionRow
from monai_mmseg.evaluation.summary import MeanSd, mean_sd
from monai_mmseg.evaluation.table_files import markdown_row, read_table_json, save_beside, write_text

__all__ = ["ReconstructionLine", "ReconstructionTable"]

FORMAT = "monai_mmseg.reconstruction/1"


class ReconstructionLine(NamedTuple):
    """Means over subjects of one method and pair, or of one method and target."""

    method: str
    source: str | None  # None: mean over all other modalities of each subject
    target: str
    subjects: int  # behind the means
    left_out: int  # subjects of the table that lack an image of it
    measures: dict[str, MeanSd | None]  # of IMAGE_MEASURES; None where it was not measured
    exact: int  # subjects with equal images: their infinite PSNR is not in the mean


class ReconstructionTable:
    """Scores of redrawn images of one or several methods.

    Use it to collect, print, compare and keep them. A subject that lacks an image of a pair has no row for it; tables
    say how many these are.

    Args:
        rows: each (method, subject, source, target) at most once.
        subjects: method to all subjects that were looked at, also those without any row; ``None``: those of the rows.

    Raises:
        ValueError: a row stands twice.

    Examples:
        >>> rows = [ReconstructionRow("ours", s, a, "t2", 10, psnr, 0.8) for s, a, psnr in
        ...         [("s01", "t1", 20.0), ("s01", "flair", 22.0), ("s02", "t1", 25.0)]]
        >>> table = ReconstructionTable(rows)
        >>> [(line.source, line.subjects, line.left_out, line.measures["psnr"].mean) for line in table.summary()]
        [('t1', 2, 0, 22.5), ('flair', 1, 1, 22.0)]
        >>> table.by_target()[0].measures["psnr"].mean  # of (20 + 22) / 2 and 25
        23.0
    """

    def __init__(
        self, rows: Iterable[ReconstructionRow] = (), subjects: dict[str, Sequence[str]] | None = None
    ) -> None:
        self._rows: dict[tuple[str, str, str, str], ReconstructionRow] = {}
        self._subjects: dict[str, dict[str, None]] = {m: dict.fromkeys(names) for m, names in (subjects or {}).items()}
        for row in rows:
            self.add(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ReconstructionRow]:
        return iter(self._rows.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReconstructionTable):
            return NotImplemented
        return (self._rows, self._subjects) == (other._rows, other._subjects)

    __hash__ = None  # type: ignore[assignment]  # a table grows

    @property
    def methods(self) -> list[str]:
        """Methods in order of appearance."""
        return list(self._subjects)

    @property
    def targets(self) -> list[str]:
        """Modalities that were drawn, in order of appearance."""
        return list(dict.fromkeys(row.target for row in self))

    def subjects(self, method: str) -> list[str]:
        """All subjects of a method, also those without a row.

        Args:
            method: its name.

        Returns:
            Their names.
        """
        return list(self._subjects.get(method, {}))

    def add(self, row: ReconstructionRow) -> None:
        """Append one row.

        Args:
            row: scores of one subject and pair.

        Raises:
            ValueError: the table has one for that method, subject and pair already.
        """
        if row.key in self._rows:
            raise ValueError(f"row must be new, got a second one of {row.key}; give each method a name of its own.")
        self._rows[row.key] = row
        self._subjects.setdefault(row.method, {})[row.subject] = None

    def add_subject(self, method: str, subject: str, rows: Iterable[ReconstructionRow]) -> None:
        """Append the rows of one subject, which may be none.

        Args:
            method: its name.
            subject: whose.
            rows: of this method and subject.
        """
        self._subjects.setdefault(method, {})[subject] = None
        for row in rows:
            self.add(row)

    def concatenate(self, *others: ReconstructionTable) -> ReconstructionTable:
        """This table followed by others, as a new one.

        Args:
            others: tables of other methods or subjects.

        Returns:
            The joined table.

        Raises:
            ValueError: a row stands in two tables.
        """
        joined = ReconstructionTable(self, {name: self.subjects(name) for name in self.methods})
        for other in others:
            for name in other.methods:
                for subject in other.subjects(name):
                    joined._subjects.setdefault(name, {})[subject] = None
            for row in other:
                joined.add(row)
        return joined

    def subject_means(self, method: str, target: str, measure: str = "psnr") -> dict[str, float]:
        """One number a subject: the mean over all other modalities as source. For paired tests.

        Args:
            method: its name.
            target: modality that was drawn.
            measure: one of :data:`IMAGE_MEASURES`.

        Returns:
            Subject to mean; subjects without any such row are left out, self-reconstructions do not count.

        Raises:
            ValueError: the measure is unknown.
        """
        if measure not in IMAGE_MEASURES:
            raise ValueError(f"measure must be one of {list(IMAGE_MEASURES)}, got {measure!r}.")
        found: dict[str, list[float]] = {}
        for row in self._cross(method, target):
            if (value := getattr(row, measure)) is not None:
                found.setdefault(row.subject, []).append(value)
        return {subject: math.fsum(values) / len(values) for subject, values in found.items()}

    def summary(self) -> list[ReconstructionLine]:
        """Mean ± sd over subjects of each method and pair, self-reconstructions and :data:`OTHERS` among them."""
        groups: dict[tuple[str, str, str], list[ReconstructionRow]] = {}
        for row in self:
            groups.setdefault((row.method, row.source, row.target), []).append(row)
        out = []
        for (method, source, target), rows in groups.items():
            values = {m: [v for row in rows if (v := getattr(row, m)) is not None] for m in IMAGE_MEASURES}
            out.append(self._line(method, source, target, len(rows), values))
        return out

    def by_target(self) -> list[ReconstructionLine]:
        """Mean ± sd over subjects of each method and target, as in the paper: first over the sources of a subject."""
        out = []
        for method in self.methods:
            for target in self.targets:
                if rows := self._cross(method, target):
                    values = {m: list(self.subject_means(method, target, m).values()) for m in IMAGE_MEASURES}
                    out.append(self._line(method, None, target, len({row.subject for row in rows}), values))
        return out

    def _cross(self, method: str, target: str) -> list[ReconstructionRow]:
        return [r for r in self if (r.method, r.target) == (method, target) and r.source not in (target, OTHERS)]

    def _line(
        self, method: str, source: str | None, target: str, subjects: int, values: dict[str, list[float]]
    ) -> ReconstructionLine:
        finite = {name: [value for value in found if math.isfinite(value)] for name, found in values.items()}
        means = {
            name: mean_sd(finite[name]) if finite[name] else MeanSd(math.inf, math.nan) if found else None
            for name, found in values.items()
        }
        left_out = len(self._subjects[method]) - subjects
        return ReconstructionLine(
            method, source, target, subjects, left_out, means, len(values["psnr"]) - len(finite["psnr"])
        )

    # -- files ----------------------------------------------------------------------------------------------------

    def to_json(self, path: str | Path | None = None) -> str:
        """The table as JSON, complete: :meth:`from_json` gives an equal table back.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        data = {
            "format": FORMAT,
            "subjects": {name: list(found) for name, found in self._subjects.items()},
            "rows": [row.as_dict() for row in self],
        }
        return write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)

    @classmethod
    def from_json(cls, source: str | Path) -> ReconstructionTable:
        """Table from a file that :meth:`to_json` wrote.

        Args:
            source: path of the file.

        Returns:
            The table.

        Raises:
            ValueError: the file is not JSON of this format.
        """
        data = read_table_json(source, FORMAT)
        return cls([ReconstructionRow.from_dict(row) for row in data["rows"]], data["subjects"])

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as comma-separated text with a header line.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        out = io.StringIO()
        writer = csv.DictWriter(out, list(ReconstructionRow.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        for row in self:
            writer.writerow(row.as_dict())
        return write_text(out.getvalue(), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """By target, then by pair, with what the numbers mean.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        shown = [m for m in IMAGE_MEASURES if any(line.measures[m] is not None for line in self.summary())]
        names = [f"{IMAGE_MEASURES[m][0]}{f' [{IMAGE_MEASURES[m][1]}]' if IMAGE_MEASURES[m][1] else ''}" for m in shown]
        lines = []
        for title, first, found in (
            ("Each modality drawn with the anatomy of each other one", [], self.by_target()),
            ("Each pair", ["from"], self.summary()),
        ):
            if not found:
                continue
            head = ["method", *first, "drawn", *names, "subjects", "left out"]
            texts = 2 + len(first)
            lines += [f"{title}:", "", markdown_row(head), "|" + " --- |" * texts + " ---: |" * (len(head) - texts)]
            for line in found:
                cells = [line.method, *([str(line.source)] if first else []), line.target]
                for name in shown:
                    value = line.measures[name]
                    cells.append("–" if value is None else value.text(IMAGE_MEASURES[name][2]))
                lines.append(markdown_row([*cells, str(line.subjects), str(line.left_out)]))
            lines.append("")
        return write_text("\n".join([*lines, *self.notes(), ""]), path)

    def notes(self) -> list[str]:
        """What a reader has to know to read the numbers, one sentence a line."""
        notes = [
            "Mean ± standard deviation (n − 1) over subjects; a subject's slices count together.",
            "Left out: subjects that lack an image of the pair.",
        ]
        if any(row.source not in (row.target, OTHERS) for row in self):
            notes.append("From another modality, an image is drawn with the code of the image that is compared with.")
        if any(row.source == OTHERS for row in self):
            notes.append(f"From “{OTHERS}” it is drawn as at inference, without anything of that image.")
        if any(row.original_psnr is not None for row in self):
            notes.append(
                "“Original code”: range and minimum of each slice, first of the adjacent slices, no mask; to be compared "
                "only with numbers on images with the same background value."
            )
        if exact := sum(math.isinf(row.psnr) for row in self):
            notes.append(f"{exact} drawings equal their image; their infinite PSNR is not in the means.")
        return notes

    def save(self, folder: str | Path, stem: str = "reconstruction") -> dict[str, Path]:
        """Write JSON, CSV and Markdown beside each other.

        Args:
            folder: where; made if it is not there.
            stem: file name without ending.

        Returns:
            ``{"json": path, "csv": path, "md": path}``.
        """
        return save_beside(self, folder, stem)
