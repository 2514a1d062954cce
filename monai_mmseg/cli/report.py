# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg evaluate``, ``mmseg report`` and ``mmseg baseline ...`` run."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def evaluate(
    datalist: str,
    predictions: str,
    *,
    modality: str,
    out: str,
    section: str = "test",
    method: str = "prediction",
    subjects: Sequence[str] | None = None,
    fold: int | None = None,
    penalty: float | None = None,
    description: str = "",
) -> None:
    """Score predicted label volumes against the labels of a datalist.

    Args:
        datalist: JSON file.
        predictions: folder of label volumes named <image stem>_seg.nii.gz, maybe in folders named after subjects.
        modality: which images were segmented.
        out: folder for the table: <method>.json, .csv and .md. Take RUN_DIR/metrics for a report.
        section: training, validation or test.
        method: name of the method in the table.
        subjects: only these.
        fold: only the items of this fold.
        penalty: distance in mm for a missed or spurious organ; default is each image's diagonal.
        description: one line about the method.
    """
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.evaluation import evaluate_predictions

    listed = read_datalist(datalist)
    table = evaluate_predictions(
        listed.select(section, fold=fold),
        predictions,
        modality=modality,
        labels=listed.labels,
        method=method,
        subjects=subjects,
        penalty=penalty,
        description=description,
    )
    stem = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in method)
    paths = table.save(out, stem)
    print(table.to_markdown(), f"table: {paths['json']} (and .csv, .md)", sep="\n")


def report(run_dir: str, *, out: str | None = None) -> None:
    """Make one self-contained page of a run folder.

    Args:
        run_dir: folder of a run.
        out: the page; default is report.html in the folder.
    """
    from monai_mmseg.report.content import read_run
    from monai_mmseg.report.html import write_report

    print(f"report: {write_report(run_dir, out)}")
    for problem in read_run(run_dir).problems:
        print(f"mmseg report: {problem}", file=sys.stderr)


def copy(datalist: str, *, source: str, target: str, out: str, section: str = "test", overwrite: bool = False) -> None:
    """Predict one modality by copying the labels of another.

    Args:
        datalist: JSON file.
        source: modality whose labels are copied.
        target: modality that gets them.
        out: folder for the label volumes, <subject>/<image stem>_seg.nii.gz.
        section: training, validation or test.
        overwrite: write to a folder that is not empty, and replace files of the same names.
    """
    from monai_mmseg.baselines import copy_baseline
    from monai_mmseg.data.datalist import load_datalist

    written = copy_baseline(load_datalist(datalist, section), source, target, out, overwrite=overwrite)
    print(f"{len(written)} label volumes copied from {source} to {target}: {out}")
