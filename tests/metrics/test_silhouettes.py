# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest
import torch
from monai.utils import OptionalImportError

from monai_mmseg.metrics import embed, silhouettes

module = sys.modules[embed.__module__]

MODALITY = [0, 1, 2] * 4
SUBJECTS = [name for name in "abcd" for _ in range(3)]


def points(groups, noise=0.01, size=8):
    generator = torch.Generator().manual_seed(0)
    centre = torch.eye(size)[torch.as_tensor(groups)]
    return centre + noise * torch.randn(centre.shape, generator=generator)


def by_hand(values, groups):
    """Rousseeuw's definition with cosine distances, row by row."""
    unit = values / values.norm(dim=1, keepdim=True)
    distance = (1 - unit @ unit.T).double().numpy()
    groups, found = np.asarray(groups), []
    for row in range(len(groups)):
        own = (groups == groups[row]) & (np.arange(len(groups)) != row)
        a = distance[row, own].mean()
        b = min(distance[row, groups == other].mean() for other in set(groups.tolist()) - {groups[row]})
        found.append((b - a) / max(a, b))
    return np.mean(found)


def test_split_codes_and_anatomies():
    code, anatomy = points(MODALITY), points(torch.tensor([0, 1, 2, 3]).repeat_interleave(3))
    found = silhouettes(code, anatomy, MODALITY, SUBJECTS)
    assert found.code_by_modality > 0.95
    assert found.anatomy_by_subject > 0.95
    assert -0.5 < found.anatomy_by_modality < 0
    assert (found.rows, found.subjects, found.metric) == (12, 4, "cosine")


def test_values_are_those_of_the_definition():
    code, anatomy = points(MODALITY, noise=0.7), points(MODALITY, noise=1.2)
    names = torch.tensor([ord(name) for name in SUBJECTS])
    found = silhouettes(code, anatomy, torch.tensor(MODALITY), SUBJECTS)
    expected = (by_hand(code, MODALITY), by_hand(anatomy, MODALITY), by_hand(anatomy, names))
    assert found[:3] == pytest.approx(expected, abs=1e-5)


def test_one_group_has_no_silhouette():
    found = silhouettes(points(MODALITY), points(MODALITY), [0] * 12, ["a"] * 12)
    assert found[:3] == (None, None, None)
    assert silhouettes(torch.rand(2, 3), torch.rand(2, 3), [0, 1], ["a", "b"])[:3] == (None, None, None)


def test_errors():
    with pytest.raises(ValueError, match=r"one entry a row, got \[12, 11, 12, 12\]"):
        silhouettes(points(MODALITY), points(MODALITY)[1:], MODALITY, SUBJECTS)
    with pytest.raises(ValueError, match="code must be finite"):
        silhouettes(torch.full((12, 2), float("nan")), points(MODALITY), MODALITY, SUBJECTS)
    with pytest.raises(ValueError, match="at least 3 rows, got 2"):
        embed(torch.rand(2, 3))


def test_embedding_keeps_groups_together_and_depends_on_the_seed_only():
    values = points(MODALITY)
    found = embed(values)
    assert found.shape == (12, 2)
    np.testing.assert_array_equal(found, embed(values))
    distance = np.linalg.norm(found[:, None] - found[None], axis=2) + 1e9 * np.eye(12)
    assert [MODALITY[row] for row in distance.argmin(1)] == MODALITY


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    for name in [*(name for name in sys.modules if name.startswith("sklearn.")), "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    without = runpy.run_path(module.__file__)
    calls = (
        lambda: without["silhouettes"](torch.eye(4), torch.eye(4), [0, 1, 0, 1], list("aabb")),
        lambda: without["embed"](torch.eye(4)),
    )
    for call in calls:
        with pytest.raises(OptionalImportError, match=r"monai-mmseg\[report\]"):
            call()
