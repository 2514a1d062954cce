# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How well modalities are redrawn from each other: a row for each subject and ordered pair, a table of them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor

from monai_mmseg.evaluation.table_files import plain_number
from monai_mmseg.metrics.image_similarity import image_similarity, original_image_similarity

__all__ = ["IMAGE_MEASURES", "OTHERS", "ReconstructionRow", "reconstruction_rows"]

#: Source of an image that was drawn from all modalities but itself, without its own code: what inference does.
OTHERS = "all others"

#: The measures of a row: attribute, heading, unit, decimals shown; higher is better in all.
IMAGE_MEASURES: dict[str, tuple[str, str, int]] = {
    "psnr": ("PSNR", "dB", 2),
    "ssim": ("SSIM", "", 3),
    "original_psnr": ("PSNR, original code", "dB", 3),
    "original_ssim": ("SSIM, original code", "", 3),
}


@dataclass(frozen=True)
class ReconstructionRow:
    """How like the images of one subject's modality are that were drawn with the anatomy of another.

    Args:
        method: who drew them.
        subject: whose images.
        source: modality whose anatomy was drawn, or :data:`OTHERS`.
        target: modality that was drawn; the same as ``source`` for a self-reconstruction.
        slices: how many have both images.
        psnr: in dB, infinite for equal images; see :func:`~monai_mmseg.metrics.image_similarity`.
        ssim: see there.
        original_psnr: see :func:`~monai_mmseg.metrics.original_image_similarity`; ``None``: not measured.
        original_ssim: see there.

    Raises:
        ValueError: a score is NaN, or there is no slice.
    """

    method: str
    subject: str
    source: str
    target: str
    slices: int
    psnr: float
    ssim: float
    original_psnr: float | None = None
    original_ssim: float | None = None

    def __post_init__(self) -> None:
        for name in IMAGE_MEASURES:
            value = getattr(self, name)
            if value is not None and math.isnan(value):
                raise ValueError(f"{name} must be a number, got NaN (subject {self.subject!r}); leave the row out.")
        if self.slices < 1:
            raise ValueError(f"slices must be at least 1, got {self.slices} (subject {self.subject!r}).")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a table must hold only once."""
        return (self.method, self.subject, self.source, self.target)

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON and CSV; an infinite PSNR is the text ``inf``."""
        return {key: plain_number(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReconstructionRow:
        """Row from the mapping of :meth:`as_dict`.

        Args:
            data: one entry a field.

        Returns:
            The row.

        Raises:
            ValueError: a field is missing or unknown.
        """
        known = [field.name for field in fields(cls)]
        if odd := sorted(set(known) ^ data.keys()):
            raise ValueError(f"a reconstruction row has the fields {known}, got a difference in {odd}.")
        values: dict[str, Any] = dict(data)
        values.update({name: float(values[name]) for name in IMAGE_MEASURES if values[name] is not None})
        return cls(**values)


def reconstruction_rows(
    images: Mapping[str, Tensor],
    drawings: Mapping[tuple[str, str], Tensor],
    *,
    subject: str,
    method: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    mask: Tensor | None = None,
    original: bool = True,
) -> list[ReconstructionRow]:
    """Rows of one subject.

    Use it where images are in memory; :func:`~monai_mmseg.report.describe_disentangle` draws and collects them. A slice
    counts for a pair if both images are there; a pair without such a slice, or whose target has the same value
    everywhere, has no row, so no mean of a table meets a NaN.

    Args:
        images: modality to its slices, shape ``(D, H, W)`` or, with their neighbours, ``(D, S, H, W)``; one with a NaN
            is absent.
        drawings: (source, target) to what was drawn, same shape; :data:`OTHERS` as source stands for several.
        subject: goes into the rows.
        method: goes into the rows.
        ranges: modality to its lowest and highest value; ``None``: those of the target over all slices of the subject
            (the pixels that count).
        mask: pixels that count, bool ``(D, H, W)``, for our measures; ``None`` means all.
        original: also measure as the released code does: the first of the neighbours, without mask.

    Returns:
        A row a pair, in the order of ``drawings``; of the neighbours the middle one is compared.

    Raises:
        ValueError: a drawing is of an unknown modality or of another shape, or a range is missing.

    Examples:
        >>> import torch
        >>> t1, t2 = torch.rand(2, 16, 16), torch.full((2, 16, 16), float("nan"))
        >>> copies = {("t1", "t1"): t1, ("t1", "t2"): t1, ("t2", "t1"): t1}
        >>> rows = reconstruction_rows({"t1": t1, "t2": t2}, copies, subject="s01", method="copy")
        >>> [(row.source, row.target, row.slices, row.psnr) for row in rows]  # there is no T2
        [('t1', 't1', 2, inf)]
    """
    stacks = {name: _with_neighbours(f"images[{name!r}]", image) for name, image in images.items()}
    there = {name: ~image.isnan().flatten(1).any(1) for name, image in stacks.items()}
    rows = []
    for (source, target), drawn in drawings.items():
        if target not in stacks or (source not in stacks and source != OTHERS):
            raise ValueError(f"drawings must be of pairs of {sorted(stacks)}, got {(source, target)}.")
        truth, drawn = stacks[target], _with_neighbours(f"drawings[{(source, target)}]", drawn)
        if drawn.shape != truth.shape:
            raise ValueError(f"drawing {source} -> {target} must have shape {tuple(truth.shape)}, got {drawn.shape}.")
        known = there[target] & (_any_other(there, target) if source == OTHERS else there[source])
        counted = None if mask is None else mask.to(truth.device)
        if not bool(known.any()):
            continue
        middle = truth.shape[1] // 2
        low_high = _range_of(
            truth[there[target], middle], None if counted is None else counted[there[target]], target, ranges
        )
        if low_high is None:
            continue
        pixels = None if counted is None else counted[known]
        if pixels is not None and not bool(pixels[:, 5:-5, 5:-5].any()):
            continue
        found = image_similarity(drawn[known, middle], truth[known, middle], low_high, pixels)
        old = _original(drawn[known, 0], truth[known, 0]) if original else (None, None)
        rows.append(ReconstructionRow(method, subject, source, target, int(known.sum()), found.psnr, found.ssim, *old))
    return rows


def _with_neighbours(name: str, image: Tensor) -> Tensor:
    if image.ndim not in (3, 4):
        raise ValueError(f"{name} must have shape (D, H, W) or (D, S, H, W), got {tuple(image.shape)}.")
    return image.detach().unsqueeze(1) if image.ndim == 3 else image.detach()


def _any_other(there: Mapping[str, Tensor], target: str) -> Tensor:
    others = [known for name, known in there.items() if name != target]
    known = there[target] & False
    for one in others:
        known = known | one
    return known


def _range_of(
    truth: Tensor, mask: Tensor | None, target: str, ranges: Mapping[str, tuple[float, float]] | None
) -> tuple[float, float] | None:
    if ranges is not None:
        if target not in ranges:
            raise ValueError(f"ranges must have one entry for each modality, got {sorted(ranges)} without {target!r}.")
        return ranges[target]
    values = truth if mask is None else truth[mask]
    if not values.numel():
        return None
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else None


def _original(drawn: Tensor, truth: Tensor) -> tuple[float | None, float | None]:
    """Means over the slices whose target has a range."""
    found = original_image_similarity(drawn, truth)
    usable = ~found.psnr.isnan()
    if not bool(usable.any()):
        return None, None
    return float(found.psnr[usable].mean()), float(found.ssim[usable].mean())
