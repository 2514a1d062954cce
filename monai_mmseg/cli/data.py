# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data ...`` runs.

Annotations decide how words are read: ``str`` stays text, a list takes several words, ``bool`` needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_mmseg.cli.console import print_lines, print_table

__all__ = ["check", "layout", "merge", "phantom", "split", "stack", "stats"]


def check(datalist: str, *, sheet: str = "", no_sheet: bool = False) -> int:
    """Say what a datalist holds, draw it, and name every broken item.

    Args:
        datalist: JSON file.
        sheet: picture to write; default is <datalist>_sheet.png beside the list.
        no_sheet: do not draw.

    Returns:
        0, or 1 if an item is broken.
    """
    from monai_mmseg.preparation.check import check_datalist
    from monai_mmseg.preparation.contact_sheet import write_contact_sheet

    report = check_datalist(datalist, thumbnails=not no_sheet)
    columns = ["section", "subject", "fold", "modality", "size", "spacing (mm)", "label volumes (ml)"]
    print_table(f"{report.name}: {len(report.volumes)} images", columns, [volume.row() for volume in report.volumes])
    print_lines(["", *report.summary()])
    if not no_sheet and report.volumes:
        target = Path(sheet) if sheet else Path(datalist).with_name(f"{Path(datalist).stem}_sheet.png")
        print_lines([f"contact sheet: {write_contact_sheet(report, target)}"])
    for title, messages in (
        ("for information", report.notes),
        ("warnings", report.warnings),
        ("broken", report.errors),
    ):
        if messages:
            print_lines(["", f"{title} ({len(messages)}):", *(f"  - {message}" for message in messages)])
    print_lines(["", f"{len(report.errors)} broken items." if report.errors else "No broken item."])
    return 1 if report.errors else 0


def layout(kind: str, folder: str, *, out: str, sequence: str = "t2spir") -> int:
    """Turn a public data set, as it was unpacked, into a datalist; labels get the classes of this project.

    Args:
        kind: data set: btcv, chaos, mmwhs or mscmrseg.
        folder: where it was unpacked; it is not changed.
        out: JSON file to write; folders labels (and images, for DICOM) appear beside it.
        sequence: which images of chaos: t2spir, t1dual_in, t1dual_out or ct.

    Returns:
        0.
    """
    from monai_mmseg.preparation.layouts import LAYOUTS, write_layout

    if kind not in LAYOUTS:
        raise ValueError(f"there is no layout {kind!r}; there are {sorted(LAYOUTS)}.")
    found = LAYOUTS[kind](folder, sequence) if kind == "chaos" else LAYOUTS[kind](folder)
    written = write_layout(found, out)
    rows = []
    for modality in found.modalities:
        mine = [case for case in found.cases if case.modality == modality]
        labelled = sum(case.label is not None for case in mine)
        rows.append([modality, len(mine), labelled, sum(case.section == "test" for case in mine)])
    print_table(f"{found.name}: {written}", ["modality", "images", "labelled", "for testing"], rows)
    classes: dict[int, list[int]] = {}
    for value, one in found.values.items():
        classes.setdefault(one, []).append(value)
    shown = (f"{', '.join(map(str, _spans(classes[one])))} -> {one} {name}" for one, name in found.labels.items())
    print_lines([f"label values: {'; '.join(shown)}", f"terms of use and reference: {found.reference}"])
    return 0


def _spans(values: Sequence[int]) -> list[str]:
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return [str(low) if low == high else f"{low}-{high}" for low, high in spans]


def merge(*, lists: Sequence[str], out: str) -> int:
    """Join datalists with the same labels into one, for example CT of one data set and MR of another.

    Args:
        lists: JSON files.
        out: JSON file to write.

    Returns:
        0.
    """
    from monai_mmseg.preparation.merge import merge_datalists

    written = merge_datalists([str(name) for name in lists], out)
    print_lines([f"{len(lists)} datalists: {written}"])
    return 0


