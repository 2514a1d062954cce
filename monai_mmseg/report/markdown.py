# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The report as plain text, for places without jinja2."""

from __future__ import annotations

from monai_mmseg.evaluation.layout import Sheet
from monai_mmseg.report.content import RunContent
from monai_mmseg.report.facts import run_facts, status_line
from monai_mmseg.report.numbers import Headline, headline, subject_rows, volumes
from monai_mmseg.report.sections import score_sections, silhouette_values
from monai_mmseg.runs.setting_texts import flat_settings


def render_markdown(content: RunContent) -> str:
    """The report without charts and with links to the pictures, for places without jinja2.

    Args:
        content: a run.

    Returns:
        Markdown.
    """
    about, top = content.about, headline(content)
    lines = [f"# {about.get('name') or content.run_dir.resolve().name}", "", str(about.get("what") or "")]
    lines += ["", ", ".join(status_line(content)), "", *(f"- {name}: {text}" for name, text in run_facts(content))]
    if top:
        lines += ["", f"## {top.method} on {', '.join(top.modalities)}", ""]
        notes = [", ".join(tile["note"].splitlines()) for tile in top.tiles]
        lines += [f"- {t['label']}: {t['value']} {note}".rstrip() for t, note in zip(top.tiles, notes, strict=True)]
        lines += [f"- {text}" for text in top.comparisons]
        lines += ["", content.table.to_markdown()]
        lines += _volumes(content, top) + _subjects(content, top.method)
    elif not score_sections(content):
        lines += ["", "No evaluation: the folder has no usable metrics/*.json."]
    for title, table in score_sections(content):
        lines += ["", f"## {title}", "", table.to_markdown()]
    if silhouettes := silhouette_values(content):
        lines += ["", "## Silhouettes", "", *(f"- {name}: {v} (wanted: {w})" for name, v, w in silhouettes["values"])]
    for path, caption in content.figures:
        lines += ["", f"![{caption or path.name}](figures/{path.name})", "", caption]
    lines += [
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in flat_settings(about.get("settings") or {}).items()),
    ]
    lines += ["", "## Versions", "", *(f"- {name}: {value}" for name, value in (about.get("versions") or {}).items())]
    if content.problems or content.remarks or content.warnings:
        lines += [
            "",
            "## Warnings",
            "",
            *(f"- {line}" for line in [*content.problems, *content.remarks, *content.warnings]),
        ]
    return "\n".join(lines) + "\n"


def _volumes(content: RunContent, top: Headline) -> list[str]:
    lines = []
    for found in volumes(content.table, top.method, top.modalities):
        title = f"{found.modality}: predicted and true volume [ml]"
        heads = ["subjects", "true", "predicted", "difference", "in %"]
        lines += ["", *Sheet(title, ["class"], heads, [list(row) for row in found.rows]).markdown()]
    return lines


def _subjects(content: RunContent, method: str) -> list[str]:
    found = subject_rows(content.table, method)
    heads = [*found["classes"], "mean", "HD95 [mm]", "remark"]
    rows = [[r["subject"], r["modality"], *r["dice"], r["mean"], r["hd95"], r["remark"]] for r in found["rows"]]
    return ["", *Sheet(f"Dice of every subject by {method}", ["subject", "modality"], heads, rows).markdown()]
