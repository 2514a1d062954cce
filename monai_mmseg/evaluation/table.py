# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The one table of scores: of label volumes, of subsets of modalities, of reconstructed images."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monai_mmseg.evaluation.layout import Sheet, notes, sheets
from monai_mmseg.evaluation.score import (
    CASE_KEYS,
    MEASURES,
    Comparison,
    Line,
    MethodInfo,
    Score,
    mean_sd,
    person_means,
    subject_means,
)
from monai_mmseg.files import read_json, write_text
from monai_mmseg.metrics.significance import holm_correction, paired_permutation_test

FORMAT = "monai_mmseg.scores/2"


class ScoreTable:
    """Scores of one or several methods, to collect, compare, print and keep.

    Means go first over all that is not asked for within a subject, then over subjects, so that a subject with many
    classes or slices counts as much as any other. Visits of one person are averaged in between: a deviation or a test
    over visits as if they were independent would promise too much.

    Args:
        scores: each (method, subject, case) at most once.
        methods: about methods; those that are not named get the defaults.
        subjects: method to subjects that were looked at, also those without a score.

    Raises:
        ValueError: an impossible or second score, or ``methods`` names one without scores and subjects.

    Examples:
        >>> table = ScoreTable(Score("ours", s, {"source": a, "target": "t2"}, {"psnr": p})
        ...                    for s, a, p in [("s01", "t1", 20.0), ("s01", "flair", 22.0), ("s02", "t1", 25.0)])
        >>> [(line.case["source"], line.measures["psnr"].mean, line.left_out) for line in table.means("source")]
        [('t1', 22.5, 0), ('flair', 22.0, 1)]
        >>> table.means("target")[0].measures["psnr"].mean  # of (20 + 22) / 2 and 25
        23.0
    """

    def __init__(
        self,
        scores: Iterable[Score] = (),
        methods: Mapping[str, MethodInfo] | None = None,
        subjects: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self._scores: dict[Any, Score] = {}
        self._subjects = {name: dict.fromkeys(known) for name, known in (subjects or {}).items()}
        self._methods: dict[str, MethodInfo] = dict(methods or {})
        for score in scores:
            self.add(score)
        if unknown := sorted(self._methods.keys() - self._subjects.keys()):
            raise ValueError(f"methods must name methods that have scores, got {unknown}.")

    def __len__(self) -> int:
        return len(self._scores)

    def __iter__(self) -> Iterator[Score]:
        return iter(self._scores.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreTable):
            return NotImplemented
        return (self._scores, self._subjects, self.methods) == (other._scores, other._subjects, other.methods)

    __hash__ = None  # type: ignore[assignment]  # a table grows

    @property
    def methods(self) -> dict[str, MethodInfo]:
        """Methods in order of appearance."""
        return {name: self._methods.get(name, MethodInfo()) for name in self._subjects}

    @property
    def keys(self) -> list[str]:
        """Keys of all cases, in order of appearance."""
        return list(dict.fromkeys(key for score in self for key in score.case))

    @property
    def measures(self) -> list[str]:
        """Measures that there are, in the order of :data:`MEASURES`."""
        found = {name for score in self for name in score.values}
        return [name for name in MEASURES if name in found]

    def cases(self, key: str) -> list[str]:
        """Values of a key of the cases, such as all modalities.

        Args:
            key: of the cases.

        Returns:
            Values in order of appearance.
        """
        return list(dict.fromkeys(score.case[key] for score in self if key in score.case))

    def subjects(self, method: str | None = None) -> list[str]:
        """Subjects in order of appearance, also those without a score.

        Args:
            method: whose; ``None``: of all methods.

        Returns:
            Their names.
        """
        return list(dict.fromkeys(s for name, found in self._subjects.items() if method in (None, name) for s in found))

    def add(self, score: Score) -> None:
        """Append one score.

        Args:
            score: of a subject in a case.

        Raises:
            ValueError: it is impossible, or the table has one of that method, subject and case.
        """
        score.check()
        if score.key in self._scores:
            raise ValueError(
                f"score must be new, got a second one of {score.place}; give the two evaluations different method "
                "names."
            )
        self._scores[score.key] = score
        self._subjects.setdefault(score.method, {})[score.subject] = None

    def select(self, where: Callable[[Score], bool] | None = None, **wanted: str) -> ScoreTable:
        """The part of the table that fits, without subjects that have no score in it.

        Args:
            where: which scores; ``None``: all.
            **wanted: ``method``, ``subject`` or a key of the cases, and its value.

        Returns:
            A new table, possibly empty.

        Raises:
            ValueError: a key is unknown.
        """
        self._check_keys(wanted, "method", "subject")
        chosen = [score for score in self if _fits(score, wanted) and (where is None or where(score))]
        methods = self.methods
        return ScoreTable(chosen, {name: methods[name] for name in {score.method: None for score in chosen}})

    def join(self, *others: ScoreTable) -> ScoreTable:
        """This table followed by others, as a new one: to set methods or subjects side by side.

        Args:
            others: tables; a method may go on in another one if its penalty and modalities agree.

        Returns:
            The joined table.

        Raises:
            ValueError: a score stands in two tables, or a method was scored in two ways.
        """
        methods, subjects = self.methods, {name: list(found) for name, found in self._subjects.items()}
        for other in others:
            for name, info in other.methods.items():
                known = methods.setdefault(name, info)
                if known.penalty != info.penalty:
                    pair = f"{known.penalty_text()} and {info.penalty_text()}"
                    raise ValueError(f"method {name!r} must be scored with one penalty, got {pair}.")
                if known.modalities != info.modalities:
                    pair = f"{list(known.modalities)} and {list(info.modalities)}"
                    raise ValueError(f"method {name!r} must be of the same modalities, got {pair}.")
                methods[name] = known._replace(remarks=tuple(dict.fromkeys([*known.remarks, *info.remarks])))
                subjects.setdefault(name, []).extend(other.subjects(name))
        return ScoreTable((score for table in (self, *others) for score in table), methods, subjects)

    def means(self, *by: str, where: Callable[[Score], bool] | None = None) -> list[Line]:
        """Mean ± sd over subjects of each method and case.

        Args:
            by: keys of the cases that are told apart; scores without one of them do not count.
            where: which scores; ``None``: all.

        Returns:
            A line each, in order of appearance.

        Raises:
            ValueError: a key is unknown.
        """
        self._check_keys(by)
        groups: dict[tuple[str, ...], list[Score]] = {}
        for score in self:
            if all(key in score.case for key in by) and (where is None or where(score)):
                groups.setdefault((score.method, *(score.case[key] for key in by)), []).append(score)
        return [self._line(method, dict(zip(by, case, strict=True)), g) for (method, *case), g in groups.items()]

    def _check_keys(self, keys: Iterable[str], *others: str) -> None:
        known = list(dict.fromkeys([*others, *CASE_KEYS, *self.keys]))
        if unknown := [key for key in keys if key not in known]:
            raise ValueError(f"keys of cases must be among {known}, got {unknown}.")

    def _line(self, method: str, case: dict[str, str], scores: list[Score]) -> Line:
        means = {name: list(person_means(scores, name).values()) for name in MEASURES}
        organs = [score.flag for score in scores if "class" in score.case]
        missed, spurious, empty = (organs.count(flag) for flag in ("missed", "spurious", "empty"))
        count = len({score.whose for score in scores})
        measures = {name: mean_sd(found) for name, found in means.items() if found}
        left_out = len(self._subjects[method]) - len({score.subject for score in scores})
        return Line(method, case, count, left_out, measures, len(organs) - spurious - empty, missed, spurious, empty)

    def per_subject(
        self, measure: str, where: Callable[[Score], bool] | None = None, **wanted: str
    ) -> dict[str, float]:
        """One number a subject, the mean of its scores: for charts.

        Args:
            measure: one of :data:`MEASURES`.
            where: as in :meth:`select`.
            **wanted: as there; give a method where there are several.

        Returns:
            Subject to mean, without subjects that have no such score.

        Raises:
            ValueError: the measure is unknown.
        """
        _check_measure(measure)
        return subject_means(self.select(where, **wanted), measure)

    def per_person(self, measure: str, where: Callable[[Score], bool] | None = None, **wanted: str) -> dict[str, float]:
        """One number a person, the mean of their visits: for statistics; see :meth:`per_subject`.

        Args:
            measure: one of :data:`MEASURES`.
            where: as in :meth:`select`.
            **wanted: as there; give a method where there are several.

        Returns:
            Person (a subject without visits) to mean.

        Raises:
            ValueError: the measure is unknown.

        Examples:
            >>> visits = [Score("ours", f"a_{n}", {}, {"dice": n / 4}, person="a") for n in (1, 3)]
            >>> ScoreTable([*visits, Score("ours", "b", {}, {"dice": 1.0})]).per_person("dice")
            {'a': 0.5, 'b': 1.0}
        """
        _check_measure(measure)
        return person_means(self.select(where, **wanted), measure)

    def tests(self, measure: str, of: str, baseline: str) -> list[Comparison]:
        """Paired permutation tests over subjects against a baseline, corrected by Holm's method.

        Use it for each subset against all modalities of a method, ``tests("dice", "subset", "t1 + t2")``, and for each
        method against another, ``tests("dice", "method", "unet")``. The rest of the cases is averaged within a subject.

        Args:
            measure: one of :data:`MEASURES`.
            of: key of the cases whose values are compared in each method, or ``"method"``.
            baseline: the value that the others are compared with.

        Returns:
            One comparison each; those with fewer than two common subjects are left out.

        Raises:
            ValueError: measure, key or baseline is unknown.
        """
        _check_measure(measure)
        self._check_keys([of], "method")
        known = list(self.methods) if of == "method" else self.cases(of)
        if baseline not in known:
            raise ValueError(f"baseline must be one of the {of}s {known}, got {baseline!r}.")
        out = []
        for method in [None] if of == "method" else self.methods:
            part = self if method is None else self.select(method=method)
            values = part.methods if of == "method" else part.cases(of)
            each = {value: person_means(part.select(_one(of, value)), measure) for value in values}
            base = {subject: value for subject, value in each.pop(baseline, {}).items() if math.isfinite(value)}
            found = {}
            for value, scores in each.items():
                common = [subject for subject in base if math.isfinite(scores.get(subject, math.inf))]
                if len(common) > 1:
                    found[value] = paired_permutation_test([scores[s] for s in common], [base[s] for s in common])
            holm = holm_correction({value: test.p_value for value, test in found.items()})
            for value, test in found.items():
                about = (method or value, value, test.subjects, test.difference, test.p_value, holm[value])
                out.append(Comparison(*about))
        return out

    # -- files ----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The table as JSON, complete: :meth:`from_json` gives an equal table back."""
        by = [key for key in self.keys if key != "class"]
        summary = [*(self.means(*by, "class") if "class" in self.keys else []), *self.means(*by)]
        data = {
            "format": FORMAT,
            "methods": {name: info.as_dict() for name, info in self.methods.items()},
            "subjects": {name: list(found) for name, found in self._subjects.items()},
            "scores": [{k: v for k, v in s._asdict().items() if v or k != "person"} for s in self],
            "summary": [line.as_dict() for line in summary],  # for other readers; not read back
        }
        return json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, path: str | Path) -> ScoreTable:
        """Table from a file of :meth:`to_json`.

        Args:
            path: of the file.

        Returns:
            The table.

        Raises:
            ValueError: the file is not JSON of this format, or broken.
        """
        data = read_json(path)
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        if found != FORMAT:
            raise ValueError(f"{path} must be a table of format {FORMAT!r}, got {found!r}: evaluate again.")
        try:
            methods = {name: MethodInfo.from_dict(about) for name, about in data["methods"].items()}
            scores = [Score(**{**s, "values": {m: float(v) for m, v in s["values"].items()}}) for s in data["scores"]]
            return cls(scores, methods, data["subjects"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} is a broken table: {type(error).__name__}: {error}") from error

    def to_csv(self) -> str:
        """The scores as comma-separated text with a header line."""
        out, keys, measures = io.StringIO(), self.keys, self.measures
        writer = csv.writer(out, lineterminator="\n")
        visits = any(score.person for score in self)
        writer.writerow(["method", *keys, "subject", *measures, "flag", *(["person"] if visits else [])])
        for score in self:
            cells = [score.case.get(key, "") for key in keys], [score.values.get(name, "") for name in measures]
            person = [score.whose] if visits else []
            writer.writerow([score.method, *cells[0], score.subject, *cells[1], score.flag, *person])
        return out.getvalue()

    def sheets(self) -> list[Sheet]:
        """The means as tables of texts, ready to be printed."""
        return sheets(self)

    def notes(self) -> list[str]:
        """What a reader has to know to read the numbers, one sentence a line."""
        return notes(self)

    def to_markdown(self) -> str:
        """The sheets as Markdown, and the notes below."""
        return "\n".join([*(line for sheet in self.sheets() for line in sheet.markdown()), *self.notes(), ""])

    def save(self, folder: str | Path, stem: str) -> dict[str, Path]:
        """Write JSON, CSV and Markdown beside each other.

        Args:
            folder: where; made if it is not there.
            stem: file name without ending.

        Returns:
            ``{"json": path, "csv": path, "md": path}``.
        """
        texts = {"json": self.to_json(), "csv": self.to_csv(), "md": self.to_markdown()}
        return {ending: write_text(Path(folder) / f"{stem}.{ending}", text) for ending, text in texts.items()}


def _check_measure(measure: str) -> None:
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {list(MEASURES)}, got {measure!r}.")


def _one(key: str, value: str) -> Callable[[Score], bool]:
    return lambda score: _fits(score, {key: value})


def _fits(score: Score, wanted: Mapping[str, str]) -> bool:
    about = {"method": score.method, "subject": score.subject, **score.case}
    return all(about.get(key) == value for key, value in wanted.items())


def _plain(value: Any) -> Any:
    """For JSON: infinite numbers as text, an undefined deviation as null."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
