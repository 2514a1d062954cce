# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Runs of the bundles for unpaired modalities, with everything as small as it goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

import monai_mmseg.phantom

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"

TRAINING = {
    **{"max_epochs": 1, "epoch_length": 2, "batch_size": 2, "val_interval": 1, "learning_rate": 0.01},
    "amp": False,
}


@dataclass(frozen=True)
class Bundle:
    """One bundle, the phantom that it is for, and how small its network can be."""

    name: str
    phantom: str
    network: dict[str, Any]
    folder: Path = BUNDLES

    @property
    def root(self) -> Path:
        return self.folder / self.name

    @property
    def configs(self) -> Path:
        return self.root / "configs"

    @property
    def settings(self) -> list[str]:
        return sorted(path.stem for path in (self.configs / "settings").glob("*.json"))

    def small(self, *names: str) -> dict[str, Any]:
        """Overrides that make the network of these overlays small."""
        if "dynunet" in names:
            levels = len(self.parser("train", "dynunet")["backbone#kernel_size"])
            return {**self.network, "backbone#filters": [4, 8, 8, 8, 8][:levels]}
        if "segresnet" in names:
            return {**self.network, "backbone#init_filters": 8}
        if "group_norm" in names:  # of sixteen groups
            return {**self.network, "features": [32] * len(self.network["features"])}
        return self.network

    def files(self, *names: str) -> list[str]:
        """Paths of config files by their names, ``settings/`` may be left out."""
        return [str(self.configs / (f"settings/{n}.json" if n in self.settings else f"{n}.json")) for n in names]

    def parser(self, *names: str, **overrides: Any) -> ConfigParser:
        """A config that is merged but not run."""
        config = ConfigParser()
        config.read_config(self.files(*names))
        config.read_meta(str(self.configs / "metadata.json"))
        for key, value in {"bundle_root": str(self.root), **overrides}.items():
            config[key] = value
        return config

    def load(self, names: tuple[str, ...], kind: str, out: Path, data: Path, **overrides: Any) -> ConfigWorkflow:
        """A workflow, not initialised, that writes below ``out`` only."""
        paths = {"dataset_dir": str(data), "ckpt_dir": str(out / "models"), "output_dir": str(out / "eval")}
        meta = {
            "meta_file": str(self.configs / "metadata.json"),
            "logging_file": str(self.configs / "logging.conf"),
        }
        own = {"bundle_root": str(self.root), **paths, **self.small(*names), **overrides}
        return ConfigWorkflow(self.files(*names), workflow_type=kind, **meta, **own)

    def train(self, out: Path, data: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
        """Train ``train.json`` with ``demo.json`` and further overlays for one epoch of two iterations."""
        return run(self.load(("train", "demo", *names), "train", out, data, **{**TRAINING, **overrides}))

    def infer(self, out: Path, data: Path, *names: str, **overrides: Any) -> dict[str, nib.Nifti1Image]:
        """Run inference; the volumes that it wrote by their names."""
        run(self.load(("inference", "demo_inference", *names), "infer", out, data, **overrides))
        return {path.name: nib.load(path) for path in sorted((out / "eval").rglob("*.nii.gz"))}


def shell(*words: str, cwd: Path) -> tuple[int, str]:
    """A command with the project importable from any folder, on the CPU; its exit status and output."""
    own = {"PYTHONPATH": str(BUNDLES.parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**os.environ, **own}, capture_output=True, text=True, timeout=600
    )
    return done.returncode, done.stdout + done.stderr


def make_data(bundle: Bundle, folder: Path, modalities: Sequence[str]) -> Path:
    """The bundle's phantom: one patient of each modality in each of two folds, one for testing."""
    make = getattr(monai_mmseg.phantom, f"make_{bundle.phantom}_phantom")
    numbers = {"subjects": dict.fromkeys(modalities, 3), "test_subjects": dict.fromkeys(modalities, 1)}
    make(folder, **numbers, folds=2, size=32, seed=0)
    return folder


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def causes(error: BaseException | None) -> str:
    """Messages of an error and of all that it came from."""
    text = ""
    while error is not None:
        text, error = f"{text}\n{error}", error.__cause__ or error.__context__
    return text


def same_place(volume: nib.Nifti1Image, image: nib.Nifti1Image, classes: int = 5) -> None:
    """The volume holds labels on the grid of the image."""
    assert volume.shape == image.shape
    assert volume.get_data_dtype() == np.uint8
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-3)
    assert set(np.unique(volume.get_fdata())) <= set(range(classes))


def run(workflow: ConfigWorkflow) -> ConfigWorkflow:
    workflow.initialize()
    workflow.run()
    return workflow


HEART = Bundle(
    "ummkd", "cardiac", {"spatial_size": [32, 32], "pixdim": [7.0, 7.0, 7.0], "features": [4] * 8, "dropout": 0.0}
)
ABDOMEN = Bundle(
    "ummkd_3d", "abdomen", {"spatial_size": [32, 32, 8], "pixdim": [12.0, 12.0, 12.0], "features": [4, 4, 8, 8]}
)
