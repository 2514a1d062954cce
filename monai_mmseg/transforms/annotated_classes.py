# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Prediction and label as one-hot classes, alike where nobody annotated and in classes that nobody drew."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import AsDiscreted

from monai_mmseg.unannotated import UNANNOTATED


class AsAnnotatedClassesd(AsDiscreted):
    """MONAI's ``AsDiscreted`` for labels that leave voxels or classes out: there, all keys become background.

    When to use: before a metric of one-hot volumes, which then counts what was annotated. Without such voxels and
    classes it is ``AsDiscreted``, whose arguments it has. Classes are left out by ``unknown`` in the data, a bool for
    each class.

    Args:
        *args: as of ``AsDiscreted``.
        label_key: class map ``(1, *spatial)`` in which 255 is not annotated; one of the keys.
        **kwargs: as there.

    Examples:
        >>> both = AsAnnotatedClassesd(["pred", "label"], argmax=[True, False], to_onehot=2)
        >>> scores = torch.tensor([[0.0, 1.0], [9.0, 9.0]])
        >>> found = both({"pred": scores, "label": torch.tensor([[1, 255]])})
        >>> found["pred"].tolist(), found["label"].tolist()
        ([[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]])
    """

    def __init__(self, *args: Any, label_key: str = "label", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make all keys one-hot."""
        result = self._annotated(data)
        if self.label_key in data and "unknown" in data:
            for key in self.key_iterator(result):
                unknown = torch.as_tensor(data["unknown"]).flatten().to(result[key].device)
                result[key][0] += result[key][unknown].sum(0)
                result[key][unknown] = 0
        return result

    def _annotated(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if self.label_key not in data or not bool((left_out := data[self.label_key] == UNANNOTATED).any()):
            return super().__call__(data)
        label = data[self.label_key]
        result: dict[Hashable, Any] = super().__call__({**data, self.label_key: label.masked_fill(left_out, 0)})
        for key in self.key_iterator(result):
            classes = result[key]
            background = torch.zeros_like(classes)
            background[0] = 1
            result[key] = torch.where(left_out.to(classes.device), background, classes)
        return result
