# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from monai_mmseg.metrics import PAPER_DICE, paper_dice


@pytest.mark.parametrize("rule", PAPER_DICE)
@pytest.mark.parametrize(
    ("pred", "message"),
    [
        (np.full((3, 4, 5), 0.7), r"pred must hold whole class indices, got other numbers \(float64\)\."),
        (np.full((3, 4, 5), 255), r"pred must hold classes 0 to 2, got 255 to 255\."),
        (np.zeros((3, 4), int), r"pred and label must have one shape \(X, Y, Z\), got \(3, 4\) and \(3, 4, 5\)\."),
    ],
)
def test_what_is_no_label_volume_is_refused(rule, pred, message):
    with pytest.raises(ValueError, match=message):
        paper_dice(pred, np.zeros((3, 4, 5), int), 3, rule)
