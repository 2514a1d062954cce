# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.study import budget as module


def test_a_budget_that_is_too_short_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "IMPORTED", ())
    measured = {"step": 0.5, "validation": 0.0, "start": module.IMPORTS}
    monkeypatch.setattr(module, "measure_bundle", lambda *_, **__: measured)
    given = {"bundle": tmp_path, "device": "cpu", "overlays": (), "overrides": {}}
    settings, found = module.settings_of_time(5.0, **given)
    steps = settings["max_epochs"] * settings["epoch_length"]
    assert found["over"] == pytest.approx(steps * 0.5 / 5 + (0 if module.WARM else module.IMPORTS / 5))
    assert "over" not in module.settings_of_time(60.0, **given)[1]
