# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One line of an evaluation: how well one method found one class in one subject."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

#: The measures of a row: attribute, heading, unit, whether a higher value is better, decimals shown.
MEASURES: dict[str, tuple[str, str, bool, int]] = {
    "dice": ("Dice", "", True, 3),
    "hausdorff95": ("HD95", "mm", False, 1),
    "hausdorff": ("HD", "mm", False, 1),
    "surface_distance": ("ASSD", "mm", False, 2),
}


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one class in one subject by one method.

    Use it as the unit that every table of this project is made of; means are taken over subjects later, so that
    a subject with many slices counts as much as one with few.

    Args:
        method: who made the prediction, for example ``"dafnet"``.
        modality: which image was segmented.
        subject: whose volume it is.
        label: integer value of the class in the label volume.
        name: the class in words.
        dice: overlap in [0, 1].
        hausdorff: largest surface distance in mm.
        hausdorff95: 95th percentile of the surface distances in mm.
        surface_distance: average symmetric surface distance in mm.
        missed: the class is in the label and not in the prediction; distances are then the stated penalty.
        empty: the class is in neither; Dice 1 and distances 0 by definition.
        spurious: the class is in the prediction and not in the label; Dice 0 and distances are the penalty.

    Raises:
        ValueError: a score is not finite or out of its range.

    Examples:
        >>> row = ScoreRow("copy", "lge", "s01", 1, "myocardium", 0.5, 8.0, 6.0, 2.0)
        >>> row.missed, row.dice
        (False, 0.5)
    """

    method: str
    modality: str
    subject: str
    label: int
    name: str
    dice: float
    hausdorff: float
    hausdorff95: float
    surface_distance: float
    missed: bool = False
    empty: bool = False
    spurious: bool = False

    def __post_init__(self) -> None:
        for measure in MEASURES:
            value = getattr(self, measure)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{measure} must be finite and not negative, got {value} ({self._place()}).")
        if self.dice > 1 + 1e-6:
            raise ValueError(f"dice must be at most 1, got {self.dice} ({self._place()}).")
        if self.missed + self.empty + self.spurious > 1:
            raise ValueError(f"at most one of missed, empty and spurious can be true ({self._place()}).")

    def _place(self) -> str:
        return f"method {self.method!r}, subject {self.subject!r}, class {self.name!r}"

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a table must hold only once: method, modality, subject, label."""
        return (self.method, self.modality, self.subject, self.label)

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping with the fields in order, for JSON and CSV."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ScoreRow:
        """Row from :meth:`as_dict`'s mapping.

        Args:
            data: one entry per field; ``missed``, ``empty`` and ``spurious`` may be left out.

        Returns:
            The row.

        Raises:
            ValueError: a field is missing or unknown.
        """
        known = {field.name for field in fields(cls)}
        needed = known - {"missed", "empty", "spurious"}
        if lacking := needed - data.keys():
            raise ValueError(f"an evaluation row needs {sorted(needed)}, got none of {sorted(lacking)}.")
        if unknown := data.keys() - known:
            raise ValueError(f"an evaluation row has the fields {sorted(known)}, got also {sorted(unknown)}.")
        return cls(**dict(data))
