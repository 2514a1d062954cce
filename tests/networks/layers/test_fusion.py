# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_mmseg.networks.layers import fuse_anatomies, pool_anatomies
from tests.reference_cases import arrays_of, cases_of

NAN = float("nan")


def test_known_values():
    anatomies = torch.tensor([[[0.2, 0.9]], [[0.7, 0.1]], [[0.5, 0.5]]])[None]
    assert torch.equal(fuse_anatomies(anatomies), torch.tensor([[[0.7, 0.9]]]))
    assert torch.equal(fuse_anatomies(anatomies, torch.tensor([[True, False, True]])), torch.tensor([[[0.5, 0.9]]]))


def test_absent_is_never_read():
    anatomies = torch.tensor([[[[0.2]], [[NAN]]], [[[0.2]], [[0.9]]], [[[NAN]], [[NAN]]]]).requires_grad_()
    present = torch.tensor([[True, False], [False, True], [False, False]])
    fused = fuse_anatomies(anatomies, present)
    assert fused.flatten().tolist() == pytest.approx([0.2, 0.9, 0.0])
    fused.sum().backward()
    assert anatomies.grad.flatten().tolist() == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


def test_negative_values_are_not_beaten_by_absent_ones():
    anatomies = torch.tensor([[[[-2.0]], [[5.0]]]])
    assert fuse_anatomies(anatomies, torch.tensor([[True, False]])).item() == -2


def test_one_modality_is_itself():
    anatomy = torch.rand(2, 1, 4, 5, 5)
    assert torch.equal(fuse_anatomies(anatomy), anatomy[:, 0])
    assert torch.equal(fuse_anatomies(anatomy, torch.ones(2, 1, dtype=torch.bool)), anatomy[:, 0])


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 4), dims=st.integers(1, 3), seed=st.integers(0, 99))
def test_order_and_duplicates_do_not_matter(count, dims, seed):
    generator = torch.Generator().manual_seed(seed)
    anatomies = torch.rand(2, count, 3, *([4] * dims), generator=generator)
    present = torch.rand(2, count, generator=generator) < 0.6
    order = torch.randperm(count, generator=generator)
    fused = fuse_anatomies(anatomies, present)
    assert torch.equal(fused, fuse_anatomies(anatomies[:, order], present[:, order]))
    assert torch.equal(fused, fuse_anatomies(anatomies.repeat(1, 2, *[1] * (dims + 1)), present.repeat(1, 2)))
    assert bool((fused[:, None] >= anatomies)[present].all())
    assert bool((fuse_anatomies(anatomies)[:, None] >= anatomies).all())


def test_gradient():
    anatomies = torch.rand(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    present = torch.tensor([[True, True, False], [False, False, False]])
    assert torch.autograd.gradcheck(lambda x: fuse_anatomies(x, present), anatomies)


def test_wrong_present():
    with pytest.raises(ValueError, match=r"present must have the shape \[2, 3\] of the anatomies, got \[2, 2\]\."):
        fuse_anatomies(torch.rand(2, 3, 1, 4, 4), torch.ones(2, 2, dtype=torch.bool))


def test_scripts():
    anatomies, present = torch.rand(2, 3, 1, 4, 4), torch.tensor([[True, False, True], [False, False, False]])
    scripted = torch.jit.script(fuse_anatomies)
    assert torch.equal(scripted(anatomies, present), fuse_anatomies(anatomies, present))
    assert torch.equal(scripted(anatomies), fuse_anatomies(anatomies))


@pytest.mark.parametrize("case", cases_of("disentangle_fusion"))
def test_pools_of_the_original(case):
    arrays = arrays_of("disentangle_fusion", case)
    s = arrays["s"].float()
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(pool_anatomies(s), arrays["out_paper_order_max_mean_min"].float(), **close)
    original = pool_anatomies(s, pools=("mean", "max", "min"))
    torch.testing.assert_close(original, arrays["out_mean_max_min"].float(), **close)
    torch.testing.assert_close(pool_anatomies(s, pools=["mean"]), arrays["out_mean"].float(), **close)


@pytest.mark.parametrize("size", [(5, 6), (3, 4, 5)])
def test_pools_of_what_is_there(size):
    s = torch.rand(3, 4, 2, *size)
    present = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]) > 0
    spoilt = torch.where(present.view(3, 4, *[1] * (1 + len(size))), s, torch.nan).requires_grad_()
    found = pool_anatomies(spoilt, present)
    assert found.shape == (3, 6, *size)
    torch.testing.assert_close(found[:1], pool_anatomies(s[:1]))
    torch.testing.assert_close(
        found[1:2], pool_anatomies(s[1:2, [3, 1]])
    )  # as if the others did not exist, in any order
    assert not found[2].any()
    highest, mean, lowest = found.split(2, 1)
    assert (highest >= mean - 1e-6).all()
    assert (mean >= lowest - 1e-6).all()
    alone = pool_anatomies(s[:, :1])
    torch.testing.assert_close(alone, s[:, 0].repeat(1, 3, *[1] * len(size)))
    assert torch.autograd.grad(found.sum(), spoilt)[0].isfinite().all()
    with pytest.raises(ValueError, match="pools must be of"):
        pool_anatomies(s, pools=["sum"])
    with pytest.raises(ValueError, match="present must have the shape"):
        pool_anatomies(s, present[:, :2], pools=["mean"])


def test_presence_in_numbers():
    anatomies, present = torch.rand(2, 3, 4, 5), torch.tensor([[1, 0, 1], [0, 1, 1]])
    for there in (present, present.float()):
        torch.testing.assert_close(pool_anatomies(anatomies, there), pool_anatomies(anatomies, present.bool()))
