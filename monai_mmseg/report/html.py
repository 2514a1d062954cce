# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One self-contained page about a run."""

from __future__ import annotations

import base64
import logging
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.files import write_text
from monai_mmseg.report.charts import line_chart, strip_chart
from monai_mmseg.report.content import (
    RunContent,
    flat_settings,
    headline,
    methods_table,
    read_run,
    worst_scores,
)
from monai_mmseg.report.sections import silhouette_rows, table_section

_Environment, _has_jinja2 = optional_import("jinja2", name="Environment")
_StrictUndefined, _ = optional_import("jinja2", name="StrictUndefined")
_Markup, _ = optional_import("markupsafe", name="Markup")

logger = logging.getLogger(__name__)

TEMPLATE = "report.html.j2"
ABOUT = ("what", "status", "started", "seed", "git", "machine")  # what the template prints of run.json


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
    source = (Path(__file__).parent / TEMPLATE).read_text(encoding="utf-8")
    environment = _Environment(autoescape=True, undefined=_StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return str(environment.from_string(source).render(page_values(content)))


def page_values(content: RunContent) -> dict[str, Any]:
    """Everything the template prints, in plain types.

    Args:
        content: a run.

    Returns:
        Values by name.
    """
    top = headline(content)
    table, about = content.table, content.about
    order = sorted(table.cases("modality"), key=lambda name: top is None or name != top["modality"])
    strips = []
    for modality in order:
        part = table.select(modality=modality)
        scores = {method: part.per_subject("dice", method=method) for method in part.methods}
        chart = strip_chart(
            scores, highlight=top["method"] if top else None, unit=f"Dice on {modality}, mean of the classes"
        )
        strips.append(_Markup(chart))
    phases: dict[str, list[dict[str, Any]]] = {}
    off = [name for name, values in content.terms.items() if all(value == 0 for value in values)]
    for name, values in content.terms.items():
        if name in off:
            continue
        phase, _, term = name.rpartition("/")
        phases.setdefault(phase, []).append(
            {"term": term, "chart": _Markup(line_chart(content.epochs, values, name=name))}
        )
    return {
        "title": str(about.get("name") or content.run_dir.resolve().name),
        "known": bool(about),
        "about": {key: about.get(key) for key in ABOUT},
        "duration": _duration(about.get("duration_s")),
        "headline": top,
        "tables": list(zip([methods_table(table, modality) for modality in order], strips, strict=True)),
        "several": len(table.methods) > 1,
        "notes": table.notes() if len(table) else [],
        "worst": worst_scores(table, top["method"], top["modality"]) if top else [],
        "figures": [
            {"name": path.name, "caption": caption, "data": base64.b64encode(path.read_bytes()).decode("ascii")}
            for path, caption in content.figures
        ],
        "disentanglement": _disentanglement(content),
        "silhouettes": _silhouettes(content),
        "sections": [table_section(*one) for one in _sections(content)],
        "phases": phases,
        "terms_off": off,
        "settings": flat_settings(about.get("settings") or {}),
        "versions": about.get("versions") or {},
        "warnings": content.warnings,
        "problems": content.problems,
    }


def _disentanglement(content: RunContent) -> dict[str, Any] | None:
    found = content.disentanglement
    if not found or ("silhouettes" in found and "modality_classification" not in found):
        return None
    try:
        classified = found["modality_classification"]
        pairs = zip(classified["per_dimension"], found["posterior_variance"], strict=True)
        return {
            "correlation": f"{float(found['distance_correlation']):.2f}",
            "accuracy": f"{100 * float(classified['accuracy']):.0f} %",
            "chance": f"{100 * float(classified['chance']):.0f} %",
            "tested": len(classified["test_subjects"]),
            "rows": [(f"z{at}", f"{100 * float(a):.0f} %", f"{float(v):.2f}") for at, (a, v) in enumerate(pairs, 1)],
        }
    except (KeyError, TypeError, ValueError) as error:
        content.problems.append(f"disentanglement.json is left out: {type(error).__name__} {error}")
        return None


def _silhouettes(content: RunContent) -> dict[str, Any] | None:
    found = content.disentanglement.get("silhouettes")
    if not found:
        return None
    try:
        about = {key: found[key] for key in ("rows", "subjects", "metric")}
        return {**about, "values": silhouette_rows(found)}
    except (KeyError, TypeError, ValueError) as error:
        content.problems.append(f"silhouettes are left out: {type(error).__name__} {error}")
        return None


def _sections(content: RunContent) -> list[tuple[str, ScoreTable]]:
    found = {"Reconstructed images": content.reconstruction, "Missing modalities": content.subsets}
    return [(title, table) for title, table in found.items() if table is not None]


def _duration(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def render_markdown(content: RunContent) -> str:
    """The report without charts and with links to the pictures, for places without jinja2.

    Args:
        content: a run.

    Returns:
        Markdown.
    """
    about, top = content.about, headline(content)
    lines = [f"# {about.get('name') or content.run_dir.resolve().name}", "", str(about.get("what") or "")]
    if top:
        lines += ["", f"## {top['method']} on {top['modality']}", ""]
        lines += [f"- {tile['label']}: {tile['value']} {tile['note']}".rstrip() for tile in top["tiles"]]
        lines += [f"- {top['comparison']}"] if top["comparison"] else []
        lines += ["", content.table.to_markdown()]
    elif not _sections(content):
        lines += ["", "No evaluation: the folder has no usable metrics/*.json."]
    for title, table in _sections(content):
        lines += ["", f"## {title}", "", table.to_markdown()]
    if silhouettes := _silhouettes(content):
        lines += ["", "## Silhouettes", "", *(f"- {name}: {v} (wanted: {w})" for name, v, w in silhouettes["values"])]
    for path, caption in content.figures:
        lines += ["", f"![{caption or path.name}](figures/{path.name})", "", caption]
    lines += [
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in flat_settings(about.get("settings") or {})),
    ]
    lines += ["", "## Versions", "", *(f"- {name}: {value}" for name, value in (about.get("versions") or {}).items())]
    if content.problems or content.warnings:
        lines += ["", "## Warnings", "", *(f"- {line}" for line in [*content.problems, *content.warnings])]
    return "\n".join(lines) + "\n"
