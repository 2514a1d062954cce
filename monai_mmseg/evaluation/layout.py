# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How a table of scores is printed: lines of means, and columns that are functions of a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from monai_mmseg.evaluation.score import MEASURES, OTHERS, Comparison, Line, MethodInfo, Score

SHOWN, HIDDEN, PLUS = "●", "○", " + "
EMPTY_COLUMN = ", in the column “empty”"

Column = Callable[[Line], str]


class _Printable(Protocol):
    """What is printed: see :class:`~monai_mmseg.evaluation.ScoreTable`, which lies above this module."""

    @property
    def methods(self) -> dict[str, MethodInfo]: ...
    @property
    def keys(self) -> list[str]: ...
    @property
    def measures(self) -> list[str]: ...
    def __iter__(self) -> Iterator[Score]: ...
    def cases(self, key: str) -> list[str]: ...
    def select(self, where: Callable[[Score], bool] | None = None, **wanted: str) -> _Printable: ...
    def means(self, *by: str, where: Callable[[Score], bool] | None = None) -> list[Line]: ...
    def tests(self, measure: str, of: str, baseline: str) -> list[Comparison]: ...


class Sheet(NamedTuple):
    """A table of texts."""

    title: str
    texts: list[str]  # headings of the first columns, aligned to the left
    numbers: list[str]  # headings of the others
    rows: list[list[str]]

    def markdown(self) -> list[str]:
        r"""Lines of Markdown.

        Examples:
            >>> Sheet("", ["method"], ["Dice"], [["a|b", "0.5"]]).markdown()
            ['| method | Dice |', '| --- | ---: |', '| a\\|b | 0.5 |', '']
        """
        head = [*self.texts, *self.numbers]
        rule = ["---"] * len(self.texts) + ["---:"] * len(self.numbers)
        lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, rule, *self.rows)]
        title = [f"{self.title}:", ""] if self.title else []
        return [*title, *("| " + " | ".join(cells) + " |" for cells in lines), ""]


def subset_text(subset: Sequence[str], modalities: Sequence[str]) -> str:
    """Name of a subset in the cases of a table.

    Args:
        subset: names of modalities.
        modalities: all names, which give the order.

    Returns:
        The text.

    Raises:
        ValueError: no name, one twice, or an unknown one.

    Examples:
        >>> subset_text(["flair", "t1"], ["t1", "t2", "flair"])
        't1 + flair'
    """
    found = [name for name in modalities if name in subset]
    if isinstance(subset, str) or not found or len(found) != len(subset):
        raise ValueError(f"subset must be of the modalities {list(modalities)}, got {subset!r}.")
    return PLUS.join(found)


def subset_names(text: str) -> tuple[str, ...]:
    """Modalities of a subset, from :func:`subset_text`."""
    return tuple(text.split(PLUS))


def is_cross(score: Score) -> bool:
    """Whether an image was made with the anatomy of one other modality: what a mean by target is about."""
    return "source" in score.case and score.case["source"] not in (score.case["target"], OTHERS)


def sheets(table: _Printable) -> list[Sheet]:
    """All that is printed of a table, by what its cases are.

    Args:
        table: of any kind.

    Returns:
        Sheets with rows.
    """
    # scores of subsets have lines of their own, and must not count again as scores of all that is there
    rest = table.select(where=lambda score: "subset" not in score.case) if "subset" in table.keys else table
    found = [_labels(rest), *_subsets(table), *_images(rest)]
    return [sheet for sheet in found if sheet.rows]


def _sheet(title: str, lines: Sequence[Line], texts: Mapping[str, Column], numbers: Mapping[str, Column]) -> Sheet:
    rows = [[line.method, *(cell(line) for cell in (*texts.values(), *numbers.values()))] for line in lines]
    return Sheet(title, ["method", *texts], list(numbers), rows)


def _case(key: str) -> Column:
    return lambda line: line.case[key]


def _measures(table: _Printable, lines: Sequence[Line]) -> dict[str, Column]:
    """A column a measure that the lines have; Dice also of each class."""
    columns: dict[str, Column] = {}
    by = list(lines[0].case) if lines else []
    parts = {(line.method, *line.case.values()): line for line in table.means(*by, "class")}

    def of_class(name: str) -> Column:
        def cell(line: Line) -> str:
            part = parts.get((line.method, *line.case.values(), name))
            return "–" if part is None else part.text("dice")

        return cell

    for name, about in MEASURES.items():
        if not about.printed or not any(name in line.measures for line in lines):
            continue
        if name == "dice" and parts:
            classes = dict.fromkeys(line.case["class"] for line in parts.values())
            columns |= {f"{about.heading} {one}": of_class(one) for one in classes}
        title = f"{about.heading} mean" if name == "dice" and parts else about.title
        columns[title] = lambda line, name=name: line.text(name)  # type: ignore[misc]
    return columns


def _count(line: Line) -> str:
    return str(line.subjects)


def _left_out(line: Line) -> str:
    return str(line.left_out)


def _labels(table: _Printable) -> Sheet:
    """Label volumes: a line a method and modality."""
    lines = table.means("modality")
    numbers = {"subjects": _count, **_measures(table, lines)}
    numbers["missed"] = lambda line: f"{line.missed} of {line.present}"
    numbers |= {"spurious": lambda line: str(line.spurious), "empty": lambda line: str(line.empty)}
    return _sheet("", lines, {"modality": _case("modality")}, numbers)


