# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Class-specific affinity made alike in all modalities: layers that build on each other in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from monai_mmseg.losses.class_affinity import Affinities, SizeNorm, class_affinities

AffinityReduction = Literal["mse", "literal", "frobenius_p2"]
AbsentAffinity = Literal["skip", "zero"]
Maps = Tensor | Sequence[Tensor]  # rows of several modalities, or a tensor for each


def affinity_consistency_loss(
    first: Maps,
    second: Maps,
    labels: Maps,
    num_classes: int,
    modality: Tensor | None = None,
    num_modalities: int | None = None,
    labelled: Maps | None = None,
    *,
    class_specific: bool = True,
    reduction: AffinityReduction = "mse",
    size_norm: SizeNorm = "feature",
    absent: AbsentAffinity = "skip",
    include_background: bool = True,
) -> Tensor:
    r"""How differently modalities relate the channels of two layers within each class.

    When to use: beside a segmentation loss, to train one network on images of several modalities of different patients:
    features of two neighbouring layers then build on each other in the same way in all modalities. Nothing has to be
    paired or aligned, and the numbers and sizes of images may differ. With A the matrices of :func:`class_affinities`
    and the default reduction:

    .. math:: \frac{1}{C} \sum_c \frac{1}{PQ} \sum_{mn} (a^{c,1}_{mn} - a^{c,2}_{mn})^2.

    With more than two modalities it is the mean of
    this over their (unordered) pairs. The size normalisation of the paper makes the value tiny (an entry is at most one
    over the pixels of the class): weigh the loss accordingly or choose ``size_norm="none"`` or ``"fraction"``.

    Args:
        first: features of a layer: a tensor ``(N_m, P, *grid)`` for each modality, or one with rows of several.
        second: features of another layer, with Q channels.
        labels: class indices with one channel, of any size, in the form of ``first``.
        num_classes: number of classes, background included.
        modality: for one tensor: index of each row's modality, shape ``(N,)``.
        num_modalities: for one tensor: number of modalities.
        labelled: which rows carry a label; ``None`` means all.
        class_specific: ``False``: one matrix of the whole image, without classes.
        reduction: ``"mse"``: mean of the squared differences; ``"literal"``: square of their mean, as the paper's
            equation reads, which compares only one number a class; ``"frobenius_p2"``: sum of squares over (PQ)^2.
        size_norm: what the affinities are divided by: ``"feature"``, ``"input"``, ``"fraction"`` or ``"none"``.
        absent: a class without pixels in a modality of the batch adds nothing (``"skip"``) or has affinities of 0
            (``"zero"``).
        include_background: whether class 0 counts.

    Returns:
        Scalar, at least float32, zero or more. In a distributed run every process has the loss of the joined batch.

    Raises:
        ValueError: when the arguments do not fit together.

    Reference:
        Chen et al., MICCAI 2020, arXiv:2101.01513: Eqs. 2 to 4. Differs from the paper: the default squares before it
        averages, since the square of the mean does not depend on which channel relates to which.

    Examples:
        >>> labels = torch.tensor([[[0, 0, 1, 1]]])
        >>> ct = torch.tensor([[[1.0, 2.0, 0.0, 1.0]]])
        >>> mr = torch.tensor([[[1.0, 2.0, 0.0, -1.0]]])
        >>> affinity_consistency_loss([ct, mr], [ct, -mr], [labels, labels], 2, size_norm="none")  # cosines 1, -1
        tensor(4.)
    """
    _check(reduction, absent=absent)
    affinities = class_affinities(
        first,
        second,
        labels,
        num_classes,
        modality,
        num_modalities,
        labelled,
        class_specific=class_specific,
        size_norm=size_norm,
    )
    return _distance(affinities, reduction, absent, include_background)


