# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where a bundle finds its data: the user's folder, or the phantom that stands in for it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.data.annotations import mask_labels
from monai_mmseg.data.datalist import group_by_subject, load_datalist, read_datalist

__all__ = ["find_datalist", "inference_items", "read_items"]

_IMAGES = (".nii", ".nii.gz")


def find_datalist(
    dataset_dir: str | os.PathLike[str],
    phantom_dir: str | os.PathLike[str] | None = None,
    phantom: Mapping[str, Any] | None = None,
) -> Path:
    """Path of ``datalist.json`` in ``dataset_dir``, after making the phantom if that is what the folder stands for.

    A bundle calls it where its data are first needed, not while a config is parsed: opening a bundle writes nothing.

    Args:
        dataset_dir: folder with ``datalist.json``.
        phantom_dir: the bundle's default folder. Only if ``dataset_dir`` is this folder and it does not exist yet, the
            heart phantom is written there (atomically: several processes may call this at once).
        phantom: arguments of :func:`monai_mmseg.data.phantom.make_heart_phantom`.

    Returns:
        The path of the datalist.

    Raises:
        FileNotFoundError: if there is no datalist and the folder is not the default one.

    Example:
        >>> find_datalist("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: dataset_dir must hold datalist.json, but no/such/folder/datalist.json is not there; ...
    """
    found = Path(dataset_dir) / "datalist.json"
    if found.is_file():
        return found
    if phantom_dir is None or Path(dataset_dir).absolute() != Path(phantom_dir).absolute():
        raise FileNotFoundError(
            f"dataset_dir must hold datalist.json, but {found.as_posix()} is not there; the bundle's docs/README.md "
            "says how to write one, and without a dataset_dir the bundle makes a phantom."
        )
    from monai_mmseg.data.phantom import make_heart_phantom

    # MONAI's configs allow keys that start with an underscore as comments
    settings = {key: value for key, value in (phantom or {}).items() if not key.startswith("_")}
    return Path(make_heart_phantom(dataset_dir, **settings))


def read_items(
    datalist: str | Path,
    section: str = "training",
    *,
    fold: int | None = None,
    exclude_fold: int | None = None,
    modalities: Sequence[str] | None = None,
    labelled: str | None = None,
    fraction_of: str | None = None,
    fraction: float = 1.0,
    seed: int = 10,
) -> list[dict[str, Any]]:
    """Flat items for one part of a bundle, in one call that fits a config.

    Args:
        datalist: path of the datalist.
        section: ``"training"``, ``"validation"`` or ``"test"``.
        fold: keep this fold only.
        exclude_fold: drop this fold.
        modalities: keep these modalities only.
        labelled: keep only subjects in which this modality has a label.
        fraction_of: modality whose labels are dropped for all but ``fraction`` of the subjects.
        fraction: share of the subjects that keep their label of ``fraction_of``; smaller shares are prefixes of larger.
        seed: of the draw of those subjects.

    Returns:
        Items with absolute paths.

    Raises:
        ValueError: if nothing is left.
    """
    items = load_datalist(datalist, section, fold=fold, exclude_fold=exclude_fold)
    if fraction_of is not None:
        items = mask_labels(items, fraction_of, fraction, seed)
    if labelled is not None:
        subjects = {item["subject"] for item in items if item["modality"] == labelled and item.get("label")}
        items = [item for item in items if item["subject"] in subjects]
    if modalities is not None:
        items = [item for item in items if item["modality"] in modalities]
    if not items:
        raise ValueError(
            f"{datalist}: no item of {section!r} is left for fold={fold}, exclude_fold={exclude_fold}, "
            f"modalities={modalities}, labelled={labelled!r}."
        )
    return items


def inference_items(
    dataset_dir: str | os.PathLike[str],
    modalities: Sequence[str],
    *,
    section: str = "test",
    phantom_dir: str | os.PathLike[str] | None = None,
    phantom: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """What a bundle's inference runs on: one item per subject, without labels.

    Args:
        dataset_dir: a folder with ``datalist.json`` (its ``section``, or ``training`` where there is none), or a folder
            of NIfTI files, each an image of the target or a 4D stack of all modalities.
        modalities: names of the modalities that the network knows.
        section: section of the datalist.
        phantom_dir: see :func:`find_datalist`.
        phantom: see :func:`find_datalist`.

    Returns:
        ``{"subject", "image"}`` items; ``image`` is a path or a mapping from modality to path.

    Raises:
        FileNotFoundError: if the folder holds neither.
        ValueError: if no subject has one of the modalities.
    """
    folder = Path(dataset_dir)
    if not (folder / "datalist.json").is_file() and folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.name.endswith(_IMAGES))
        if files:
            return [{"subject": path.name.split(".")[0], "image": str(path)} for path in files]
    path = find_datalist(dataset_dir, phantom_dir, phantom)
    known = read_datalist(path).sections
    items = load_datalist(path, section if section in known else "training")
    items = [item for item in items if item["modality"] in modalities]
    if not items:
        raise ValueError(f"{path}: no image has a modality of {list(modalities)}.")
    return [{"subject": one["subject"], "image": one["image"]} for one in group_by_subject(items, list(modalities))]
