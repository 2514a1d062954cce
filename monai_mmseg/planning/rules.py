# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The rules of a plan, in one table: each reads some facts and sets one knob, with its reason in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from monai_mmseg.planning import dafnet_rules as dafnet
from monai_mmseg.planning import data_rules as data
from monai_mmseg.planning import training_rules as training
from monai_mmseg.planning.context import Context

Decision = tuple[Any, str]  # value and reason

SLICES, VOLUMES, TASK, PLAIN = ("ummkd", "csa"), "ummkd_3d", "disentangle_tumour", "unet"
UNPAIRED = (*SLICES, VOLUMES)
GENERATOR = "loss_weights#generator"
ALL = (*UNPAIRED, "dafnet", TASK, PLAIN)


class Rule(NamedTuple):
    """One decision: what it reads, the knob that it sets, in which bundles."""

    name: str
    reads: tuple[str, ...]
    knob: str  # id in train.json
    bases: tuple[str, ...]  # bundles that have it
    decide: Callable[[Context], Decision | None]  # None: the bundle's own value stays


class Fired(NamedTuple):
    """A rule that has set its knob."""

    name: str
    knob: str
    value: Any
    reason: str
    reads: tuple[str, ...]


RULES: tuple[Rule, ...] = (
    Rule("modalities", ("modalities",), "modalities", ALL, data.modalities),
    Rule("classes", ("labels",), "labels", ALL, data.labels),
    Rule("target", ("labels of each modality", "--target"), "target", ("dafnet",), data.target),
    Rule("reference", ("images of each modality",), "reference", (TASK,), data.reference),
    Rule("reference", ("images of each modality",), "target", (PLAIN,), data.reference),
    Rule("slices", ("spacing", "planes"), "slice_axis", ALL, data.slice_axis),
    Rule("spacing", ("spacing", "foreground", "budget", "speed"), "pixdim", ALL, data.pixdim),
    Rule("size", ("foreground", "spacing"), "spatial_size", ALL, data.spatial_size),
    Rule("overlap", ("size",), "overlap", (VOLUMES, TASK), training.overlap),
    Rule("overlap", ("device",), "overlap", (PLAIN,), training.plain_overlap),
    Rule("neighbours", ("slice distance",), "num_slices", SLICES, data.num_slices),
    Rule("intensities", ("intensities",), "intensity", UNPAIRED, data.intensity),
    Rule("intensities", ("intensities",), "intensity", (PLAIN,), data.stack_intensity),
    Rule("background", ("intensities",), "background", (PLAIN,), data.background),
    Rule("intensity range", ("intensities",), "intensity_percentiles", ("dafnet",), data.percentiles),
    Rule("width", ("device", "memory", "size"), "features", (*UNPAIRED, "dafnet"), training.features),
    Rule("batch", ("modalities", "size", "memory"), "batch_size", ALL, training.batch_size),
    Rule("network", ("size", "spacing"), "backbone", UNPAIRED, training.backbone),
    Rule("network", ("size", "spacing", "device"), "task_def", (TASK, PLAIN), training.task),
    Rule("affinities", ("network",), "layer_pairs", ("csa",), training.layer_pairs),
    Rule("foreground", ("slices with foreground",), "keep_slices", SLICES, training.keep_slices),
    Rule("foreground", ("slices with foreground",), "tile_prob", (VOLUMES,), training.tile_prob),
    Rule("foreground", ("foreground",), "foreground_share", (PLAIN,), training.foreground_share),
    Rule("class weights", ("labels",), "class_weights", (TASK,), training.class_weights),
    Rule("augmentation", ("size",), "augmentation", (*UNPAIRED, "dafnet"), training.augmentation),
    Rule("contrasts", ("labels of each modality",), "appearance", UNPAIRED, training.appearance),
    Rule("augmentation", ("size", "label names"), "train#augmentation", (TASK,), training.task_augmentation),
    Rule("augmentation", ("size", "label names"), "augmentation", (PLAIN,), training.plain_augmentation),
    Rule("drop-out", ("gaps",), "drop_prob", (PLAIN,), training.drop_prob),
    Rule("learning rate", ("network",), "learning_rate", ALL, training.learning_rate),
    Rule("epochs", ("budget", "seconds a step"), "max_epochs", ALL, training.max_epochs),
    Rule("steps", ("budget", "seconds a step"), "epoch_length", ALL, training.epoch_length),
    Rule("decay", ("epochs",), "lr_decay", UNPAIRED, training.lr_decay),
    Rule("decay", ("steps",), "lr_decay_steps", UNPAIRED, training.lr_decay_steps),
    Rule("validation", ("seconds of a validation", "epochs"), "val_interval", ALL, training.val_interval),
    Rule("pretraining", ("labels of each modality",), "pretraining", ("dafnet",), dafnet.pretraining),
    Rule("pretraining", ("labels of each modality",), f"{GENERATOR}#randomised", ("dafnet",), dafnet.randomised),
    Rule("inference", ("labels of each modality",), "inference", ("dafnet",), dafnet.inference),
    Rule("stop", ("epochs",), "patience", ("dafnet",), dafnet.patience),
    Rule("selection", ("labels of each modality",), "validation_target", ("dafnet",), dafnet.validation_target),
    Rule("selection", ("labels",), "validation_modalities", ("dafnet",), dafnet.validation_modalities),
)


def apply_rules(context: Context, rules: Sequence[Rule] = RULES) -> list[Fired]:
    """Decide every knob of the context's bundle, in the order of the table.

    Args:
        context: what is known; its ``knobs`` are filled.
        rules: the table.

    Returns:
        Rules that set something.
    """
    fired = []
    for rule in rules:
        if context.base in rule.bases and (found := rule.decide(context)) is not None:
            context.knobs[rule.knob] = found[0]
            fired.append(Fired(rule.name, rule.knob, found[0], found[1], rule.reads))
    return fired
