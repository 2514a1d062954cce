# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A heart phantom of few and small slices, made once."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import pytest
import torch

from monai_mmseg.phantom import make_heart_phantom

KEPT_SLICES = 5


def _make(folder: Path, **arguments) -> Path:
    make_heart_phantom(folder, size=48, **arguments)
    for path in folder.rglob("*.nii.gz"):
        volume = nib.load(path)
        first = (volume.shape[2] - KEPT_SLICES) // 2
        middle = volume.slicer[:, :, first : first + KEPT_SLICES]
        nib.save(nib.Nifti1Image(middle.get_fdata().astype(volume.get_data_dtype()), middle.affine), path)
    return folder


@pytest.fixture(scope="module")
def on_the_cpu():
    """Small networks, and numbers that are compared: a GPU would give others."""
    patch = pytest.MonkeyPatch()
    patch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def heart(tmp_path_factory) -> Path:
    """Cine and LGE: two subjects in each of two folds, two for testing."""
    return _make(tmp_path_factory.mktemp("heart") / "data", subjects=6, test_subjects=2, folds=2)


@pytest.fixture(scope="session")
def heart_of_three(tmp_path_factory) -> Path:
    """Cine, LGE and T2: one subject in each of two folds, one for testing."""
    folder = tmp_path_factory.mktemp("heart_of_three") / "data"
    return _make(folder, modalities=("cine", "lge", "t2"), subjects=3, test_subjects=1, folds=2)
