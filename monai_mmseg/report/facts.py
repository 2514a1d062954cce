# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What was run: the head of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_mmseg.report.content import RunContent
from monai_mmseg.report.ownership import short_hash
from monai_mmseg.runs.setting_texts import setting_text

MAIN_SETTINGS = (
    *("modalities", "target", "max_epochs", "epoch_length", "batch_size", "learning_rate"),
    *("pixdim", "spatial_size", "patch_size", "features"),
)
MAIN_VERSIONS = ("monai_mmseg", "monai", "torch", "python")


def status_line(content: RunContent) -> list[str]:
    """How the run went, in a few words each: status, times, seed, fold, commit.

    Args:
        content: of a run.

    Returns:
        Texts.
    """
    about, settings = content.about, _mapping(content.about.get("settings"))
    seed, fold, took = about.get("seed"), settings.get("fold"), _took(about)
    texts = [str(about.get("status") or "")]
    texts += [f"started {about['started']}" if about.get("started") else "", took]
    texts += [f"seed {seed}" if seed is not None else "no seed recorded", f"fold {fold}" if fold is not None else ""]
    return [text for text in [*texts, f"commit {about['git']}" if about.get("git") else ""] if text]


def _took(about: Mapping[str, Any]) -> str:
    """Time of all parts of a run; older records of one that was resumed have that of the last."""
    time, resumed = duration(about.get("duration_s")), about.get("resumed")
    if not time or not isinstance(resumed, list) or not resumed:
        return f"took {time}" if time else ""
    if "untimed" not in about:
        return f"last part took {time}"
    lost = f", {about['untimed']} of them cut off and not counted" if about["untimed"] else ""
    return f"took {time} in {len(resumed) + 1} parts{lost}"


def run_facts(content: RunContent) -> list[tuple[str, str]]:
    """Run, data, model, method, settings and versions, as far as they are known.

    Args:
        content: of a run.

    Returns:
        Name and text of each.
    """
    about, settings = content.about, _mapping(content.about.get("settings"))
    versions, bundle = _mapping(about.get("versions")), str(about.get("bundle") or "")
    method = str(about.get("method") or "")
    facts = {
        "run": str(about.get("id") or ""),
        "data set": _data_set(about, settings),
        "model": _model(content),
        "method": f"{method} (bundle {bundle})" if bundle and bundle != method else method,
        "evaluated": _evaluated(content.owner.newest),
        "settings": ", ".join(f"{name} {setting_text(settings[name])}" for name in MAIN_SETTINGS if name in settings),
        "versions": ", ".join(f"{name} {versions[name]}" for name in MAIN_VERSIONS if name in versions),
    }
    return [(name, text) for name, text in facts.items() if text]


def _data_set(about: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    found = _mapping(about.get("datalist"))
    parts = [str(found.get("name") or ""), str(found.get("path") or settings.get("dataset_dir") or "")]
    parts += [f"fingerprint {short_hash(str(found['fingerprint']))}"] if found.get("fingerprint") else []
    parts += (
        [f"borrowed labels: {found['borrowed']}, and validation on them is agreement"] if found.get("borrowed") else []
    )
    return ", ".join(part for part in parts if part)


def _model(content: RunContent) -> str:
    named = _mapping(content.about.get("model"))
    sha256 = str(named.get("sha256") or content.owner.model)
    return ", ".join(
        part for part in (str(named.get("file") or ""), f"sha256 {short_hash(sha256)}" * bool(sha256)) if part
    )


def _evaluated(entry: Mapping[str, Any]) -> str:
    parts = [f"section {entry['section']}" if entry.get("section") else "", str(entry.get("time") or "")]
    return ", ".join(part for part in parts if part)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def duration(seconds: Any) -> str:
    """A time in words; empty for what is no number.

    Examples:
        >>> duration(3725), duration(59.96), duration(None)
        ('1 h 2 min', '1 min 0 s', '')
    """
    if not isinstance(seconds, int | float):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
