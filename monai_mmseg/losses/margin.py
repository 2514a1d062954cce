# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Margin losses between codes of several modalities: what belongs together is closer than what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from monai_mmseg.losses.inputs import at_least_float32
from monai_mmseg.losses.masked import mean_of_columns

Pairs = Literal["all", "ascending", "random"]
EPS = 1e-8  # the original's constant beside the squared norm


def anatomy_signature(anatomy: Tensor, pool: int = 16, mode: Literal["max", "mean"] = "max") -> Tensor:
    """Returns anatomies as short vectors: pooled to coarse blocks, then flattened.

    When to use: to compare anatomies by where tissue is, roughly, and not pixel by pixel.

    Args:
        anatomy: shape ``(B, M, C, *spatial)``, in two or three dimensions.
        pool: edge of a block in pixels; rows and columns beyond a multiple are dropped.
        mode: largest or mean value of a block.

    Returns:
        Shape ``(B, M, C * blocks)``.

    Raises:
        ValueError: when the shape is another, no whole block fits, or ``mode`` is unknown.

    Reference:
        Ouyang et al., "Representation disentanglement for multi-modal brain MR analysis", IPMI 2021,
        arXiv:2102.11456: f of Eq. 4.

    Examples:
        >>> anatomy_signature(torch.rand(2, 3, 4, 160, 192)).shape
        torch.Size([2, 3, 480])
    """
    if mode not in ("max", "mean"):
        raise ValueError(f"mode must be 'max' or 'mean', got {mode!r}.")
    dims = anatomy.ndim - 3
    if dims not in (2, 3) or min(anatomy.shape[3:]) < pool:
        raise ValueError(
            f"anatomy must have shape (B, M, C, *spatial) with at least {pool} pixels along each of 2 or 3 axes, got "
            f"{tuple(anatomy.shape)}."
        )
    pools = (F.max_pool2d, F.max_pool3d) if mode == "max" else (F.avg_pool2d, F.avg_pool3d)
    pooled: Tensor = pools[dims - 2](at_least_float32(anatomy).flatten(0, 1), pool)
    return pooled.flatten(1).unflatten(0, anatomy.shape[:2])


def subject_margin(
    codes: Tensor,
    present: Tensor | None = None,
    margin: float = 0.1,
    *,
    pairs: Pairs | tuple[int, int] = "all",
    subject: Tensor | None = None,
) -> Tensor:
    r"""Codes of one subject's modalities are closer to each other than codes of different subjects, by a margin.

    When to use: on what should be the same in all modalities of a subject (its anatomy; see
    :func:`anatomy_signature`). With q the next row of the batch, for modalities :math:`i \neq j`:

    .. math:: \max(0, \alpha - \cos(u_i^p, u_j^p) + \cos(u_i^q, u_i^p)),

    averaged over the rows that have i and j and whose next has i, then over the pairs (i, j) with such rows.

    Args:
        codes: shape ``(B, M, D)``; shuffle rows, for the next one stands for another subject.
        present: which modalities a row has, bool ``(B, M)``. ``None`` means all. Codes of what is absent are never
            read (not even a NaN).
        margin: :math:`\alpha`.
        pairs: all ordered pairs of modalities (``"all"``), those with i < j (``"ascending"``), one drawn at random a
            call (``"random"``), or a given pair.
        subject: number of each row's subject, integers ``(B,)``; a row whose next is of the same subject is left out.
            ``None`` compares all.

    Returns:
        Scalar, at least float32; zero where nothing can be compared (one modality). A batch of one row is its
        own next, as in the original code; with ``subject`` it counts nothing.

    Raises:
        ValueError: when the arguments do not fit together, or ``margin`` is not finite.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: Eq. 4. Differs from the paper: pairs of a modality with itself are
        left out, as in the original code, for they push different subjects apart without end.

    Examples:
        >>> same = torch.eye(2)[:, None].expand(2, 3, 2)  # two subjects, three modalities
        >>> subject_margin(same), subject_margin(torch.ones(2, 3, 4), margin=0.25)
        (tensor(0.), tensor(0.2500))
    """
    count = _counted(codes, present, pairs, subject)
    within, across = _cosines(codes, present)
    return mean_of_columns((_finite(margin) - within + across[..., None]).relu(), count)


