# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One self-contained page about a run."""

from __future__ import annotations

import base64
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.files import write_text
from monai_mmseg.report.charts import strip_chart
from monai_mmseg.report.content import RunContent, read_run
from monai_mmseg.report.curves import (
    DICE,
    PAIR_WEIGHT,
    dice_charts,
    dice_curves,
    line_chart,
    pair_weight_chart,
    training_against_validation,
)
from monai_mmseg.report.facts import run_facts, status_line
from monai_mmseg.report.markdown import render_markdown
from monai_mmseg.report.numbers import (
    REMARKS,
    Headline,
    class_colors,
    headline,
    methods_table,
    subject_rows,
    volumes,
    worst_scores,
)
from monai_mmseg.report.quality import quality_values
from monai_mmseg.report.scatter import volume_chart
from monai_mmseg.report.sections import disentanglement_values, score_sections, silhouette_values, table_section
from monai_mmseg.runs.setting_texts import flat_settings

_Environment, _has_jinja2 = optional_import("jinja2", name="Environment")
_StrictUndefined, _ = optional_import("jinja2", name="StrictUndefined")
_Markup, _ = optional_import("markupsafe", name="Markup")

logger = logging.getLogger(__name__)

TEMPLATE, STYLE = "report.html.j2", "page.css"
FEW_SUBJECTS = 12  # lines of the table of subjects that are shown without a click


def write_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Write one page that shows a run: numbers, pictures, curves, settings.

    Use it after any run, as ``mmseg report RUN_DIR``. The page holds its pictures and styles itself, so it can be
    mailed; it names every part that the folder lacks. Without jinja2 a plain ``report.md`` is written instead, and a
    warning says so.

    Args:
        run_dir: see :mod:`monai_mmseg.runs.run_folder`.
        out: the file to write; ``None`` means ``report.html`` in the folder.

    Returns:
        The file written.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds no part of a run.

    Examples:
        >>> import tempfile
        >>> from monai_mmseg.runs import RunRecorder
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RunRecorder(folder, "trial") as recorder:
        ...         recorder.add_terms(1, {"generator/kl": 0.5})
        ...     page = write_report(folder)
        ...     page.stem, "generator/kl" in page.read_text(encoding="utf-8")
        ('report', True)
    """
    content = read_run(run_dir)
    target = Path(out) if out is not None else content.run_dir / "report.html"
    if _has_jinja2:
        write_text(target, render_html(content))
    else:
        named = target.stem if target.suffix in (".html", ".htm") else target.name  # run.1 is a name, not an ending
        target = target.with_name(f"{named}.md")
        write_text(target, render_markdown(content))
        logger.warning(
            "jinja2 is not installed: wrote the plain %s; for the page, pip install 'monai-mmseg[report]'.", target
        )
    return target


def render_html(content: RunContent) -> str:
    """The page as text.

    Args:
        content: from :func:`~monai_mmseg.report.content.read_run`.

    Returns:
        HTML without any reference to another file or site.
    """
    return render_page(Path(__file__).parent / TEMPLATE, page_values(content))


def render_page(template: Path, values: Mapping[str, Any]) -> str:
    """A page in the style of all reports.

    Args:
        template: of jinja2; it prints ``style`` in its ``<style>``.
        values: what else it prints.

    Returns:
        HTML.
    """
    style = _Markup((Path(__file__).parent / STYLE).read_text(encoding="utf-8"))
    environment = _Environment(autoescape=True, undefined=_StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = template.read_text(encoding="utf-8")
    return str(environment.from_string(source).render(values, style=style))


def page_values(content: RunContent) -> dict[str, Any]:
    """Everything the template prints, in plain types.

    Args:
        content: a run.

    Returns:
        Values by name.
    """
    top = headline(content)
    about = content.about
    values = {
        "title": str(about.get("name") or content.run_dir.resolve().name),
        "what": str(about.get("what") or ""),
        "known": bool(about),
        "status": status_line(content),
        "facts": run_facts(content),
        "headline": top,
        "figures": [
            {"name": path.name, "caption": caption, "data": base64.b64encode(path.read_bytes()).decode("ascii")}
            for path, caption in content.figures
        ],
        "disentanglement": disentanglement_values(content),
        "silhouettes": silhouette_values(content),
        "quality": _quality(content, top),
        "sections": [table_section(*one) for one in score_sections(content)],
        "settings": flat_settings(about.get("settings") or {}).items(),
        "versions": about.get("versions") or {},
        "machine": str(about.get("machine") or ""),
        **_scores(content, top),
        **_training(content),
    }
    late = content.warnings if content.finished else []  # what an earlier attempt met is no news
    problems = [*content.problems, *([] if content.finished else content.warnings)]
    return {**values, "problems": problems, "late_warnings": late}


def _scores(content: RunContent, top: Headline | None) -> dict[str, Any]:
    """Tables and charts of the label volumes."""
    table = content.table
    if top is None:
        return {"tables": [], "notes": content.remarks}
    order = list(dict.fromkeys([*top.modalities, *table.cases("modality")]))
    colors, found = class_colors(content), volumes(table, top.method, top.modalities)
    charts = [
        _Markup(volume_chart(one.points, colors, name=f"Volumes of every subject on {one.modality}")) for one in found
    ]
    subjects = subject_rows(table, top.method)
    return {
        "tables": [(methods_table(table, name), _strip(table, name, top.method)) for name in order],
        "several": len(table.methods) > 1,
        "notes": [*table.notes(), *content.remarks],
        "worst": worst_scores(table, top.method),
        "remarks": REMARKS,
        "subjects": subjects,
        "open": len(subjects["rows"]) <= FEW_SUBJECTS,
        "volumes": list(zip(found, charts, strict=True)),
        "volume_classes": _legend(colors, {name for one in found for name in one.points}),
    }


def _quality(content: RunContent, top: Headline | None) -> dict[str, Any] | None:
    found = quality_values(content, top.method if top else None, class_colors(content))
    return found and {**found, "charts": [_Markup(found["scatter"]), _Markup(found["curve"])]}


def _strip(table: ScoreTable, modality: str, method: str) -> Any:
    part = table.select(modality=modality)
    scores = {name: part.per_subject("dice", method=name) for name in part.methods}
    return _Markup(strip_chart(scores, highlight=method, unit=f"Dice on {modality}, mean of the classes"))


def _training(content: RunContent) -> dict[str, Any]:
    """Curves over epochs."""
    epochs, terms = content.epochs, content.terms
    colors, dice = class_colors(content), dice_curves(terms)
    phases: dict[str, list[dict[str, Any]]] = {}
    weights = pair_weight_chart(epochs, terms)
    rest = {name: v for name, v in terms.items() if not name.startswith(DICE) and PAIR_WEIGHT not in name}
    off = [name for name, values in rest.items() if all(value == 0 for value in values)]
    for name, values in rest.items():
        phase, _, term = name.rpartition("/")
        if name not in off:
            chart = _Markup(line_chart(epochs, values, name=name))
            phases.setdefault(phase, []).append({"term": term, "chart": chart})
    return {
        "pair": [(title, _Markup(chart)) for title, chart in training_against_validation(epochs, terms)],
        "pair_weights": _Markup(weights) if weights else "",
        "dice": [(name, _Markup(chart)) for name, chart in dice_charts(epochs, terms, colors).items()],
        "dice_classes": _legend(colors, {part for parts in dice.values() for part in parts}),
        "phases": phases,
        "terms_off": off,
    }


def _legend(colors: Mapping[str, str], shown: Collection[str]) -> list[tuple[str, str]]:
    return [(name, color) for name, color in colors.items() if name in shown]
