# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a data set is like, in numbers: sizes, spacings, foreground, intensities, labels, and how modalities lie."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_mmseg.data.datalist import Datalist, read_datalist
from monai_mmseg.data.fingerprint import digest, identity
from monai_mmseg.files import read_record, write_json
from monai_mmseg.planning.agreement import best_shift
from monai_mmseg.transforms.geometry import slice_normal, slice_pitch
from monai_mmseg.transforms.image_files import VolumeError
from monai_mmseg.transforms.orient_slices import OrientSlices
from monai_mmseg.transforms.read_volume import (
    check_image_values,
    check_label_values,
    check_same_grid,
    read_one_volume,
)
from monai_mmseg.unannotated import is_foreground

logger = logging.getLogger(__name__)

FORMAT = 1
"""Of the file; another number, and everything is measured anew."""
PERCENTILES = (0.5, 50.0, 99.5)
MARGIN = 15.0  # mm around the foreground, where images of one subject are compared
SAMPLED = 20_000  # voxels of an image that stand for it in the percentiles of its modality
COMPARED = 12  # subjects whose images are compared with each other


def fingerprint(datalist: str | Path, *, keep: bool = True, workers: int = 2) -> dict[str, Any]:
    """Measure the training section of a datalist; every file is read once.

    When to use: before a plan. What was measured is kept beside the datalist, as ``<name>.fingerprint.json``, and read
    again where neither list nor files have changed.

    Args:
        datalist: its path.
        keep: read and write that file.
        workers: subjects that are measured at a time.

    Returns:
        Plain JSON: ``name``, ``modalities``, ``labels``, ``subjects`` (images, labels, folds), ``images`` (one entry an
        image: ``subject``, ``modality``, ``shape`` and ``spacing`` with slices last, ``plane``, ``body`` and
        ``foreground`` boxes in voxels, ``label_voxels``), ``intensity`` by modality, ``pairs`` (subject, two
        modalities, ``one_grid``, ``offset`` in mm where they fit best) and ``digest``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file cannot be read, or there is nothing to train on.

    Examples:
        >>> import tempfile
        >>> from monai_mmseg.phantom import make_cmr_phantom
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = make_cmr_phantom(folder, subjects={"bssfp": 2, "lge": 2}, test_subjects={"bssfp": 0, "lge": 0},
        ...                             folds=2, size=48)
        ...     found = fingerprint(path)
        >>> found["modalities"], len(found["images"]), found["pairs"]
        (['bssfp', 'lge'], 4, [])
    """
    listed = read_datalist(datalist)
    items = listed.items("training")
    if not items:
        raise ValueError(f"{listed.path}: the training section is empty: there is nothing to plan for.")
    # numbers that name a file on disk: a copy of the folder is measured again
    own = digest(FORMAT, listed.modalities, sorted(listed.labels.items()), identity(items, path_matters=False))
    path = listed.path.with_name(f"{listed.path.stem}.fingerprint.json")
    if keep and (known := read_record(path)).get("digest") == own:
        return known
    found = {**_measure(listed, items, workers), "digest": own}
    if keep:
        try:
            write_json(path, found)
        except OSError as error:
            logger.warning("%s is not written: %s", path, error)
    return found


def _measure(listed: Datalist, items: Sequence[Mapping[str, Any]], workers: int) -> dict[str, Any]:
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        groups[item["subject"]].append(item)
    several = [name for name, own in groups.items() if len(own) > 1]
    compared = {
        several[i] for i in np.unique(np.linspace(0, len(several) - 1, COMPARED).round().astype(int)) if several
    }
    with ThreadPoolExecutor(max(1, workers)) as pool:
        measured = list(pool.map(lambda name: _subject(groups[name], listed.labels, name in compared), groups))
    inside: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    overall: dict[str, list[dict[str, float]]] = defaultdict(list)
    for images, _ in measured:
        for image in images:
            inside[image["modality"]] += image.pop("inside")
            overall[image["modality"]].append(image.pop("intensity"))
    return {
        "name": listed.name,
        "modalities": [name for name in listed.modalities if name in overall],
        "labels": {str(value): name for value, name in sorted(listed.labels.items())},
        "subjects": [
            {
                "subject": name,
                "fold": own[0].get("fold"),
                "images": [item["modality"] for item in own],
                "labelled": [item["modality"] for item in own if item.get("label")],
            }
            for name, own in groups.items()
        ],
        "images": [image for images, _ in measured for image in images],
        "intensity": {name: _intensity(overall[name], inside[name]) for name in overall},
        "pairs": [pair for _, pairs in measured for pair in pairs],
        "test": sorted({item["modality"] for item in listed.sections.get("test", [])}),
    }


