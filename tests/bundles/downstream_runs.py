# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Runs of the bundles behind the disentangled anatomies, with everything as small as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

from monai_mmseg.networks.nets import DisentangleNet
from monai_mmseg.phantom import make_brain_phantom

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
ENCODER = {
    "pixdim": [6.7, 6.7, 6.7],
    "anatomy_features": [4, 4, 8],
    "appearance_features": [4, 4],
    "decoder_features": [8, 8, 8, 4, 4],
}
TRAINING = {"max_epochs": 1, "epoch_length": 2, "batch_size": 1, "val_interval": 1, "amp": False}


@dataclass(frozen=True)
class Downstream:
    """One bundle and how small its network can be."""

    name: str
    network: dict[str, Any]

    @property
    def configs(self) -> Path:
        return BUNDLES / self.name / "configs"

    @property
    def settings(self) -> list[str]:
        return sorted(path.stem for path in (self.configs / "settings").glob("*.json"))

    def files(self, *names: str) -> list[str]:
        """Paths of config files by their names, ``settings/`` may be left out."""
        return [str(self.configs / (f"settings/{n}.json" if n in self.settings else f"{n}.json")) for n in names]

    def parser(self, *names: str, **overrides: Any) -> ConfigParser:
        """A config that is merged but not run."""
        config = ConfigParser()
        config.read_config(self.files(*names))
        config.read_meta(str(self.configs / "metadata.json"))
        for key, value in {"bundle_root": str(self.configs.parent), **overrides}.items():
            config[key] = value
        return config

    def load(self, names: tuple[str, ...], kind: str, out: Path, data: Path, **overrides: Any) -> ConfigWorkflow:
        """A workflow, not initialised, that writes below ``out`` only."""
        paths = {"dataset_dir": str(data), "ckpt_dir": str(out / "models"), "output_dir": str(out / "eval")}
        meta = {"meta_file": str(self.configs / "metadata.json"), "logging_file": str(self.configs / "logging.conf")}
        settings = {"bundle_root": str(self.configs.parent), **paths, **ENCODER, **self.network, **overrides}
        return ConfigWorkflow(self.files(*names), workflow_type=kind, **meta, **settings)

    def train(self, out: Path, data: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
        """Train ``train.json`` with ``demo.json`` and further overlays for one epoch of two iterations."""
        workflow = self.load(("train", "demo", *names), "train", out, data, **{**TRAINING, **overrides})
        workflow.initialize()
        workflow.run()
        return workflow

    def evaluate(self, out: Path, data: Path, *names: str, **overrides: Any) -> Path:
        """Evaluate what was trained; the folder of the run."""
        workflow = self.load(("train", "demo", *names, "evaluate"), "train", out, data, **{**TRAINING, **overrides})
        workflow.initialize()
        workflow.run()
        return out / "eval"

    def infer(self, out: Path, data: Path, *names: str, **overrides: Any) -> dict[str, nib.Nifti1Image]:
        """Run inference; the volumes that it wrote by their names."""
        workflow = self.load(("inference", "demo_inference", *names), "infer", out, data, **overrides)
        workflow.initialize()
        workflow.run()
        return {path.name: nib.load(path) for path in sorted((out / "eval").rglob("*.nii.gz"))}

    def stage_one(self, out: Path) -> tuple[Path, DisentangleNet]:
        """Weights of an encoder that was not trained, and the encoder."""
        torch.manual_seed(3)
        encoder: DisentangleNet = self.parser("train", "demo", **ENCODER, **self.network).get_parsed_content(
            "encoder_def"
        )
        out.mkdir(parents=True, exist_ok=True)
        torch.save(encoder.state_dict(), out / "stage_one.pt")
        return out / "stage_one.pt", encoder


TUMOUR = Downstream("disentangle_tumour", {"spatial_size": [32, 32, 16], "init_filters": 8})
PET = Downstream("disentangle_pet", {"spatial_size": [32, 32], "features": [2, 4, 4]})


def make_brain(folder: Path) -> Path:
    """Brains with tumours and a PET, each sequence on a grid of its own, some sequences missing in training."""
    make_brain_phantom(
        folder, subjects=4, test_subjects=1, folds=3, size=24, pet=True, missing=0.3, own_grids=True, seed=2
    )
    return folder


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}
