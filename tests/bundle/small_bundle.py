# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Bundles of the library with networks that are small and have weights, though nobody trained them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from monai_mmseg.bundle.collection import copy_bundle
from monai_mmseg.bundle.json_text import json_text
from monai_mmseg.files import write_nifti

UMMKD = {"features": [4] * 8, "spatial_size": [32, 32]}
DAFNET = {"features": [4, 4, 8], "spatial_size": [32, 32], "segmentor_features": 4, "pixdim": [2.0, 2.0]}


def read(folder: Path, name: str) -> dict[str, Any]:
    """A config of a bundle."""
    content: dict[str, Any] = json.loads((folder / "configs" / f"{name}.json").read_text(encoding="utf-8"))
    return content


def network_of(folder: Path, name: str, **changes: Any) -> torch.nn.Module:
    """The network of a config."""
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / f"{name}.json"))
    for key, value in {"bundle_root": str(folder), **changes}.items():
        parser[key] = value
    return parser.get_parsed_content("network_def")


def small_bundle(folder: Path, name: str, knobs: dict[str, Any], weights: bool = True) -> Path:
    """A copy of a bundle with these knobs in train.json and inference.json, and with weights."""
    copy_bundle(name, folder)
    for config in ("train", "inference"):
        content = {**read(folder, config), **knobs}
        (folder / "configs" / f"{config}.json").write_text(json_text(content), encoding="utf-8")
    if weights:
        torch.manual_seed(1)
        torch.save(network_of(folder, "inference").state_dict(), folder / "models" / "model.pt")
    return folder


def image(path: Path, shape: tuple[int, ...] = (24, 20, 6), spacing: float = 2.0, seed: int = 0) -> Path:
    """Noise in a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)
    write_nifti(path, values, np.diag([spacing, spacing, spacing, 1.0]))
    return path
