# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Runs of the bundles, with everything as small as it goes, and what their tests share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

from monai_mmseg.networks.nets import DisentangleNet
from monai_mmseg.runs.model_settings import write_settings
from tests.processes import run_module

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SHORT = {"max_epochs": 1, "epoch_length": 2, "batch_size": 2, "val_interval": 1, "learning_rate": 0.01, "amp": False}


@dataclass(frozen=True)
class Bundle:
    """One bundle, and how small its network and its training can be."""

    name: str
    network: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    of_overlays: dict[str, dict[str, Any]] = field(default_factory=dict)  # what makes these small besides
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

    def content(self, name: str) -> dict[str, Any]:
        """A config file as it is."""
        return json.loads((self.configs / f"{name}.json").read_text(encoding="utf-8"))

    def small(self, *names: str) -> dict[str, Any]:
        """Overrides that make the network of these config files small."""
        own = self.network if names[0] == "inference" else {**self.network, **self.training}
        for name in names:
            own = {**own, **self.of_overlays.get(name, {})}
        return own

    def files(self, *names: str) -> list[str]:
        """Paths of config files by their names, ``settings/`` may be left out."""
        return [str(self.configs / (f"settings/{n}.json" if n in self.settings else f"{n}.json")) for n in names]

    def parser(self, *names: str, small: bool = False, **overrides: Any) -> ConfigParser:
        """A config that is merged but not run."""
        config = ConfigParser()
        config.read_config(self.files(*names))
        config.read_meta(str(self.configs / "metadata.json"))
        own = {"bundle_root": str(self.root), **(self.small(*names) if small else {}), **overrides}
        for key, value in own.items():
            config[key] = value
        return config

    def load(
        self, names: tuple[str, ...], out: Path, data: Path, *, picture: bool = False, **overrides: Any
    ) -> ConfigWorkflow:
        """A workflow, not initialised, that writes below ``out`` only, and draws what it validates if asked to."""
        kind = "infer" if names[0] == "inference" else "train"
        meta = {"meta_file": str(self.configs / "metadata.json"), "logging_file": str(self.configs / "logging.conf")}
        short = SHORT if kind == "train" else {}
        if not picture and kind == "train" and "picture" in self.content("train").get("validate", {}):
            short = {**short, "validate#picture": None}  # it takes as long as two steps
        own = {**self.paths(out, data), **short, **overrides}
        if not (Path(own["ckpt_dir"]) / "settings.json").is_file() or kind == "train":
            own = {**self.small(*names), **own}
        return ConfigWorkflow(self.files(*names), workflow_type=kind, **meta, **own)

    def write_settings(self, folder: Path, *names: str, **overrides: Any) -> Path:
        """What a training with these overlays writes beside its weights; the folder."""
        parser = self.parser("train", "demo", *names, small=True, **overrides)
        parser["written"] = "$monai_mmseg.bundle.model_settings()"
        write_settings(folder, {"state": "trained", **parser.get_parsed_content("written")})
        return folder

    def paths(self, out: Path, data: Path) -> dict[str, str]:
        folders = {"dataset_dir": data, "ckpt_dir": out / "models", "output_dir": out / "eval"}
        return {"bundle_root": str(self.root), **{key: str(value) for key, value in folders.items()}}

    def train(self, out: Path, data: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
        """Train ``train.json`` with ``demo.json`` and further overlays for one epoch of two iterations."""
        return run(self.load(("train", "demo", *names), out, data, **overrides))

    def evaluate(self, out: Path, data: Path, *names: str, **overrides: Any) -> Path:
        """Evaluate what was trained; the folder of the run."""
        run(self.load(("train", "demo", *names, "evaluate"), out, data, **overrides))
        return out / "eval"

    def infer(self, out: Path, data: Path, *names: str, **overrides: Any) -> dict[str, nib.Nifti1Image]:
        """Run inference, without overlays where the weights bring their settings; the volumes by their names."""
        workflow = self.load(("inference", *names), out, data, **overrides)
        run(workflow)
        return {path.name: nib.load(path) for path in sorted((out / "eval").rglob("*.nii.gz"))}

    def shell(self, out: Path, data: Path, *names: str, processes: int = 0, **overrides: Any) -> tuple[int, str]:
        """Train as users do, in as many processes; exit status and output."""
        files = self.files("train", "demo", *names)
        own = {**self.paths(out, data), **SHORT, **self.small("train", *names), **overrides}
        words = ["monai.bundle", "run", "training", "--config_file", str(files), *flags(own)]
        return launch(*words, cwd=out, processes=processes) if processes else shell("-m", *words, cwd=out)

    def stage_one(self, out: Path) -> tuple[Path, DisentangleNet]:
        """Weights of an encoder that was not trained, and the encoder."""
        torch.manual_seed(3)
        encoder: DisentangleNet = self.parser("train", "demo", small=True).get_parsed_content("encoder_def")
        out.mkdir(parents=True, exist_ok=True)
        torch.save(encoder.state_dict(), out / "stage_one.pt")
        return out / "stage_one.pt", encoder


def _encoder(net: str) -> dict[str, Any]:
    sizes = {"anatomy_features": [4, 4, 8], "appearance_features": [4, 4], "decoder_features": [8, 8, 8, 4, 4]}
    return {"pixdim": [6.7, 6.7, 6.7], **{f"{net}#{key}": value for key, value in sizes.items()}}


def _of_monai(levels: int) -> dict[str, dict[str, Any]]:
    return {"dynunet": {"backbone#filters": [4, 8, 8, 8, 8][:levels]}, "segresnet": {"backbone#init_filters": 8}}


def _volumes(pixdim: list[float]) -> dict[str, Any]:
    return {"spatial_size": [32, 32, 8], "pixdim": pixdim, "features": [4, 4, 8, 8]}


DAFNET = Bundle(
    "dafnet",
    # discriminators need 46, encoders multiples of 16
    {"spatial_size": [48, 48], "pixdim": [6.2, 6.2], "features": [4, 4, 4, 4, 8], "segmentor_features": 4},
    {"discriminator_features": 4, "final_model": "last.pt", "learning_rate": 0.001},
    # SPADE halves the image five times; a narrow one is told from a wide one as well
    {"spade": {"spatial_size": [64, 64], "network_def#decoder_features": 8}},
)
HEART = Bundle(
    "ummkd",
    {"spatial_size": [32, 32], "pixdim": [7.0, 7.0, 7.0], "features": [4] * 8, "dropout": 0.0},
    of_overlays=_of_monai(5),
)
ABDOMEN = Bundle("ummkd_3d", _volumes([12.0, 12.0, 12.0]), of_overlays=_of_monai(4))
CSA = Bundle(
    "csa",
    {"spatial_size": [32, 32], "pixdim": [5.0, 5.0], "features": [4] * 8, "dropout": 0.0},
    of_overlays={**_of_monai(5), "volumes": _volumes([5.0, 5.0, 8.0])},
)
BRAIN = Bundle(
    "disentangle",
    {"spatial_size": [32, 32], **_encoder("network_def")},
    {"batch_size": 3, "discriminator#features": [2, 4]},
)
TUMOUR = Bundle(
    "disentangle_tumour",
    {"spatial_size": [32, 32, 16], "init_filters": 8, **_encoder("encoder_def")},
    {"batch_size": 1},
)
PET = Bundle("disentangle_pet", {"spatial_size": [32, 32], "features": [2, 4, 4], **_encoder("encoder_def")})
UNET = Bundle("unet", {"spatial_size": [32, 32], "pixdim": [6.0, 6.0, 10.0], "features": [4] * 5})
TRANSLATION = Bundle(
    "translation",
    {"spatial_size": [32, 32], "pixdim": [6.0, 6.0], "generator_features": 2},
    {"batch_size": 1, "discriminator_features": 2},
)
ALL = [DAFNET, HEART, ABDOMEN, CSA, BRAIN, TUMOUR, PET, UNET, TRANSLATION]
EACH_OVERLAY = [pytest.param(one, name, id=f"{one.name}-{name}") for one in ALL for name in one.settings]


def run(workflow: ConfigWorkflow) -> ConfigWorkflow:
    workflow.initialize()
    workflow.run()
    return workflow


def flags(overrides: dict[str, Any]) -> list[str]:
    return [word for key, value in overrides.items() for word in (f"--{key}", str(value))]


LAUNCH = """
import runpy, sys
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
processes, module = int(sys.argv.pop(1)), sys.argv.pop(1)
config = LaunchConfig(1, 1, processes, start_method="fork", rdzv_backend="c10d", rdzv_endpoint="localhost:0")
elastic_launch(config, lambda: runpy.run_module(module, run_name="__main__", alter_sys=True) and None)()
"""  # what `python -m torch.distributed.run --standalone -m` does, with forks


def launch(*words: str, cwd: Path, processes: int) -> tuple[int, str]:
    """``-m words...`` in several processes, as ``torchrun`` starts them; exit status and output."""
    return shell("-c", LAUNCH, str(processes), *words, cwd=cwd)


def shell(*words: str, cwd: Path) -> tuple[int, str]:
    """A command with the project importable from any folder, on the CPU; its exit status and output."""
    own = {"PYTHONPATH": str(BUNDLES.parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    code, said, wrong = run_module(words if words[0] == "-c" else words[1:], cwd=cwd, env=own)
    return code, said + wrong


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def saved_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in torch.load(path, weights_only=True).items()}


def causes(error: BaseException | None) -> str:
    """Messages of an error and of all that it came from."""
    text = ""
    while error is not None:
        text, error = f"{text}\n{error}", error.__cause__ or error.__context__
    return text


def same_place(volume: nib.Nifti1Image, image: nib.Nifti1Image, classes: int = 5) -> None:
    """The volume holds labels on the grid of the image."""
    assert volume.shape == image.shape[:3]
    assert volume.get_data_dtype() == np.uint8
    np.testing.assert_allclose(volume.affine, image.affine, atol=1e-3)
    assert set(np.unique(volume.get_fdata())) <= set(range(classes))


def read(datalist: Path) -> dict[str, Any]:
    return json.loads(Path(datalist).read_text(encoding="utf-8"))


def write(folder: Path, content: dict[str, Any], source: Path | None = None) -> Path:
    """Write a datalist; with ``source`` its relative paths become absolute ones below that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = {key: value for key, value in content.items() if key in ("training", "test")}
    if source is not None:
        for items in sections.values():
            for item in items:
                item.update({key: str(source / item[key]) for key in ("image", "label") if key in item})
    (folder / "datalist.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def turned(image: nib.Nifti1Image, order: Any, flips: Any, rotation: Any = None) -> nib.Nifti1Image:
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
