# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether codes cluster by modality and anatomies by subject: silhouettes, and points to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import NDArray
from torch import Tensor

EXTRA = "silhouettes and t-SNE need scikit-learn: pip install 'monai-mmseg[report]' ({})"
_silhouette_score, _ = optional_import("sklearn.metrics", name="silhouette_score", descriptor=EXTRA)
_TSNE, _ = optional_import("sklearn.manifold", name="TSNE", descriptor=EXTRA)


class Silhouettes(NamedTuple):
    """What :func:`silhouettes` returns; ``None`` where there are not two groups with several rows."""

    code_by_modality: float | None  # wanted: near 1
    anatomy_by_modality: float | None  # wanted: 0 or less
    anatomy_by_subject: float | None  # wanted: near 1
    rows: int
    subjects: int
    metric: str


def silhouettes(
    code: Tensor,
    signature: Tensor,
    modality: Sequence[int] | Tensor,
    subjects: Sequence[str],
    *,
    metric: Literal["cosine", "euclidean"] = "cosine",
) -> Silhouettes:
    """Mean silhouettes of codes and anatomies, grouped by modality and by subject.

    Use it to put a number on the pictures of :func:`~monai_mmseg.visualize.embedding_figure`: a silhouette is 1 where
    a row is much closer to its own group than to the next one, 0 where it lies between both, negative where it is
    closer to the other. Take slices of about one height: those of the crown and of the base of one brain differ more
    than those of two brains. Needs scikit-learn.

    Args:
        code: modality codes, shape ``(N, D)``.
        signature: anatomies as :func:`~monai_mmseg.losses.anatomy_signature` gives them, shape ``(N, F)``.
        modality: index of the modality of each row.
        subjects: subject of each row.
        metric: distance between rows; the margin losses compare cosines.

    Raises:
        ValueError: lengths differ, or a value is not finite.

    Examples:
        >>> import torch
        >>> code = torch.eye(2).repeat(4, 1)  # a direction for each of two modalities
        >>> anatomy = torch.eye(4).repeat_interleave(2, 0)  # one for each of four subjects
        >>> silhouettes(code, anatomy, [0, 1] * 4, [s for s in "abcd" for _ in range(2)])[:3]
        (1.0, -0.25, 1.0)
    """
    index = np.asarray([int(value) for value in modality])
    names = np.asarray([str(name) for name in subjects])
    points = {"code": _points(code, "code"), "signature": _points(signature, "signature")}
    if len({len(index), len(names), *(len(found) for found in points.values())}) != 1:
        sizes = [len(found) for found in (*points.values(), index, names)]
        raise ValueError(f"code, signature, modality and subjects must have one entry a row, got {sizes}.")
    return Silhouettes(
        _silhouette(points["code"], index, metric),
        _silhouette(points["signature"], index, metric),
        _silhouette(points["signature"], names, metric),
        len(index),
        len(set(names.tolist())),
        metric,
    )


def embed(
    points: Tensor, *, perplexity: float = 30.0, metric: Literal["cosine", "euclidean"] = "cosine", seed: int = 0
) -> NDArray[np.float64]:
    """Points ``(N, 2)`` by t-SNE, for pictures only: distances between far groups mean nothing.

    Args:
        points: shape ``(N, D)``.
        perplexity: about how many neighbours count; less where there are few points.
        metric: distance between rows.
        seed: of the start.

    Raises:
        ValueError: fewer than three points, or a value is not finite.

    Reference:
        van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.
    """
    values = _points(points, "points")
    if len(values) < 3:
        raise ValueError(f"points must hold at least 3 rows, got {len(values)}.")
    effective = min(float(perplexity), max(1.0, (len(values) - 1) / 3))
    # a start by principal components needs coordinates, which are there; a random one depends on the seed alone
    model = _TSNE(2, perplexity=effective, metric=metric, init="random", random_state=seed)
    found: NDArray[np.float64] = np.asarray(model.fit_transform(values), dtype=np.float64)
    return found


def _silhouette(points: NDArray[np.float64], groups: NDArray[Any], metric: str) -> float | None:
    count = len(set(groups.tolist()))
    if not 2 <= count < len(groups):
        return None
    return round(float(_silhouette_score(points, groups, metric=metric)), 6)


def _points(values: Tensor, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.detach().cpu().double().numpy()
    if found.ndim != 2 or not np.all(np.isfinite(found)):
        raise ValueError(f"{name} must be finite with shape (N, D), got shape {tuple(found.shape)}.")
    return found
