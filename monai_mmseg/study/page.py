# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One page about a study, and its numbers as files: ``index.html``, ``results.json``, ``table.*``, ``scores.csv``."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from monai_mmseg.evaluation.score import MEASURES
from monai_mmseg.files import write_json, write_text
from monai_mmseg.report.html import render_page
from monai_mmseg.study.content import FEW_PARTS, Setting, StudyContent, read_study
from monai_mmseg.study.curves import Style, label_curves, learning_charts, method_styles
from monai_mmseg.study.plots import box_chart
from monai_mmseg.study.published import Published, read_published
from monai_mmseg.study.results import facts, markdown, notes, plain, results
from monai_mmseg.study.rows import Block, blocks, heading, refusals, scores_csv, sheet, spent, table_csv
from monai_mmseg.study.sample import ALL
from monai_mmseg.study.tested import Tested, run_tests, tested_values
from monai_mmseg.study.worst_cases import worst_figure

_Markup, _ = optional_import("markupsafe", name="Markup")
_, _has_jinja2 = optional_import("jinja2")

TEMPLATE = "page.html.j2"
PAGE, RESULTS = "index.html", "results.json"
TESTED = ("dice", "hausdorff95", "psnr", "ssim")


def write_page(study: str | Path) -> Path:
    """Write what a study has found so far: a page, and its numbers as JSON, CSV and Markdown.

    Use it at any time: cells that did not end are listed, and everything is made of the others. The page holds its
    pictures and styles itself.

    Args:
        study: its folder, see :mod:`monai_mmseg.study.cells`.

    Returns:
        ``index.html``; without jinja2 ``table.md``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no cell has ended, or the definition names an unknown table of published numbers.
    """
    content = read_study(study)
    named = content.about.get("published")
    published = read_published(str(named)) if named else None
    found = {setting.name: blocks(setting, published) for setting in content.settings}
    tests = {setting.name: run_tests(setting) for setting in content.settings}
    root = content.folder
    write_text(root / "table.csv", table_csv(content, found))
    write_text(root / "scores.csv", scores_csv(content))
    target = write_text(root / "table.md", markdown(content, found, published))
    write_json(root / RESULTS, plain(results(content, found, tests)))
    if _has_jinja2:
        values = _values(content, found, tests, published)
        target = write_text(root / PAGE, render_page(Path(__file__).parent / TEMPLATE, values))
    return target


# -- what the template prints -------------------------------------------------------------------------------------


def _values(
    content: StudyContent,
    found: Mapping[str, Sequence[Block]],
    tests: Mapping[str, Sequence[Tested]],
    published: Published | None,
) -> dict[str, Any]:
    lead = content.lead()
    styles = method_styles(content.settings, lead)
    defined = content.about.get("settings")
    known = defined.items() if isinstance(defined, dict) else ()
    labels = {name: about.get("labels") for name, about in known if isinstance(about, dict)}
    settings = [_setting(content, one, found[one.name], tests[one.name], styles) for one in content.settings]
    return {
        "title": content.title,
        "what": str(content.about.get("about") or ""),
        "facts": facts(content),
        "settings": settings,
        "labels": [(c.title, _Markup(c.chart), c.saved) for c in label_curves(content.settings, styles, lead, labels)],
        "legend": [(name, *style) for name, style in styles.items()],
        "spent": spent(content.cells),
        "unfinished": content.unfinished,
        "problems": content.problems,
        "published": published.source if published else "",
        "notes": notes(content),
    }


def _setting(
    content: StudyContent,
    setting: Setting,
    found: Sequence[Block],
    tests: Sequence[Tested],
    styles: Mapping[str, Style],
) -> dict[str, Any]:
    lead = content.lead(setting)
    shown = tests[: 2 * FEW_PARTS] if setting.many else tests  # results.json has all
    main = [one for one in shown if one.sample.measure == setting.main][: 1 if setting.many else None]
    drawn = setting.parts[:FEW_PARTS] if setting.main == "dice" else []
    figures = [_worst(content, setting, part, lead) for part in drawn]
    return {
        "name": setting.name,
        "lead": lead,
        "tables": [_table(setting, block) for block in found],
        "refusals": refusals(setting),
        "boxes": [_Markup(box_chart(one.sample, highlight=lead, name=one.title)) for one in main if one.sample.values],
        "tests": [tested_values(one, lead) for one in shown if one.comparisons],
        "learning": [(title, _Markup(svg)) for title, svg in learning_charts(setting, styles, lead)],
        "worst": [one for one in figures if one],
    }


def _table(setting: Setting, block: Block) -> dict[str, Any]:
    """The sheet of a block; refused methods stand below it on the page, where there is room for their reasons."""
    text = sheet(setting, block)
    best = _best(block) if block.comparable and len(block.rows) > 1 else {}
    rows = [
        [
            (cell, head in best and row[0] in best[head])
            for head, cell in zip(["method", *text.numbers], row, strict=True)
        ]
        for row in text.rows[: len(block.rows)]
    ]
    folded = setting.many and block.part != ALL
    return {
        "part": block.part,
        "folded": folded,
        "head": ["method", *text.numbers],
        "rows": rows,
        "comparable": block.comparable,
    }


def _best(block: Block) -> dict[str, list[str]]:
    """Head of a column to the one method that is best in it, as printed."""
    out = {}
    for key in block.columns:
        about = MEASURES[key[0]]
        means = {row.method: round(row.values[key].mean, about.digits) for row in block.rows if key in row.values}
        top = (max if about.higher else min)(means.values())
        winners = [name for name, value in means.items() if value == top]
        out[heading(key)] = winners if len(winners) == 1 and len(means) > 1 else []
    return out


def _worst(content: StudyContent, setting: Setting, part: str, lead: str | None) -> dict[str, Any] | None:
    if lead is None:
        return None
    changed = content.changed.get(setting.name, ())
    if any(name.startswith("test ") and name.endswith(f" {part}") for name in changed):
        content.problems.append(f"Worst cases of {setting.name}, {part} are not drawn: images or labels have changed.")
        return None
    try:
        found = worst_figure(content, setting, part, lead)
    except (OSError, ValueError) as error:
        content.problems.append(f"Worst cases of {setting.name} are not drawn: {error}")
        return None
    if found is None:
        return None
    figure, cases, problems = found
    content.problems += problems
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, facecolor=figure.get_facecolor())
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return {"part": part, "data": data, "cases": cases}
