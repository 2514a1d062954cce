# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_mmseg.transforms import AsAnnotatedClassesd


def test_classes_that_the_label_does_not_show_become_background():
    made = AsAnnotatedClassesd(["pred", "label"], to_onehot=3)
    data = {"pred": torch.tensor([[0, 1, 2, 2]]), "label": torch.tensor([[0, 1, 1, 255]])}
    found = made({**data, "unknown": torch.tensor([False, False, True])})
    assert found["pred"].argmax(0).tolist() == [0, 1, 0, 0]
    assert found["label"].argmax(0).tolist() == [0, 1, 1, 0]
    assert found["pred"].sum(0).tolist() == [1] * 4
    whole = made({**data, "unknown": torch.tensor([[False] * 3])})  # as a loader gives it
    assert whole["pred"].argmax(0).tolist() == [0, 1, 2, 0]
