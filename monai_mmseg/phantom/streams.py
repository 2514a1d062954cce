# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random numbers of a phantom, one stream for each purpose."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, subject: int, name: str) -> np.random.Generator:
    """Random numbers of one purpose: what one part draws does not change another.

    Args:
        seed: seed of the phantom.
        subject: number of the subject.
        name: what the numbers are for.

    Returns:
        A generator that depends on nothing but the arguments.

    Examples:
        >>> stream(0, 1, "body").uniform() == stream(0, 1, "body").uniform() != stream(0, 1, "scan").uniform()
        True
    """
    return np.random.default_rng([seed, subject, zlib.crc32(name.encode())])
