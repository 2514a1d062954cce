# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data ...`` runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from monai_mmseg.cli.console import print_table


def check(datalist: str, *, sheet: str | None = None, no_sheet: bool = False) -> int:
    """Say what a datalist holds, draw it, and name every broken item.

    Args:
        datalist: JSON file.
        sheet: picture to write; default is <datalist>_sheet.png beside the list.
        no_sheet: do not draw.

    Returns:
        0, or 1 if an item is broken.
    """
    from monai_mmseg.outputs import check_output_file
    from monai_mmseg.preparation import check_datalist, write_contact_sheet

    target = Path(sheet or Path(datalist).with_name(f"{Path(datalist).stem}_sheet.png"))
    if not no_sheet:
        check_output_file(target, overwrite=True)
    report = check_datalist(datalist, thumbnails=not no_sheet)
    columns = ["section", "subject", "fold", "modality", "size", "spacing (mm)", "label volumes (ml)"]
    print_table(f"{report.name}: {len(report.volumes)} images", columns, [volume.row() for volume in report.volumes])
    print("", *report.summary(), sep="\n")
    if not no_sheet and report.volumes:
        print(f"contact sheet: {write_contact_sheet(report, target)}")
    for title, found in (("for information", report.notes), ("warnings", report.warnings), ("broken", report.errors)):
        if found:
            print(f"\n{title} ({len(found)}):", *(f"  - {message}" for message in found), sep="\n")
    print(f"\n{len(report.errors)} broken items." if report.errors else "\nNo broken item.")
    return 1 if report.errors else 0


def layout(kind: str, folder: str, *, out: str, sequence: str = "t2spir", overwrite: bool = False) -> None:
    """Turn a public data set, as it was unpacked, into a datalist; labels get the classes of this project.

    Args:
        kind: data set: btcv, chaos, mmwhs or mscmrseg.
        folder: where it was unpacked; it is not changed.
        out: JSON file to write; folders labels (and images, for DICOM) appear beside it.
        sequence: which images of chaos: t2spir, t1dual_in, t1dual_out or ct.
        overwrite: replace the list, and labels and images beside it, that are there already.
    """
    from monai_mmseg.preparation.layouts import LAYOUTS, write_layout

    if kind not in LAYOUTS:
        raise ValueError(f"there is no layout {kind!r}; there are {sorted(LAYOUTS)}.")
    found = LAYOUTS[kind](folder, sequence=sequence) if kind == "chaos" else LAYOUTS[kind](folder)
    rows = []
    for modality in found.modalities:
        mine = [case for case in found.cases if case.modality == modality]
        labelled = sum(case.label is not None for case in mine)
        rows.append([modality, len(mine), labelled, sum(case.section == "test" for case in mine)])
    columns = ["modality", "images", "labelled", "for testing"]
    print_table(f"{found.name}: {write_layout(found, out, overwrite=overwrite)}", columns, rows)
    classes: dict[int, list[int]] = {}
    for value, one in found.values.items():
        classes.setdefault(one, []).append(value)
    shown = (f"{', '.join(map(str, _spans(classes[one])))} -> {one} {name}" for one, name in found.labels.items())
    print(f"label values: {'; '.join(shown)}", f"terms of use and reference: {found.reference}", sep="\n")
    print(f"written: {out}; labels, and volumes made of slices, lie beside it in labels and images")


def _spans(values: Sequence[int]) -> list[str]:
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return [str(low) if low == high else f"{low}-{high}" for low, high in spans]


def merge(*, lists: Sequence[str], out: str, overwrite: bool = False) -> None:
    """Join datalists with the same labels into one, for example CT of one data set and MR of another.

    Args:
        lists: JSON files.
        out: JSON file to write.
        overwrite: replace a file that is there already.
    """
    from monai_mmseg.preparation import merge_datalists

    print(f"{len(lists)} datalists: {merge_datalists(lists, out, overwrite=overwrite)}")


def split(datalist: str, *, folds: int = 5, seed: int = 0, out: str | None = None, overwrite: bool = False) -> None:
    """Give the training items of a datalist folds, by subject.

    Args:
        datalist: JSON file.
        folds: how many.
        seed: of the shuffle.
        out: file to write, in the same folder; default is the datalist itself.
        overwrite: replace folds that the datalist has already, or another file that is there.
    """
    from monai_mmseg.data import load_datalist
    from monai_mmseg.preparation import write_folds

    written = write_folds(datalist, out, folds=folds, seed=seed, overwrite=overwrite)
    members: dict[int, set[str]] = {}
    for item in load_datalist(written):
        members.setdefault(item["fold"], set()).add(item["subject"])
    rows = [[fold, len(names), " ".join(sorted(names))] for fold, names in sorted(members.items())]
    print_table(f"{written}: {folds} folds", ["fold", "subjects", "names"], rows)
    print(f"written: {written}" + (" (the datalist itself; its training items have folds now)" if out is None else ""))


def stats(datalist: str, *, out: str | None = None, overwrite: bool = False) -> None:
    """Measure intensities, spacings and label volumes of a datalist and keep them as JSON.

    Args:
        datalist: JSON file.
        out: file to write; default is <datalist>_stats.json beside the list, which replaces an older one.
        overwrite: replace another file that is there already.
    """
    from monai_mmseg.outputs import check_output_file, write_new_json
    from monai_mmseg.preparation import datalist_statistics

    target = Path(out or Path(datalist).with_name(f"{Path(datalist).stem}_stats.json"))
    overwrite = overwrite or (out is None and _is_statistics(target))
    check_output_file(target, overwrite=overwrite)
    numbers = datalist_statistics(datalist)
    written = write_new_json(target, numbers, overwrite=overwrite)
    columns = ["modality", "images", "labelled", "mean", "sd", "0.5 %", "median", "99.5 %", "median spacing (mm)"]
    rows = []
    for name, one in numbers["modalities"].items():
        values = one["intensity"]
        shown = [f"{values[key]:.4g}" for key in ("mean", "std", "p0.5", "p50", "p99.5")]
        spacing = " x ".join(f"{value:.3g}" for value in one["spacing"]["median"])
        rows.append([name, one["images"], one["labelled"], *shown, spacing])
    print_table(numbers["name"], columns, rows)
    print(f"written: {written}")


def _is_statistics(path: Path) -> bool:
    """Whether a file is an older result of this command, not something of another origin."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"name", "section", "subjects", "modalities"} == content.keys()


def stack(datalist: str, *, target: str, out: str, section: str = "training", overwrite: bool = False) -> None:
    """Write 4D files, modalities last on the target's grid, as MONAI Label wants a study.

    Args:
        datalist: JSON file.
        target: modality whose grid and labels are taken.
        out: folder to write.
        section: training, validation or test.
        overwrite: write to a folder that is not empty, and replace files of the same names.
    """
    from monai_mmseg.preparation import write_stacks

    written, skipped = write_stacks(datalist, target=target, out=out, section=section, overwrite=overwrite)
    print(f"{len(written)} stacks in {out}")
    if skipped:
        print(f"left out, since they have no {target}: {', '.join(skipped)}")
