# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from monai_mmseg.losses import (
    ModalityMarginLoss,
    SubjectMarginLoss,
    anatomy_signature,
    modality_margin,
    subject_margin,
)
from tests.reference_cases import arrays_of, cases_of

S, Z = cases_of("disentangle_sim_s"), cases_of("disentangle_sim_z")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
BOTH = pytest.mark.parametrize("loss", [subject_margin, modality_margin])


def stacked(arrays, name, count):
    return torch.stack([arrays[f"{name}{k}"].float() for k in range(count)], 1)


def codes_of(rows=5, count=3, size=6, seed=0):
    return torch.randn(rows, count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("case", S)
def test_original_of_anatomies(case):
    arrays, settings = arrays_of("disentangle_sim_s", case), S[case]
    anatomies = stacked(arrays, "s", settings["M"]).requires_grad_()
    present = arrays["mask"] > 0
    codes = anatomy_signature(anatomies, mode=settings["pool"])
    torch.testing.assert_close(codes[:, 0], arrays["f0"].float(), **CLOSE)
    i, j = (int(k) for k in arrays["pair"])
    loss = subject_margin(codes, present, settings["margin"], pairs=(i, j))
    torch.testing.assert_close(loss, arrays["loss"].float(), **CLOSE)
    expected = arrays["pair_losses"].float()
    for a in range(settings["M"]):
        for b in range(settings["M"]):
            if a != b:
                found = subject_margin(codes, present, settings["margin"], pairs=(a, b))
                torch.testing.assert_close(found, expected[a, b], **CLOSE)
    if "grad0" in arrays:
        gradient = torch.autograd.grad(loss, anatomies)[0]
        for k in range(settings["M"]):
            if f"grad{k}" in arrays:  # which of equal values is the largest of a window is a convention
                windows = [nn.functional.avg_pool2d(g, 16) for g in (gradient[:, k], arrays[f"grad{k}"].float())]
                torch.testing.assert_close(windows[0], windows[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("case", Z)
def test_original_of_appearances(case):
    arrays, settings = arrays_of("disentangle_sim_z", case), Z[case]
    codes, present = stacked(arrays, "z", settings["M"]).requires_grad_(), arrays["mask"] > 0
    loss = modality_margin(codes, present, settings["margin"], pairs="ascending")
    torch.testing.assert_close(loss, arrays["loss"].float(), **CLOSE)
    for a in range(settings["M"]):
        for b in range(settings["M"]):
            if a != b:
                found = modality_margin(codes, present, settings["margin"], pairs=(a, b))
                torch.testing.assert_close(found, arrays["pair_losses"][a, b].float(), **CLOSE)
    gradient = torch.autograd.grad(loss, codes)[0]
    for k in range(settings["M"]):
        torch.testing.assert_close(gradient[:, k], arrays[f"grad{k}"].float(), rtol=1e-4, atol=1e-6)


@BOTH
@pytest.mark.parametrize("masked", [False, True])
def test_against_plain_loops(loss, masked):
    codes = codes_of()
    present = torch.rand(5, 3, generator=torch.Generator().manual_seed(2)) > 0.3 if masked else torch.ones(5, 3) > 0
    means = []
    for i in range(3):
        for j in range(3):
            terms = []
            for p in range(5):
                q = (p + 1) % 5
                if i != j and present[p, i] and present[p, j] and present[q, i]:
                    same_row = torch.cosine_similarity(codes[p, i], codes[p, j], dim=0)
                    same_modality = torch.cosine_similarity(codes[p, i], codes[q, i], dim=0)
                    near, far = (same_row, same_modality) if loss is subject_margin else (same_modality, same_row)
                    terms.append((0.3 - near + far).clamp(min=0))
            if terms:
                means.append(torch.stack(terms).mean())
    torch.testing.assert_close(loss(codes, present, 0.3), torch.stack(means).mean(), rtol=1e-6, atol=1e-7)


def test_what_is_apart_costs_nothing():
    blocks = torch.zeros(3, 2, 4, 32, 32)
    for row in range(3):
        blocks[row, :, row] = 1  # a channel for each subject, alike in both modalities
    assert SubjectMarginLoss()(blocks) == 0
    directions = torch.eye(4)[None].expand(3, 4, 4)
    assert ModalityMarginLoss()(directions) == 0
    assert subject_margin(directions) > 0.1  # the roles swapped
    assert modality_margin(torch.eye(3)[:, None].expand(3, 4, 3)) > 0.1


@BOTH
def test_invariants(loss):
    codes = codes_of()
    value = loss(codes)
    scale = torch.rand(5, 3, 1, dtype=torch.float64) + 0.5
    torch.testing.assert_close(loss(codes * scale), value, rtol=1e-6, atol=1e-7)
    rotation = torch.linalg.qr(codes_of(1, 6, 6, seed=3)[0])[0]
    torch.testing.assert_close(loss(codes @ rotation), value, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(loss(codes.roll(2, 0)), value)
    torch.testing.assert_close(loss(codes[:, [2, 0, 1]]), value)  # all pairs: the order of the modalities is free
    torch.testing.assert_close(loss(torch.ones(4, 3, 5), margin=0.2), torch.tensor(0.2))
    assert loss(codes[:, :1]) == 0


@BOTH
def test_absent_is_left_out(loss):
    codes = codes_of()
    present = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1]]) > 0
    spoilt = torch.where(present[..., None], codes, torch.tensor(7.0, dtype=torch.float64)).requires_grad_()
    value = loss(spoilt, present)
    torch.testing.assert_close(value, loss(codes, present))
    gradient = torch.autograd.grad(value, spoilt)[0]
    assert not gradient[~present].any()
    without = torch.ones(5, 3, dtype=torch.bool)
    without[:, 1] = False
    torch.testing.assert_close(loss(codes, without), loss(codes[:, [0, 2]]))
    nobody = loss(codes.requires_grad_(), torch.zeros(5, 3, dtype=torch.bool))
    assert nobody == 0
    assert torch.autograd.grad(nobody, codes)[0].isfinite().all()


@BOTH
def test_nan_of_the_absent_reaches_no_gradient(loss):
    codes, present = codes_of(), torch.ones(5, 3, dtype=torch.bool)
    present[0, 1] = present[3, 2] = False
    spoilt = torch.where(present[..., None], codes, torch.nan).requires_grad_()
    value = loss(spoilt, present)
    torch.testing.assert_close(value, loss(codes, present))
    gradient = torch.autograd.grad(value, spoilt)[0]
    assert gradient.isfinite().all()
    assert gradient.any()


def test_one_row_is_its_own_next_as_in_the_original_unless_its_subject_is_named():
    codes, margin = codes_of(1), 0.25
    unit = torch.nn.functional.normalize(codes, dim=2)[0]
    within = (unit @ unit.T)[~torch.eye(3, dtype=torch.bool)]
    torch.testing.assert_close(subject_margin(codes, margin=margin), (1 + margin - within).relu().mean())
    assert subject_margin(codes, margin=margin, subject=torch.zeros(1, dtype=torch.long)) == 0


@BOTH
def test_rows_of_one_subject_are_not_compared(loss):
    codes = codes_of(4)
    found = loss(codes, subject=torch.tensor([3, 3, 5, 6]))
    kept = torch.tensor([False, True, True, True])  # the first row's next is of the same subject
    per_pair = []
    for i, j in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]:
        rows = []
        for p in kept.nonzero()[:, 0].tolist():
            two = codes[[p, (p + 1) % 4]]
            present = torch.tensor([[True] * 3, [k == i for k in range(3)]])  # the second row only as the next
            rows.append(loss(two, present, pairs=(i, j)))
        per_pair.append(torch.stack(rows).mean())
    torch.testing.assert_close(found, torch.stack(per_pair).mean())
    assert loss(codes, subject=torch.zeros(4)) == 0


