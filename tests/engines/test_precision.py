# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from monai_mmseg.engines import mixed_precision_pays

UNITS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("avx512_bf16", [True, False])
def test_a_cpu_is_asked(monkeypatch, amx, avx512_bf16):
    for unit, said in zip(UNITS, (amx, avx512_bf16), strict=True):
        monkeypatch.setattr(torch.cpu, unit, lambda said=said: said, raising=False)
    assert mixed_precision_pays(torch.device("cpu")) is (amx or avx512_bf16)
    assert mixed_precision_pays("cuda") is True


def test_a_torch_that_cannot_tell_means_no(monkeypatch):
    for unit in UNITS:
        monkeypatch.delattr(torch.cpu, unit, raising=False)
    assert mixed_precision_pays("cpu") is False
