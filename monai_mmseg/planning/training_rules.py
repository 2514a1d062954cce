# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Rules about network and training: width, depth, batch, augmentation, epochs. Each gives a value and its reason."""

from __future__ import annotations

import math
from typing import Any

from monai_mmseg.planning.context import Context, time_text
from monai_mmseg.planning.data_rules import (
    COSTS,
    ENOUGH_VOLUME_STEPS,
    enough_steps,
    few_slices,
    samples_of,
)
from monai_mmseg.planning.network import step_bytes, unet_definition, unet_levels, unet_widths
from monai_mmseg.planning.situation import RANDOMISED

VALIDATIONS, VALIDATION_SHARE = 10, 0.08
MOST_STEPS = 250_000  # of nnU-Net, which took them for all
FEW_STEPS = 8000
SMALL, LARGE = 16, 32  # width of the first level
ROOMY = 8e9  # bytes
STACKS = ("disentangle_tumour", "unet")  # whose modalities are channels of one image
Decision = tuple[Any, str]


def base_width(context: Context) -> int:
    """Width of the first level: half of it for volumes where the budget has room for few steps."""
    if context.device != "cpu" and context.memory >= ROOMY:
        return LARGE
    if context.base in STACKS and context.dims == 3:
        voxels = math.prod(context.knobs["spatial_size"]) * samples_of(context)
        if context.steps(voxels, 3, COSTS.get(context.base, 1.0)) < ENOUGH_VOLUME_STEPS:
            return SMALL // 2
    return SMALL


def _step_bytes(context: Context, samples: int) -> int:
    size, modalities = context.knobs["spatial_size"], len(context.situation.modalities)
    channels = modalities if context.base in STACKS else context.knobs.get("num_slices", 1)
    return step_bytes(
        size,
        _mm(context),
        channels=channels if context.dims == 2 or context.base in STACKS else 1,
        classes=len(context.fingerprint["labels"]),
        base=base_width(context) if context.base != "dafnet" else dafnet_width(context),
        batch=samples,
    ) * (4 if context.base == "dafnet" else 1)  # two encoders, decoders and discriminators stand beside it


def _mm(context: Context) -> list[float]:
    return list(context.knobs["pixdim"][: context.dims])