def modality_margin(
    codes: Tensor,
    present: Tensor | None = None,
    margin: float = 0.1,
    *,
    pairs: Pairs | tuple[int, int] = "all",
    subject: Tensor | None = None,
) -> Tensor:
    r"""Codes of one modality are closer to each other than codes of different modalities, by a margin.

    When to use: on what should be the same for all subjects in one modality (its appearance). With q the next row of
    the batch, for modalities :math:`i \neq j`:

    .. math:: \max(0, \alpha - \cos(z_i^p, z_i^q) + \cos(z_i^p, z_j^p)),

    averaged as in :func:`subject_margin`.

    Args:
        codes: shape ``(B, M, D)``; shuffle rows, for the next one stands for another subject.
        present: as in :func:`subject_margin`.
        margin: :math:`\alpha`.
        pairs: as in :func:`subject_margin`; the original code has ``"ascending"``.
        subject: as there.

    Returns:
        Scalar, at least float32; zero where nothing can be compared (one modality). A batch of one row is its
        own next, as in the original code; with ``subject`` it counts nothing.

    Raises:
        ValueError: when the arguments do not fit together, or ``margin`` is not finite.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: Eq. 5, without pairs of a modality with itself.

    Examples:
        >>> apart = torch.eye(3)[None].expand(2, 3, 3)  # two subjects, a direction for each of three modalities
        >>> modality_margin(apart), modality_margin(torch.ones(2, 3, 4), margin=0.25)
        (tensor(0.), tensor(0.2500))
    """
    count = _counted(codes, present, pairs, subject)
    within, across = _cosines(codes, present)
    return mean_of_columns((_finite(margin) - across[..., None] + within).relu(), count)


class SubjectMarginLoss(_Loss):
    """Module form of :func:`subject_margin`, on anatomies ``(B, M, C, *spatial)``.

    When to use: in any training loop that holds several modalities of each subject. Further arguments of a call are
    ``present (B, M)`` and ``subject (B,)``.

    Args:
        margin: how much closer.
        pairs: ``"all"``, ``"ascending"``, ``"random"`` or a pair of indices.
        pool: edge of the blocks of :func:`anatomy_signature`.

    Raises:
        ValueError: when a setting is not one of those listed.

    Examples:
        >>> SubjectMarginLoss()(torch.ones(2, 3, 4, 32, 32))  # all alike: the margin is missed by itself
        tensor(0.1000)
    """

    def __init__(self, margin: float = 0.1, *, pairs: Pairs | Sequence[int] = "all", pool: int = 16) -> None:
        super().__init__()
        self.margin, self.pairs, self.pool = _finite(margin), _checked(pairs), pool

    def forward(self, anatomy: Tensor, present: Tensor | None = None, subject: Tensor | None = None) -> Tensor:
        """Returns the loss of the batch."""
        vectors = anatomy_signature(anatomy, self.pool)
        return subject_margin(vectors, present, self.margin, pairs=self.pairs, subject=subject)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"margin={self.margin:g}, pairs={self.pairs!r}, pool={self.pool}"


