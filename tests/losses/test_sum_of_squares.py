# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import torch
from torch import nn

from monai_mmseg.losses import sum_of_squares


def test_value_and_gradient():
    parts = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    loss = sum_of_squares(parts)
    loss.backward()
    torch.testing.assert_close(loss, torch.cat([part.flatten() for part in parts]).norm() ** 2)
    for part in parts:
        torch.testing.assert_close(part.grad, 2 * part.detach())
    assert sum_of_squares([]) == 0


def test_half_of_it_is_weight_decay_of_adam():
    torch.manual_seed(0)
    image, nets = torch.randn(4, 3), [nn.Linear(3, 2), nn.Linear(3, 2)]
    nets[1].load_state_dict(nets[0].state_dict())
    steps = [torch.optim.Adam(nets[0].parameters(), 0.1), torch.optim.Adam(nets[1].parameters(), 0.1, weight_decay=0.3)]
    for _ in range(3):
        for step, net, scale in zip(steps, nets, (0.3, 0.0), strict=True):
            step.zero_grad()
            (net(image).square().mean() + scale * 0.5 * sum_of_squares(net.parameters())).backward()
            step.step()
    torch.testing.assert_close(nets[0].weight, nets[1].weight)


def test_half_precision_is_computed_in_single():
    assert sum_of_squares([torch.full((300, 300), 2.0, dtype=torch.float16)]) == 360000
