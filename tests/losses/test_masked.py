# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.losses.masked import (
    class_counts,
    global_count,
    group_means,
    group_sums,
    mask_samples,
    masked_mean,
    mean_of_columns,
)
from tests.losses import masked_worker
from tests.processes import start_processes


def test_mean_over_the_rows_that_count():
    values = torch.tensor([1.0, float("nan"), 5.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([True, False, True]))
    mean.backward()
    assert mean == 3
    torch.testing.assert_close(values.grad, torch.tensor([0.5, 0.0, 0.5]))
    assert masked_mean(torch.tensor([1.0, 2.0])) == 1.5


@pytest.mark.parametrize("rows", [0, 2])
def test_mean_of_nothing_is_zero(rows):
    values = torch.full((rows,), float("nan"), requires_grad=True)
    mean = masked_mean(values, torch.zeros(rows, dtype=torch.bool))
    mean.backward()
    assert mean == 0
    assert (values.grad == 0).all()


def test_count_of_one_process():
    assert global_count(torch.tensor(3)) == 3
    assert not global_count(torch.ones(2, requires_grad=True)).requires_grad


def test_infinite_derivative_of_a_row_left_out():
    values = torch.tensor([4.0, 0.0], requires_grad=True)
    keep = torch.tensor([True, False])
    masked_mean(mask_samples(values, keep).clamp(min=1e-6).sqrt(), keep).backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.25, 0.0]))


def test_groups():
    values = torch.tensor([1.0, 3.0, 10.0, float("nan"), 7.0], requires_grad=True)
    group = torch.tensor([0, 0, 2, 2, 3])
    mask = torch.tensor([True, True, True, False, True])
    means = group_means(values, group, 4, mask)
    torch.testing.assert_close(means.detach(), torch.tensor([2.0, 0.0, 10.0, 7.0]))
    means.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.5, 0.5, 1.0, 0.0, 1.0]))


def test_groups_equal_masked_means():
    values, group, mask = torch.randn(20), torch.randint(3, (20,)), torch.rand(20) > 0.4
    expected = torch.stack([masked_mean(values, mask & (group == b)) for b in range(3)])
    torch.testing.assert_close(group_means(values, group, 3, mask), expected)


@pytest.mark.parametrize("shape", [(), (2,), (3, 2)])
def test_sums_of_groups(shape):
    values, group = torch.randn(5, *shape, dtype=torch.float64), torch.tensor([1, 1, 0, 3, 1])
    mask = torch.tensor([True, False, True, True, True])
    expected = torch.zeros(4, *shape, dtype=torch.float64).index_add(0, group[mask], values[mask])
    values[1] = float("nan")
    values.requires_grad_()
    sums = group_sums(values, group, 4, mask)
    torch.testing.assert_close(sums, expected)
    sums.sum().backward()
    torch.testing.assert_close(values.grad, mask.double().reshape(-1, *[1] * len(shape)).expand_as(values))
    torch.testing.assert_close(group_sums(values[:1]), values[:1])
    assert not group_sums(values, differentiable=False).requires_grad
    assert (group_sums(values[:0], group[:0], 2) == 0).all()


@pytest.mark.parametrize("size", [(5, 4), (3, 2, 4)], ids=["2d", "3d"])
def test_counts_of_classes(size):
    classes = torch.randint(3, (6, *size))
    group, mask = torch.tensor([0, 1, 1, 0, 3, 1]), torch.tensor([True, True, False, True, True, True])
    counts = class_counts(torch.eye(3)[classes].movedim(-1, 1), group, 4, mask)
    for b in range(4):
        expected = torch.bincount(classes[mask & (group == b)].flatten(), minlength=3).float()
        torch.testing.assert_close(counts[b], expected)


def test_counts_without_groups_and_their_gradient():
    probs = torch.rand(2, 3, 4, requires_grad=True)
    assert not class_counts(probs).requires_grad
    counts = class_counts(probs, mask=torch.tensor([True, False]), differentiable=True)
    torch.testing.assert_close(counts.detach(), probs[:1].sum((0, 2))[None].detach())
    counts.sum().backward()
    torch.testing.assert_close(probs.grad, torch.tensor([1.0, 0.0])[:, None, None].expand(2, 3, 4))


def test_counts_of_half_precision_are_single():
    assert class_counts(torch.ones(1, 1, 300, 300, dtype=torch.float16)).item() == 90000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: masked_mean(torch.zeros(2, 1)), "values must have shape (N,), got (2, 1)."),
        (
            lambda: masked_mean(torch.zeros(2), torch.ones(2)),
            "mask must be torch.bool of shape (2,), got torch.float32 of shape (2,).",
        ),
        (lambda: group_means(torch.zeros(2, 1), torch.zeros(2).long(), 1), "values must have shape (N,), got (2, 1)."),
        (
            lambda: group_means(torch.zeros(2), torch.zeros(3).long(), 1),
            "group must be torch.int64 of shape (2,), got torch.int64 of shape (3,).",
        ),
        (lambda: group_means(torch.zeros(2), torch.zeros(2).long(), 0), "num_groups must be at least 1, got 0."),
        (lambda: class_counts(torch.zeros(2, 3)), "onehot must have shape (N, K, *spatial), got (2, 3)."),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_mean_of_columns():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 2, 3, generator=generator)
    mask = torch.rand(5, 2, 3, generator=generator) > 0.4
    mask[:, 0, 1] = False  # a column without rows
    means = [values[:, i, j][mask[:, i, j]].mean() for i in range(2) for j in range(3) if mask[:, i, j].any()]
    spoilt = torch.where(mask, values, torch.nan).requires_grad_()
    found = mean_of_columns(spoilt, mask)
    torch.testing.assert_close(found, torch.stack(means).mean())
    assert torch.autograd.grad(found, spoilt)[0].isfinite().all()
    assert mean_of_columns(values, torch.zeros_like(mask)) == 0
    with pytest.raises(ValueError, match=r"mask must be bool of shape \(5, 2, 3\), got torch.bool of shape \(5,\)"):
        mean_of_columns(values, mask[:, 0, 0])


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    out = tmp_path / "found.pt"
    start_processes(masked_worker.main, (str(tmp_path / "store"), str(out)))
    found = torch.load(out, weights_only=True)
    expected = masked_worker.gradients(slice(0, masked_worker.ROWS))
    assert found.keys() == expected.keys()
    for name, (value, gradient) in expected.items():
        torch.testing.assert_close(found[name][0], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
        torch.testing.assert_close(found[name][1], gradient, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for name in (
        "mean",
        "columns",
        "segmentation",
        "segmentation, swapped",
        "group 2, swapped=False",
        "group 1, swapped=True",
        "dice",
        "kd",
    ):
        assert expected[name][1].abs().sum() > 0
