# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How a data set was prepared, written down: ``preparation.json``, and the terms of the data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai_mmseg.data.visits import examination_name
from monai_mmseg.names import first_names
from monai_mmseg.preparation.intensities import mean_intensities
from monai_mmseg.preparation.layouts.layout import Case, Layout, Step
from monai_mmseg.preparation.layouts.write import UNFIT
from monai_mmseg.runs.versions import software_versions

_UNFIT = "no label, since the one of the subject lies on the grid of its other images: "


def preparation(
    layout: Layout,
    subjects: Sequence[tuple[Sequence[Case], Mapping[str, Any]]],
    broken: Mapping[str, str],
    root: Path,
    made_by: Mapping[str, Any],
) -> dict[str, Any]:
    """Record of an import.

    Args:
        layout: what the reader found.
        subjects: cases of each subject, and what :func:`~monai_mmseg.preparation.layouts.write.write_subject` said.
        broken: who was left out, and why.
        root: folder of the datalist.
        made_by: which reader with which options, for the reader of the file; a path ``source`` becomes relative.

    Returns:
        Plain data. ``inputs`` and ``outputs`` have SHA-256 and size of every file; those of a folder, or of a DICOM
        series, are of its files in their natural order, one after the other.
    """
    inputs = {one["file"]: one for _, facts in subjects for one in facts["inputs"]}
    told = dict(made_by)
    if told.get("source") is not None:
        told["source"] = relative(Path(told["source"]), root)
    training: dict[str, list[Any]] = {}
    unfit: list[str] = []
    for cases, facts in subjects:
        for case, one in zip(cases, facts["cases"], strict=True):
            unfit += [f"{examination_name(case.subject, case.visit)} {case.modality}"] if UNFIT in one else []
            if case.section == "training":
                training.setdefault(case.modality, []).append(one["intensity"])
    return {
        "name": layout.name,
        **told,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "software": software_versions("SimpleITK", "pydicom"),
        **{"reference": layout.reference, "licence": layout.licence, "citation": layout.citation},
        "labels": {str(value): name for value, name in layout.labels.items()},
        "label_values": {str(value): one for value, one in sorted(layout.values.items())},
        "steps": [_step(one) for one in layout.steps],
        "notes": [*layout.notes, *([_UNFIT + first_names(unfit)] if unfit else [])],
        "broken": dict(broken),
        "intensities_of_training": {
            name: {"images": len(training[name]), **mean_intensities(training[name])}
            for name in layout.modalities
            if name in training
        },
        "inputs": [{**one, "file": relative(Path(name), root)} for name, one in inputs.items()],
        "outputs": [one for _, facts in subjects for case in facts["cases"] for one in case["outputs"]],
    }


def _step(step: Step) -> dict[str, Any]:
    settings: dict[str, Any] = asdict(step) if is_dataclass(step) and not isinstance(step, type) else {}
    return {"name": type(step).__name__, **settings}


def relative(path: Path, root: Path) -> str:
    """A file as seen from the datalist; a link stays the link that it is.

    Args:
        path: the file.
        root: folder of the datalist, without links.

    Returns:
        Path with slashes.
    """
    return Path(os.path.relpath(path.parent.resolve() / path.name, root)).as_posix()


def terms(layout: Layout) -> str:
    """Where the data come from, under which terms, and what is to be cited, as text.

    Args:
        layout: the data set.

    Returns:
        Lines; empty if neither a licence nor a citation is known.
    """
    if not layout.licence and not layout.citation:
        return ""
    told = {"reference": layout.reference, "licence": layout.licence, "to be cited": layout.citation}
    lines = [f"{layout.name}: terms of the data, of which these files are made.", ""]
    return "\n".join([*lines, *(f"{name}: {text}" for name, text in told.items() if text)]) + "\n"
