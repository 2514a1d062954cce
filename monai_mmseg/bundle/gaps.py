# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Modalities that images lack and no training sample of their network ever lacked."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

logger = logging.getLogger(__name__)

NEVER_MISSING = "never_missing"
"""Key of the settings beside the weights."""
_FILLS = "ImputedModalitiesNet"  # its channels of a missing modality are a constant, which it must have learned from
_DROPS = "RandDropModality"  # of a plan, whose knob ``drop_prob`` is 0


def never_missing(parser: ConfigParser) -> list[str]:
    """Modalities that a network whose missing channels are filled in saw in every training sample.

    When to use: for the settings beside the weights. Networks that are made for missing modalities have none.

    Args:
        parser: config of the training.

    Returns:
        Their names.

    Examples:
        >>> items = [{"image": {"t1": "1.nii", "t2": "2.nii"}}, {"image": {"t1": "3.nii"}}]
        >>> never_missing(ConfigParser({
        ...     "network_def": {"_target_": "monai_mmseg.networks.nets.ImputedModalitiesNet"},
        ...     "modalities": ["t1", "t2"],
        ...     "drop_prob": 0.0,
        ...     "train": {"dataset": {"data": items}},
        ... }))
        ['t1']
    """
    if _FILLS not in json.dumps(parser.get("network_def"), default=str) or "train#dataset#data" not in parser:
        return []
    dropped = any(_DROPS in json.dumps(parser.get(name), default=str) for name in ("augmentation", "appearance"))
    if dropped or float(parser.get_parsed_content("drop_prob", default=0.0)) > 0:
        return []
    images = [
        one["image"] for one in parser.get_parsed_content("train#dataset#data") if isinstance(one["image"], Mapping)
    ]
    return [name for name in parser.get_parsed_content("modalities") if images and all(name in one for one in images)]


def tell_gaps_of(parser: ConfigParser, data_id: str, settings: Mapping[str, Any]) -> None:
    """As :func:`tell_gaps`, of the subjects of a config, where a folder with a datalist gives them.

    Args:
        parser: config of an inference or evaluation.
        data_id: id of the items.
        settings: content of ``settings.json``.

    Examples:
        >>> tell_gaps_of(ConfigParser({"data": []}), "data", {"never_missing": ["t1"]})
    """
    if not settings.get(NEVER_MISSING) or "dataset_dir" not in json.dumps(parser.get(data_id), default=str):
        return  # another program may bring the items
    found = parser.get_parsed_content("siblings", default=None) is not None  # beside the images, when they are read
    if not found and Path(str(parser.get_parsed_content("dataset_dir")), "datalist.json").is_file():
        tell_gaps(parser.get_parsed_content(data_id), settings)


def tell_gaps(items: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    """Warn of subjects without a modality that no training sample lacked.

    When to use: before such subjects are segmented. What a network does without a channel that it never was without is
    a guess, and looks like any other segmentation.

    Args:
        items: subjects, each with the paths of its modalities as ``image``; others are left alone.
        settings: content of ``settings.json``.

    Examples:
        >>> tell_gaps([{"subject": "p1", "image": {"t1": "1.nii"}}], {"never_missing": ["t1"]})
    """
    never = settings.get(NEVER_MISSING) or []
    lacking: dict[str, list[str]] = {}
    for item in items:
        image = item.get("image")
        if isinstance(image, Mapping) and (missing := [name for name in never if name not in image]):
            lacking.setdefault(" and ".join(missing), []).append(str(item["subject"]))
    for names, subjects in lacking.items():
        more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
        logger.warning(
            "%s missing for %s%s: no training sample lacked it, so these segmentations are guesses. Train with "
            "--drop_prob 0.5 --drop_mode subset, or plan with --may-lack %s.",
            f"{names} {'is' if ' and ' not in names else 'are'}",
            ", ".join(subjects[:3]),
            more,
            " ".join(names.split(" and ")),
        )
