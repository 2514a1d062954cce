# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What all baselines share: subjects of a datalist in, prediction files out."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_mmseg.baselines.stacks import Placing, Stacks, slices_last
from monai_mmseg.data.leaks import subjects_of_one_label
from monai_mmseg.data.mask_record import RECORD, kept_masks, remove_masks, stale_masks
from monai_mmseg.evaluation.files import image_stem
from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.names import first_names, safe_name
from monai_mmseg.outputs import check_output_folder, new_files, spare_originals
from monai_mmseg.transforms.read_volume import (
    check_image_values,
    check_label_values,
    check_same_grid,
    read_one_volume,
    read_volume,
)
from monai_mmseg.workers import MOST_WORKERS, in_workers, with_bar

logger = logging.getLogger(__name__)

DONE = ("registered", "contours")
"""Counts of what went as it should; other counts but the next are reasons why a copied label was kept."""

FAR = "no partner"
"""Count of slices that lie more than a slice spacing away from the source."""


class Found(NamedTuple):
    """What a baseline makes of a subject."""

    label: NDArray[np.int16]  # (X, Y, Z) of the target, slices last
    counts: Mapping[str, int]  # of slices, or contours: what was done, or why the copied label was kept


Method = Callable[[Stacks], Found]


class Files(NamedTuple):
    """Files of a subject."""

    label: str
    source: str
    target: str
    out: Path  # relative to the folder of predictions
    ignore: int | None = None  # value of the label's voxels that nobody annotated
    lend: bool = False  # whether they keep it


