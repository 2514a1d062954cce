# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tests of a setting as the page shows them."""

from __future__ import annotations

from typing import Any, NamedTuple

from monai.utils import optional_import

from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.study.content import Setting
from monai_mmseg.study.plots import critical_difference_chart
from monai_mmseg.study.sample import ALL, Sample, take_sample
from monai_mmseg.study.statistics import TESTS, Comparison, Ranking, compare, rank

_Markup, _ = optional_import("markupsafe", name="Markup")

TESTED = ("dice", "hausdorff95", "psnr", "ssim")


class Tested(NamedTuple):
    """Tests of one measure in one part of a setting."""

    part: str  # ALL: of all parts together
    sample: Sample
    comparisons: list[Comparison]
    ranking: Ranking | None

    @property
    def title(self) -> str:
        """Measure and part in words."""
        return f"{MEASURES[self.sample.measure].title} {f'on {self.part}' if self.part else 'of all images'}"


def run_tests(setting: Setting) -> list[Tested]:
    """Tests of all parts together where every method has all of them, then of each.

    Args:
        setting: with any cells.

    Returns:
        One entry a part and measure.
    """
    parts = [ALL, *setting.parts] if len(setting.parts) > 1 and setting.common == setting.parts else setting.parts
    found = []
    for part in parts:
        for measure in (name for name in TESTED if name in setting.measures):
            sample = take_sample(setting.tables, measure, part)
            if sample.values:
                found.append(Tested(part, sample, compare(sample), rank(sample) if len(sample.values) > 1 else None))
    return found


def tested_values(one: Tested, lead: str | None) -> dict[str, Any]:
    """What the template prints of tests: those with the method of interest, and the others.

    Args:
        one: tests of a measure.
        lead: method of interest; it stands in front in its pairs.

    Returns:
        Texts, and the chart of critical differences.
    """
    digits = MEASURES[one.sample.measure].digits
    rows = [
        {
            "a": test.a,
            "b": test.b,
            "subjects": test.subjects,
            "difference": f"{test.difference:+.{digits}f}",
            "interval": f"{test.interval.low:+.{digits}f} to {test.interval.high:+.{digits}f}",
            "p": [(p_text(test.p[name]), p_text(test.p_holm[name]), test.p_holm[name] < 0.05) for name in TESTS],
        }
        for test in (_turned(test, lead) for test in one.comparisons)
    ]
    chart = ""
    if one.ranking and len(one.ranking.ranks) > 2:
        chart = _Markup(critical_difference_chart(one.ranking, highlight=lead))
    return {
        "title": one.title,
        "own": [row for row in rows if row["a"] == lead],
        "others": [row for row in rows if row["a"] != lead],
        "chart": chart,
        "friedman": p_text(one.ranking.p_value) if one.ranking else "",
        "ranked": one.ranking.subjects if one.ranking else 0,
    }


def _turned(test: Comparison, lead: str | None) -> Comparison:
    """With the method of interest in front."""
    if test.b != lead:
        return test
    low, high = -test.interval.high, -test.interval.low
    interval = test.interval._replace(mean=-test.interval.mean, low=low, high=high)
    return test._replace(a=test.b, b=test.a, difference=-test.difference, interval=interval)


def p_text(p: float) -> str:
    """A p-value as printed.

    Examples:
        >>> p_text(0.0412), p_text(0.00004), p_text(1.0)
        ('0.041', '< 0.001', '1')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}".rstrip("0").rstrip(".") if p > 0.9995 else f"{p:.3f}"
