# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where a bundle finds its data: the user's folder, or the phantom that stands in for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from monai_mmseg.bundle.naming import check_prediction_names, tell_left_out, tell_other_modalities
from monai_mmseg.data.datalist import group_by_subject, load_datalist, read_datalist
from monai_mmseg.evaluation.files import image_stem, prediction_stem, prediction_stems

logger = logging.getLogger(__name__)

_IMAGES = (".nii", ".nii.gz")
PHANTOM_KINDS = ("abdomen", "brain", "cardiac", "cmr", "heart")
"""Phantoms that a bundle can make, ``monai_mmseg.phantom.make_<kind>_phantom``."""


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
            phantom is written there (atomically: several processes may call this at once).
        phantom: ``kind``, one of :data:`PHANTOM_KINDS` (``"heart"`` if it is not given), and the
            arguments of the function that makes this phantom.

    Returns:
        The path of the datalist.

    Raises:
        FileNotFoundError: if there is no datalist and the folder is not the default one.
        ValueError: if there is no such kind of phantom.

    Examples:
        >>> find_datalist("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: dataset_dir must hold datalist.json, but no/such/folder/datalist.json is not there; ...
    """
    found = Path(dataset_dir) / "datalist.json"
    if found.is_file():
        return found
    if phantom_dir is None or Path(dataset_dir).absolute() != Path(phantom_dir).absolute():
        more = ", and without a dataset_dir the bundle makes a phantom" if phantom_dir is not None else ""
        raise FileNotFoundError(
            f"dataset_dir must hold datalist.json, but {found.as_posix()} is not there; the bundle's docs/README.md "
            f"says how to write one{more}."
        )
    from monai_mmseg import phantom as phantoms

    # MONAI's configs allow keys that start with an underscore as comments
    settings = {key: value for key, value in (phantom or {}).items() if not key.startswith("_")}
    kind = settings.pop("kind", "heart")
    if kind not in PHANTOM_KINDS:
        raise ValueError(f"phantom#kind must be one of {list(PHANTOM_KINDS)}, got {kind!r}.")
    return Path(getattr(phantoms, f"make_{kind}_phantom")(dataset_dir, **settings))


def read_items(datalist: str | Path, section: str = "training", **selection: Any) -> list[dict[str, Any]]:
    """Flat items for one part of a bundle: :func:`~monai_mmseg.data.load_datalist`, by the name that configs use.

    Args:
        datalist: path of the datalist.
        section: ``"training"``, ``"validation"`` or ``"test"``.
        **selection: which of them, as for :meth:`monai_mmseg.data.Datalist.select`.

    Returns:
        Items with absolute paths; where images of several modalities have one name, also ``prediction``, the name of
        what is predicted for each.
    """
    return _with_names(load_datalist(datalist, section, **selection))


def _with_names(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    usual = [prediction_stem(item["image"], str(item["subject"])) for item in items]
    return [
        item if stem == plain else {**item, "prediction": stem}
        for item, plain, stem in zip(items, usual, prediction_stems(items), strict=True)
    ]


def training_subjects(
    datalist: str | Path, modalities: Sequence[str], exclude_fold: int | None = None
) -> list[dict[str, Any]]:
    """Images of the training subjects, grouped by subject, for an evaluation that can do without.

    Args:
        datalist: path of the datalist.
        modalities: names to keep, in this order.
        exclude_fold: fold that is left out.

    Returns:
        ``{"subject", "image": {modality: path}, "label": {}}``; empty where the datalist has no such fold or section,
        or the files of the training are not on this machine.
    """
    try:
        items = read_items(datalist, exclude_fold=exclude_fold, modalities=modalities)
    except (KeyError, ValueError):
        return []
    groups = group_by_subject(items, list(modalities))
    there = all(Path(path).exists() for one in groups for path in one["image"].values())
    return [{**one, "label": {}} for one in groups] if there else []


def inference_items(
    dataset_dir: str | os.PathLike[str],
    modalities: Sequence[str],
    *,
    section: str = "test",
    fold: int | None = None,
    target: str | None = None,
    default_modality: str | None = None,
    phantom_dir: str | os.PathLike[str] | None = None,
    phantom: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """What a bundle's inference runs on: one item per subject, without labels.

    Args:
        dataset_dir: a folder with ``datalist.json`` (its ``section``, or ``training`` where there is none, which is
            logged), or a folder of NIfTI files, each one image or a 4D stack of all modalities. Names that end in
            another modality than such an image is taken for are logged.
        modalities: names of the modalities that the network knows.
        section: section of the datalist.
        fold: only items of this fold, which a training left out.
        target: modality whose images give the predictions their names, where a subject has it.
        default_modality: what the images of a folder without a datalist are of; the target if it is not given.
        phantom_dir: see :func:`find_datalist`.
        phantom: see :func:`find_datalist`.

    Returns:
        ``{"subject", "image"}`` items; ``image`` is a path or a mapping from modality to path.

    Raises:
        FileNotFoundError: if the folder holds neither.
        ValueError: if no subject has one of the modalities, two files of a folder have one name, or two predictions
            would.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "1.2.840.nii.gz").touch()
        ...     [item["subject"] for item in inference_items(folder, ["cine", "lge"])]
        ['1.2.840']
    """
    if files := _loose_files(dataset_dir, fold):
        _tell_others(files, default_modality or target, modalities)
        return [{"subject": image_stem(path), "image": str(path)} for path in files]
    items = _section_items(find_datalist(dataset_dir, phantom_dir, phantom), section, modalities, fold)
    groups = [{"subject": one["subject"], "image": one["image"]} for one in group_by_subject(items, list(modalities))]
    check_prediction_names(groups, target)
    return groups


def volume_items(
    dataset_dir: str | os.PathLike[str],
    modalities: Sequence[str],
    *,
    section: str = "test",
    fold: int | None = None,
    default_modality: str | None = None,
    phantom_dir: str | os.PathLike[str] | None = None,
    phantom: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """What inference of an unpaired method runs on: one item per image, with its modality and without a label.

    Arguments and errors are those of :func:`inference_items` without ``target``, and ``default_modality``: what files
    without a datalist are of; the first of the modalities if it is not given.

    Returns:
        ``{"subject", "image", "modality"}`` items with absolute paths; where images of several modalities have one
        name, also ``prediction``, that of the label volume.
    """
    if files := _loose_files(dataset_dir, fold):
        name = default_modality or modalities[0]
        _tell_others(files, name, modalities)
        return [{"subject": image_stem(path), "image": str(path), "modality": name} for path in files]
    items = _section_items(find_datalist(dataset_dir, phantom_dir, phantom), section, modalities, fold)
    check_prediction_names(items)
    return _with_names([{key: item[key] for key in ("subject", "image", "modality")} for item in items])


def _loose_files(dataset_dir: str | os.PathLike[str], fold: int | None = None) -> list[Path]:
    """Images of a folder without a datalist."""
    folder = Path(dataset_dir)
    if (folder / "datalist.json").is_file() or not folder.is_dir():
        return []
    files = sorted(path for path in folder.iterdir() if path.name.lower().endswith(_IMAGES) and path.name[0] != ".")
    stems = [image_stem(path) for path in files]
    if files and fold is not None:
        raise ValueError(f"fold must be null for a folder without a datalist, got {fold} with {dataset_dir}.")
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"dataset_dir must hold one image a subject, got {twice} as .nii and as .nii.gz.")
    if files:
        tell_left_out(folder, files, "`mmseg predict` and a datalist take all formats")
    return files


def _tell_others(files: Sequence[Path], modality: str | None, modalities: Sequence[str]) -> None:
    """Warn of loose files of one image whose names say that it is not of this modality."""
    if modality is not None:
        taken = ["" if _is_stack(path) else modality for path in files]
        remedy = "`mmseg predict` goes by names {subject}_{modality}, and a datalist says it, too."
        tell_other_modalities(files, taken, modalities, remedy=remedy)


def _is_stack(path: Path) -> bool:
    try:
        image: Any = nib.load(path)
        shape = tuple(image.shape)
    except Exception:  # nibabel raises its own, OSError, EOFError and zlib errors; the reader will say what is wrong
        return False
    return len(shape) > 3 and shape[3] > 1


def _section_items(
    path: Path, section: str, modalities: Sequence[str], fold: int | None = None
) -> list[dict[str, Any]]:
    """Items of these modalities in a section, or, said, in the training section where the datalist lacks it."""
    listed = read_datalist(path)
    if section not in listed.sections:
        logger.warning("%s has no section %r: its training images are predicted.", path, section)
        section = "training"
    # `select` is not told the modalities: a network may know more of them than the datalist declares
    items = listed.select(section, fold=fold)
    items = [item for item in items if item["modality"] in modalities]
    if not items:
        raise ValueError(f"{path}: no image has a modality of {list(modalities)}.")
    return items