def batch_size(context: Context) -> Decision:
    """Samples of each modality; halved until a step fits."""
    samples = samples_of(context)
    parts = context.drawn
    each = max(1, samples // parts)
    for _ in range(context.shrink):
        each = max(1, each // 2)
    taken = _step_bytes(context, each * parts)
    while taken > context.memory and each > 1:
        each //= 2
        taken = _step_bytes(context, each * parts)
    of = " of each modality" if parts > 1 else ""
    return each, f"{each}{of}: a step takes about {taken / 1e9:.2f} GB of {context.memory / 1e9:.1f} GB"


def dafnet_width(context: Context) -> int:
    """Width of the first level of the anatomy encoders."""
    return 8 if context.device == "cpu" or context.memory < ROOMY else 32


def features(context: Context) -> Decision:
    """Channels of each level."""
    if context.base == "dafnet":
        base = dafnet_width(context)
        return [base * 2**level for level in range(5)], f"five levels from {base} channels on a {context.device}"
    _, strides = unet_levels(context.knobs["spatial_size"], _mm(context))
    base = base_width(context)
    found = unet_widths(base, len(strides))
    bottom = " x ".join(
        str(edge // math.prod(one))
        for edge, one in zip(context.knobs["spatial_size"], zip(*strides, strict=True), strict=True)
    )
    return found, f"{base} channels at first on a {context.device}; {len(found)} levels, down to {bottom} voxels"


def backbone(context: Context) -> Decision:
    """A small U-Net."""
    size = context.knobs["spatial_size"]
    channels: Any = "@num_slices" if context.dims == 2 else 1
    definition = unet_definition(size, _mm(context), in_channels=channels)
    definition.update(norm_name="@norm", dropout="@dropout" if context.base != "ummkd_3d" else 0.0)
    return (
        definition,
        "a small U-Net with batch normalisation learns most in little time; a coarse axis is pooled later",
    )


def task(context: Context) -> Decision:
    """The network behind the stacked modalities."""
    size = context.knobs["spatial_size"]
    channels = "$len(@modalities)" if context.base == "unet" else "@task_channels"
    definition = unet_definition(size, _mm(context), in_channels=channels)
    definition["filters"] = features(context)[0]
    definition["norm_name"] = ["instance", {"affine": True}]  # a batch of one or two windows has no statistics
    return (
        definition,
        f"a small U-Net, {definition['filters'][0]} channels at first; {len(definition['filters'])} levels",
    )


def layer_pairs(context: Context) -> Decision:
    """Layers of the small U-Net whose class affinities are compared: its three deepest."""
    levels = len(context.knobs["features"])
    names = [*(f"downsamples.{number}" for number in range(levels - 2)), "bottleneck"]
    pairs = [list(pair) for pair in zip(names[-3:-1], names[-2:], strict=True)] if len(names) > 2 else [names[-2:]]
    return pairs, f"the deepest layers of the encoder: {', '.join(names[-3:])}"


def keep_slices(context: Context) -> Decision:
    """Slices that training draws from."""
    share = _foreground_share(context)
    return "all", f"{100 * share:.0f} % of the slices show foreground; the others teach where there is none"


def _foreground_share(context: Context) -> float:
    boxes = [(one["foreground"], one["shape"]) for one in context.fingerprint["images"] if one["foreground"]]
    return sum((box[2][1] - box[2][0]) / shape[2] for box, shape in boxes) / max(1, len(boxes))


def tile_prob(context: Context) -> Decision:
    """Share of windows that are drawn anywhere."""
    share = _foreground_share(context)
    return 0.33, f"two thirds of the windows are centred on foreground, which {100 * share:.0f} % of the slices have"


def sided(context: Context) -> list[str]:
    """Classes that a mirror would turn into others."""
    names = [name for value, name in context.fingerprint["labels"].items() if value != "0"]
    words = {name: name.lower().replace("-", "_").replace(" ", "_").split("_") for name in names}
    return [name for name, own in words.items() if {"left", "right", "lv", "rv", "la", "ra", "l", "r"} & set(own)]


def _moved_windows(context: Context) -> dict[str, Any]:
    """Windows are turned and scaled within their slices, and shifted there."""
    return {
        "_target_": "RandAffined",
        "keys": ["image", "label"],
        "mode": ["bilinear", "nearest"],
        "prob": 0.5,
        "rotate_range": [0.0, 0.0, 0.35],
        "scale_range": [0.15, 0.15, 0.0],
        "translate_range": [round(0.08 * one) for one in context.knobs["spatial_size"][:2]] + [0],
        "padding_mode": ["border", "zeros"],
    }


def augmentation(context: Context) -> Decision:
    """Rotation, scale, shift of images with labels; grey values of images alone."""
    both = {"keys": ["image", "label"], "mode": ["bilinear", "nearest"]}
    words = "rotated by up to 20 degrees, scaled by 15 %, shifted; grey values scaled and shifted, noise"
    if context.base == "dafnet":
        affine = {"_target_": "monai_mmseg.transforms.RandAffineSlicesd", **both, "rotate": 20}
        return {**affine, "scale": 0.15, "translate": 0.06}, "rotated, scaled and shifted, all modalities alike"
    move: dict[str, Any] = {
        "_target_": "monai_mmseg.transforms.RandAffineSlicesd",
        **both,
        "rotate": 20,
        "scale": 0.15,
        "translate": 0.15,
        "prob": 0.8,
    }
    if context.dims == 3:
        move = _moved_windows(context)
    grey = [
        {"_target_": "RandScaleIntensityd", "keys": "image", "factors": 0.2, "prob": 0.5},
        {"_target_": "RandShiftIntensityd", "keys": "image", "offsets": 0.2, "prob": 0.5},
        {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.3, "std": 0.15},
    ]
    return {"_target_": "Compose", "transforms": [move, *grey]}, f"few subjects: {words}; no mirror"


def appearance(context: Context) -> Decision | None:
    """Random contrasts, where a modality without labels is to be known by those of the others."""
    if context.method != RANDOMISED:
        return None
    change = {"_target_": "monai_mmseg.transforms.RandAppearanced", "keys": "image"}
    if few_slices(context):
        change["keep"] = "range"  # with batches of few slices; of unpaired images it was no better
    bare = " and ".join(context.situation.unlabelled) or "any modality"
    words = f"random contrasts of every sample: what {bare} looks like is to be among them"
    return [{**change, "spatial_dims": "$len(@spatial_size)"}], words


def task_augmentation(context: Context) -> Decision:
    """As for other networks, with a mirror where it changes no class."""
    move = _moved_windows(context)
    scale = {
        "_target_": "monai_mmseg.transforms.RandScaleShiftForegroundd",
        "keys": "image",
        "background": "@background",
    }
    steps: list[dict[str, Any]] = [move, scale]
    words = ["rotated, scaled, shifted, grey values of the body"]
    if not (names := sided(context)):
        mirror = {"keys": ["image", "label"], "prob": "@flip_prob", "spatial_axis": [1]}
        steps.insert(0, {"_target_": "RandFlipd", **mirror})
        words.append("mirrored: no class has a side")
    else:
        words.append(f"not mirrored: {', '.join(names)} would change sides")
    return steps, "; ".join(words)


def plain_augmentation(context: Context) -> Decision:
    """Of stacked modalities: moved, scaled, shifted; a mirror where it changes no class."""
    both = {"keys": ["image", "label"], "mode": ["bilinear", "nearest"]}
    if context.dims == 2:
        affine = "monai_mmseg.transforms.RandAffineSlicesd"
        move = {"_target_": affine, **both, "rotate": 20, "scale": 0.15, "translate": 0.08, "prob": 0.8}
    else:
        move = _moved_windows(context)
    steps: list[dict[str, Any]] = [move]
    words = ["rotated, scaled, shifted"]
    if names := sided(context):
        words.append(f"not mirrored: {', '.join(names)} would change sides")
    else:
        steps.insert(0, {"_target_": "RandFlipd", "keys": ["image", "label"], "prob": 0.5, "spatial_axis": [1]})
        words.append("mirrored: no class has a side")
    if context.knobs["background"] is None:
        grey = {"keys": "image", "prob": 0.5, "channel_wise": True}
        steps += [
            {"_target_": "RandScaleIntensityd", "factors": 0.2, **grey},
            {"_target_": "RandShiftIntensityd", "offsets": 0.2, **grey},
            {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.3, "std": 0.15},
        ]
        words.append("grey values of each modality scaled and shifted, noise")
    else:
        shift = "monai_mmseg.transforms.RandScaleShiftForegroundd"
        steps.append({"_target_": shift, "keys": "image", "background": "@background"})
        words.append("grey values of the body scaled and shifted")
    return steps, "; ".join(words)


def drop_prob(context: Context) -> Decision | None:
    """A modality taken away where some may be missing."""
    if not (gaps := sorted({*context.situation.missing, *context.situation.may_lack})):
        return None
    return 0.5, f"one modality is taken away in every other sample, for {', '.join(gaps)} may be missing"


def foreground_share(context: Context) -> Decision:
    """Of samples around an organ."""
    what = "windows" if context.dims == 3 else "slices"
    return 0.5, f"every other of the {what} is cut around a voxel of a class, the rest anywhere"


def plain_overlap(context: Context) -> Decision:
    """Of neighbouring windows at inference."""
    if context.device == "cpu":
        return 0.25, "a quarter on a cpu: half would take twice to eight times as long"
    return 0.5, "half: what is near a border of one window is in the middle of another"


def class_weights(context: Context) -> Decision:
    """Foreground counts more than background."""
    count = len(context.fingerprint["labels"]) - 1
    return [1.0, *[5.0] * count], f"background and {count} classes, as in the bundle"


def overlap(context: Context) -> Decision:
    """Of neighbouring windows at inference."""
    return [0.0, 0.0, 0.5], "windows hold whole slices and meet along the third axis alone"


def learning_rate(context: Context) -> Decision:
    """Of Adam."""
    if context.base == "dafnet":
        small = dafnet_width(context) == 8
        return (0.002, "a small network") if small else (0.0005, "a wide network")
    if context.base in STACKS:
        return 0.002, "Adam with a small U-Net, falling to 0 by the last epoch"
    if context.dims == 2 and context.knobs["features"][0] <= 16:  # wider ones were not tried
        return 0.003, "Adam with a small U-Net, batches of slices and batch normalisation, falling to a twentieth"
    return 0.001, "Adam with a small U-Net and batch normalisation"


def _schedule(context: Context) -> tuple[int, int, int, float, float]:
    """Epochs, steps an epoch, validations, seconds of a step, seconds in all."""
    if context.seconds is not None:
        step, check, begin = (context.seconds[name] for name in ("step", "validation", "start"))
    else:
        voxels = math.prod(context.knobs["spatial_size"]) * context.knobs["batch_size"] * context.drawn
        step = voxels * COSTS.get(context.base, 1.0) / context.speed[context.dims]
        check, begin = 0.02 * context.budget, 0.02 * context.budget
    return schedule(context.budget, step, check, begin, context.part)


def schedule(
    budget: float, step: float, check: float, begin: float, part: float = 1.0
) -> tuple[int, int, int, float, float]:
    """Epochs, steps an epoch, validations, seconds of a step, seconds in all.

    Args:
        budget: seconds of the training.
        step: seconds of a step.
        check: seconds of a validation.
        begin: seconds before the first step.
        part: share of the budget that goes to this training.

    Examples:
        >>> schedule(600, step=0.5, check=4, begin=10)
        (40, 25, 10, 0.5, 550.0)
    """
    checks = max(1, min(VALIDATIONS, int(VALIDATION_SHARE * budget / max(check, 1e-6))))
    time = max(0.1 * budget, 0.93 * budget - begin - checks * check)
    steps = int(min(MOST_STEPS, max(20, time * part / step)))
    epochs = epochs_of(steps)
    checks = min(checks, epochs)
    length = max(1, steps // epochs)
    return epochs, length, checks, step, begin + checks * check + epochs * length * step


def epochs_of(steps: int) -> int:
    """Epochs that so many steps are cut into."""
    return max(1, min(40 if steps <= FEW_STEPS else 100, steps // 5))


def max_epochs(context: Context) -> Decision:
    """Epochs that the budget has room for."""
    epochs, length, _, step, seconds = _schedule(context)
    how = "measured" if context.seconds is not None else "estimated"
    steps = f"{epochs * length} steps of {step:.3g} s ({how})"
    few = "; few for a network to learn from" if epochs * length < enough_steps(context) else ""
    return epochs, f"{steps} in a budget of {time_text(context.budget)}: {time_text(seconds)}{few}"


def epoch_length(context: Context) -> Decision:
    """Steps an epoch."""
    epochs, length, _, _, _ = _schedule(context)
    return length, f"{epochs * length} steps in {epochs} epochs"


def val_interval(context: Context) -> Decision:
    """Epochs between validations."""
    epochs, _, checks, _, _ = _schedule(context)
    return math.ceil(epochs / checks), f"{checks} validations take {100 * VALIDATION_SHARE:.0f} % of the budget at most"


def lr_decay(context: Context) -> Decision:
    """Factor of the learning rate, an epoch."""
    epochs = context.knobs["max_epochs"]
    return round(0.055 ** (1 / epochs), 4), "the rate falls to a twentieth by the last epoch"


def lr_decay_steps(context: Context) -> Decision:
    """Steps between two decays."""
    return context.knobs["epoch_length"], "once an epoch"
