# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from monai_mmseg.transforms import RandConvolutionIntensity, RandConvolutionIntensityd, convolution_intensity
from monai_mmseg.transforms.convolution_intensity import WIDTH


def network_of(drawn, dims):
    """The drawn network as layers of its own: 1 -> W -> ... -> 1 channels."""
    conv, depth = (F.conv2d, F.conv3d)[dims - 2], int(drawn["depth"])

    def through(channel):
        state = channel[None, None]
        for layer in range(depth):
            kernel, shift = drawn["kernels"][layer], drawn["shifts"][layer]
            kernel = kernel[:, :1] if layer == 0 else kernel
            kernel, shift = (kernel[:1], shift[:1]) if layer == depth - 1 else (kernel, shift)
            state = conv(F.pad(state, [1] * 2 * dims, mode="replicate"), kernel, shift)
            state = state if layer == depth - 1 else F.leaky_relu(state, 0.01)
        return state[0, 0]

    return through


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_batch_is_row_by_row_what_the_networks_give(dims, layers):
    image = torch.rand(3, 2, *[6, 5, 4][:dims])
    change = RandConvolutionIntensity(layers=(layers, 4)).set_random_state(layers)
    drawn, expected = [], []
    for row in image:
        change.randomize(dims)
        through, alpha = network_of(change.drawn, dims), change.drawn["alpha"]
        mixed = alpha * torch.stack([through(channel) for channel in row]) + (1 - alpha) * row
        expected.append(mixed / mixed.norm() * row.norm())
        drawn.append(change.drawn)
    batched = {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}
    torch.testing.assert_close(convolution_intensity(image, **batched), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_what_is_drawn():
    change = RandConvolutionIntensity(prob=0.7, layers=(2, 3), kernel_sizes=(1, 3), mix=(0.2, 0.6)).set_random_state(0)
    depths, alphas, wide = [], [], []
    for _ in range(300):
        change.randomize(2)
        depths.append(int(change.drawn["depth"]))
        alphas.append(float(change.drawn["alpha"]))
        wide += [bool(one[..., 0, 0].any()) for one in change.drawn["kernels"][: depths[-1]]] if alphas[-1] else []
    done = [alpha for alpha in alphas if alpha]
    assert len(done) == pytest.approx(210, abs=35)
    assert (min(done), max(done)) == pytest.approx((0.2, 0.6), abs=0.02)
    assert {depth for depth, alpha in zip(depths, alphas, strict=True) if alpha} == {2, 3}
    assert sum(wide) / len(wide) == pytest.approx(0.5, abs=0.1)
    assert change.drawn["kernels"].shape == (3, WIDTH, WIDTH, 3, 3)


def test_absent_channels_stay_and_leave_the_others_alone():
    image = torch.rand(2, 8, 8)
    image[1] = torch.nan
    change = RandConvolutionIntensity(mix=(0.5, 1.0))
    both, alone = (change.set_random_state(1)(one) for one in (image, image[:1]))
    assert both[1].isnan().all()
    torch.testing.assert_close(both[:1], alone)


def test_keys_share_a_network_and_the_input_stays():
    image = torch.rand(1, 8, 8)
    before = image.clone()
    out = RandConvolutionIntensityd(["a", "b"]).set_random_state(0)({"a": image, "b": image.clone()})
    assert torch.equal(out["a"], out["b"])
    assert not torch.equal(out["a"], image)
    assert torch.equal(image, before)
    same = RandConvolutionIntensityd("a", prob=0.0).set_random_state(0)({"a": image})
    assert same["a"] is image


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": (0, 2)}, r"layers must be two ascending whole numbers of at least 1, got \(0, 2\)"),
        ({"kernel_sizes": (1, 2)}, r"kernel_sizes must be odd whole numbers of at least 1, got \(1, 2\)"),
        ({"mix": (0.5, 2)}, r"mix must be two ascending numbers in 0..1, got \(0.5, 2\)"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        RandConvolutionIntensity(**settings)
