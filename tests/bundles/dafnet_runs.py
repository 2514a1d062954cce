# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Runs of the DAFNet bundle, with everything as small as it goes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ConfigWorkflow

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "dafnet"
CONFIGS = BUNDLE / "configs"
SETTINGS = sorted(path.stem for path in (CONFIGS / "settings").glob("*.json"))

NETWORK = {
    "spatial_size": [48, 48],  # discriminators need 46, encoders multiples of 16
    "pixdim": [6.2, 6.2],
    "features": [4, 4, 4, 4, 8],
    "segmentor_features": 4,
}
TINY = {
    **NETWORK,
    "discriminator_features": 4,
    "max_epochs": 1,
    "epoch_length": 2,
    "batch_size": 2,
    "val_interval": 1,
    "final_model": "last.pt",
    "amp": False,
}


def files(*names: str) -> list[str]:
    """Paths of config files by their names, ``settings/`` may be left out."""
    return [str(CONFIGS / f"settings/{n}.json" if n in SETTINGS else CONFIGS / f"{n}.json") for n in names]


def load(names, kind: str, out: Path, data: Path, **overrides) -> ConfigWorkflow:
    """A bundle's workflow, not initialised, that writes below ``out`` only."""
    paths = {"dataset_dir": str(data), "ckpt_dir": str(out / "models"), "output_dir": str(out / "eval")}
    meta = {"meta_file": str(CONFIGS / "metadata.json"), "logging_file": str(CONFIGS / "logging.conf")}
    return ConfigWorkflow(
        files(*names), workflow_type=kind, **meta, **{"bundle_root": str(BUNDLE), **paths, **overrides}
    )


def train(out: Path, data: Path, *names: str, **overrides) -> ConfigWorkflow:
    """Train ``train.json`` with ``demo.json`` and further overlays for one epoch of two iterations."""
    workflow = load(("train", "demo", *names), "train", out, data, **{**TINY, **overrides})
    workflow.initialize()
    workflow.run()
    return workflow


def infer(out: Path, data: Path, *names: str, **overrides) -> dict[str, nib.Nifti1Image]:
    """Run inference; the volumes that it wrote by their names."""
    workflow = load(("inference", "demo_inference", *names), "infer", out, data, **{**NETWORK, **overrides})
    workflow.initialize()
    workflow.run()
    return {path.name: nib.load(path) for path in sorted((out / "eval").rglob("*.nii.gz"))}


def read(datalist: Path) -> dict:
    return json.loads(Path(datalist).read_text(encoding="utf-8"))


def write(folder: Path, content: dict, source: Path | None = None) -> Path:
    """Write a datalist; with ``source`` its relative paths become absolute ones below that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = {key: value for key, value in content.items() if key in ("training", "test")}
    if source is not None:
        for items in sections.values():
            for item in items:
                item.update({key: str(source / item[key]) for key in ("image", "label") if key in item})
    (folder / "datalist.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def turned(image: nib.Nifti1Image, order, flips, rotation=None) -> nib.Nifti1Image:
    """The same voxels with axes permuted and flipped, and the scanner's frame rotated."""
    array, affine = np.asarray(image.dataobj), image.affine.copy()
    array, affine = array.transpose(order), affine[:, [*order, 3]]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
        affine[:3, axis] *= -1
        array = np.flip(array, axis)
    if rotation is not None:
        turn = np.eye(4)
        turn[:3, :3] = rotation
        affine = turn @ affine
    return nib.Nifti1Image(np.ascontiguousarray(array), affine)
