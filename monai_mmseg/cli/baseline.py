# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg baseline ...`` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def copy(
    datalist: str,
    *,
    source: str,
    target: str,
    out: str,
    section: str = "test",
    workers: int | None = None,
    overwrite: bool = False,
) -> None:
    """Predict one modality by copying the labels of another.

    Args:
        datalist: JSON file.
        source: modality whose labels are copied.
        target: modality that gets them.
        out: folder for the label volumes, <subject>/<image stem>_seg.nii.gz, and baseline.json.
        section: training, validation or test.
        workers: processes at a time; default is one a core, at most eight, where that pays.
        overwrite: write to a folder that is not empty, replace files, and remove masks of labels that are gone.
    """
    from monai_mmseg.baselines import copy_baseline

    written = _run(copy_baseline, datalist, section, source, target, out, workers=workers, overwrite=overwrite)
    print(f"{written} label volumes copied from {source} to {target}: {out}")


def register(
    datalist: str,
    *,
    source: str,
    target: str,
    out: str,
    section: str = "test",
    dims: int = 2,
    workers: int | None = None,
    overwrite: bool = False,
) -> None:
    """Predict one modality by registering another to it, affine and SyN, and moving its labels along.

    Args:
        datalist: JSON file.
        source: modality whose labels are used.
        target: modality that gets them.
        out: folder for the label volumes, <subject>/<image stem>_seg.nii.gz, and baseline.json.
        section: training, validation or test.
        dims: 2 registers every slice with its partner, 3 whole volumes.
        workers: processes at a time; default is one a core, at most eight, where that pays.
        overwrite: write to a folder that is not empty, replace files, and remove masks of labels that are gone.
    """
    from monai_mmseg.baselines import register_baseline

    more = {"dims": dims, "workers": workers, "overwrite": overwrite}
    written = _run(register_baseline, datalist, section, source, target, out, **more)
    print(f"{written} label volumes registered from {source} to {target}: {out}")


def active_contour(
    datalist: str,
    *,
    source: str,
    target: str,
    out: str,
    section: str = "test",
    alpha: float = 0.5,
    beta: float = 0.15,
    gamma: float = 0.7,
    workers: int | None = None,
    overwrite: bool = False,
) -> None:
    """Predict one modality by drawing copied outlines to the edges of its images.

    Args:
        datalist: JSON file.
        source: modality whose labels are used.
        target: modality that gets them.
        out: folder for the label volumes, <subject>/<image stem>_seg.nii.gz, and baseline.json.
        section: training, validation or test.
        alpha: weight of an outline's length.
        beta: weight of its smoothness.
        gamma: damping of each step.
        workers: processes at a time; default is one a core, at most eight, where that pays.
        overwrite: write to a folder that is not empty, replace files, and remove masks of labels that are gone.
    """
    from monai_mmseg.baselines import active_contour_baseline

    more = {"alpha": alpha, "beta": beta, "gamma": gamma, "workers": workers, "overwrite": overwrite}
    written = _run(active_contour_baseline, datalist, section, source, target, out, **more)
    print(f"{written} label volumes drawn from {source} to {target}: {out}")


def _run(function: Callable[..., Any], datalist: str, section: str, *words: str, **more: Any) -> int:
    from monai_mmseg.data.datalist import load_datalist

    # masks of training images become labels; what is scored has a class everywhere
    return len(function(load_datalist(datalist, section), *words, lend=section == "training", **more))
