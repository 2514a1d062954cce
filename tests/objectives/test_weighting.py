# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.metrics import compute_dice
from torch import nn

from monai_mmseg.losses import onehot_labels
from monai_mmseg.objectives.weighting import GradientBalance, Ramp, foreground_dice

NAN = torch.tensor(torch.nan)


def test_the_ramp_of_dice_is_a_running_mean_without_bias():
    ramp, factors = Ramp("dice"), []
    for dice in (NAN, torch.tensor(0.4), NAN, torch.tensor(0.8)):
        ramp.advance(dice)
        factors.append(float(ramp.factor))
    # nothing known; 0.4 as it is; kept; weights 0.95 * 0.05 and 0.05
    assert factors == pytest.approx([0.0, 0.4, 0.4, (0.95 * 0.4 + 0.8) / 1.95])


def test_the_ramp_goes_on_where_it_was():
    first, second = Ramp(10), Ramp(10)
    for _ in range(4):
        first.advance()
    second.load_state_dict(first.state_dict())
    assert second.factor == first.factor == pytest.approx(0.3)
    second.advance()
    assert float(second.factor) == pytest.approx(0.4)


def test_dice_is_that_of_monai():
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(3, 4, 8, 8, generator=generator), torch.randint(4, (3, 1, 8, 8), generator=generator)
    onehot = onehot_labels(label, 4)
    group, labelled = torch.tensor([1, 0, 1]), torch.tensor([True, True, False])
    guess = onehot_labels(logits.argmax(1, keepdim=True), 4)
    expected = compute_dice(guess[:2], onehot[:2], include_background=False).mean()
    torch.testing.assert_close(foreground_dice(logits, onehot, group, 2, labelled), expected)
    assert foreground_dice(logits, onehot, group, 2, torch.zeros(3) > 0).isnan()
    # what is no class has no label: pixels of it do not count, in the guess neither
    unknown = torch.where(torch.rand(label.shape, generator=generator) < 0.5, 7, label)
    kept = onehot_labels(unknown, 4)
    expected = compute_dice(guess * kept.sum(1, keepdim=True), kept, include_background=False)[1].mean()
    torch.testing.assert_close(foreground_dice(logits[1:2], kept[1:2], group[1:2], 2), expected)


def test_balanced_gradients_have_the_ratio_of_the_weight():
    torch.manual_seed(0)
    layer, balance = nn.Linear(3, 2).double(), GradientBalance(every=1).double()
    out = layer(torch.rand(5, 3, dtype=torch.float64))
    term, other = out.pow(2).mean() * 1e-6, out.exp().sum() * 50
    balance.advance(term, other, [layer.weight])
    sizes = [torch.autograd.grad(loss, layer.weight, retain_graph=True)[0].norm() for loss in (term, other)]
    torch.testing.assert_close(balance.factor * sizes[0], sizes[1])
    other.backward()  # the graph is still there


def test_it_measures_when_it_is_due_and_where_it_can():
    weight, balance = nn.Parameter(torch.ones(1)), GradientBalance(every=2)
    for size, other in ((1.0, 3.0), (1.0, 99.0), (0.0, 5.0), (1.0, 99.0), (2.0, torch.inf), (1.0, 99.0), (2.0, 4.0)):
        balance.advance(weight.sum() * size, weight.sum() * other, [weight])
    # 1 and 3 at first; nothing of the term, and an infinite gradient, are no measurement; then a tenth of 2 and 4
    assert float(balance.factor) == pytest.approx((0.9 * 3 + 0.1 * 4) / (0.9 * 1 + 0.1 * 2))
    further = GradientBalance(every=2)
    further.load_state_dict(balance.state_dict())
    assert (further.steps, float(further.factor)) == (7, float(balance.factor))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ramp(0), "over must be a number of steps, 1 or more, or 'dice', got 0"),
        (lambda: Ramp("loss"), "got 'loss'"),
        (lambda: Ramp(True), "got True"),
        (lambda: GradientBalance(0), "every must be a number of steps, 1 or more, got 0"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()
