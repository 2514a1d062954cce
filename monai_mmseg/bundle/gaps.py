# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Modalities that images lack and no training sample of their network was without."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from torch import Tensor

from monai_mmseg.names import first_names

logger = logging.getLogger(__name__)

NEVER_MISSING = "never_missing"
"""Key of the settings beside the weights: modalities that every training sample had."""
MISSED_TOGETHER = "missed_together"
"""Key there: the largest sets of modalities that a training sample lacked at once; without the key any may be."""
SHOWN = 3
"""Subjects that are named."""
_FILLS = "ImputedModalitiesNet"  # its channels of a missing modality are a constant, which it must have learned from
_DROPS = "RandDropModality"


def training_gaps(parser: ConfigParser) -> dict[str, Any]:
    """What a network whose missing channels are filled in was never without in its training.

    When to use: for the settings beside the weights. Networks that are made for missing modalities have no such gaps.

    Args:
        parser: config of the training.

    Returns:
        :data:`NEVER_MISSING` and, unless the training takes any modalities away, :data:`MISSED_TOGETHER`.

    Examples:
        >>> items = [{"image": {"t1": "1.nii", "t2": "2.nii", "pd": "3.nii"}}, {"image": {"t1": "4.nii", "t2": "5"}}]
        >>> config = {
        ...     "network_def": {"_target_": "monai_mmseg.networks.nets.ImputedModalitiesNet"},
        ...     "modalities": ["t1", "t2", "pd"],
        ...     "train": {"dataset": {"data": items}},
        ... }
        >>> training_gaps(ConfigParser(config))
        {'never_missing': ['t1', 't2'], 'missed_together': [['pd']]}
        >>> drop = {"_target_": "monai_mmseg.transforms.RandDropModalityd", "prob": 0.5}
        >>> training_gaps(ConfigParser({**config, "augmentation": [drop]}))
        {'never_missing': [], 'missed_together': [['t1', 'pd'], ['t2', 'pd']]}
        >>> training_gaps(ConfigParser({**config, "augmentation": [{**drop, "mode": "subset"}]}))
        {'never_missing': []}
    """
    if _FILLS not in json.dumps(parser.get("network_def"), default=str) or "train#dataset#data" not in parser:
        return {NEVER_MISSING: []}
    items = parser.get_parsed_content("train#dataset#data")
    names: list[str] = list(parser.get_parsed_content("modalities"))
    seen = {frozenset(names).difference(one["image"]) for one in items if isinstance(one["image"], Mapping)}
    modes = list(_drop_modes(parser, parser.get()))
    if not seen or "subset" in modes:
        return {NEVER_MISSING: []}
    for _ in modes:  # one modality goes, the last one never
        seen |= {one | {name} for one in seen for name in names if len(one | {name}) < len(names)}
    largest = [one for one in seen if one and not any(one < other for other in seen)]
    return {
        NEVER_MISSING: [name for name in names if not any(name in one for one in largest)],
        MISSED_TOGETHER: [
            [name for name in names if name in one] for one in sorted(largest, key=lambda one: _places(one, names))
        ],
    }


def _places(some: Iterable[str], names: list[str]) -> list[int]:
    return sorted(names.index(name) for name in some)


def _drop_modes(parser: ConfigParser, node: Any, place: str = "") -> Iterator[str]:
    """Modes of all transforms of a config that take modalities away."""
    inner = node if isinstance(node, Mapping) else dict(enumerate(node)) if isinstance(node, list) else {}
    for key, value in inner.items():
        yield from _drop_modes(parser, value, f"{place}#{key}" if place else str(key))
    if isinstance(node, Mapping) and _DROPS in str(node.get("_target_")):
        given: dict[str, Any] = {"prob": 1.0, "mode": "one", "_disabled_": False}
        given |= {key: parser.get_parsed_content(f"{place}#{key}") for key in given.keys() & node.keys()}
        if float(given["prob"]) > 0 and not given["_disabled_"]:
            yield str(given["mode"])


def missing_modalities(present: Tensor, modalities: Sequence[str]) -> tuple[str, ...]:
    """Names of what a subject lacks.

    Args:
        present: bool ``(M,)``, or ``(M, D)`` for each slice.
        modalities: M names.

    Returns:
        Of the modalities those that are nowhere; none where their number is not M.

    Examples:
        >>> import torch
        >>> missing_modalities(torch.tensor([True, False]), ["t1", "t2"])
        ('t2',)
    """
    if len(present) != len(modalities):  # of a tool that has its own
        return ()
    there = present.reshape(len(present), -1).any(1).tolist()
    return tuple(name for name, one in zip(modalities, there, strict=True) if not one)


