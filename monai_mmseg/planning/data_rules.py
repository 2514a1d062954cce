# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Rules about data: names, planes, spacing, size, intensities. Each gives a value and its reason."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from monai_mmseg.planning.context import FACTORS, Context, rounded_up, time_text
from monai_mmseg.planning.situation import MISALIGNED, RANDOMISED

ENOUGH_STEPS = 600  # of training, for which voxels are made coarser where the budget is short
ENOUGH_VOLUME_STEPS = 600
CUBES = 3.0  # times that slices may be farther apart than pixels where 3D still pays; nnU-Net's limit, too
SPARE = 4.0  # mm of the margin that give way before a size grows by a multiple of 16
COARSER = 1.2  # one axis is the slice axis from here on
NEIGHBOURS = 6.0  # mm between slices that still tell something about each other
AIR, OPEN_AIR = -200.0, -500.0  # HU
SAMPLES = 16  # slices a step
FEW_SAMPLES = 4  # in random contrasts, of misaligned images; with unpaired ones they cost Dice of those with labels
PAIRED_SAMPLES = 6  # of several modalities each
WINDOW_SAMPLES = 4  # windows a step
COSTS = {"dafnet": 3.0, "disentangle_tumour": 1.5}
"""Times what a plain network takes for the same voxels."""
Decision = tuple[Any, str]


def modalities(context: Context) -> Decision:
    """Those with training images, in the order of the datalist."""
    found = context.situation.modalities
    return list(found), f"with training images: {context.situation.facts['labels']} labelled"


def labels(context: Context) -> Decision:
    """Those of the datalist."""
    found = dict(context.fingerprint["labels"])
    return found, f"{len(found) - 1} classes; {context.situation.facts['classes']}"


def target(context: Context) -> Decision:
    """The modality to segment."""
    name = context.situation.target
    labelled, images = context.situation.labelled[name], context.situation.images[name]
    return name, f"the modality to segment; {labelled} of {images} of its images have a label"


def reference(context: Context) -> Decision:
    """The modality whose grid the others are put on: with labels, most complete, then most labels."""
    images, labelled = context.situation.images, context.situation.labelled
    if context.situation.asked:
        name = context.situation.target
        return name, f"asked for: its grid is taken for all ({images[name]} subjects have it)"
    name = max(context.situation.modalities, key=lambda one: (labelled[one] > 0, images[one], labelled[one]))
    bare = " and it has labels" if 0 in labelled.values() else ""
    return name, f"most subjects have it ({images[name]}){bare}, so its grid is taken for all"


def slice_axis(context: Context) -> Decision:
    """The coarse axis, or the plane that the files have."""
    if context.anisotropy > COARSER and context.base != "disentangle_tumour":
        return "auto", f"slices are {context.anisotropy:.1f} times as far apart as pixels: the coarse axis of each file"
    planes = Counter(one["plane"] for one in context.fingerprint["images"])
    plane = planes.most_common(1)[0][0]
    return plane, f"the plane of most files ({planes[plane]} of {sum(planes.values())})"


def affordable_window(context: Context) -> tuple[float, list[int]] | None:
    """Factor and size of three-dimensional windows that the budget has room for; ``None``: of no size."""
    for factor in context.factors():
        size = window_size(context, factor)
        if context.steps(math.prod(size) * WINDOW_SAMPLES, 3) >= ENOUGH_VOLUME_STEPS:
            return factor, size
    return None


def volumes_pay(context: Context) -> tuple[bool, str]:
    """Whether windows of volumes are to be preferred to slices, and why."""
    if context.anisotropy > CUBES:
        return False, f"slices are {context.anisotropy:.1f} times as far apart as pixels"
    found = affordable_window(context)
    time = time_text(context.budget)
    if found is None:
        return False, f"{time} are too few for {ENOUGH_VOLUME_STEPS} steps of volumes on this {context.device}"
    return True, f"voxels are nearly cubes, and {time} have room for {ENOUGH_VOLUME_STEPS} steps of {found[1]}"


