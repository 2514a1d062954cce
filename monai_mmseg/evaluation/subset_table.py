# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The table of missing modalities: a line a subset, differences to all modalities, and files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from monai_mmseg.evaluation.subset_markdown import HIDDEN, SHOWN, markdown_lines
from monai_mmseg.evaluation.subset_rows import SubsetLine, SubsetRow, SubsetTest, measure_of, measures_of
from monai_mmseg.evaluation.summary import MeanSd, mean_sd
from monai_mmseg.evaluation.table import EvaluationTable
from monai_mmseg.evaluation.table_files import plain_number, read_table_json, save_beside, write_text
from monai_mmseg.metrics.significance import holm_correction, paired_permutation_test

__all__ = ["SubsetTable"]

FORMAT = "monai_mmseg.subsets/1"


class SubsetTable:
    """Scores of one or several methods with each subset of the modalities.

    Use it to see which sequences can be missing; :func:`~monai_mmseg.evaluation.evaluate_subsets` fills it.

    Args:
        modalities: all names, in the order of subsets.
        rows: each (method, subset, subject) at most once.

    Raises:
        ValueError: see :meth:`add`.

    Examples:
        >>> table = SubsetTable(["t1", "t2"])
        >>> for subject, both, one in (("s01", 0.75, 0.5), ("s02", 0.5, 0.25)):
        ...     table.add(SubsetRow("ours", ("t1", "t2"), subject, {"dice": both}))
        ...     table.add(SubsetRow("ours", ("t2",), subject, {"dice": one}))
        >>> [(line.subset, line.measures["dice"].mean) for line in table.summary()]
        [(('t1', 't2'), 0.625), (('t2',), 0.375)]
        >>> table.tests("dice")[0].difference
        -0.25
    """

    def __init__(self, modalities: Sequence[str], rows: Iterable[SubsetRow] = ()) -> None:
        self.modalities = tuple(modalities)
        if isinstance(modalities, str) or not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise ValueError(f"modalities must be different names, got {modalities!r}.")
        self._rows: dict[tuple[str, tuple[str, ...], str], SubsetRow] = {}
        self._subjects: dict[str, dict[str, None]] = {}
        for row in rows:
            self.add(row)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[SubsetRow]:
        return iter(self._rows.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SubsetTable):
            return NotImplemented
        return (self.modalities, self._rows, self._subjects) == (other.modalities, other._rows, other._subjects)

    __hash__ = None  # type: ignore[assignment]  # a table grows

    @classmethod
    def from_tables(
        cls, modalities: Sequence[str], tables: Mapping[tuple[str, ...], EvaluationTable], *, method: str | None = None
    ) -> SubsetTable:
        """From evaluations of label volumes, one for each subset.

        Args:
            modalities: all names.
            tables: subset to its evaluation; of several segmented modalities the classes are averaged together.
            method: name in the table; ``None`` keeps those of the evaluations.

        Returns:
            The table.
        """
        table = cls(modalities)
        everybody = dict.fromkeys((row.method, row.subject) for one in tables.values() for row in one)
        for name, subject in everybody:
            table.add_subject(method or name, subject)
        for subset, one in tables.items():
            for name, subject in dict.fromkeys((row.method, row.subject) for row in one):
                rows = [row for row in one if (row.method, row.subject) == (name, subject)]
                table.add(SubsetRow(method or name, tuple(subset), subject, measures_of(rows)))
        return table

    @property
    def methods(self) -> list[str]:
        """Methods in order of appearance."""
        return list(self._subjects)

    @property
    def measures(self) -> list[str]:
        """Names of all measures in order of appearance."""
        return list(dict.fromkeys(name for row in self for name in row.measures))

    @property
    def subsets(self) -> list[tuple[str, ...]]:
        """Subsets that have rows: large ones first, then in the order of the modalities."""
        place = {name: at for at, name in enumerate(self.modalities)}
        found = {row.subset for row in self}
        return sorted(found, key=lambda subset: (-len(subset), [place[name] for name in subset]))

    def add_subject(self, method: str, subject: str) -> None:
        """Note a subject that was looked at, though it may have no row.

        Args:
            method: name of the method.
            subject: its name.
        """
        self._subjects.setdefault(method, {})[subject] = None

    def add(self, row: SubsetRow) -> None:
        """Append one row.

        Args:
            row: scores of one subject and subset.

        Raises:
            ValueError: an unknown modality or measure, no measure, a value that is NaN, or a second row.
        """
        wanted = tuple(name for name in self.modalities if name in row.subset)
        if not wanted or len(wanted) != len(row.subset):
            raise ValueError(f"subset must be of the modalities {list(self.modalities)}, got {row.subset}.")
        for name, value in row.measures.items():
            measure_of(name)
            if math.isnan(value):
                raise ValueError(f"{name} must be a number, got NaN (subject {row.subject!r}, {row.subset}).")
        if not row.measures:
            raise ValueError(f"measures must hold at least one, got none (subject {row.subject!r}).")
        key = (row.method, wanted, row.subject)
        if key in self._rows:
            raise ValueError(f"row must be new, got a second one of {key}.")
        self._rows[key] = row._replace(subset=wanted)
        self.add_subject(row.method, row.subject)

    def concatenate(self, *others: SubsetTable) -> SubsetTable:
        """This table followed by others, as a new one.

        Args:
            others: tables of other methods or subjects, of the same modalities.

        Returns:
            The joined table.

        Raises:
            ValueError: other modalities, or a row that stands in two tables.
        """
        joined = SubsetTable(self.modalities)
        for one in (self, *others):
            if one.modalities != self.modalities:
                raise ValueError(f"tables must be of {self.modalities}, got one of {one.modalities}.")
            for method, subjects in one._subjects.items():
                for subject in subjects:
                    joined.add_subject(method, subject)
            for row in one:
                joined.add(row)
        return joined

    def values(self, method: str, subset: Sequence[str], measure: str) -> dict[str, float]:
        """One number a subject.

        Args:
            method: its name.
            subset: which modalities were there.
            measure: name of the measure.

        Returns:
            Subject to value.
        """
        wanted = tuple(name for name in self.modalities if name in subset)
        return {
            row.subject: row.measures[measure]
            for row in self
            if (row.method, row.subset) == (method, wanted) and measure in row.measures
        }

    def summary(self) -> list[SubsetLine]:
        """Mean ± sd over subjects of each method and subset."""
        out = []
        for method in self.methods:
            for subset in self.subsets:
                rows = [row for row in self if (row.method, row.subset) == (method, subset)]
                if rows:
                    found = {name: list(self.values(method, subset, name).values()) for name in self.measures}
                    means = {name: _mean_sd(values) for name, values in found.items() if values}
                    left_out = len(self._subjects[method]) - len(rows)
                    out.append(SubsetLine(method, subset, len(rows), left_out, means))
        return out

    def short(self) -> list[SubsetLine]:
        """The lines with all modalities and with each one missing, as in the paper's table."""
        return [line for line in self.summary() if len(line.subset) >= len(self.modalities) - 1]

    def tests(self, measure: str) -> list[SubsetTest]:
        """Each subset against all modalities: paired permutation tests over subjects, corrected by Holm's method.

        Args:
            measure: name of a measure.

        Returns:
            One test a method and smaller subset; those with fewer than two common subjects are left out.
        """
        out: list[SubsetTest] = []
        for method in self.methods:
            base = self.values(method, self.modalities, measure)
            found: dict[tuple[str, ...], tuple[int, float, float]] = {}
            for subset in self.subsets:
                values = self.values(method, subset, measure)
                common = [s for s in base if s in values and math.isfinite(base[s]) and math.isfinite(values[s])]
                if subset != self.modalities and len(common) > 1:
                    test = paired_permutation_test([values[s] for s in common], [base[s] for s in common])
                    found[subset] = (len(common), float(test.difference), float(test.p_value))
            holm = holm_correction({str(at): p for at, (_, _, p) in enumerate(found.values())}) if found else {}
            for at, (subset, (count, difference, p)) in enumerate(found.items()):
                out.append(SubsetTest(method, subset, count, difference, p, holm[str(at)]))
        return out

    # -- files ----------------------------------------------------------------------------------------------------

    def to_json(self, path: str | Path | None = None) -> str:
        """The table as JSON, complete: :meth:`from_json` gives an equal table back.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        rows = [{**row._asdict(), "measures": {k: plain_number(v) for k, v in row.measures.items()}} for row in self]
        subjects = {method: list(found) for method, found in self._subjects.items()}
        data = {"format": FORMAT, "modalities": list(self.modalities), "subjects": subjects, "rows": rows}
        return write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)

    @classmethod
    def from_json(cls, source: str | Path) -> SubsetTable:
        """Table from a file that :meth:`to_json` wrote.

        Args:
            source: path of the file.

        Returns:
            The table.

        Raises:
            ValueError: the file is not JSON of this format.
        """
        data = read_table_json(source, FORMAT)
        table = cls(data["modalities"])
        for method, subjects in data["subjects"].items():
            for subject in subjects:
                table.add_subject(method, subject)
        for row in data["rows"]:
            measures = {name: float(value) for name, value in row["measures"].items()}
            table.add(SubsetRow(row["method"], tuple(row["subset"]), row["subject"], measures))
        return table

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as comma-separated text: a column a modality (1 = there) and a measure.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        out = io.StringIO()
        names = self.measures
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["method", *self.modalities, "subject", *names])
        for row in self:
            there = [int(name in row.subset) for name in self.modalities]
            writer.writerow(
                [row.method, *there, row.subject, *(plain_number(row.measures.get(name, "")) for name in names)]
            )
        return write_text(out.getvalue(), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The short table, then all subsets with their difference to all modalities.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        return write_text("\n".join([*markdown_lines(self), "", *self.notes(), ""]), path)

    def notes(self) -> list[str]:
        """What a reader has to know to read the numbers, one sentence a line."""
        return [
            f"{SHOWN} there, {HIDDEN} missing. Mean ± standard deviation (n − 1) over subjects.",
            "Left out: subjects that lack a modality of the subset by themselves.",
            "p: paired permutation test over the subjects against all modalities, corrected for all subsets (Holm).",
        ]

    def save(self, folder: str | Path, stem: str = "subsets") -> dict[str, Path]:
        """Write JSON, CSV and Markdown beside each other.

        Args:
            folder: where; made if it is not there.
            stem: file name without ending.

        Returns:
            ``{"json": path, "csv": path, "md": path}``.
        """
        return save_beside(self, folder, stem)


def _mean_sd(values: Sequence[float]) -> MeanSd:
    finite = [value for value in values if math.isfinite(value)]
    return mean_sd(finite) if finite else MeanSd(math.inf, math.nan)
