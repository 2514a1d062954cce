# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Cells of a comparison: run some at a time, keep each as JSON, compare methods on the same subjects."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.runs import ROOT
from monai_mmseg.files import write_text
from monai_mmseg.metrics import holm_correction, paired_permutation_test


def in_lanes(call: Callable[..., Any], jobs: Iterable[Sequence[Any]], lanes: int) -> None:
    """Call with the arguments of each job, some at a time; the first error is raised after the others have ended."""
    with ThreadPoolExecutor(lanes) as pool:
        for job in [pool.submit(call, *arguments) for arguments in jobs]:
            job.result()


def study_parser(
    doc: str | None, name: str, *, phantom_seed: int | None = None, settings: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """What the command lines of all studies have in common.

    Args:
        doc: the module's.
        name: of the folders of runs and of results.
        phantom_seed: usual one; ``None``: it is not an option.
        settings: to choose from; none: it is not an option.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs") / name)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / name)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lanes", type=int, default=2, help="cells that run at a time")
    parser.add_argument("--set", action="append", default=[], metavar="ID=JSON", help="override for every cell")
    if phantom_seed is not None:
        parser.add_argument("--phantom-seed", type=int, default=phantom_seed)
    if settings:
        parser.add_argument("--only", nargs="+", choices=settings, default=settings, help="only these settings")
    return parser


def finished(results: Path) -> list[dict[str, Any]]:
    """What the cells that were run have left, in the order of their names."""
    return [read_json(path) for path in sorted(results.glob("*_seed*.json"))]


def write_summary(results: Path, summary: Any, text: str) -> None:
    """``summary.json`` and ``summary.md`` of a study, which is printed too."""
    write_json(results / "summary.json", summary)
    (results / "summary.md").write_text(text, encoding="utf-8")
    print(text)


def read_json(path: Path) -> Any:
    """Content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, and the folder that it goes to."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def rounded(content: Any, digits: int = 5) -> Any:
    """The content with fewer digits, for summaries that people read."""
    if isinstance(content, float):
        return round(content, digits)
    if isinstance(content, Mapping):
        return {key: rounded(value, digits) for key, value in content.items()}
    return [rounded(value, digits) for value in content] if isinstance(content, list) else content


def overrides_of(items: Iterable[str]) -> dict[str, Any]:
    """Overrides of a bundle from words such as ``max_epochs=5``; the value is JSON."""
    return {key: json.loads(value) for key, value in (item.split("=", 1) for item in items)}


def paired_tests(
    scores: Mapping[str, ArrayLike], pairs: Iterable[tuple[str, str]], *, scope: str | None = None
) -> list[dict[str, Any]]:
    """One test for each pair of methods that both have scores; correct them together with :func:`with_holm`.

    Args:
        scores: method to one number a subject, the same subjects in the same order.
        pairs: names of two methods.
        scope: goes into the tests, for example which subjects they are.

    Returns:
        Names, mean difference and p of a paired permutation test.
    """
    tests = []
    for a, b in pairs:
        if a in scores and b in scores:
            found = paired_permutation_test(scores[a], scores[b])
            about = {} if scope is None else {"scope": scope}
            tests.append({"a": a, "b": b, **about, "difference": found.difference, "p": found.p_value})
    return tests


def with_holm(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tests, each with its p-value corrected for the number of them all."""
    corrected = holm_correction({str(number): test["p"] for number, test in enumerate(tests)}) if tests else {}
    return [{**test, "p_holm": corrected[str(number)]} for number, test in enumerate(tests)]


def table_lines(head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Sequence[int] = (0,)) -> list[str]:
    """Lines of a Markdown table; columns of numbers are aligned to the right, those of ``texts`` to the left."""
    lines = ["---" if column in texts else "---:" for column in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, lines, *rows)]


def table_of_tests(
    tests: Sequence[Mapping[str, Any]], scope: str, *, names: Mapping[str, str] = MappingProxyType({}), digits: int = 3
) -> list[str]:
    """Table of tests with a verdict.

    Args:
        tests: of :func:`with_holm`.
        scope: heading of their scopes.
        names: of methods in the table, where they differ.
        digits: of the difference.
    """
    body = []
    for t in tests:
        numbers = [f"{t['difference']:+.{digits}f}", f"{t['p']:.4f}", f"{t['p_holm']:.4f}"]
        body.append([*(names.get(t[key], t[key]) for key in ("a", "b")), t["scope"], *numbers, t["verdict"]])
    return table_lines(["a", "b", scope, "a - b", "p", "p (Holm)", "a is"], body, texts=(0, 1, 2, 6))


def sd_over(values: ArrayLike) -> float:
    """Sample standard deviation, 0 for a single value."""
    sample = np.asarray(values, dtype=float)
    return float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
