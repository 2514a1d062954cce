# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from monai_mmseg.engines import mixed_precision_pays


@pytest.mark.parametrize("said", [True, False])
def test_a_cpu_is_asked(monkeypatch, said):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: said, raising=False)
    assert mixed_precision_pays(torch.device("cpu")) is said
    assert mixed_precision_pays("cuda") is True


def test_a_torch_that_cannot_tell_means_no(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert mixed_precision_pays("cpu") is False