def phantom(
    kind: str,
    *,
    out: str,
    modalities: Sequence[str] = ("cine", "lge"),
    subjects: int = 12,
    seed: int = 0,
    test_subjects: int = -1,
    motion: float = 1.0,
) -> int:
    """Make subjects with known labels and write volumes and a datalist.

    Args:
        kind: what to make: heart; abdomen, brain, cardiac and cmr are commands of their own.
        out: folder to write.
        modalities: which images each subject has.
        subjects: how many.
        seed: the same seed makes the same files.
        test_subjects: how many of the last subjects are for testing; -1 means a third.
        motion: how much the modalities are misaligned; 0 not at all, 1 as hard as the private data of the paper.

    Returns:
        0.
    """
    from monai_mmseg.phantom import make_heart_phantom

    if kind != "heart":
        raise ValueError(f"there is no phantom {kind!r}; there are 'abdomen', 'brain', 'cardiac', 'cmr' and 'heart'.")
    written = make_heart_phantom(
        out,
        modalities=[str(name) for name in modalities],
        subjects=int(subjects),
        seed=int(seed),
        test_subjects=None if test_subjects < 0 else int(test_subjects),
        motion=float(motion),
    )
    print_lines([f"{subjects} subjects ({', '.join(map(str, modalities))}): {written}"])
    return 0


def split(datalist: str, *, folds: int = 5, seed: int = 0, out: str = "") -> int:
    """Give the training items of a datalist folds, by subject.

    Args:
        datalist: JSON file.
        folds: how many.
        seed: of the shuffle.
        out: file to write, in the same folder; default is the datalist itself.

    Returns:
        0.
    """
    from monai_mmseg.data.datalist import load_datalist, write_folds

    written = write_folds(datalist, out or None, folds=int(folds), seed=int(seed))
    members: dict[int, set[str]] = {}
    for item in load_datalist(written):
        members.setdefault(item["fold"], set()).add(item["subject"])
    rows = [[fold, len(names), " ".join(sorted(names))] for fold, names in sorted(members.items())]
    print_table(f"{written}: {folds} folds", ["fold", "subjects", "names"], rows)
    return 0


def stats(datalist: str, *, out: str = "") -> int:
    """Measure intensities, spacings and label volumes of a datalist and keep them as JSON.

    Args:
        datalist: JSON file.
        out: file to write; default is <datalist>_stats.json beside the list.

    Returns:
        0.
    """
    from monai_mmseg.files import write_json
    from monai_mmseg.preparation.statistics import datalist_statistics

    numbers = datalist_statistics(datalist)
    target = Path(out) if out else Path(datalist).with_name(f"{Path(datalist).stem}_stats.json")
    write_json(target, numbers)
    columns = ["modality", "images", "labelled", "mean", "sd", "0.5 %", "median", "99.5 %", "median spacing (mm)"]
    rows = []
    for name, one in numbers["modalities"].items():
        values = one["intensity"]
        shown = [f"{values[key]:.4g}" for key in ("mean", "std", "p0.5", "p50", "p99.5")]
        spacing = " x ".join(f"{value:.3g}" for value in one["spacing"]["median"])
        rows.append([name, one["images"], one["labelled"], *shown, spacing])
    print_table(numbers["name"], columns, rows)
    print_lines([f"written: {target}"])
    return 0


def stack(datalist: str, *, target: str, out: str, section: str = "training") -> int:
    """Write 4D files, modalities last on the target's grid, as MONAI Label wants a study.

    Args:
        datalist: JSON file.
        target: modality whose grid and labels are taken.
        out: folder to write.
        section: training, validation or test.

    Returns:
        0.
    """
    from monai_mmseg.preparation.stacks import write_stacks

    written, skipped = write_stacks(datalist, target=target, out=out, section=section)
    print_lines([f"{len(written)} stacks in {out}"])
    if skipped:
        print_lines([f"left out, since they have no {target}: {', '.join(skipped)}"])
    return 0
