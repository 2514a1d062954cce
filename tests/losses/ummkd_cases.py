# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The loss vectors of the original implementation of UMMKD, channels second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

FILE = Path(__file__).resolve().parents[1] / "reference" / "ummkd_losses.npz"
with np.load(FILE) as stored:
    ARRAYS = {key: stored[key] for key in stored.files}
CASES = sorted({key.split("/")[0] for key in ARRAYS})
CHANNELS_LAST = ("logits", "onehot", "g_")


def case(name):
    """All arrays of a case as tensors by their name in the file."""
    found = {
        key.split("/")[1]: torch.from_numpy(np.asarray(ARRAYS[key])) for key in ARRAYS if key.startswith(f"{name}/")
    }
    return {
        key: value.movedim(-1, 1).contiguous() if key.startswith(CHANNELS_LAST) else value
        for key, value in found.items()
    }
