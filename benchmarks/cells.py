# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Cells of a comparison: run some at a time, keep each as JSON, compare methods on the same subjects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from monai_mmseg.metrics import holm_correction, paired_permutation_test


def in_lanes(call: Callable[..., Any], jobs: Iterable[Sequence[Any]], lanes: int) -> None:
    """Call with the arguments of each job, some at a time; the first error is raised after the others have ended."""
    with ThreadPoolExecutor(lanes) as pool:
        for job in [pool.submit(call, *arguments) for arguments in jobs]:
            job.result()


def read_json(path: Path) -> Any:
    """Content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON, and the folder that it goes to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


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


def sd_over(values: ArrayLike) -> float:
    """Sample standard deviation, 0 for a single value."""
    sample = np.asarray(values, dtype=float)
    return float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