@BOTH
def test_random_pairs_are_all_pairs_on_average(loss):
    torch.manual_seed(0)
    codes = codes_of()
    drawn = {round(float(loss(codes, pairs="random")), 9) for _ in range(60)}
    every = {round(float(loss(codes, pairs=(i, j))), 9) for i in range(3) for j in range(3) if i != j}
    assert drawn == every
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    torch.testing.assert_close(loss(codes), torch.stack([loss(codes, pairs=pair) for pair in pairs]).mean())


@BOTH
def test_gradient(loss):
    assert gradcheck(lambda codes: loss(codes, margin=1.5), codes_of(3, 3, 4).requires_grad_())


@BOTH
def test_half_precision(loss):
    codes = codes_of().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(codes.bfloat16())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(codes), rtol=0.05, atol=0.01)


def test_signature():
    anatomy = torch.rand(2, 3, 4, 50, 37)
    codes = anatomy_signature(anatomy)
    assert codes.shape == (2, 3, 3 * 2 * 4)
    torch.testing.assert_close(codes, anatomy_signature(anatomy[..., :48, :32]))
    order = torch.randperm(256)
    block = anatomy[..., :16, :16].flatten(3)[..., order].view(2, 3, 4, 16, 16)
    moved = anatomy.clone()
    moved[..., :16, :16] = block
    torch.testing.assert_close(anatomy_signature(moved), codes)
    assert anatomy_signature(torch.rand(1, 2, 4, 16, 32, 16)).shape == (1, 2, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: subject_margin(c[0]), r"codes must have shape \(B, M, D\)"),
        (lambda c: subject_margin(c, torch.ones(5, 3)), "present must be bool of shape"),
        (lambda c: modality_margin(c, pairs=(0, 3)), "two different indices below 3"),
        (lambda c: modality_margin(c, pairs=(1, 1)), "two different indices below 3"),
        (lambda c: modality_margin(c, pairs="some"), "pairs must be 'all'"),
        (lambda c: SubjectMarginLoss(pairs=(1,)), "pairs must be 'all'"),
        (lambda c: SubjectMarginLoss(math.nan), "margin must be a finite number"),
        (lambda c: modality_margin(c, margin=math.inf), "margin must be a finite number"),
        (lambda c: modality_margin(c, subject=torch.zeros(3)), r"subject must have shape \(5,\)"),
        (lambda c: anatomy_signature(torch.zeros(1, 1, 4, 8, 32)), "at least 16 pixels"),
        (lambda c: anatomy_signature(torch.zeros(1, 1, 4, 32, 32), mode="sum"), "mode must be"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call(codes_of())
