# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Voxels that nobody annotated, within labels that somebody drew: one value says so, in files and in memory."""

from __future__ import annotations

from typing import Any

UNANNOTATED = 255
"""Value of such voxels in a label volume; a datalist that has them says ``"ignore": 255``."""


def is_foreground(label: Any) -> Any:
    """Where a label shows a class that is not the background.

    Args:
        label: class map, an array or a tensor of any shape.

    Returns:
        Bool, of the same kind and shape.

    Examples:
        >>> import numpy as np
        >>> is_foreground(np.array([0, 2, 255])).tolist()
        [False, True, False]
    """
    return (label > 0) & (label != UNANNOTATED)