class AffinityConsistencyLoss(_Loss):
    """Module form of :func:`affinity_consistency_loss`.

    When to use: in any training loop, on features that :class:`~monai_mmseg.networks.layers.FeatureTaps` records. Call
    it with ``first``, ``second``, ``labels``, ``modality`` and ``labelled``, in either form.

    Args:
        num_classes: number of classes, background included.
        num_modalities: number of modalities, for features in one tensor; ``None`` for lists.
        class_specific: as in the function.
        reduction: as there.
        size_norm: as there.
        absent: as there.
        include_background: as there.

    Raises:
        ValueError: when a setting is not one of those listed.

    Examples:
        >>> loss = AffinityConsistencyLoss(3, num_modalities=2)
        >>> features, labels = torch.rand(4, 5, 8, 8), torch.randint(3, (4, 1, 32, 32))
        >>> loss(features, features.square(), labels, torch.tensor([0, 1, 1, 0])).shape
        torch.Size([])
    """

    def __init__(
        self,
        num_classes: int,
        num_modalities: int | None = None,
        *,
        class_specific: bool = True,
        reduction: AffinityReduction = "mse",
        size_norm: SizeNorm = "feature",
        absent: AbsentAffinity = "skip",
        include_background: bool = True,
    ) -> None:
        super().__init__()  # `reduction` of torch's base class is another thing: that of a batch
        _check(reduction, size_norm, absent)
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
        self.num_classes, self.num_modalities = int(num_classes), num_modalities
        self.class_specific, self.distance, self.size_norm = class_specific, reduction, size_norm
        self.absent, self.include_background = absent, include_background

    def affinities(
        self,
        first: Maps,
        second: Maps,
        labels: Maps,
        modality: Tensor | None = None,
        labelled: Maps | None = None,
        num_modalities: int | None = None,
    ) -> Affinities:
        """Returns the matrices that the loss compares, of ``num_modalities`` other than those of the loss if given."""
        count = (num_modalities or self.num_modalities) if isinstance(first, Tensor) else None
        return class_affinities(
            first,
            second,
            labels,
            self.num_classes,
            modality,
            count,
            labelled,
            class_specific=self.class_specific,
            size_norm=self.size_norm,
        )

    def compare(self, affinities: Affinities) -> Tensor:
        """Returns the loss of given matrices."""
        return _distance(affinities, self.distance, self.absent, self.include_background)

    def forward(
        self, first: Maps, second: Maps, labels: Maps, modality: Tensor | None = None, labelled: Maps | None = None
    ) -> Tensor:
        """Returns the loss of the batch."""
        return self.compare(self.affinities(first, second, labels, modality, labelled))

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return (
            f"num_classes={self.num_classes}, num_modalities={self.num_modalities}, "
            f"class_specific={self.class_specific}, reduction={self.distance!r}, size_norm={self.size_norm!r}, "
            f"absent={self.absent!r}, include_background={self.include_background}"
        )


def _distance(affinities: Affinities, reduction: str, absent: str, include_background: bool) -> Tensor:
    """How far the matrices of the modalities are from each other; a single class always counts."""
    matrices, pixels, rows = affinities
    if not include_background and matrices.shape[1] > 1:
        matrices, pixels = matrices[:, 1:], pixels[:, 1:]
    a, b = torch.triu_indices(len(matrices), len(matrices), 1, device=matrices.device)
    difference = matrices[a] - matrices[b]  # (pairs, C, P, Q)
    if reduction == "literal":
        distance = difference.mean((2, 3)).square()
    else:
        distance = difference.square().mean((2, 3))
        if reduction == "frobenius_p2":
            distance = distance / matrices[0, 0].numel()
    if absent == "skip":
        distance = distance * ((pixels[a] > 0) & (pixels[b] > 0))
    # a modality without an image is not there: it has no affinities, not zero ones
    pairs = (rows[a] > 0) & (rows[b] > 0)
    return (distance.mean(1) * pairs).sum() / pairs.sum().clamp(min=1)


def _check(reduction: str, size_norm: str = "none", absent: str = "skip") -> None:
    settings = (
        ("reduction", reduction, AffinityReduction),
        ("size_norm", size_norm, SizeNorm),
        ("absent", absent, AbsentAffinity),
    )
    for name, value, known in settings:
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {get_args(known)}, got {value!r}.")
