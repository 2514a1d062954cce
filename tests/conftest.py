# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test sees: one thread, one seed, the real images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib

import pytest
import torch
from monai.bundle import ComponentLocator
from monai.utils import ensure_tuple, set_determinism

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Give each test process one thread: small tensors are slower on several, and sums then keep their order."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Start every test from the same random state, and leave no global seed or deterministic flag behind."""
    set_determinism(seed=0)
    yield
    set_determinism(seed=None)


@pytest.fixture(scope="session", autouse=True)
def _short_timing() -> None:
    """Time as few steps as possible: what a test plans need not last as long as it says."""
    from monai_mmseg.planning import timing

    timing.SHORT = 0.0


@pytest.fixture(scope="session", autouse=True)
def _components_once() -> None:
    """Look through a module of MONAI once: it does so for every config that is read."""
    look = ComponentLocator()._find_classes_or_functions
    known = cache(look)

    def find(_: ComponentLocator, modnames: Sequence[str] | str) -> dict[str, list[str]]:
        table: dict[str, list[str]] = {}
        for one in ensure_tuple(modnames):
            for name, modules in known(one).items():
                table.setdefault(name, []).extend(modules)
        return table

    ComponentLocator._find_classes_or_functions = find  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference vectors."""
    return REPOSITORY / "tests" / "reference"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images: ``MMSEG_REAL_DATA``, or ``../shared/real_data`` beside the repository."""
    named = os.environ.get("MMSEG_REAL_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "real_data"
    if not folder.is_dir():
        pytest.skip(f"no real images: MMSEG_REAL_DATA is {named or 'not set'} and {folder.name} is not there")
    return folder
