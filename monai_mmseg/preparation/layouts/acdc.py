# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""ACDC 2017: cine MR of the heart at the end of diastole and of systole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from monai_mmseg.data.label_sets import HEART_LABELS
from monai_mmseg.preparation.layouts.layout import NIFTI, Case, Layout, find_files, label_table, require

PHASES = ("ed", "es")


def read_acdc(folder: str | Path, *, phases: Sequence[str] | None = None) -> Layout:
    """Find the patients of ACDC, wherever they lie in a folder.

    Both phases of a patient are visits of one person, so that no fold parts them. Labels: 1 LV (3 in the files), 2
    myocardium (2), 3 RV (1), as in MS-CMRSeg.

    Args:
        folder: holds ``training/patient001/Info.cfg`` and ``patient001_frame01.nii.gz``, ``..._frame01_gt.nii.gz``, and
            maybe ``testing/patient101/...``, with or without labels.
        phases: ed (end of diastole), es (end of systole); without it, both.

    Returns:
        The data set, modality ``cine``. A training patient is broken without ``Info.cfg``, an image or a label.

    Raises:
        FileNotFoundError: if there are no such files.
        ValueError: if a phase is unknown or a file is there twice.
    """
    wanted = PHASES if phases is None else tuple(one.lower() for one in phases)
    if not wanted or not set(wanted) <= set(PHASES):
        raise ValueError(f"phases must be some of {list(PHASES)}, got {list(wanted)}.")
    files: dict[str, dict[str, Path]] = {}
    for match, path in find_files(folder, r"(patient\d+)_(4d|frame\d+(?:_gt)?)" + NIFTI):
        files.setdefault(match[1], {})[match[2]] = path
    cases: list[Case] = []
    broken: dict[str, str] = {}
    groups: dict[str, Counter[str]] = {}
    for patient, found in sorted(files.items()):
        path = next(iter(found.values()))
        parts = (one.name.lower() for one in path.parents)
        section = (
            "test" if next((one for one in parts if one in ("training", "testing")), "") == "testing" else "training"
        )
        try:
            info = _info(path, patient)
            of_patient = [_case(patient, phase, info, found, section) for phase in PHASES if phase in wanted]
        except ValueError as error:
            broken[patient] = str(error)
            continue
        cases += of_patient
        groups.setdefault(section, Counter())[info.get("group", "unknown")] += 1
    if not broken:
        require(folder, cases, [], "training/patient001/patient001_frame01.nii.gz")
    return Layout(
        "acdc",
        ["cine"],
        HEART_LABELS,
        label_table({1: [3], 2: [2], 3: [1]}, background=[]),
        cases,
        "https://www.creatis.insa-lyon.fr/Challenge/acdc/",
        licence="as the owners' site says",
        citation="Bernard et al., IEEE TMI 37(11), 2018, doi:10.1109/TMI.2018.2837502",
        notes=[
            f"Groups of {section}: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}."
            for section, counts in groups.items()
        ],
        broken=broken,
    )


def _info(path: Path, patient: str) -> dict[str, str]:
    """What ``Info.cfg`` says of a patient, names in small letters."""
    folder = next((one for one in path.parents if one.name == patient), path.parent)
    file = folder / "Info.cfg"
    if not file.is_file():
        raise ValueError(f"{file} is missing, which says what frames the phases are.")
    lines = re.findall(r"(?m)^\s*(\w+)\s*:\s*(.*?)\s*$", file.read_text(encoding="utf-8", errors="replace"))
    return {name.lower(): value for name, value in lines}


def _case(patient: str, phase: str, info: dict[str, str], found: dict[str, Path], section: str) -> Case:
    if not info.get(phase, "").isdigit():
        raise ValueError(f"Info.cfg of {patient} does not say which frame is {phase.upper()}.")
    name = f"frame{int(info[phase]):02d}"
    if name not in found or (section == "training" and f"{name}_gt" not in found):
        raise ValueError(f"{patient}_{name if name not in found else name + '_gt'}.nii.gz is missing.")
    return Case(patient, "cine", found[name], found.get(f"{name}_gt"), section, visit=phase)
