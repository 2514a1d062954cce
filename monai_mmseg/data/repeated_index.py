# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""An index that knows how often it was drawn before, so that a repeated sample is not augmented the same way again."""

from __future__ import annotations

__all__ = ["RepeatedIndex"]


class RepeatedIndex(int):
    """Place in a data set, and the number of the draw.

    Samplers that repeat samples within an epoch give it out; for any data set it is an ``int``. Data sets whose
    augmentation is a function of seed, epoch and item mix in `draw`: else all repeats in an epoch would be one picture.

    Examples:
        >>> index = RepeatedIndex(3, draw=2)
        >>> ["a", "b", "c", "d"][index], index.draw
        ('d', 2)
    """

    draw: int

    def __new__(cls, value: int, draw: int = 0) -> RepeatedIndex:
        """Make an index.

        Args:
            value: place in the data set.
            draw: how often it was drawn before in this epoch.
        """
        index = super().__new__(cls, value)
        index.draw = int(draw)
        return index
