# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Datalists of MONAI and its Auto3DSeg: an item is a case, with one file or a list of files as its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_mmseg.preparation.layouts.case_names import CaseName, case_namer
from monai_mmseg.preparation.layouts.described import channels_of, read_description, refuse_twice, stem_of
from monai_mmseg.preparation.layouts.label_map import LabelMap, read_label_map
from monai_mmseg.preparation.layouts.layout import Case, Layout

_SECTIONS = {"training": "training", "validation": "validation", "testing": "test", "test": "test"}


def read_auto3dseg(
    folder: str | Path,
    *,
    modalities: Sequence[str],
    labels: str | None = None,
    case: str | None = None,
    dataroot: str | None = None,
) -> Layout:
    """Find the images of a datalist of MONAI or Auto3DSeg.

    Channels become modalities of one subject on one grid; they share the label.

    Args:
        folder: the JSON file, with the lists ``training`` and maybe ``validation`` and ``testing``; their items have
            ``image`` (a path, or a list of paths, one a channel), and maybe ``label`` and ``fold``.
        modalities: names of the channels in their order.
        labels: classes by value, such as ``"liver=1, tumour=2"``; needed where there are labels.
        case: what the path of the (first) image says, such as ``"**/{subject}/{visit}/t1.nii.gz"``; default is that
            its name is the subject, or its whole path where names are not distinct.
        dataroot: folder that paths are relative to; default is that of the file.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not of this form, or classes are not given.

    Examples:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for file in ("t1.nii.gz", "t2.nii.gz"):
        ...         Path(name, file).touch()
        ...     _ = Path(name, "a.json").write_text(json.dumps({"testing": [{"image": ["t1.nii.gz", "t2.nii.gz"]}]}))
        ...     found = read_auto3dseg(f"{name}/a.json", modalities=["t1", "t2"])
        >>> [(case.subject, case.modality, case.image.name) for case in found.cases]
        [('t1', 't1', 't1.nii.gz'), ('t1', 't2', 't2.nii.gz')]
    """
    source = Path(folder)
    if source.is_dir():
        raise ValueError(f"{source} is a folder; name the JSON file of the datalist.")
    content = read_description(source)
    root = source.parent if dataroot is None else Path(dataroot)
    if len(set(modalities)) < len(modalities):
        raise ValueError(f"modalities must be distinct, got {list(modalities)}.")
    items = [
        (section, *_item(item, f"{source}: {key}[{number}]"))
        for key, section in _SECTIONS.items()
        for number, item in enumerate(_list(content, key, source))
    ]
    if not items:
        raise ValueError(f"{source} has no items in any of the lists {list(_SECTIONS)}.")
    if any(label for _, _, label, _ in items) and labels is None:
        raise ValueError('labels must say what the values are, as in --labels "liver=1, tumour=2".')
    names = _names([images[0] for _, images, _, _ in items], case)
    cases: list[Case] = []
    broken: dict[str, str] = {}
    for about, (section, images, label, fold) in zip(names, items, strict=True):
        try:
            made = _channels([root / one for one in images], modalities)
            if label and not (root / label).is_file():
                raise FileNotFoundError(f"{root / label}: no such file.")
        except (FileNotFoundError, ValueError) as error:
            broken[about.subject] = str(error)
            continue
        cases += [
            Case(
                *(about.subject, modality, path, root / label if label else None, section, about.visit),
                fold if section == "training" else None,
                frame=frame,
            )
            for modality, (path, frame) in zip(modalities, made, strict=True)
        ]
    refuse_twice(cases)
    classes = read_label_map(labels) if labels else LabelMap({}, {0: 0})
    return Layout(
        *(str(content.get("name") or source.stem), list(modalities), classes.labels, classes.values, cases),
        reference=str(content.get("reference", "")),
        licence=str(content.get("licence") or content.get("license") or ""),
        broken=broken,
    )


def _list(content: Mapping[str, Any], key: str, source: Path) -> list[Any]:
    given = content.get(key, [])
    if not isinstance(given, list):
        raise ValueError(f"{source}: {key!r} must be a list of items, got {type(given).__name__}.")
    return given


def _item(item: Any, where: str) -> tuple[list[str], str | None, int | None]:
    """Images, label and fold of an item; a test image may be a path alone."""
    given = {"image": item} if isinstance(item, str) else item
    image = given.get("image") if isinstance(given, Mapping) else None
    images = [image] if isinstance(image, str) else image
    if not isinstance(images, list) or not images or not all(isinstance(one, str) and one for one in images):
        raise ValueError(f"{where}: 'image' must be a path or a list of paths, got {image!r}.")
    label, fold = given.get("label"), given.get("fold")
    if label is not None and not isinstance(label, str):
        raise ValueError(f"{where}: 'label' must be one path, got {label!r}.")
    if fold is not None and not (isinstance(fold, int) and not isinstance(fold, bool) and fold >= 0):
        raise ValueError(f"{where}: 'fold' must be a number from 0, got {fold!r}.")
    return images, label or None, fold


def _channels(paths: Sequence[Path], modalities: Sequence[str]) -> list[tuple[Path, int | None]]:
    """File and frame of each modality."""
    if len(paths) == 1:
        return [(paths[0], frame) for frame in channels_of(paths[0], modalities)]
    if len(paths) != len(modalities):
        raise ValueError(f"{paths[0]} and others are {len(paths)} channels, {len(modalities)} modalities are named.")
    if absent := [path for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"{absent[0]}: no such file.")
    return [(path, None) for path in paths]


def _names(paths: Sequence[str], pattern: str | None) -> list[CaseName]:
    if pattern is not None:
        name_case = case_namer(pattern, None, Path())
        return [name_case(Path(path).as_posix()) for path in paths]
    names = [stem_of(path) for path in paths]
    if len(set(names)) < len(names):
        names = [Path(path).with_name(stem_of(path)).as_posix().strip("./").replace("/", "_") for path in paths]
    return [CaseName(name) for name in names]
