# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from monai.data import MetaTensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata


def test_there_and_back():
    source = MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.diag(torch.tensor([2.0, 1, 1, 1])), meta={"name": "a"})
    source.push_applied_operation({"class": "x"})
    plain = plain_tensor(source)
    assert type(plain) is torch.Tensor
    assert plain.data_ptr() == source.data_ptr()
    back = with_metadata(torch.ones(1, 3, 3, 3, dtype=torch.uint8), source)
    assert (back.dtype, back.meta["name"], back.affine[0, 0]) == (torch.uint8, "a", 2)
    assert [one["class"] for one in back.applied_operations] == ["x"]
    back.meta["name"] = "b"
    assert source.meta["name"] == "a"


def test_plain_tensors_stay_plain():
    values = torch.ones(2)
    assert plain_tensor(values) is values
    assert with_metadata(values, torch.zeros(3)) is values
