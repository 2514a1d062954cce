# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data ...`` runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monai_mmseg.cli.console import print_table
from monai_mmseg.data.visits import person_of
from monai_mmseg.files import read_record
from monai_mmseg.names import counted

if TYPE_CHECKING:
    from monai_mmseg.data import Datalist


def check(
    datalist: str, *, sheet: str | None = None, no_sheet: bool = False, strict: bool = False, workers: int = 1
) -> int:
    """Say what a datalist holds, draw it, and name every broken item.

    Args:
        datalist: JSON file.
        sheet: picture to write; default is <datalist>_sheet.png beside the list.
        no_sheet: do not draw.
        strict: exit with 1 for warnings, too.
        workers: how many subjects are read at a time.

    Returns:
        0, or 1 if an item is broken.
    """
    from monai_mmseg.data.originals import spare_listed
    from monai_mmseg.outputs import check_output_file
    from monai_mmseg.preparation import check_datalist, digest, write_contact_sheet

    target = Path(sheet or Path(datalist).with_name(f"{Path(datalist).stem}_sheet.png"))
    if not no_sheet:
        spare_listed([check_output_file(target, overwrite=True)], datalist)
    report = check_datalist(datalist, thumbnails=not no_sheet, workers=workers)
    columns = ["section", "subject", "fold", "modality", "size", "spacing (mm)", "label volumes (ml)"]
    print_table(
        f"{report.name}: {counted(len(report.volumes), 'image')}", columns, [volume.row() for volume in report.volumes]
    )
    print("", *report.summary(), sep="\n")
    if not no_sheet and report.volumes:
        print(f"contact sheet: {write_contact_sheet(report, target)}")
    for title, found in (("for information", report.notes), ("warnings", report.warnings), ("broken", report.errors)):
        if found:
            print(f"\n{title} ({len(found)}):", *(f"  - {message}" for message in digest(found)), sep="\n")
    print(f"\n{counted(len(report.errors), 'broken item')}." if report.errors else "\nNo broken item.")
    return 1 if report.errors or (strict and report.warnings) else 0


def label(
    datalist: str, predictions: str, *, modality: str, out: str, method: str | None = None, overwrite: bool = False
) -> None:
    """Give training images without a label predictions as labels: borrowed ones, which nothing is scored against.

    Args:
        datalist: JSON file.
        predictions: folder of label volumes named <image stem>_seg.nii.gz, maybe in folders named after subjects.
        modality: whose images borrow; labels that are there stay.
        out: JSON file to write.
        method: what made the predictions, which the list says of each label; default is the folder's name.
        overwrite: replace a file that is there already.
    """
    from monai_mmseg.preparation import borrow_labels

    name = method or Path(predictions).resolve().name
    made = borrow_labels(datalist, predictions, out, modality=modality, method=name, overwrite=overwrite)
    borrow = "borrows" if len(made.subjects) == 1 else "borrow"
    counts = f"{counted(len(made.subjects), 'training image')} of {modality} {borrow} a label from {name}"
    earlier = f" ({made.earlier} borrowed earlier)" if made.earlier else ""
    print(f"{counts}, {len(made.labelled)} keep theirs{earlier}")
    if made.without:
        print(f"without label and prediction: {', '.join(made.without)}")
    for message in made.warnings:
        print(f"warning: {message}")
    print(f"written: {made.path}")
    if made.path.name == "datalist.json":
        print(f"next: a bundle with --dataset_dir {shlex.quote(str(made.path.parent))}")


def merge(*, lists: Sequence[str], out: str, overwrite: bool = False) -> None:
    """Join datalists with the same labels into one, for example CT of one data set and MR of another.

    Args:
        lists: JSON files.
        out: JSON file to write.
        overwrite: replace a file that is there already.
    """
    from monai_mmseg.preparation import merge_datalists

    print(f"{len(lists)} datalists: {merge_datalists(lists, out, overwrite=overwrite)}")


