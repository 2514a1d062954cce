# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Phantoms of few and small slices, made once."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest
import torch

import monai_mmseg.phantom
from monai_mmseg.phantom import make_brain_phantom, make_heart_phantom
from tests.bundles.runs import Bundle

KEPT_SLICES = 5


def _make(folder: Path, **arguments) -> Path:
    make_heart_phantom(folder, size=48, **arguments)
    for path in folder.rglob("*.nii.gz"):
        volume = nib.load(path)
        first = (volume.shape[2] - KEPT_SLICES) // 2
        middle = volume.slicer[:, :, first : first + KEPT_SLICES]
        nib.save(nib.Nifti1Image(middle.get_fdata().astype(volume.get_data_dtype()), middle.affine), path)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu():
    """Small networks, and numbers that are compared: a GPU would give others."""
    patch = pytest.MonkeyPatch()
    patch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """One run of a bundle with its demo and further overlays, the same for all who ask: its folder and its workflow."""
    runs = {}

    def get(bundle: Bundle, data: Path, *names: str, **overrides):
        asked = (bundle.name, names, *sorted(overrides.items()))  # another file may have asked for a shorter one
        if asked not in runs:
            out = tmp_path_factory.mktemp(bundle.name)
            runs[asked] = out, bundle.train(out, data, *names, picture=True, **overrides)
        return runs[asked]

    return get


@pytest.fixture(scope="session")
def heart(tmp_path_factory) -> Path:
    """Cine and LGE: two subjects in each of two folds, two for testing."""
    return _make(tmp_path_factory.mktemp("heart") / "data", subjects=6, test_subjects=2, folds=2)


@pytest.fixture(scope="session")
def heart_of_three(tmp_path_factory) -> Path:
    """Cine, LGE and T2: one subject in each of two folds, one for testing."""
    folder = tmp_path_factory.mktemp("heart_of_three") / "data"
    return _make(folder, modalities=("cine", "lge", "t2"), subjects=3, test_subjects=1, folds=2)


@pytest.fixture(scope="session")
def unpaired(tmp_path_factory):
    """The phantom of a bundle of unpaired modalities: one patient of each in each of two folds, one for testing."""
    made = {}

    def get(bundle: Bundle) -> Path:
        if bundle.name not in made:
            made[bundle.name] = tmp_path_factory.mktemp(bundle.name) / "data"
            make = getattr(monai_mmseg.phantom, f"make_{bundle.content('train')['phantom']['kind']}_phantom")
            modalities = bundle.content("train")["modalities"]
            numbers = {"subjects": dict.fromkeys(modalities, 3), "test_subjects": dict.fromkeys(modalities, 1)}
            make(made[bundle.name], **numbers, folds=2, size=32, seed=0)
        return made[bundle.name]

    return get


@pytest.fixture(scope="session")
def brain(tmp_path_factory) -> Path:
    """Two subjects in each of two folds, some without a sequence, and one for testing; all on grids of their own."""
    folder = tmp_path_factory.mktemp("brain") / "data"
    make_brain_phantom(folder, subjects=5, test_subjects=1, folds=2, missing=0.5, own_grids=True, size=24, seed=0)
    return folder


@pytest.fixture(scope="session")
def brain_with_pet(tmp_path_factory) -> Path:
    """Brains with tumours and a PET, each sequence on a grid of its own, some sequences missing in training."""
    folder = tmp_path_factory.mktemp("brain_with_pet") / "data"
    make_brain_phantom(
        folder, subjects=4, test_subjects=1, folds=3, size=24, pet=True, missing=0.3, own_grids=True, seed=2
    )
    return folder
