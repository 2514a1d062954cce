# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a network behind any subset of modalities makes of each subset, for its run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_mmseg.evaluation.subset_table import SubsetTable
from monai_mmseg.evaluation.subsets import Score, evaluate_subsets

__all__ = ["score_subsets"]


def score_subsets(
    network: nn.Module,
    inferer: Callable[..., Any],
    samples: Iterable[Mapping[str, Any]],
    modalities: Sequence[str],
    score: Score,
    *,
    device: torch.device | str = "cpu",
    method: str = "prediction",
    subsets: Iterable[Sequence[str]] | None = None,
) -> SubsetTable:
    """Scores of a network with each subset of the modalities, in one call that fits a config.

    Args:
        network: takes images with NaN where absent.
        inferer: runs it on volumes.
        samples: preprocessed subjects.
        modalities: M names in the order of the channels.
        score: see :func:`~monai_mmseg.evaluation.label_scores` and :func:`~monai_mmseg.evaluation.image_scores`.
        device: where the network is.
        method: name in the table.
        subsets: which ones; ``None``: all.

    Returns:
        A row a subject and subset, see :func:`~monai_mmseg.evaluation.evaluate_subsets`.
    """
    network.eval()

    def predict(image: Tensor) -> Tensor:
        made: Tensor = inferer(image.to(device), network)
        return made

    return evaluate_subsets(predict, samples, modalities, score, method=method, subsets=subsets)
