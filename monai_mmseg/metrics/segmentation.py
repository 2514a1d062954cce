# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Scores of one segmented image, where a missed organ counts as a miss.

MONAI computes the overlap and the distances. Its distances are NaN for a missed organ, and means then skip the worst
case; here every label of every image gets a number, by rules that are stated, and flags that say which rule it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.metrics import compute_dice, get_mask_edges, get_surface_distance
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


class SurfaceDistances(NamedTuple):
    """Distances between the surfaces of two masks, in mm."""

    hausdorff: float  # the largest distance to the other surface, both ways
    hausdorff95: float  # the larger one of both ways' 95th percentiles
    surface_distance: float  # the mean over the surface voxels of both


class ClassScore(NamedTuple):
    """How well one label of one image was found."""

    label: int
    name: str
    dice: float
    hausdorff: float  # mm
    hausdorff95: float  # mm
    surface_distance: float  # mm, average symmetric
    missed: bool  # in the reference, not in the prediction
    empty: bool  # in neither
    spurious: bool  # in the prediction, not in the reference
    volume_pred_ml: float
    volume_label_ml: float


def image_diagonal(size: Sequence[int], spacing: Sequence[float]) -> float:
    """Length of an image's diagonal in mm: no distance inside of the image is longer.

    Args:
        size: voxels along each axis.
        spacing: mm along each axis.

    Examples:
        >>> image_diagonal((30, 40), (0.1, 0.1))
        5.0
    """
    return math.hypot(*(n * s for n, s in zip(size, spacing, strict=True)))


def surface_distances(pred: ArrayLike, label: ArrayLike, spacing: Sequence[float]) -> SurfaceDistances:
    """Distances in mm between the surfaces of two masks that are not empty.

    When to use: for one structure; :func:`segmentation_scores` does all labels and knows what to do with empty masks.
    Surface voxels are those with a neighbour (or the image's border) outside of the mask. The image is cropped to both
    masks first, which changes no distance.

    Args:
        pred: bool mask, shape ``(*spatial)``, 2D or 3D.
        label: bool mask of the same shape.
        spacing: mm along each axis.

    Raises:
        ValueError: when a mask is empty or the shapes do not fit.

    Examples:
        >>> import numpy as np
        >>> pred, label = np.zeros((2, 8, 8), dtype=bool)
        >>> pred[2, 2] = label[2, 5] = True
        >>> surface_distances(pred, label, spacing=(1.0, 0.5))
        SurfaceDistances(hausdorff=1.5, hausdorff95=1.5, surface_distance=1.5)
    """
    pred_mask, label_mask = np.asarray(pred, dtype=bool), np.asarray(label, dtype=bool)
    _check_geometry(pred_mask.shape, label_mask.shape, spacing)
    for name, mask in (("pred", pred_mask), ("label", label_mask)):
        if not mask.any():
            raise ValueError(f"{name} must not be empty: no surface, no distance.")
    box = _bounding_box(pred_mask | label_mask)
    # MONAI's distance functions find the edges anew each time, by an argument that MONAI itself deprecated
    edges = get_mask_edges(*(torch.from_numpy(mask[box]) for mask in (pred_mask, label_mask)))
    sizes = [float(s) for s in spacing]
    forth, back = (get_surface_distance(*pair, spacing=sizes) for pair in (edges, edges[::-1]))
    return SurfaceDistances(
        hausdorff=float(max(forth.max(), back.max())),
        hausdorff95=float(max(torch.quantile(forth, 0.95), torch.quantile(back, 0.95))),
        surface_distance=float(torch.cat([forth, back]).mean()),
    )


