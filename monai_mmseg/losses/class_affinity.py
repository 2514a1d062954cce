# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""How the channels of one layer relate to those of another, class by class, in every modality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import check_rows, group_sums, mask_samples

SizeNorm = Literal["feature", "input", "fraction", "none"]
ZERO = 1e-24  # squared norm up to which a channel is not there; the derivative of 1 / norm overflows float32 at 1e-26


class Affinities(NamedTuple):
    """Affinity matrices of the classes in every modality."""

    matrices: Tensor  # (M, C, P, Q): channels of the first layer in rows, of the second in columns
    pixels: Tensor  # (M, C): pixels of a class on the grid of the features, detached; 0 where it is absent
    rows: Tensor  # (M,): images that counted, detached


def resize_class_masks(labels: Tensor, num_classes: int, grid: Sequence[int]) -> Tensor:
    """Returns one mask a class on the grid of a feature map, by the nearest label.

    Args:
        labels: class indices, shape ``(N, 1, *spatial)``; a value that is no class belongs to no mask.
        num_classes: number of classes K, background included.
        grid: spatial size of the features.

    Returns:
        Shape ``(N, K, *grid)``, float32: of each axis the label at index ``floor(i * size / grid)``, so that small
        structures may vanish.

    Raises:
        ValueError: when ``grid`` has another number of axes.

    Examples:
        >>> resize_class_masks(torch.tensor([[[0, 1, 1, 1]]]), 2, [2])
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    if labels.ndim - 2 != len(grid):
        raise ValueError(
            f"labels must have shape (N, 1, *spatial) with {len(grid)} axes like the features, got "
            f"{tuple(labels.shape)}."
        )
    for axis, (size, wanted) in enumerate(zip(labels.shape[2:], grid, strict=True), start=2):
        if size != wanted:  # whole numbers: a rounded scale picks another neighbour on some grids
            labels = labels.index_select(axis, torch.arange(wanted, device=labels.device) * size // wanted)
    return onehot_labels(labels, num_classes)


def class_affinities(
    first: Tensor | Sequence[Tensor],
    second: Tensor | Sequence[Tensor],
    labels: Tensor | Sequence[Tensor],
    num_classes: int,
    modality: Tensor | None = None,
    num_modalities: int | None = None,
    labelled: Tensor | Sequence[Tensor] | None = None,
    *,
    class_specific: bool = True,
    size_norm: SizeNorm = "feature",
) -> Affinities:
    r"""Cosine similarities between all channels of two layers, within the region of each class of a batch.

    When to use: to look at, or make alike, how a network builds one layer's features on another's in each modality. No
    image is aligned to another: all that a modality is compared by is the matrix

    .. math:: a^c_{mn} = \frac{1}{S_c} \cos(F_m(l) \odot M^c, F_n(k) \odot M^c).

    Args:
        first: features of layer l: one tensor ``(N_m, P, *grid)`` for each modality, or one tensor ``(N, P, *grid)``
            with rows of several modalities.
        second: features of layer k, with Q channels. Where the grids differ, the finer is averaged to the coarser.
        labels: class indices with one channel, of any size, in the form of ``first``. A value that is no class means
            no label.
        num_classes: number of classes K, background included.
        modality: for one tensor: index of each row's modality, shape ``(N,)``.
        num_modalities: for one tensor: number of modalities M. It is not taken from the batch, which may lack one.
        labelled: which rows carry a label, bool ``(N,)``, or one such mask for each modality. ``None`` means all.
        class_specific: ``False``: one mask of ones instead of K class masks, for which no label is needed.
        size_norm: :math:`S_c`: pixels of the class on the grid of the features (``"feature"``) or of the labels
            (``"input"``), its share of the grid (``"fraction"``), or 1 (``"none"``).

    Returns:
        Matrices of shape ``(M, C, P, Q)``, with C = K or 1, at least float32, zeros for a class that is absent. In a
        distributed run every process has those of the joined batch.

    Raises:
        ValueError: when the arguments do not fit together.

    Reference:
        Chen et al., "Deep class-specific affinity-guided convolutional network for multimodal unpaired image
        segmentation", MICCAI 2020, arXiv:2101.01513: Eqs. 2 and 3.

    Examples:
        >>> features = torch.tensor([[[1.0, 2.0, 0.0, 1.0]]])  # one row, one channel, four pixels
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> class_affinities([features], [-features], [labels], 2).matrices.flatten()
        tensor([-0.5000, -0.5000])
    """
    if size_norm not in get_args(SizeNorm):
        raise ValueError(f"size_norm must be one of {get_args(SizeNorm)}, got {size_norm!r}.")
    parts = _parts(first, second, labels, labelled, modality, num_modalities)
    if not class_specific:
        parts = [part._replace(labelled=None) for part in parts]
    classes = num_classes if class_specific else None
    found = [_pooled(part, classes, size_norm) for part in parts]
    return Affinities(*(torch.cat(same) for same in zip(*found, strict=True)))


class _Part(NamedTuple):
    """Rows that can be computed in one go."""

    first: Tensor
    second: Tensor
    labels: Tensor
    labelled: Tensor | None
    modality: Tensor | None
    num_modalities: int


def _parts(
    first: Tensor | Sequence[Tensor],
    second: Tensor | Sequence[Tensor],
    labels: Tensor | Sequence[Tensor],
    labelled: Tensor | Sequence[Tensor] | None,
    modality: Tensor | None,
    num_modalities: int | None,
) -> list[_Part]:
    if isinstance(first, Tensor):
        if not isinstance(second, Tensor) or not isinstance(labels, Tensor):
            raise ValueError("first in one tensor needs second and labels in one tensor.")
        if modality is None or num_modalities is None or not (labelled is None or isinstance(labelled, Tensor)):
            raise ValueError("features in one tensor need modality, num_modalities and one mask labelled, or none.")
        check_rows("modality", modality, len(first), torch.long)
        parts = [_Part(first, second, labels, labelled, modality, num_modalities)]
    else:
        if any(isinstance(x, Tensor) for x in (second, labels, labelled)) or modality is not None or num_modalities:
            raise ValueError("features in a list need second, labels and labelled in lists, without modality.")
        masks = [None] * len(first) if labelled is None else labelled
        if not first or not len(first) == len(second) == len(labels) == len(masks):
            raise ValueError(
                f"first, second, labels and labelled must have one entry for each modality, got {len(first)}, "
                f"{len(second)}, {len(labels)} and {len(masks)}."
            )
        parts = [_Part(*part, None, 1) for part in zip(first, second, labels, masks, strict=True)]
    for part in parts:
        rows = part.first.shape[0]
        if part.first.ndim < 3 or part.second.ndim != part.first.ndim or part.second.shape[0] != rows:
            raise ValueError(
                "first and second must have shapes (N, P, *grid) and (N, Q, *grid), got "
                f"{tuple(part.first.shape)} and {tuple(part.second.shape)}."
            )
        if part.labels.shape[:2] != (rows, 1):
            raise ValueError(f"labels must have shape ({rows}, 1, *spatial), got {tuple(part.labels.shape)}.")
    if len(channels := {(part.first.shape[1], part.second.shape[1]) for part in parts}) > 1:
        raise ValueError(f"all modalities must have the same channels, got {sorted(channels)}.")
    return parts


def _pooled(part: _Part, num_classes: int | None, size_norm: SizeNorm) -> Affinities:
    """Matrices, pixels and rows of the modalities in one part, with one collective call."""
    first, second = (mask_samples(at_least_float32(x), part.labelled, "labelled") for x in (part.first, part.second))
    grid = [min(sizes) for sizes in zip(first.shape[2:], second.shape[2:], strict=True)]
    first, second = _average(first, grid), _average(second, grid)
    with torch.no_grad():
        if num_classes is None:
            masks = first.new_ones(first.shape[0], 1, *grid)
        else:
            masks = resize_class_masks(part.labels, num_classes, grid).to(first.dtype)
        masks = masks.flatten(2)
        size = pixels = masks.sum(2)
        if size_norm == "input":
            size = _input_pixels(part.labels, num_classes).to(pixels.dtype)
        elif size_norm == "fraction":
            size = pixels / masks.shape[2]
    products, squares_1, squares_2 = _masked_products(first.flatten(2), second.flatten(2), masks)
    table = torch.cat([products.flatten(2), squares_1, squares_2, size[..., None], pixels[..., None]], 2)
    ones = pixels.new_ones(pixels.shape[0], 1)
    modality, kept = (x if x is None else x.to(first.device) for x in (part.modality, part.labelled))
    sums = group_sums(torch.cat([table.flatten(1), ones], 1), modality, part.num_modalities, kept)
    rows, sums = sums[:, -1].detach(), sums[:, :-1].unflatten(1, table.shape[1:])
    channels = products.shape[2:]
    products, squares_1, squares_2, size, pixels = sums.split([channels.numel(), *channels, 1, 1], 2)
    size = size[..., 0].detach()
    if size_norm == "fraction":  # of the pixels of all images
        size = size / rows.clamp(min=1)[:, None]
    matrices = _cosines(products.unflatten(2, channels), squares_1, squares_2)
    if size_norm != "none":
        matrices = matrices / torch.where(size > 0, size, 1)[..., None, None]
    return Affinities(matrices, pixels[..., 0].detach(), rows)


def _masked_products(first: Tensor, second: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inner products ``(N, C, P, Q)`` of masked channels and their squared norms ``(N, C, P)`` and ``(N, C, Q)``."""
    # a matrix product under autocast would run in half precision, in which a sum over an image does not fit
    with torch.autocast(device_type=first.device.type, enabled=False):
        if first.shape[1] <= second.shape[1]:  # mask the one with fewer channels
            masked = (masks[:, :, None] * first[:, None]).flatten(1, 2)
            products = torch.bmm(masked, second.mT).unflatten(1, (masks.shape[1], first.shape[1]))
        else:
            masked = (masks[:, :, None] * second[:, None]).flatten(1, 2)
            products = torch.bmm(first, masked.mT).unflatten(2, (masks.shape[1], second.shape[1])).transpose(1, 2)
        squares = [torch.bmm(masks, features.square().mT) for features in (first, second)]
    return products, squares[0], squares[1]


def _cosines(products: Tensor, squares_1: Tensor, squares_2: Tensor) -> Tensor:
    """Cosines; 0, with gradient 0, where a channel is zero in the region, or so small that none is a number."""
    inverse_1, inverse_2 = (
        torch.where(squares > ZERO, squares, 1).rsqrt() * (squares > ZERO) for squares in (squares_1, squares_2)
    )
    return products * inverse_1[..., :, None] * inverse_2[..., None, :]


def _input_pixels(labels: Tensor, num_classes: int | None) -> Tensor:
    """Pixels of each class at full size, per row."""
    if num_classes is None:
        return labels.new_full((labels.shape[0], 1), labels[:1].numel(), dtype=torch.float32)
    return onehot_labels(labels, num_classes, torch.bool).flatten(2).sum(2)


def _average(values: Tensor, grid: Sequence[int]) -> Tensor:
    """Adaptive average pooling to a grid."""
    if tuple(values.shape[2:]) == tuple(grid):
        return values
    pools: tuple[Callable[..., Tensor], ...] = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
    return pools[values.ndim - 3](values, tuple(grid))
