# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Rules of a plan about DAFNet: how it begins, what is segmented, what is watched. Each gives value and reason."""

from __future__ import annotations

from typing import Any

from monai_mmseg.planning.context import Context
from monai_mmseg.planning.situation import PRETRAINED

Decision = tuple[Any, str]


def pretraining(context: Context) -> Decision | None:
    """Share of the epochs that learn labels alone, in random contrasts, too."""
    if context.method != PRETRAINED:
        return None
    return 0.6, "three fifths of the epochs for the labels that are there, in random contrasts, too; then DAFNet"


def randomised(context: Context) -> Decision | None:
    """Weight of the labels of copies in random contrasts, through the target's encoder."""
    if context.method != PRETRAINED:
        return None
    return 10.0, "as much as labels of images as they are"


def inference(context: Context) -> Decision | None:
    """Which anatomy is segmented."""
    if context.method != PRETRAINED:
        return None
    return "single", f"that of {context.situation.target} alone, for fusing costs what its alignment lacks"


def patience(context: Context) -> Decision:
    """Epochs without gain before it stops."""
    return context.knobs["max_epochs"], "the schedule of the rate is made for all epochs: none is left out"


def validation_target(context: Context) -> Decision | None:
    """Which modality's Dice is watched."""
    situation = context.situation
    name, labelled = situation.target, [one for one in situation.modalities if situation.labelled[one]]
    watched = [one for one in labelled if one not in situation.unwatched] or labelled
    if name in watched:
        return None
    where = " in fold 0, which watches" if name in labelled else ""
    return watched[0], f"{name} has no labels to be scored with{where}: {watched[0]} has"


def validation_modalities(context: Context) -> Decision | None:
    """Images that validation is given."""
    found = validation_target(context)
    return None if found is None else ([found[0]], "the modality that is scored, alone")
