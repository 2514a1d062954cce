# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.planning import timing


@pytest.mark.parametrize(("share", "step"), [(0.6, 0.6 * 1.0 + 0.4 * 2.0), (0.0, 2.0), (1.0, 1.0)])
def test_steps_of_a_pretraining_count_by_their_share(monkeypatch, share, step):
    seconds = {0.0: 2.0, 1.0: 1.0}

    def measure(bundle, overlays, overrides, device, folder, clock):
        return {"step": seconds[float(overrides.get("pretraining", 0.0))]}

    monkeypatch.setattr(timing, "_measure", measure)
    found = timing.measure_bundle(bundles_folder() / "dafnet", device="cpu", overrides={"pretraining": share})
    assert found["step"] == pytest.approx(step)