def _subject(
    items: Sequence[Mapping[str, Any]], labels: Mapping[int, str], compare: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    facts, volumes = [], []
    for item in items:
        image, label = _volumes(item, labels)
        facts.append(_image_facts(item, image, label, labels))
        volumes.append(image)
    boxes = [fact["foreground"] or fact["body"] for fact in facts]
    pairs = []
    for one, two in combinations(range(len(items)), 2) if compare else ():
        # the reference is the one with the finer look at the organ: its own label says where it is
        one, two = (one, two) if facts[one]["foreground"] or not facts[two]["foreground"] else (two, one)
        first, second = volumes[one], volumes[two]
        same = first.shape == second.shape and np.allclose(first.affine, second.affine, atol=1e-2)
        box = _grown(boxes[one], facts[one]["spacing"], facts[one]["shape"])
        pairs.append(
            {
                "subject": str(items[one]["subject"]),
                "modalities": [str(items[one]["modality"]), str(items[two]["modality"])],
                "one_grid": bool(same),
                "offset": best_shift(first, second, box),
            }
        )
    return facts, pairs


def _volumes(item: Mapping[str, Any], labels: Mapping[int, str]) -> tuple[MetaTensor, MetaTensor | None]:
    """Image and label, oriented; what a training would refuse is refused here."""
    image = read_one_volume(item["image"])
    check_image_values(image)
    if image.min() == image.max():
        what = f"the image is constant ({float(image.min()):g})"
        raise VolumeError(f"{item['image']}: {what}. What is missing has no entry in the datalist: remove it.")
    if not item.get("label"):
        return _oriented(image), None
    label = read_one_volume(item["label"])
    check_label_values(label, sorted(labels), ignore=item.get("ignore"), unknown=item.get("unknown"))
    check_same_grid(image, label)
    return _oriented(image), _oriented(label)


def _oriented(volume: MetaTensor) -> MetaTensor:
    turned = OrientSlices()(volume)
    assert isinstance(turned, MetaTensor)
    return turned


def _image_facts(
    item: Mapping[str, Any], image: MetaTensor, label: MetaTensor | None, labels: Mapping[int, str]
) -> dict[str, Any]:
    values = image.as_tensor()[0]
    affine = np.asarray(image.affine, dtype=np.float64)
    spacing = [*np.linalg.norm(affine[:3, :2], axis=0), slice_pitch(affine)]
    body = values > _background(values)
    mask = None if label is None else is_foreground(label.as_tensor()[0])
    counts = None
    if label is not None and mask is not None:
        found = torch.bincount(label.as_tensor()[0].flatten().long(), minlength=max(labels, default=0) + 1).tolist()
        unknown = item.get("unknown") or [False] * len(labels)
        counts = {name: found[value] for value, name in labels.items() if value and not unknown[value]}
    inside = values[mask] if mask is not None and mask.any() else values[body]
    return {
        "subject": str(item["subject"]),
        "modality": str(item["modality"]),
        "shape": [int(size) for size in image.shape[1:]],
        "spacing": [round(float(size), 4) for size in spacing],
        "plane": ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(slice_normal(affine))))],
        "body": _box(body),
        "foreground": None if mask is None or not mask.any() else _box(mask),
        "label_voxels": counts,
        "intensity": _numbers(_some(values.flatten())),
        "inside": [_some(inside)],
    }


def _background(values: torch.Tensor) -> float:
    """Grey value that most of what surrounds a body stays below."""
    low, high = np.percentile(_some(values.flatten()), [0.5, 99.5])
    return float(low + 0.1 * (high - low))


def _some(values: torch.Tensor) -> NDArray[np.float64]:
    """Values that stand for all, always the same."""
    step = max(1, values.numel() // SAMPLED)
    found: NDArray[np.float64] = values[::step].numpy().astype(np.float64)
    return found


def _box(mask: torch.Tensor) -> list[list[int]]:
    """First voxel and end along each axis."""
    ends = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        there = mask.any(others[1]).any(others[0]).nonzero()
        ends.append([int(there[0]), int(there[-1]) + 1] if len(there) else [0, int(mask.shape[axis])])
    return ends


def _grown(box: Sequence[Sequence[int]], spacing: Sequence[float], shape: Sequence[int]) -> list[tuple[int, int]]:
    """A box with a margin within the slices; the slices stay."""
    grown = [
        (max(0, start - round(MARGIN / size)), min(edge, stop + round(MARGIN / size)))
        for (start, stop), size, edge in zip(box[:2], spacing[:2], shape[:2], strict=True)
    ]
    return [*grown, (box[2][0], box[2][1])]


def _numbers(values: NDArray[np.float64]) -> dict[str, float]:
    names = [f"p{percent:g}" for percent in PERCENTILES]
    found = {**dict(zip(names, np.percentile(values, PERCENTILES), strict=True)), "mean": values.mean()}
    return {name: round(float(value), 5) for name, value in {**found, "sd": values.std()}.items()}


def _intensity(images: Sequence[Mapping[str, float]], inside: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Means over images of what each is like, and the foreground of all together."""
    whole = {name: round(float(np.mean([one[name] for one in images])), 5) for name in images[0]}
    return {"image": whole, "foreground": _numbers(np.concatenate(inside))}
