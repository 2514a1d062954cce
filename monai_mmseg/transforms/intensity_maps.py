# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A batch of images in random contrasts, made on the device where it lies."""

from __future__ import annotations

import torch
from torch import Tensor

KNOTS = (4, 10)  # pieces of a curve, fewest and most
FLIPPED, NOISY, NOISE = 0.5, 0.5, 0.1  # how often; standard deviation


def random_intensity_maps(images: Tensor) -> Tensor:
    """Every image through a monotone curve of its own, at random negated, at random noisy.

    Use it inside a training step, for copies of a batch in contrasts that nobody has seen; no step waits for it. As
    augmentation in front of a network, :class:`~monai_mmseg.transforms.RandAppearanced` does more. A curve is piecewise
    linear from -1 to 1, of 4 to 10 pieces of equal width and of exponentially distributed heights; half of the images
    are negated and half get Gaussian noise of 0.1. All is drawn from the generator of the device.

    Args:
        images: in [-1, 1], shape ``(N, C, *spatial)``; values outside are cut off, NaN (absent) stays. The channels of
            an image share one curve.

    Returns:
        The copies, in [-1, 1], same shape and type, without gradient.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> changed = random_intensity_maps(torch.linspace(-1, 1, 5).expand(2, 1, 5))
        >>> changed.shape, bool(changed.abs().max() <= 1)
        (torch.Size([2, 1, 5]), True)
    """
    rows, device = len(images), images.device
    values = images.detach().float().flatten(1)
    heights = torch.rand(rows, KNOTS[1], device=device).clamp(min=1e-6).log().neg()
    curve = torch.cat([heights.new_zeros(rows, 1), heights.cumsum(1)], 1)
    pieces = torch.randint(KNOTS[0], KNOTS[1] + 1, (rows, 1), device=device)
    curve = curve / curve.gather(1, pieces).clamp(min=1e-6) * 2 - 1
    position = (values.clamp(-1, 1) + 1) / 2 * pieces
    left = torch.minimum(position.nan_to_num(0.0).floor().long(), pieces - 1)
    low, high = curve.gather(1, left), curve.gather(1, left + 1)
    drawn = torch.rand(2, rows, 1, device=device)
    changed = (low + (high - low) * (position - left)) * (1 - 2 * (drawn[0] < FLIPPED).float())
    changed = changed + (drawn[1] < NOISY) * NOISE * torch.randn_like(changed)
    return changed.clamp(-1, 1).reshape(images.shape).to(images.dtype)
