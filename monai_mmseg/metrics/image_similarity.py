# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""How like a reconstructed image is to the true one: PSNR and SSIM of a stack of slices."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from monai.metrics.regression import compute_ssim_and_cs
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5  # of the Gaussian window of SSIM (Wang et al. 2004), as in MONAI's SSIMMetric
RELEASED_WINDOW = 7  # scikit-image's uniform window
K1, K2 = 0.01, 0.03


class ImageSimilarity(NamedTuple):
    """What :func:`image_similarity` returns."""

    psnr: float  # dB, infinite for equal images
    ssim: float  # at most 1


class OriginalSimilarity(NamedTuple):
    """What :func:`original_image_similarity` returns, a number a slice; NaN where the target is constant."""

    psnr: Tensor  # (N,), dB
    ssim: Tensor  # (N,)
    mse: Tensor  # (N,)


def image_similarity(
    prediction: Tensor, target: Tensor, value_range: tuple[float, float], mask: Tensor | None = None
) -> ImageSimilarity:
    """PSNR and SSIM of all slices of one subject together, with one range of values for all of them.

    Use it for every number that is compared between methods: the range is given, so it depends neither on the slice
    nor on what was predicted. The squared error and the map of local similarity are averaged over all pixels that
    count, so that a slice with little brain weighs little.

    Args:
        prediction: shape ``(N, H, W)``, N slices.
        target: same shape, finite.
        value_range: lowest and highest value that this kind of image has.
        mask: which pixels count, bool, same shape; ``None`` means all. SSIM looks at the 11 x 11 pixels around each and
            leaves out those closer than 5 pixels to the border of the image.

    Raises:
        ValueError: the shapes differ, the images are smaller than the window, something is not finite, the range is
            empty, or no pixel counts.

    Examples:
        >>> target = torch.linspace(0, 1, 16).expand(2, 16, 16)
        >>> image_similarity(target, target, (0.0, 1.0))
        ImageSimilarity(psnr=inf, ssim=1.0)
        >>> round(image_similarity(target + 0.1, target, (0.0, 1.0)).psnr, 3)  # 10 log10(1 / 0.1²)
        20.0
    """
    _check(prediction, target, WINDOW)
    low, high = (float(value) for value in value_range)
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise ValueError(f"value_range must be two finite numbers, the lower first, got {value_range}.")
    pixels = torch.ones_like(target, dtype=torch.bool) if mask is None else mask
    if pixels.shape != target.shape or pixels.dtype != torch.bool:
        raise ValueError(f"mask must be bool of shape {tuple(target.shape)}, got {pixels.dtype} {tuple(pixels.shape)}.")
    edge = WINDOW // 2
    inner = pixels[:, edge:-edge, edge:-edge].to(target.device)
    if not bool(inner.any()):
        raise ValueError(f"mask must hold pixels that are {edge} or more from the border of the image, got none.")
    scale = high - low
    # to [0, 1]: SSIM compares means, and is then the same whatever number the background has
    images = [(image.double() - low) / scale for image in (prediction, target)]
    error = float((images[0] - images[1]).square()[pixels.to(target.device)].mean())
    parts = [image.float().unsqueeze(1) for image in images]
    ssim, _ = compute_ssim_and_cs(*parts, 2, (WINDOW, WINDOW), (SIGMA, SIGMA), k1=K1, k2=K2)
    return ImageSimilarity(-10 * math.log10(error) if error else math.inf, float(ssim[:, 0][inner].double().mean()))


def original_image_similarity(prediction: Tensor, target: Tensor) -> OriginalSimilarity:
    """PSNR, SSIM and MSE of each slice as the program of Ouyang et al. measures them.

    Use it only beside the published table. Both images are moved to a minimum of 0, the range is the largest value of
    the moved target, SSIM has a uniform window of 7 x 7 and sample covariances; nothing is masked. So the range changes
    from slice to slice, a constant error costs nothing, and a background far below the brain (-10 in that program)
    makes every number better.

    Args:
        prediction: shape ``(N, H, W)``.
        target: same shape, finite. (The program compares the *first* of the adjacent slices of an image.)

    Returns:
        The three numbers of each slice, float64; NaN where the target is constant and there is no range.

    Raises:
        ValueError: the shapes differ, or the images are smaller than the window.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: Table 1.

    Examples:
        >>> target = torch.linspace(0, 1, 8, dtype=torch.float64).expand(1, 8, 8)
        >>> found = original_image_similarity(target / 2 + 3, target)
        >>> round(56 * float(found.mse), 6), round(float(found.psnr), 2)  # mean of (k / 14)², k = 0 ... 7: 5 / 56
        (5.0, 10.49)
    """
    _check(prediction, target, RELEASED_WINDOW)
    x, y = (_from_zero(image.double()) for image in (prediction, target))
    scale = y.flatten(1).amax(1)
    mse = (x - y).square().flatten(1).mean(1)
    pixels = RELEASED_WINDOW**2
    stacked = torch.stack([x, y, x * x, y * y, x * y], 1)
    mean_x, mean_y, xx, yy, xy = F.avg_pool2d(stacked, RELEASED_WINDOW, 1).unbind(1)
    sample = pixels / (pixels - 1)
    var_x, var_y, cov = sample * (xx - mean_x**2), sample * (yy - mean_y**2), sample * (xy - mean_x * mean_y)
    c1, c2 = ((k * scale).square()[:, None, None] for k in (K1, K2))
    similar = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    ssim = (similar / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).flatten(1).mean(1)
    psnr = 10 * (scale.square() / mse).log10()
    absent = torch.full_like(scale, math.nan)
    return OriginalSimilarity(*(torch.where(scale > 0, found, absent) for found in (psnr, ssim, mse)))


def _from_zero(image: Tensor) -> Tensor:
    return image - image.flatten(1).amin(1)[:, None, None]


def _check(prediction: Tensor, target: Tensor, window: int) -> None:
    if prediction.shape != target.shape or target.ndim != 3 or not len(target):
        raise ValueError(
            "prediction and target must have one shape (N, H, W) with N > 0, got "
            f"{tuple(prediction.shape)} and {tuple(target.shape)}."
        )
    if min(target.shape[1:]) < window:
        raise ValueError(f"images must have at least {window} x {window} pixels, got {tuple(target.shape[1:])}.")
    for name, image in (("prediction", prediction), ("target", target)):
        if not bool(image.isfinite().all()):
            raise ValueError(f"{name} must be finite, got NaN or infinity; leave absent images out.")
