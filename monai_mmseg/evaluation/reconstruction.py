# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How well modalities are reconstructed from each other: a score for each ordered pair."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from monai_mmseg.evaluation.score import OTHERS, Score
from monai_mmseg.metrics.image_similarity import image_similarity, original_image_similarity


def reconstruction_scores(
    images: Mapping[str, Tensor],
    reconstructions: Mapping[tuple[str, str], Tensor],
    *,
    subject: str = "",
    method: str = "",
    ranges: Mapping[str, tuple[float, float]] | None = None,
    mask: Tensor | None = None,
    original: bool = True,
) -> list[Score]:
    """PSNR and SSIM of one subject's images that were made with the anatomy of another modality.

    A slice counts for a pair if both images are there; a pair without such a slice, or whose target has the same value
    everywhere, has no score, so no mean of a table meets a NaN.

    Args:
        images: modality to its slices, shape ``(D, H, W)`` or, with their neighbours, ``(D, S, H, W)``; one with a NaN
            is absent.
        reconstructions: (source, target) to what was made, same shape; :data:`OTHERS` as source stands for several.
        subject: goes into the scores.
        method: goes into the scores.
        ranges: modality to its lowest and highest value; ``None``: those of the target over all slices of the subject
            (the pixels that count).
        mask: pixels that count, bool ``(D, H, W)``, for our measures; ``None`` means all.
        original: also measure as the original code does: the first of the neighbours, without mask.

    Returns:
        A score a pair, in their order; of the neighbours the middle one is compared.

    Raises:
        ValueError: a reconstruction is of an unknown modality or of another shape, or a range is missing.

    Examples:
        >>> t1, t2 = torch.rand(2, 16, 16), torch.full((2, 16, 16), float("nan"))
        >>> copies = {("t1", "t1"): t1, ("t1", "t2"): t1, ("t2", "t1"): t1}
        >>> scores = reconstruction_scores({"t1": t1, "t2": t2}, copies)
        >>> [(s.case["source"], s.case["target"], s.values["slices"], s.values["psnr"]) for s in scores]  # no T2
        [('t1', 't1', 2.0, inf)]
    """
    stacks = {name: _with_neighbours(f"images[{name!r}]", image) for name, image in images.items()}
    present = {name: ~image.isnan().flatten(1).any(1) for name, image in stacks.items()}
    scores = []
    for (source, target), made in reconstructions.items():
        if target not in stacks or (source not in stacks and source != OTHERS):
            raise ValueError(f"reconstructions must be of pairs of {sorted(stacks)}, got {(source, target)}.")
        truth, made = stacks[target], _with_neighbours(f"reconstructions[{(source, target)}]", made)
        if made.shape != truth.shape:
            raise ValueError(
                f"reconstruction {source} -> {target} must have shape {tuple(truth.shape)}, got {tuple(made.shape)}."
            )
        sources = [known for name, known in present.items() if (name != target if source == OTHERS else name == source)]
        known = present[target] & (torch.stack(sources).any(0) if sources else torch.zeros_like(present[target]))
        counted = torch.ones_like(truth[:, 0], dtype=torch.bool) if mask is None else mask.to(truth.device)
        middle = truth.shape[1] // 2
        if not bool(known.any()):
            continue
        low_high = _range_of(truth[present[target], middle][counted[present[target]]], target, ranges)
        if low_high is None or not bool(counted[known, 5:-5, 5:-5].any()):
            continue
        pixels = None if mask is None else counted[known]
        values = {"slices": float(known.sum())}
        values |= image_similarity(made[known, middle], truth[known, middle], low_high, pixels)._asdict()
        if original:
            values |= _original(made[known, 0], truth[known, 0])
        scores.append(Score(method, subject, {"source": source, "target": target}, values))
    return scores


def _with_neighbours(name: str, image: Tensor) -> Tensor:
    if image.ndim not in (3, 4):
        raise ValueError(f"{name} must have shape (D, H, W) or (D, S, H, W), got {tuple(image.shape)}.")
    return image.detach().unsqueeze(1) if image.ndim == 3 else image.detach()


def _range_of(
    values: Tensor, target: str, ranges: Mapping[str, tuple[float, float]] | None
) -> tuple[float, float] | None:
    if ranges is not None:
        if target not in ranges:
            raise ValueError(f"ranges must have one entry for each modality, got {sorted(ranges)} without {target!r}.")
        return ranges[target]
    if not values.numel():
        return None
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else None


def _original(made: Tensor, truth: Tensor) -> dict[str, float]:
    """Means over the slices whose target has a range."""
    found = original_image_similarity(made, truth)
    usable = ~found.psnr.isnan()
    if not bool(usable.any()):
        return {}
    return {"original_psnr": float(found.psnr[usable].mean()), "original_ssim": float(found.ssim[usable].mean())}