class TellGaps:
    """Handler that warns of subjects whose segmentation is a guess: the network was never without what they lack.

    When to use: in the handlers of an inference or evaluation. What the datalist shows is told at the start; what is
    seen on loading alone, such as an image without content or a channel of NaN, when it is there. What a network does
    without a channel that it never was without is a guess, and looks like any other segmentation.

    Args:
        settings: content of ``settings.json``.
        modalities: names in the order of ``present``, bool ``(B, M)`` or ``(B, M, D)`` of the batches.
        items: subjects, each with the paths of its modalities as ``image``; others are told when they are loaded.

    Examples:
        In ``inference.json``::

            {"_target_": "monai_mmseg.bundle.TellGaps", "settings": "$@trained.content",
             "modalities": "@modalities", "items": "@dataset#data"}
    """

    def __init__(
        self, settings: Mapping[str, Any], modalities: Sequence[str], items: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self.settings, self.modalities = settings, list(modalities)
        self._listed = {
            str(item.get("subject", "")): tuple(name for name in self.modalities if name not in item["image"])
            for item in items
            if isinstance(item.get("image"), Mapping)
        }
        self._seen: dict[str, tuple[str, ...]] = {}

    def attach(self, engine: Engine) -> None:
        """Warn while ``engine`` runs.

        Args:
            engine: an evaluator.
        """
        engine.add_event_handler(Events.STARTED, lambda: tell_gaps(self._listed, self.settings))
        engine.add_event_handler(Events.ITERATION_STARTED, self._look)

    def _look(self, engine: Engine) -> None:
        batch = engine.state.batch
        if not isinstance(batch, Mapping) or not {"present", "subject"} <= batch.keys():
            return
        for subject, present in zip(map(str, batch["subject"]), batch["present"], strict=True):
            missing = missing_modalities(present, self.modalities)
            if subject not in self._seen and missing != self._listed.get(subject):
                tell_gaps({subject: missing}, self.settings)
            self._seen[subject] = missing

    @property
    def remarks(self) -> list[str]:
        """A line for the notes of a table about the subjects that ran; none without guesses."""
        found = [f"{name} ({_joined(lack)})" for name, lack in self._seen.items() if guessed(lack, self.settings)[0]]
        told = f"Guesses, as no training sample was without what they lack: {first_names(found, SHOWN)}."
        return [told] if found else []


def guessed(missing: Sequence[str], settings: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Which of the modalities that a subject lacks make its segmentation a guess, and how no training sample was.

    Args:
        missing: what it lacks.
        settings: content of ``settings.json``.

    Returns:
        The names, none if it is no guess, and words.

    Examples:
        >>> guessed(["t1", "pd"], {"never_missing": ["t1"], "missed_together": [["pd"]]})
        (('t1',), 'lacked it')
        >>> guessed(["t1", "pd"], {"never_missing": [], "missed_together": [["t1"], ["pd"]]})
        (('t1', 'pd'), 'lacked them together')
    """
    if never := tuple(name for name in missing if name in (settings.get(NEVER_MISSING) or ())):
        return never, "lacked it" if len(never) == 1 else "lacked them"
    sets = settings.get(MISSED_TOGETHER)
    if sets is None or not missing or any(set(missing) <= set(one) for one in sets):
        return (), ""
    return tuple(missing), "lacked them together"


def tell_gaps(lacking: Mapping[str, Sequence[str]], settings: Mapping[str, Any]) -> None:
    """Warn of subjects that lack what no training sample lacked, once for all that lack the same.

    Args:
        lacking: subject to the modalities that it lacks.
        settings: content of ``settings.json``.

    Examples:
        >>> tell_gaps({"p1": []}, {"never_missing": ["t1"]})
    """
    groups: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for subject, missing in lacking.items():
        if (found := guessed(missing, settings))[0]:
            groups.setdefault(found, []).append(subject)
    for (names, how), subjects in groups.items():
        plan = "" if "together" in how else f", or plan with --may-lack {' '.join(names)}"
        logger.warning(
            "%s missing for %s: no training sample %s, so these segmentations are guesses. Train with --drop_prob 0.5 "
            "--drop_mode subset%s.",
            f"{_joined(names)} {'is' if len(names) == 1 else 'are'}",
            first_names(subjects, SHOWN),
            how,
            plan,
        )


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names)