def _subsets(table: _Printable) -> list[Sheet]:
    """Subsets of modalities: those with one missing, then all, with differences to all modalities."""
    methods = table.methods
    known = [*(info.modalities for info in methods.values()), *map(subset_names, table.cases("subset"))]
    names = list(dict.fromkeys(name for one in known for name in one))

    def size(line: Line) -> tuple[int, int, list[int]]:
        found = subset_names(line.case["subset"])
        return list(methods).index(line.method), -len(found), [names.index(name) for name in found]

    lines = sorted(table.means("subset"), key=size)
    if not lines:
        return []
    numbers = {**_measures(table, lines), "subjects": _count, "left out": _left_out}
    main = next(name for name in MEASURES if name in lines[0].measures)
    full = {method: PLUS.join(info.modalities) for method, info in methods.items()}
    parts = {m: table.select(method=m) for m in methods}
    tests = [
        t for m, part in parts.items() if full[m] in part.cases("subset") for t in part.tests(main, "subset", full[m])
    ]
    found = {(t.method, t.value): t for t in tests}

    def difference(line: Line) -> str:
        test = found.get((line.method, line.case["subset"]))
        return f"{test.difference:+.{MEASURES[main].digits}f}" if test else ""

    def p_value(line: Line) -> str:
        test = found.get((line.method, line.case["subset"]))
        return f"{test.p_holm:.4f}" if test else ""

    def missing(line: Line) -> str:
        return ", ".join(_gone(line, methods[line.method])) or "none"

    def mark(name: str) -> Column:
        return lambda line: SHOWN if name in subset_names(line.case["subset"]) else HIDDEN

    numbers |= {f"{MEASURES[main].heading} minus that of all": difference, "p (Holm)": p_value}
    short = [line for line in lines if len(_gone(line, methods[line.method])) < 2]
    return [
        _sheet("One modality missing", short, {"missing": missing}, numbers),
        _sheet("All subsets", lines, {name: mark(name) for name in names}, numbers),
    ]


def _gone(line: Line, info: MethodInfo) -> list[str]:
    return [name for name in info.modalities if name not in subset_names(line.case["subset"])]


def _images(table: _Printable) -> list[Sheet]:
    """Reconstructed images: by target, then by pair."""
    made = {"reconstructed": _case("target")}
    out = []
    for title, lines, texts in (
        ("Each modality reconstructed with the anatomy of each other one", table.means("target", where=is_cross), made),
        ("Each pair", table.means("source", "target"), {"from": _case("source"), **made}),
    ):
        numbers = {**_measures(table, lines), "subjects": _count, "left out": _left_out}
        out.append(_sheet(title, lines, texts, numbers))
    return out


def notes(table: _Printable) -> list[str]:
    """What a reader has to know to read the numbers.

    Args:
        table: of any kind.

    Returns:
        Sentences.
    """
    keys, measures, methods = table.keys, table.measures, table.methods
    sources = {(score.case["source"], score.case["target"]) for score in table if "source" in score.case}
    found = ["Mean ± standard deviation (n − 1) over subjects, each with the mean of its scores."]
    whose = {score.subject: score.whose for score in table}
    if (people := len(set(whose.values()))) < len(whose):
        found.append(f"{len(whose)} visits of {people} persons: a person counts once, with the mean of their visits.")
    if "class" in keys:
        texts = {name: info.penalty_text() for name, info in methods.items()}
        same = len(set(texts.values())) == 1
        stated = next(iter(texts.values())) if same else "; ".join(f"{name}: {text}" for name, text in texts.items())
        found += [
            "Distances are means over the classes.",
            f"A missed or spurious organ has Dice 0 and a distance penalty of {stated}.",
            f"An organ in neither label nor prediction counts as Dice 1 and distance 0{EMPTY_COLUMN}.",
        ]
    if "paper_dice" in measures:
        found.append("“Dice as in the paper”: by the rule of the method's paper, to compare with its numbers only.")
    if "subset" in keys:
        found += [
            f"{SHOWN} there, {HIDDEN} missing. Left out: subjects that lack a modality of the subset by themselves.",
            "p: paired permutation test over the subjects against all modalities, corrected for all subsets (Holm).",
        ]
    if sources:
        found.append("A subject's slices count together. Left out: subjects that lack an image of the pair.")
    if any(source not in (target, OTHERS) for source, target in sources):
        found.append("From another modality: with the code of the image that is compared with.")
    if any(source == OTHERS for source, _ in sources):
        found.append(f"From “{OTHERS}”: as at inference, without anything of that image.")
    if "original_psnr" in measures:
        found.append(
            "“Original code”: range and minimum of each slice, first of the adjacent slices, no mask; to be compared "
            "only with numbers on images with the same background value."
        )
    if equal := sum(score.values.get("psnr") == float("inf") for score in table):
        found.append(f"{equal} images equal their reconstruction; their infinite PSNR is not in the means.")
    about = {name: [*([info.description] if info.description else []), *info.remarks] for name, info in methods.items()}
    return [*found, *(f"{name}: {text}" for name, texts in about.items() for text in texts)]
