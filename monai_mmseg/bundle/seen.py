# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Images that weights were trained or chosen on, remembered beside them: scores on these are no test."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.pretrained_encoder import takes_encoder
from monai_mmseg.files import file_mark
from monai_mmseg.names import first_names
from monai_mmseg.runs.model_settings import read_settings
from monai_mmseg.transforms.image_parts import image_parts

logger = logging.getLogger(__name__)

SEEN = "seen"
"""Key of the settings: ``"trained"`` and ``"watched"`` to marks of image files, which name nobody."""
SHOWN = 5
"""Subjects that are named."""
_ROLES = {"trained": "train#dataset#data", "watched": "validate#dataset#data"}
_PARTS = 2  # of an image in many files, such as a folder of DICOM


def seen_images(parser: ConfigParser) -> dict[str, Any]:
    """Marks of the images that a training learns from, and of those that it is watched and chosen by.

    Those of the weights that it starts from, or whose encoder or localiser it takes, are among them.

    When to use: for the settings beside the weights. A copy of a file has its mark, wherever it lies.

    Args:
        parser: config of the training.

    Returns:
        ``{"seen": {"trained": [...], "watched": [...]}}``.

    Examples:
        >>> config = {"train": {"dataset": {"data": [{"subject": "a", "image": "no/such.nii.gz"}]}}}
        >>> seen_images(ConfigParser(config))
        {'seen': {'trained': [], 'watched': []}}
    """
    keys = ["start", "localiser"]
    if "stage_one" in parser and takes_encoder(parser.get_parsed_content("network_def")):
        keys.append("stage_one")  # the rivals beside it leave that of the bundle unused
    starts = [parser.get_parsed_content(key, default=None) for key in keys]
    before = [read_settings(Path(start).parent).get(SEEN, {}) for start in starts if isinstance(start, str)]
    found = {}
    for role, where in _ROLES.items():
        items = parser.get_parsed_content(where) if where in parser else []
        marks = {mark for item in items for mark in item_marks(item)} if isinstance(items, Iterable) else set()
        found[role] = sorted(marks.union(*(one.get(role, ()) for one in before)))
    return {SEEN: found}


def item_marks(item: Any) -> Iterator[str]:
    """Marks of the images of an item: one path, or one for each modality; none of what is not there.

    Args:
        item: of a datalist, flat or grouped by subject.

    Examples:
        >>> list(item_marks({"subject": "a", "image": {"t1": "no/such.nii.gz"}}))
        []
    """
    image = item.get("image") if isinstance(item, Mapping) else None
    for path in image.values() if isinstance(image, Mapping) else [image]:
        told = " ".join(file_mark(part) for part in image_parts(path)[:_PARTS]) if isinstance(path, str) else ""
        if told:
            yield hashlib.sha256(told.encode()).hexdigest()[:16]


def tell_seen(settings: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Warn of subjects that weights were trained or chosen on.

    When to use: before items are scored, for the notes of the table.

    Args:
        settings: content of ``settings.json``.
        items: what is scored.

    Returns:
        A line; none where nobody was seen, or the weights do not say whom they have seen.

    Examples:
        >>> tell_seen({}, [{"subject": "a", "image": "a.nii.gz"}])
        []
    """
    known = settings.get(SEEN)
    if not known:
        return []
    roles = {role: set(known.get(role, ())) for role in _ROLES}
    found: dict[str, dict[str, None]] = {role: {} for role in _ROLES}
    for item in items:
        marks = set(item_marks(item))
        for role, those in roles.items():
            if marks & those:
                found[role][str(item["subject"])] = None
                break
    words = {"trained": "trained these weights", "watched": "chose them or watched their training"}
    told = [f"{first_names(found[role], SHOWN)} {words[role]}" for role in _ROLES if found[role]]
    if not told:
        return []
    line = f"Not a test of all: {', and '.join(told)}."
    logger.warning("%s", line)
    return [line]
