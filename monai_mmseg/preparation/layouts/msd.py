# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Medical Segmentation Decathlon: ``dataset.json``, and images whose channels are in one 4D file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.preparation.layouts.described import (
    channel_modalities,
    channels_of,
    classes_of,
    in_brief,
    read_description,
    refuse_twice,
    stem_of,
)
from monai_mmseg.preparation.layouts.layout import Case, Layout, require
from monai_mmseg.transforms.image_files import image_ending


def read_msd(folder: str | Path, *, labels: str | None = None, modalities: Sequence[str] | None = None) -> Layout:
    """Find the images of a task of the Medical Segmentation Decathlon, or of a data set in its form.

    Channels become modalities of one subject on one grid; they share the label. The lists of ``dataset.json`` say what
    belongs to the data set, not the files that are there.

    Args:
        folder: holds ``dataset.json`` (keys ``modality``, ``labels``, ``training``, ``test``), ``imagesTr``,
            ``labelsTr`` and maybe ``imagesTs``.
        labels: classes by value, such as ``"liver=1, tumour=2"``; default is what ``dataset.json`` names.
        modalities: names of the channels in their order; default is what ``dataset.json`` calls them, in small letters.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there is no such folder or no ``dataset.json`` in it.
        ValueError: if ``dataset.json`` is not of this form.

    Examples:
        >>> import json, tempfile
        >>> import nibabel as nib, numpy as np
        >>> head = {"modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ"}, "test": ["./a.nii"]}
        >>> with tempfile.TemporaryDirectory() as name:
        ...     nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.int16), np.eye(4)), f"{name}/a.nii")
        ...     _ = Path(name, "dataset.json").write_text(json.dumps(head))
        ...     found = read_msd(name)
        >>> [(case.subject, case.modality, case.frame) for case in found.cases]
        [('a', 't2', 0), ('a', 'adc', 1)]
    """
    root = Path(folder)
    content = read_description(root / "dataset.json")
    where = f"{root / 'dataset.json'}"
    names, notes = channel_modalities(content.get("modality"), modalities, f"{where}: 'modality'")
    classes = classes_of(declared_names(content.get("labels"), f"{where}: 'labels'"), labels)
    cases: list[Case] = []
    broken: dict[str, str] = {}
    listed: set[Path] = set()
    for section, key in (("training", "training"), ("validation", "validation"), ("test", "test")):
        for item in _items(content, key, where):
            image = root / item["image"]
            label = root / item["label"] if item.get("label") else None
            listed.add(image.resolve())
            subject = stem_of(image)
            try:
                if label is not None and not label.is_file():
                    raise FileNotFoundError(f"{label}: no such file.")
                frames = channels_of(image, names)
            except (FileNotFoundError, ValueError) as error:
                broken[subject] = str(error)
                continue
            cases += [
                Case(subject, name, image, label, section, frame=frame)
                for name, frame in zip(names, frames, strict=True)
            ]
    refuse_twice(cases)
    if not broken:
        require(root, cases, [], "imagesTr/la_003.nii.gz in the list 'training' of dataset.json")
    for number, key in (("numTraining", "training"), ("numTest", "test")):
        told, found = content.get(number), len(content.get(key, []))
        if told is not None and told != found:
            notes.append(f"dataset.json tells of {number} = {told}, its list has {found}: the list counts")
    there = [path for part in ("imagesTr", "imagesTs") for path in sorted((root / part).glob("*"))]
    more = [one for one in there if image_ending(one) and one.name[0] != "." and one.resolve() not in listed]
    if more:
        shown = in_brief([one.relative_to(root).as_posix() for one in more])
        notes.append(f"{len(more)} images are in no list of dataset.json and left out: {shown}")
    return Layout(
        *(str(content.get("name") or root.resolve().name), names, classes.labels, classes.values, cases),
        reference=str(content.get("reference", "")),
        licence=str(content.get("licence") or content.get("license") or ""),
        notes=notes,
        broken=broken,
    )


def declared_names(given: Any, where: str) -> dict[int, str]:
    """Value to name, from the form of the Decathlon: ``{"0": "background", "1": "liver"}``.

    Raises:
        ValueError: if it is of another form.
    """
    if not isinstance(given, Mapping) or not all(str(value).isdecimal() for value in given):
        raise ValueError(f'{where} must map values to names, as in {{"0": "background", "1": "liver"}}, got {given!r}.')
    return {int(value): str(name) for value, name in given.items()}


def _items(content: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Entries of a list; the test images are given as paths alone."""
    given = content.get(key, [])
    items = [{"image": one} if isinstance(one, str) else one for one in given] if isinstance(given, list) else [given]
    if not all(isinstance(one, dict) and isinstance(one.get("image"), str) for one in items):
        raise ValueError(f"{where}: {key!r} must be a list of paths or of objects with 'image' and 'label'.")
    return items
