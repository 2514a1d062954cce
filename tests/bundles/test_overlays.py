# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Every overlay of every bundle trains, before and behind the demo. Takes minutes: ``pytest -m overlays``."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from tests.bundles.runs import EACH_OVERLAY, TRANSLATION, Bundle, run, saved_shapes, shapes

SIZES = {"abdomen": 32, "brain": 24, "cardiac": 32, "cmr": 32, "heart": 48}

pytestmark = [pytest.mark.overlays, pytest.mark.slow]  # slow: -m "not slow" leaves them out too


def few(numbers, count):
    """As many for each modality, where they are counted by modality."""
    return dict.fromkeys(numbers, count) if isinstance(numbers, dict) else count


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Folder of a phantom, the same for the same settings."""
    root = tmp_path_factory.mktemp("phantoms")
    return lambda settings: root / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


@pytest.mark.parametrize("behind", [False, True], ids=["demo-last", "demo-first"])
@pytest.mark.parametrize(("bundle", "setting"), EACH_OVERLAY)
def test_every_overlay_trains(bundle: Bundle, setting: str, behind: bool, phantoms, tmp_path):
    if setting == "new_modality":
        pytest.skip("starts from trained weights: test_new_modality.py")
    names = ("train", "demo", setting) if behind else ("train", setting, "demo")
    phantom = bundle.parser(*names).get_parsed_content("phantom")
    kind = phantom.get("kind", "heart")
    count = 3 if kind in ("abdomen", "cardiac", "cmr") else 5
    phantom |= {"subjects": few(phantom["subjects"], count), "test_subjects": few(phantom["test_subjects"], 1)}
    phantom |= {"folds": 2, "size": SIZES[kind]}
    own = {"phantom": phantom, "phantom_dir": str(phantoms(phantom)), "dataset_dir": "@phantom_dir"}
    if "stage_one" in bundle.content("train"):
        own["stage_one"] = str(bundle.stage_one(tmp_path)[0])
    if setting == "payer":
        own["localiser"] = str(tmp_path / "localiser.pt")
        first = bundle.parser("train", "demo", "payer_localise", small=True).get_parsed_content("network_def")
        torch.save(first.state_dict(), own["localiser"])
    if setting == "dadr_features":
        own["stage_one"] = str(TRANSLATION.write_settings(tmp_path / "one") / "model.pt")
        first = TRANSLATION.parser("train", "demo", small=True).get_parsed_content("network_def")
        torch.save(first.state_dict(), own["stage_one"])
    workflow = run(bundle.load(names, tmp_path, tmp_path, **own))
    assert (workflow.trainer.state.epoch, workflow.trainer.state.iteration) == (1, 2)
    assert workflow.trainer.state.metrics
    assert all(np.isfinite(value) for value in workflow.trainer.state.metrics.values())
    assert workflow.evaluator.state.best_metric_epoch == 1
    assert saved_shapes(tmp_path / "models" / "model.pt") == shapes(workflow.network_def)