def predict_subjects(
    function: Method,
    items: Sequence[Mapping[str, Any]],
    source: str,
    target: str,
    out_dir: str | Path,
    *,
    method: str,
    settings: Mapping[str, Any] | None = None,
    images: Sequence[str] = ("source", "target"),
    lend: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict[str, Path]:
    """Prediction files of a method that needs one subject at a time.

    When to use: for a new baseline; it is then one function of :class:`~monai_mmseg.baselines.stacks.Stacks`. All files
    are opened before the work begins, so that a broken one loses none of it.

    Args:
        function: the method, which can be pickled.
        items: flat items of a datalist with absolute paths.
        source: modality whose labels are used.
        target: modality that is segmented.
        out_dir: files are ``<out_dir>/<subject>/<image stem>_seg.nii.gz``, and ``baseline.json``.
        method: its name.
        settings: kept in ``baseline.json``.
        images: which ones the method looks at, of ``source`` and ``target``; others need not be readable.
        lend: whether the masks will be labels to train with, which leave out what nobody annotated.
        overwrite: whether files that are there already may be replaced; what an earlier run made of an image of `items`
            that is not made any more (its source has lost its label) is removed.
        workers: processes at a time; ``None``: as many as there are cores, at most eight, where that pays.

    Returns:
        Subject to file, for the subjects that have a labelled source and a target image.

    Raises:
        ValueError: source and target are the same or have one label file, no subject has both, a file cannot be used, a
            subject cannot name a folder, an image or label would be replaced, or `workers` is not positive.
        OSError: the folder holds something already, or cannot be written.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}.")
    subjects = _subjects(items, source, target, lend)
    folder = check_output_folder(out_dir, overwrite=overwrite)
    if images:
        for files in subjects.values():
            _read(files, images)
    about = {"method": method, "source": source, "target": target, "settings": dict(settings or {})}
    listed = {
        str(one["subject"]): _out(str(one["subject"]), one["image"]) for one in items if one["modality"] == target
    }
    stale = stale_masks(folder, listed, {subject: files.out for subject, files in subjects.items()})
    record: dict[str, Any] = {}
    with new_files(folder, overwrite=overwrite) as stage:
        jobs = [(function, files, stage, images) for files in subjects.values()]
        results = in_workers(_predict, jobs, workers or MOST_WORKERS)
        for subject, done in zip(subjects, with_bar(results, method, len(jobs)), strict=True):
            record[subject] = done
        write_json(stage / RECORD, {**about, "subjects": {**kept_masks(folder, about, listed), **record}})
        made = [folder / path.relative_to(stage) for path in stage.rglob("*") if path.is_file()]
        made += [folder / file for file in stale.values()]
        spare_originals(made, [Path(item[key]) for item in items for key in ("image", "label") if item.get(key)])
    if stale:
        remove_masks(folder, stale.values())
        logger.warning("Masks of an earlier run that this one does not make are removed: %s.", ", ".join(stale))
    _tell(method, {subject: done["counts"] for subject, done in record.items()})
    _tell_far(source, record, subjects)
    return {subject: folder / files.out for subject, files in subjects.items()}


def _subjects(items: Sequence[Mapping[str, Any]], source: str, target: str, lend: bool = False) -> dict[str, Files]:
    if source == target:
        raise ValueError(f"source and target must be two modalities, got {source!r} twice.")
    sources = {str(item["subject"]): item for item in items if item["modality"] == source and item.get("label")}
    images = {str(item["subject"]): item["image"] for item in items if item["modality"] == target}
    both = [subject for subject in images if subject in sources]
    if not both:
        known = sorted({str(item["modality"]) for item in items})
        raise ValueError(
            f"items must hold a subject with a {source!r} label and a {target!r} image, got none; there are {known}."
        )
    if partly := [subject for subject in both if any(sources[subject].get("unknown", ()))]:
        raise ValueError(
            f"the {source!r} label of {', '.join(partly[:3])} shows some classes only ('annotated'): copied, it would "
            "say that the others are not there."
        )
    if not lend and (same := [subject for subject in subjects_of_one_label(items, source, target) if subject in both]):
        said = (
            f"{first_names(same, 3)}: {source} and {target} have one label file, so that its copy would be scored "
            "against itself"
        )
        if len(same) == len(both):
            raise ValueError(f"{said}. A baseline needs labels that were drawn on each image.")
        logger.warning("%s.", said)
    if without := sorted(images.keys() - sources.keys()):
        logger.warning("No %s label to copy for %d subjects: %s.", source, len(without), ", ".join(without))
    return {
        subject: Files(
            sources[subject]["label"],
            sources[subject]["image"],
            images[subject],
            _out(subject, images[subject]),
            sources[subject].get("ignore"),
            lend,
        )
        for subject in both
    }


def _out(subject: str, image: str) -> Path:
    return Path(safe_name(subject, "subject")) / f"{image_stem(image)}_seg.nii.gz"


def _read(files: Files, images: Sequence[str]) -> tuple[Stacks, list[int]]:
    """Both stacks with their slices last, and the order of the axes in the target's file."""
    label, target = read_one_volume(files.label), (read_one_volume if "target" in images else read_volume)(files.target)
    check_label_values(label, None)
    affine, label_affine = (np.asarray(one.affine, dtype=np.float64) for one in (target, label))
    order, label_order = slices_last(affine, target.shape[1:]), slices_last(label_affine, label.shape[1:])
    values = label.as_tensor()[0].numpy().astype(np.int16).transpose(label_order)
    if files.ignore is not None and not files.lend:
        values[values == files.ignore] = 0
    stacks = Stacks(
        values,
        label_affine[:, [*label_order, 3]],
        tuple(target.shape[1 + axis] for axis in order),
        affine[:, [*order, 3]],
        ignore=files.ignore if files.lend else None,
    )
    if "target" in images:
        check_image_values(target)
        stacks = stacks._replace(target=target.as_tensor()[0].numpy().transpose(order))
    if "source" in images:
        source = read_one_volume(files.source)
        check_same_grid(source, label)
        check_image_values(source)
        stacks = stacks._replace(source=source.as_tensor()[0].numpy().transpose(label_order))
    return stacks, order


def _predict(function: Method, files: Files, stage: Path, images: Sequence[str]) -> dict[str, Any]:
    begun = time.process_time()
    stacks, order = _read(files, images)
    label, counts = function(stacks)
    if (far := Placing(stacks).far).any():
        counts = {**counts, FAR: int(far.sum())}
        if stacks.ignore is not None:
            label[:, :, far] = stacks.ignore
    back = np.argsort(order)
    write_nifti(
        stage / files.out, np.ascontiguousarray(label.transpose(back)), stacks.affine[:, [*back, 3]].astype(np.float64)
    )
    return {"file": files.out.as_posix(), "counts": dict(counts), "cpu_seconds": round(time.process_time() - begun, 2)}


def _tell(method: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    total: Counter[str] = Counter()
    for one in counts.values():
        total.update({reason: number for reason, number in one.items() if reason != FAR})
    if kept := {reason: number for reason, number in total.items() if reason not in DONE}:
        reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(kept.items()))
        logger.warning("%s kept %d of %d copied labels (%s).", method, sum(kept.values()), total.total(), reasons)


def _tell_far(source: str, record: Mapping[str, Mapping[str, Any]], subjects: Mapping[str, Files]) -> None:
    far = {subject: done["counts"][FAR] for subject, done in record.items() if FAR in done["counts"]}
    if not far:
        return
    if not any(subjects[subject].lend for subject in far):
        become = "have the mask of the nearest one"
    elif any(subjects[subject].ignore is None for subject in far):
        become = 'have the mask of the nearest one; with "ignore": 255 in the datalist they are left unannotated'
    else:
        become = "are left unannotated"
    some = f"{', '.join(list(far)[:3])}{', ...' if len(far) > 3 else ''}"
    logger.warning(
        "%d slices of %d subjects (%s) lie more than a slice spacing from every slice of %s: they %s.",
        *(sum(far.values()), len(far), some, source, become),
    )