def split(
    datalist: str,
    *,
    folds: int | None = None,
    test: int | None = None,
    seed: int | None = None,
    out: str | None = None,
    overwrite: bool = False,
) -> None:
    """Give the training items of a datalist folds, by person, or make a list for each turn of a cross-validation.

    A list that has folds already stays as it is, unless others are asked for.

    Args:
        datalist: JSON file.
        folds: how many, default 5; a run holds one of them out for validation.
        test: write so many lists instead, test0/datalist.json and so on, in which every labelled person is tested once.
        seed: of the shuffle, default 0.
        out: file to write, in the same folder; default is the datalist itself. With --test, the folder of the lists.
        overwrite: replace folds that the datalist has already, or other files that are there.
    """
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.preparation import write_folds, write_test_folds

    as_it_is = test is None and out is None and seed is None and not overwrite
    if as_it_is and (have := _folds(datalist)) and folds in (None, len(have)):
        _print_folds(read_datalist(datalist), f"{datalist}: {len(have)} folds")
        print("every training item has a fold already: nothing to do (--overwrite deals them anew)")
        return
    folds, seed = 5 if folds is None else folds, seed or 0
    if test is None:
        written = write_folds(datalist, out, folds=folds, seed=seed, overwrite=overwrite)
        _print_folds(read_datalist(written), f"{written}: {folds} folds")
        print(
            f"written: {written}" + (" (the datalist itself; its training items have folds now)" if out is None else "")
        )
        return
    made = write_test_folds(datalist, out, tests=test, folds=folds, seed=seed, overwrite=overwrite)
    rows = []
    for path in made.lists:
        sections = read_datalist(path).sections
        persons = {name: sorted({person_of(item) for item in items}) for name, items in sections.items()}
        rows.append([path, len(persons["training"]), len(persons["test"]), " ".join(persons["test"])])
    print_table(f"{datalist}: {test} lists", ["list", "for training", "for testing", "tested"], rows)
    if made.left_out:
        print(f"in no list, since they have no label to test with: {', '.join(made.left_out)}")
    first = made.lists[0]
    words = [shlex.quote(str(one)) for one in (first, first.parent)]
    print("next: mmseg plan {}, or a bundle with --dataset_dir {}; then the same with the others".format(*words))


def _folds(path: str) -> set[int]:
    """Folds of the training items; empty if one of them has none, or there is one fold alone."""
    from monai_mmseg.data.datalist import read_datalist

    found = [item.get("fold") for item in read_datalist(path).sections.get("training", [])]
    known = {fold for fold in found if fold is not None}
    return known if None not in found and len(known) > 1 else set()


def _print_folds(listed: Datalist, title: str) -> None:
    members: dict[int, dict[str, set[str]]] = {}
    for item in listed.items("training"):
        members.setdefault(item["fold"], {}).setdefault(item["modality"], set()).add(person_of(item))
    rows = []
    for fold, have in sorted(members.items()):
        names = sorted(set().union(*have.values()))
        rows.append([fold, len(names), *(len(have.get(name, ())) for name in listed.modalities), " ".join(names)])
    print_table(title, ["fold", "subjects", *listed.modalities, "names"], rows)
    for fold, have in sorted(members.items()):
        if lacking := [name for name in listed.modalities if name not in have]:
            print(f"fold {fold} has no {', '.join(lacking)}: fewer folds would give each its share")


def stats(datalist: str, *, out: str | None = None, overwrite: bool = False) -> None:
    """Measure intensities, spacings and label volumes of a datalist and keep them as JSON.

    Args:
        datalist: JSON file.
        out: file to write; default is <datalist>_stats.json beside the list, which replaces an older one.
        overwrite: replace another file that is there already.
    """
    from monai_mmseg.data.originals import spare_listed
    from monai_mmseg.outputs import check_output_file, write_new_json
    from monai_mmseg.preparation import datalist_statistics

    target = Path(out or Path(datalist).with_name(f"{Path(datalist).stem}_stats.json"))
    overwrite = overwrite or (out is None and _is_statistics(target))
    check_output_file(target, overwrite=overwrite)
    spare_listed([target], datalist)
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
    return {"name", "section", "subjects", "modalities"} == read_record(path).keys()


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
    print(f"{counted(len(written), 'stack')} in {out}")
    if skipped:
        print(f"left out, since they have no {target}: {', '.join(skipped)}")