class ModalityMarginLoss(_Loss):
    """Module form of :func:`modality_margin`; call it as :class:`SubjectMarginLoss`, with codes ``(B, M, D)``.

    When to use: in any training loop that holds several modalities of each subject.

    Args:
        margin: how much closer.
        pairs: ``"all"``, ``"ascending"``, ``"random"`` or a pair of indices.

    Raises:
        ValueError: when a setting is not one of those listed.

    Examples:
        >>> ModalityMarginLoss()(torch.ones(2, 3, 16))
        tensor(0.1000)
    """

    def __init__(self, margin: float = 0.1, *, pairs: Pairs | Sequence[int] = "all") -> None:
        super().__init__()
        self.margin, self.pairs = _finite(margin), _checked(pairs)

    def forward(self, codes: Tensor, present: Tensor | None = None, subject: Tensor | None = None) -> Tensor:
        """Returns the loss of the batch."""
        return modality_margin(codes, present, self.margin, pairs=self.pairs, subject=subject)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"margin={self.margin:g}, pairs={self.pairs!r}"


def _finite(margin: float) -> float:
    if not math.isfinite(margin):
        raise ValueError(f"margin must be a finite number, got {margin}.")
    return float(margin)


def _cosines(codes: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cosines between the modalities of a row ``(B, M, M)``, and between a row and the next ``(B, M)``."""
    values = at_least_float32(codes)
    if present is not None:  # NaN of what is absent would reach the gradient of what it is multiplied with
        values = torch.where(present.to(values.device)[..., None], values, 0)
    unit = values * (values.square().sum(-1, keepdim=True) + EPS).rsqrt()
    # a product and a sum, not a matrix product: autocast would turn that one into half precision
    within = (unit[:, :, None] * unit[:, None]).sum(-1)
    return within, (unit * unit.roll(-1, 0)).sum(-1)


def _counted(codes: Tensor, present: Tensor | None, pairs: Pairs | tuple[int, int], subject: Tensor | None) -> Tensor:
    """Which hinges count, bool ``(B, M, M)``."""
    if codes.ndim != 3:
        raise ValueError(f"codes must have shape (B, M, D), got {tuple(codes.shape)}.")
    rows, count = codes.shape[:2]
    there = torch.ones(rows, count, dtype=torch.bool, device=codes.device) if present is None else present
    if there.shape != (rows, count) or there.dtype != torch.bool:
        raise ValueError(
            f"present must be bool of shape {(rows, count)}, got {there.dtype} of shape {tuple(there.shape)}."
        )
    there = there.to(codes.device)
    anchor = there & there.roll(-1, 0)
    if subject is not None:
        if subject.shape != (rows,):
            raise ValueError(f"subject must have shape ({rows},), got {tuple(subject.shape)}.")
        anchor = anchor & (subject != subject.roll(-1)).to(codes.device)[:, None]
    return anchor[:, :, None] & there[:, None] & _chosen(pairs, count, codes.device)


def _chosen(pairs: Pairs | tuple[int, int], count: int, device: torch.device) -> Tensor:
    """Which pairs of modalities count, bool ``(M, M)``."""
    every = ~torch.eye(count, dtype=torch.bool, device=device)
    checked = _checked(pairs)
    if checked == "all" or count < 2:
        return every
    if checked == "ascending":
        return every.triu()
    if checked == "random":
        first = int(torch.randint(count, ()))
        checked = (first, (first + 1 + int(torch.randint(count - 1, ()))) % count)
    i, j = checked
    if not isinstance(i, int) or not isinstance(j, int) or i == j or not (0 <= i < count and 0 <= j < count):
        raise ValueError(f"pairs must be two different indices below {count}, got {pairs}.")
    chosen = torch.zeros_like(every)
    chosen[i, j] = True
    return chosen


def _checked(pairs: Pairs | Sequence[int]) -> Pairs | tuple[int, int]:
    if isinstance(pairs, str):
        if pairs not in ("all", "ascending", "random"):
            raise ValueError(f"pairs must be 'all', 'ascending', 'random' or two indices, got {pairs!r}.")
        return pairs
    if len(pairs) != 2:
        raise ValueError(f"pairs must be 'all', 'ascending', 'random' or two indices, got {pairs!r}.")
    return int(pairs[0]), int(pairs[1])