def samples_of(context: Context) -> int:
    """Samples of a step, over all modalities."""
    if context.base == "dafnet":
        return PAIRED_SAMPLES
    if context.dims == 3:
        return WINDOW_SAMPLES if context.base == "ummkd_3d" else 2
    return FEW_SAMPLES if few_slices(context) else SAMPLES


def enough_steps(context: Context) -> int:
    """Steps that a network of slices needs, as many samples whatever a step has."""
    return ENOUGH_STEPS * (SAMPLES // FEW_SAMPLES) if few_slices(context) else ENOUGH_STEPS


def few_slices(context: Context) -> bool:
    """Whether steps have few slices, in random contrasts that keep the range of an image alone."""
    return context.method == RANDOMISED and context.dims == 2 and context.situation.name == MISALIGNED


def window_size(context: Context, factor: float) -> list[int]:
    """Whole slices that hold the foreground, and as many of them as are thick enough."""
    inside, across = context.spacing
    mm = inside * factor
    multiple = 32 if context.method == "disentangle" else 8  # its encoder pools five times
    rows, columns = (rounded_up(one / mm, multiple) for one in context.extent[:2])
    deep = context.extent[2] / max(across, mm)
    most = 32 if context.device == "cpu" else 64
    return [rows, columns, min(most, rounded_up(deep, least=8))]


def _grid(context: Context) -> tuple[list[float], list[int], str]:
    """Spacing, size and why."""
    inside, across = context.spacing
    cost = COSTS.get(context.base, 1.0)
    least, multiple, spare = (48, 16, SPARE) if context.base == "dafnet" else (32, 8, 0.0)
    pick, steps = FACTORS[0], 0
    given = context.grid if context.dims == 2 else None
    for pick in [given[0] / inside] if given else context.factors():
        mm = inside * pick
        if context.dims == 3:
            size = window_size(context, pick)
            wanted = ENOUGH_VOLUME_STEPS
        else:
            size = [rounded_up((one - spare) / mm, multiple, least) for one in context.extent[:2]]
            wanted = enough_steps(context)
        steps = context.steps(math.prod(size) * samples_of(context), context.dims, cost)
        if steps >= wanted:
            break
    mm = round(inside * pick, 3)
    if given:  # by a network that may need smaller multiples
        mm, size = given[0], [rounded_up(one, multiple, least) for one in given[1]]
    spacing = [mm, mm]
    # neighbours and windows need slices that are alike; thick slices stay where they are
    if context.dims == 3 or (context.anisotropy <= CUBES and context.base != "dafnet") or context.base == "unet":
        spacing.append(round(max(across, mm), 3))
    text = f"median within slices {inside:.2f} mm, between slices {across:.2f} mm"
    if given:
        text += "; as the other methods that it is compared with"
    elif pick > 1:
        text += f"; {pick:g} times coarser, so that the budget has room for {steps} steps"
    return spacing, size, text


def pixdim(context: Context) -> Decision:
    """Median spacing, coarser where the budget asks for it."""
    spacing, _, text = _grid(context)
    return spacing, text


def spatial_size(context: Context) -> Decision:
    """The foreground of every image with a margin, a multiple of the network's strides."""
    _, size, _ = _grid(context)
    rows, columns, slices = context.extent
    text = f"holds the foreground of every labelled image, {rows:.0f} x {columns:.0f} x {slices:.0f} mm with its margin"
    return size, text


def num_slices(context: Context) -> Decision:
    """A slice alone, or with its neighbours."""
    distance = context.knobs["pixdim"][2] if len(context.knobs["pixdim"]) == 3 else context.spacing[1]
    if distance <= NEIGHBOURS:
        return 3, f"slices are {distance:.1f} mm apart: the two neighbours are channels, too"
    return 1, f"slices are {distance:.1f} mm apart: neighbours show something else"


def is_ct(context: Context, modality: str) -> bool:
    """Whether a modality holds Hounsfield units: whole images reach down to air."""
    image = context.fingerprint["intensity"][modality]["image"]
    named = "ct" in modality.lower().replace("-", "_").split("_")
    return bool(image["p0.5"] <= (AIR if named else OPEN_AIR))


def _own_intensity(context: Context, name: str) -> Decision:
    """CT by one window for all patients, everything else by each image's own grey values."""
    inside = context.fingerprint["intensity"][name]["foreground"]
    ct = is_ct(context, name)
    # the window would make fat, lung and air one grey value, which no other modality does
    if ct and context.method != RANDOMISED:
        low, high, mean, sd = inside["p0.5"], inside["p99.5"], inside["mean"], max(inside["sd"], 1e-3)
        window = {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": round(low, 2),
            "a_max": round(max(high, low + 1), 2),
            "b_min": round((low - mean) / sd, 4),
            "b_max": round((max(high, low + 1) - mean) / sd, 4),
            "clip": True,
        }
        return window, f"{name} is in HU: {low:.0f} to {high:.0f}, what 99 % of the foreground has, then its mean 0"
    empty = _empty_background(context, name)
    ends = {"lower": 0, "upper": 99.5} if empty else {"lower": 0.5, "upper": 99.5}
    scale = {"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", **ends, "b_min": 0.0, "b_max": 1.0}
    mean_0 = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": empty, "channel_wise": True}
    unit = "in HU, taken as if it had no unit" if ct else "has no unit"
    words = f"{name} {unit}: each image's own percentiles, then mean 0 {'of the body' if empty else ''}".strip()
    return {"_target_": "Compose", "transforms": [{**scale, "clip": True}, mean_0]}, words


def intensity(context: Context) -> Decision:
    """Of each modality by itself."""
    return _by_modality(context, "@default_modality")


def _by_modality(context: Context, default_modality: str) -> Decision:
    found = {name: _own_intensity(context, name) for name in context.situation.modalities}
    windows = [name for name, (step, _) in found.items() if step["_target_"] == "ScaleIntensityRanged"]
    definition = {
        "_target_": "monai_mmseg.transforms.ByModalityd",
        "default_modality": default_modality,
        **({"hounsfield": windows} if windows else {}),
        "transforms": {name: step for name, (step, _) in found.items()},
    }
    return definition, "; ".join(words for _, words in found.values())


def background(context: Context) -> Decision:
    """Value around the body, where every modality has one."""
    if all(_empty_background(context, name) for name in context.situation.modalities):
        return 0.0, "all modalities are 0 around the body, which is not mixed into its border"
    return None, "what is around the body was measured: interpolated as everything else"


def stack_intensity(context: Context) -> Decision:
    """Mean 0 and deviation 1 of each channel, of the body where the rest is 0; CT alone by one window."""
    names = context.situation.modalities
    if len(names) == 1 and is_ct(context, names[0]):
        return _by_modality(context, names[0])
    if background(context)[0] is None:
        definition: dict[str, Any] = {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}
        return definition, "each image's own grey values: mean 0, deviation 1"
    definition = {
        "_target_": "monai_mmseg.transforms.NormalizeForegroundd",
        "keys": "image",
        "background": "@background",
    }
    return definition, "each image's own grey values: mean 0, deviation 1 of the body"


def _empty_background(context: Context, modality: str) -> bool:
    """Whether what surrounds the body is one value, as in brains without skull."""
    image = context.fingerprint["intensity"][modality]["image"]
    return bool(image["p0.5"] == image["p50"] == 0)


def percentiles(context: Context) -> Decision:
    """Ends of the scale to [-1, 1]."""
    return [0.5, 99.5], "slices are scaled between percentiles: a few bright voxels would darken all others"
