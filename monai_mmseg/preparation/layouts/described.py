# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What data sets of other tools have in common: a JSON file that describes them, channels with names, classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.files import read_json
from monai_mmseg.preparation.layouts.label_map import LabelMap, read_label_map
from monai_mmseg.preparation.layouts.layout import Case
from monai_mmseg.transforms.image_files import NIFTI_ENDINGS, check_image_file, image_ending


def read_description(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no JSON object, or gives a key twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold an object, got {type(content).__name__}.")
    return content


def modality_name(text: str) -> str:
    """A name as modalities have it here: small letters, nothing that a file's name cannot hold.

    Args:
        text: name of a channel or a folder.

    Examples:
        >>> modality_name("CT"), modality_name("T1 Gd/post")
        ('ct', 't1_gd_post')
    """
    name = re.sub(r"[^\w.+-]+", "_", text).strip("._").lower()
    if not name:
        raise ValueError(f"{text!r} cannot be the name of a modality; give names (--modalities).")
    return name


def channel_modalities(given: Any, modalities: Sequence[str] | None, where: str) -> tuple[list[str], list[str]]:
    """Names of modalities for the channels of a data set.

    Args:
        given: number of the channel to its name, from 0.
        modalities: names to take instead, in the order of the channels.
        where: file and key, for messages.

    Returns:
        Names in the order of the channels, and what was decided.

    Raises:
        ValueError: if the numbers are not 0, 1, 2, ..., or the count of `modalities` is another.

    Examples:
        >>> channel_modalities({"0": "T1", "1": "T1 Gd"}, None, "dataset.json")
        (['t1', 't1_gd'], ["channel 'T1' is modality t1", "channel 'T1 Gd' is modality t1_gd"])
    """
    numbers = list(map(str, range(len(given)))) if isinstance(given, dict) else []
    if not numbers or sorted(given) != sorted(numbers):
        raise ValueError(f"{where} must name channels 0, 1, 2, ..., got {given!r}.")
    channels = [str(given[number]) for number in numbers]
    names = list(modalities) if modalities else [modality_name(name) for name in channels]
    if len(names) != len(channels):
        raise ValueError(f"modalities must name the {len(channels)} channels {channels}, got {names}.")
    if not modalities:  # some call every channel by the same name
        names = [f"{name}_{place}" if names.count(name) > 1 else name for place, name in enumerate(names)]
    elif len(set(names)) < len(names):
        raise ValueError(f"modalities must be distinct, got {names}.")
    changed = [(one, name) for one, name in zip(channels, names, strict=True) if one != name]
    return names, [f"channel {one!r} is modality {name}" for one, name in changed]


def classes_of(names: Mapping[int, str], labels: str | None) -> LabelMap:
    """Classes from 1 for the values that a data set declares, or as somebody wants them.

    Args:
        names: value in the files to name; 0 is the background.
        labels: classes by value, as for :func:`~monai_mmseg.preparation.layouts.label_map.read_label_map`.

    Returns:
        Classes and table of values.

    Raises:
        ValueError: if `labels` names a value that the data set does not declare.

    Examples:
        >>> classes_of({0: "background", 2: "spleen", 1: "liver"}, None).labels
        {0: 'background', 1: 'liver', 2: 'spleen'}
        >>> classes_of({0: "background", 2: "spleen", 1: "liver"}, "spleen=2, others=background").values
        {0: 0, 2: 1, 1: 0}
    """
    if labels is not None:
        wanted = read_label_map(labels, declared=names)
        if unknown := sorted(value for value in wanted.values if value and value not in names):
            raise ValueError(f"labels names the values {unknown}, the data set declares {dict(sorted(names.items()))}.")
        return wanted
    found = {value: name for value, name in sorted(names.items()) if value}
    classes = dict(enumerate(found.values(), 1))
    return LabelMap({0: names.get(0, "background"), **classes}, {0: 0, **dict(zip(found, classes, strict=True))})


def frames_of(path: Path) -> int | None:
    """Number of volumes of a 4D image, from its header alone; ``None`` for a 3D image.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image.
    """
    check_image_file(path)
    try:
        if image_ending(path) in NIFTI_ENDINGS:
            import nibabel as nib

            found: Any = nib.load(path)
            shape = tuple(found.shape)
        else:
            import SimpleITK as sitk

            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            shape = tuple(reader.GetSize())
    except Exception as error:  # libraries raise whatever they raise
        raise ValueError(f"{path}: its header cannot be read ({error}).") from error
    if len(shape) > 4:
        raise ValueError(f"{path}: an image of {len(shape)} axes {shape}.")
    return int(shape[3]) if len(shape) == 4 else None


def channels_of(path: Path, modalities: Sequence[str]) -> list[int | None]:
    """Frame of each modality in an image that holds all of them; ``[None]`` for a 3D image of the only one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the image has another number of channels.
    """
    frames = frames_of(path)
    if frames is None and len(modalities) == 1:
        return [None]
    if frames != len(modalities):
        held = "one channel" if frames is None else f"{frames} channels"
        raise ValueError(f"{path}: holds {held}, {len(modalities)} are named: {', '.join(modalities)}.")
    return list(range(frames))


def stem_of(path: str | Path) -> str:
    """Name of an image without its ending.

    Examples:
        >>> stem_of("imagesTr/la_003.nii.gz")
        'la_003'
    """
    name = Path(path).name
    return name[: len(name) - len(image_ending(name))]


def refuse_twice(cases: Sequence[Case]) -> None:
    """Refuse two images of one subject, visit and modality.

    Raises:
        ValueError: showing both.
    """
    owner: dict[tuple[str, str, str | None], Case] = {}
    for case in cases:
        first = owner.setdefault((case.subject, case.modality, case.visit), case)
        if first is not case:
            visit = f", visit {case.visit!r}" if case.visit else ""
            raise ValueError(
                f"subject {case.subject!r}{visit} has two images of modality {case.modality!r}: {first.image} and "
                f"{case.image}."
            )


def in_brief(names: Sequence[object], most: int = 3) -> str:
    """Some of many names.

    Examples:
        >>> in_brief(["a", "b", "c", "d"])
        'a, b, c, ...'
    """
    return ", ".join(map(str, names[:most])) + (", ..." if len(names) > most else "")
