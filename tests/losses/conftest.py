# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The cost vectors of the original implementation, in this project's order of axes and classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(params=[0, 1, 2], ids=["4 organs, a row without", "2 organs", "1 organ, none labelled"])
def costs(request, reference):
    """One case: ``true`` and ``pred`` of shape (B, K, h, w), background first; the rest as stored."""
    with np.load(reference / "dafnet_costs.npz") as stored:
        prefix = f"c{request.param}_"
        case = {k.removeprefix(prefix): torch.from_numpy(stored[k]) for k in stored.files if k.startswith(prefix)}
    for name in ("true", "pred"):
        case[name] = case[name].movedim(-1, 1).roll(1, dims=1).contiguous()
    return case
