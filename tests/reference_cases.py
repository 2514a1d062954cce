# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Reference files that hold several cases with their settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent / "reference"


def cases_of(name):
    """Settings of each case of a file by its name."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        return json.loads(str(stored["cases"]))


def arrays_of(name, case):
    """Arrays of a case as tensors; half precision, which only saves room, becomes single."""
    with np.load(FOLDER / f"{name}.npz") as stored:
        found = {key.split("/", 1)[1]: np.asarray(stored[key]) for key in stored.files if key.startswith(f"{case}/")}
    return {key: torch.from_numpy(v.astype(np.float32) if v.dtype == np.float16 else v) for key, v in found.items()}
