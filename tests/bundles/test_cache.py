# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Every bundle trains the same weights from memory and from disk, with and without workers."""

from __future__ import annotations

import pytest
import torch

from tests.bundles.runs import ABDOMEN, BRAIN, CSA, DAFNET, HEART, PET, TUMOUR


@pytest.fixture
def data(heart, unpaired, brain, brain_with_pet):
    paired = {DAFNET.name: heart, BRAIN.name: brain, TUMOUR.name: brain, PET.name: brain_with_pet}
    return lambda bundle: paired[bundle.name] if bundle.name in paired else unpaired(bundle)


@pytest.mark.parametrize(
    "bundle",
    [
        DAFNET,
        ABDOMEN,
        *(pytest.param(one, marks=pytest.mark.overlays) for one in (TUMOUR, HEART, CSA, BRAIN)),
    ],
    ids=lambda bundle: bundle.name,
)
def test_weights_do_not_depend_on_the_cache_or_the_workers(bundle, data, tmp_path):
    states, made = [], []
    on_disk = {"cache": "disk_raw", "cache_dir": str(tmp_path / "cache"), "num_workers": 2}
    for number, overrides in enumerate([{}, on_disk, on_disk]):
        bundle.train(tmp_path / str(number), data(bundle), max_epochs=2, val_interval=2, **overrides)
        states.append(torch.load(tmp_path / str(number) / "models" / "model.pt", weights_only=True))
        if number:
            entries = sorted((tmp_path / "cache").glob("*/*/notes.pkl"))
            assert entries
            made.append({path: path.stat().st_mtime_ns for path in entries})
    for other in states[1:]:
        torch.testing.assert_close(states[0], other, rtol=0, atol=0)
    assert made[0] == made[1]  # found again, not made again
