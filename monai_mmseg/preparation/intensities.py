# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A few numbers that tell how bright images are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0.5, 5.0, 50.0, 95.0, 99.5)
INTENSITIES = ("mean", "std", "min", "max", *(f"p{percent:g}" for percent in PERCENTILES))


def image_intensities(image: NDArray[Any]) -> dict[str, float]:
    """Mean, standard deviation, ends and percentiles of one image.

    Args:
        image: voxels, any shape.

    Returns:
        :data:`INTENSITIES` to value.

    Examples:
        >>> image_intensities(np.arange(101))["p99.5"]
        99.5
    """
    values = np.asarray(image, dtype=np.float64)
    measured = [values.mean(), values.std(), values.min(), values.max(), *np.percentile(values, PERCENTILES)]
    return dict(zip(INTENSITIES, map(float, measured), strict=True))


def mean_intensities(images: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over images of each image's own numbers, so that large images do not outweigh small ones.

    Args:
        images: of :func:`image_intensities`, one or more.

    Returns:
        :data:`INTENSITIES` to value, five decimals.

    Examples:
        >>> mean_intensities([image_intensities(np.zeros(3)), image_intensities(np.ones(3))])["mean"]
        0.5
    """
    return {name: round(float(np.mean([one[name] for one in images])), 5) for name in INTENSITIES}
