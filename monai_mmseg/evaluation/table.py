# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The table of an evaluation: rows in, means and files out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_mmseg.evaluation.rows import MEASURES, ScoreRow
from monai_mmseg.evaluation.summary import SummaryRow, summarise

FORMAT = "monai_mmseg.evaluation/1"


@dataclass(frozen=True)
class MethodInfo:
    """What a table says about a method besides its rows.

    Args:
        penalty: distance in mm that a missed or spurious organ is given; ``None`` means the image's diagonal.
        description: one line for the reader, for example which labels the method saw.
    """

    penalty: float | None = None
    description: str = ""

    def penalty_text(self) -> str:
        """The penalty in words.

        Examples:
            >>> MethodInfo().penalty_text(), MethodInfo(50.0).penalty_text()
            ("the image's diagonal", '50 mm')
        """
        return "the image's diagonal" if self.penalty is None else f"{self.penalty:g} mm"


class EvaluationTable:
    """Scores of one or several methods, per subject and class.

    Use it to collect, compare, print and keep results; every evaluation of this project ends in one.

    Args:
        rows: the scores; each (method, modality, subject, label) at most once.
        methods: penalty and description per method; methods that are not named get the defaults.

    Raises:
        ValueError: a row stands twice, or ``methods`` names a method without rows.

    Examples:
        >>> row = ScoreRow("copy", "lge", "s01", 1, "myocardium", 0.5, 8.0, 6.0, 2.0)
        >>> better = ScoreRow("dafnet", "lge", "s01", 1, "myocardium", 0.75, 4.0, 3.0, 1.0)
        >>> table = EvaluationTable([row]).concatenate(EvaluationTable([better]))
        >>> [(line.method, line.name, line.dice.mean) for line in table.summary()][-1]
        ('dafnet', 'foreground mean', 0.75)
    """

    def __init__(self, rows: Iterable[ScoreRow] = (), methods: Mapping[str, MethodInfo] | None = None) -> None:
        self._rows: dict[tuple[str, str, str, int], ScoreRow] = {}
        self._methods: dict[str, MethodInfo] = {}
        given = dict(methods or {})
        for row in rows:
            self._methods.setdefault(row.method, given.get(row.method, MethodInfo()))
            self.add(row)
        if unknown := given.keys() - self._methods.keys():
            raise ValueError(f"methods must name methods that have rows, got {sorted(unknown)}.")

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ScoreRow]:
        return iter(self._rows.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvaluationTable) and (self._rows, self._methods) == (other._rows, other._methods)

    __hash__ = None  # type: ignore[assignment]  # a table grows

    @property
    def methods(self) -> dict[str, MethodInfo]:
        """Methods in order of appearance, with penalty and description."""
        return dict(self._methods)

    @property
    def modalities(self) -> list[str]:
        """Modalities in order of appearance."""
        return list(dict.fromkeys(row.modality for row in self))

    @property
    def labels(self) -> dict[int, str]:
        """Foreground classes, value to name, sorted by value."""
        return dict(sorted({row.label: row.name for row in self}.items()))

    def subjects(self, method: str | None = None) -> list[str]:
        """Subjects in order of appearance, of one method or of all.

        Args:
            method: name of a method; ``None`` means any.

        Returns:
            Their names.
        """
        return list(dict.fromkeys(row.subject for row in self if method in (None, row.method)))

    def select(self, *, method: str | None = None, modality: str | None = None) -> EvaluationTable:
        """The part of the table that belongs to one method, one modality, or both.

        Args:
            method: name of a method; ``None`` keeps all.
            modality: name of a modality; ``None`` keeps all.

        Returns:
            A new table, possibly empty.
        """
        rows = [row for row in self if method in (None, row.method) and modality in (None, row.modality)]
        return EvaluationTable(rows, {row.method: self._methods[row.method] for row in rows})

    def add(self, row: ScoreRow) -> None:
        """Append one row.

        Args:
            row: the scores of one class in one subject.

        Raises:
            ValueError: the table has scores for that method, modality, subject and label already.
        """
        if row.key in self._rows:
            method, modality, subject, label = row.key
            raise ValueError(
                f"row must be new, got a second one of method {method!r}, modality {modality!r}, subject {subject!r}, "
                f"label {label}; give the two evaluations different method names."
            )
        self._rows[row.key] = row
        self._methods.setdefault(row.method, MethodInfo())

    def concatenate(self, *others: EvaluationTable) -> EvaluationTable:
        """This table followed by others, as a new table.

        Use it to set methods side by side.

        Args:
            others: tables; a method may go on in another table if penalty and description agree.

        Returns:
            The joined table.

        Raises:
            ValueError: a row stands in two tables, or a method was scored with two different penalties.
        """
        rows, methods = list(self), self.methods
        for other in others:
            for name, info in other.methods.items():
                known = methods.setdefault(name, info)
                if known.penalty != info.penalty:
                    raise ValueError(
                        f"method {name!r} must be scored with one penalty, got {known.penalty_text()} and "
                        f"{info.penalty_text()}."
                    )
            rows += list(other)
        return EvaluationTable(rows, methods)

    def summary(self) -> list[SummaryRow]:
        """Mean ± sd over subjects per method, modality and class, then the foreground mean.

        Returns:
            One line each; see :class:`SummaryRow`.
        """
        return summarise(list(self))

    # -- files ----------------------------------------------------------------------------------------------------

    def to_json(self, path: str | Path | None = None) -> str:
        """The table as JSON, complete: :meth:`from_json` gives an equal table back.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The JSON text.
        """
        data = {
            "format": FORMAT,
            "methods": {name: vars(info) for name, info in self._methods.items()},
            "rows": [row.as_dict() for row in self],
            "summary": [line.as_dict() for line in self.summary()],  # for other readers; not read back
        }
        return _write(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)

    @classmethod
    def from_json(cls, source: str | Path) -> EvaluationTable:
        """Table from a file that :meth:`to_json` wrote.

        Args:
            source: path of the file.

        Returns:
            The table.

        Raises:
            ValueError: the file is not JSON of this format.
        """
        try:
            data = json.loads(Path(source).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"source must be JSON, got {source}: {error}.") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"source must be an evaluation with format {FORMAT!r}, got {found!r} in {source}.")
        methods = {name: MethodInfo(**info) for name, info in data["methods"].items()}
        return cls([ScoreRow.from_dict(row) for row in data["rows"]], methods)

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as comma-separated text with a header line.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(ScoreRow.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        for row in self:
            writer.writerow(
                {key: int(value) if isinstance(value, bool) else value for key, value in row.as_dict().items()}
            )
        return _write(out.getvalue(), path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """One Markdown table of all methods, ``mean ± sd`` over subjects, with what the numbers mean below it.

        Args:
            path: also write it here; ``None`` only returns the text.

        Returns:
            The text.
        """
        names = list(self.labels.values())
        head = ["method", "modality", "subjects", *(f"Dice {name}" for name in names), "Dice mean"]
        head += ["HD95 [mm]", "HD [mm]", "ASSD [mm]", "missed", "spurious", "empty"]
        lines = ["| " + " | ".join(map(_cell, head)) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
        groups: dict[tuple[str, str], list[SummaryRow]] = {}
        for line in self.summary():
            groups.setdefault((line.method, line.modality), []).append(line)
        for (method, modality), found in groups.items():
            dice = {line.name: line.dice.text(MEASURES["dice"][3]) for line in found}
            mean = found[-1]
            cells = [method, modality, str(mean.subjects), *(dice.get(name, "–") for name in names)]
            cells.append(mean.dice.text(MEASURES["dice"][3]))
            cells += [
                getattr(mean, key).text(MEASURES[key][3]) for key in ("hausdorff95", "hausdorff", "surface_distance")
            ]
            cells += [f"{mean.missed} of {mean.present}", str(mean.spurious), str(mean.empty)]
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        return _write("\n".join([*lines, "", *self.notes(), ""]), path)

    def notes(self) -> list[str]:
        """What a reader has to know to read the numbers, one sentence a line.

        Returns:
            The sentences.
        """
        penalties = {name: info.penalty_text() for name, info in self._methods.items()}
        if len(set(penalties.values())) <= 1:
            stated = next(iter(penalties.values()), MethodInfo().penalty_text())
        else:
            stated = "; ".join(f"{name}: {text}" for name, text in penalties.items())
        notes = [
            "Mean ± standard deviation (n − 1) over subjects; distances are means over the classes.",
            f"A missed or spurious organ has Dice 0 and a distance penalty of {stated}.",
            "An organ in neither label nor prediction counts as Dice 1 and distance 0, in the column “empty”.",
        ]
        notes += [f"{name}: {info.description}" for name, info in self._methods.items() if info.description]
        return notes

    def save(self, folder: str | Path, stem: str = "evaluation") -> dict[str, Path]:
        """Write JSON, CSV and Markdown beside each other.

        Args:
            folder: where; made if it is not there.
            stem: file name without ending.

        Returns:
            ``{"json": path, "csv": path, "md": path}``.
        """
        base = Path(folder)
        base.mkdir(parents=True, exist_ok=True)
        paths = {ending: base / f"{stem}.{ending}" for ending in ("json", "csv", "md")}
        self.to_json(paths["json"])
        self.to_csv(paths["csv"])
        self.to_markdown(paths["md"])
        return paths


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _write(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