def class_indices(name: str, values: ArrayLike | Tensor) -> NDArray[np.int64]:
    """Class indices as an array of integers, whatever they are given as.

    Args:
        name: how the caller's signature names them.
        values: whole numbers of any type.

    Raises:
        ValueError: when they are other numbers.

    Examples:
        >>> class_indices("pred", [0.0, 2.0])
        array([0, 2])
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        rounded = np.rint(array)
        if not np.array_equal(rounded, array):
            raise ValueError(f"{name} must hold whole class indices, got other numbers ({array.dtype}).")
        array = rounded
    return array.astype(np.int64, copy=False)


def segmentation_scores(
    pred: ArrayLike | Tensor,
    label: ArrayLike | Tensor,
    labels: Mapping[int, str] | Mapping[str, str],
    spacing: Sequence[float],
    penalty: float | None = None,
) -> list[ClassScore]:
    """Returns overlap, distances and volumes of every label of one image.

    When to use: to evaluate a subject's whole volume after inference. Rules for what is not there:

    ================================  ====  =========  ============
    reference / prediction            Dice  distances  flag
    ================================  ====  =========  ============
    there / not there                 0     penalty    ``missed``
    not there / not there             1     0          ``empty``
    not there / there                 0     penalty    ``spurious``
    ================================  ====  =========  ============

    Args:
        pred: predicted class indices, shape ``(*spatial)``, 2D or 3D.
        label: reference class indices of the same shape.
        labels: name of each class index, as in a datalist (keys may be text); 0, the background, is left out.
        spacing: mm along each axis.
        penalty: distance in mm of a missed or spurious label. ``None``: the image's diagonal (:func:`image_diagonal`).

    Returns:
        One :class:`ClassScore` a label, in the order of ``labels``. Volumes in ml (2D: of a slice of 1 mm).

    Raises:
        ValueError: when the shapes do not fit, class indices are not whole numbers, or the penalty is not positive.

    Examples:
        >>> import numpy as np
        >>> label = np.zeros((10, 10, 10), dtype=int)
        >>> label[2:6, 2:6, 2:6], label[8, 8, 8] = 1, 2
        >>> pred = np.where(label == 1, 1, 0)
        >>> for s in segmentation_scores(pred, label, {1: "liver", 2: "spleen"}, spacing=(1, 1, 2)):
        ...     print(s.name, s.dice, round(s.hausdorff95, 2), s.missed)
        liver 1.0 0.0 False
        spleen 0.0 24.49 True
    """
    pred_classes, label_classes = class_indices("pred", pred), class_indices("label", label)
    _check_geometry(pred_classes.shape, label_classes.shape, spacing)
    if penalty is None:
        penalty = image_diagonal(label_classes.shape, spacing)
    elif not 0 < penalty < math.inf:
        raise ValueError(f"penalty must be a positive length in mm, got {penalty}.")
    voxel_ml = math.prod(float(s) for s in spacing) / 1000
    scores = []
    for key, name in labels.items():
        index = int(key)
        if index == 0:
            continue
        pred_mask, label_mask = pred_classes == index, label_classes == index
        in_pred, in_label = bool(pred_mask.any()), bool(label_mask.any())
        if in_pred and in_label:
            distances = surface_distances(pred_mask, label_mask, spacing)
        else:
            distances = SurfaceDistances(*[float(penalty) if in_pred or in_label else 0.0] * 3)
        scores.append(
            ClassScore(
                index,
                name,
                _dice(pred_mask, label_mask),
                *distances,
                missed=in_label and not in_pred,
                empty=not in_label and not in_pred,
                spurious=in_pred and not in_label,
                volume_pred_ml=float(pred_mask.sum()) * voxel_ml,
                volume_label_ml=float(label_mask.sum()) * voxel_ml,
            )
        )
    return scores


def _dice(pred: NDArray[np.bool_], label: NDArray[np.bool_]) -> float:
    y_pred, y = (torch.from_numpy(mask)[None, None] for mask in (pred, label))
    return float(compute_dice(y_pred, y, include_background=True, ignore_empty=False).item())


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        there = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def _check_geometry(pred: tuple[int, ...], label: tuple[int, ...], spacing: Sequence[float]) -> None:
    if pred != label:
        raise ValueError(f"pred and label must have one shape, got {pred} and {label}.")
    if len(pred) not in (2, 3):
        raise ValueError(f"pred must be 2D or 3D without a channel axis, got shape {pred}.")
    if len(spacing) != len(pred) or not all(0 < s < math.inf for s in spacing):
        raise ValueError(f"spacing must list {len(pred)} positive lengths in mm, got {tuple(spacing)}.")
