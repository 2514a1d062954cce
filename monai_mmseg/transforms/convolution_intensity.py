# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random shallow convolution networks as intensity maps: the same shapes in another contrast and texture."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata

WIDTH = 2  # channels between the layers, as in the reference
SLOPE = 0.01


def convolution_intensity(image: Tensor, kernels: Tensor, shifts: Tensor, depth: Tensor, alpha: Tensor) -> Tensor:
    r"""Images through networks of their own, mixed with themselves, at the norm that they had.

    With a network g of a few convolutions, leaky ReLU between them,

    .. math:: y = \alpha g(x) + (1 - \alpha) x, \qquad x' = y \, \|x\|_F / \|y\|_F .

    Args:
        image: ``(N, C, *spatial)``; the channels of a row go through one network, each by itself. NaN (an absent
            channel) stays.
        kernels: ``(N, L, W, W, *kernel)``, odd kernels; of the first layer the weights of input 0 count, of the last
            those of output 0.
        shifts: added behind each convolution, ``(N, L, W)``.
        depth: layers that a row passes, integers ``(N,)``, from 1 to L.
        alpha: share of the network's output, ``(N,)``.

    Reference:
        Ouyang et al., "Causality-inspired single-source domain generalization for medical image segmentation", IEEE TMI
        2023, arXiv:2111.12525, Eq. 2; Xu et al., "Robust and generalizable visual representation learning via random
        convolutions", ICLR 2021, arXiv:2007.13003. Differs from the paper: edge values outside of the image, not zeros.

    Examples:
        >>> image = torch.tensor([[[[3.0, 4.0]]]])
        >>> double = torch.full((1, 1, 1, 1, 1, 1), 2.0)
        >>> convolution_intensity(image, double, torch.zeros(1, 1, 1), torch.tensor([1]), torch.tensor([1.0]))
        tensor([[[[3., 4.]]]])
        >>> convolution_intensity(image, -double, torch.full((1, 1, 1), 7.0), torch.tensor([1]), torch.tensor([1.0]))
        tensor([[[[ 3.5355, -3.5355]]]])
    """
    rows, channels = image.shape[:2]
    dims, width = image.ndim - 2, kernels.shape[2]
    convolution = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    pad = [size // 2 for size in reversed(kernels.shape[4:]) for _ in range(2)]
    # (C, N * W, *spatial): rows are groups of one convolution
    state = torch.zeros(channels, rows, width, *image.shape[2:], dtype=image.dtype, device=image.device)
    state[:, :, 0] = image.transpose(0, 1)
    ones = [1] * dims
    for layer in range(kernels.shape[1]):
        padded = F.pad(state.flatten(1, 2), pad, mode="replicate")
        after = convolution(padded, kernels[:, layer].flatten(0, 1), shifts[:, layer].flatten(), groups=rows)
        after = after.unflatten(1, (rows, width))
        last, passed = ((depth > layer + more).reshape(1, rows, 1, *ones) for more in (1, 0))
        after = torch.where(last, F.leaky_relu(after, SLOPE), after)
        state = torch.where(passed, after, state)
    share = alpha.reshape(rows, 1, *ones)
    mixed = share * state[:, :, 0].transpose(0, 1) + (1 - share) * image
    before, now = (one.nan_to_num(0.0).flatten(1).norm(dim=1).reshape(rows, 1, *ones) for one in (image, mixed))
    return mixed * (before / now.clamp(min=torch.finfo(now.dtype).tiny))


class RandConvolutionIntensity(RandomizableTransform):
    """A random shallow convolution network as intensity map.

    Use it to train on one modality a network that shall know others: shapes stay, contrast and texture are random.

    Args:
        prob: how often.
        layers: fewest and most convolutions; leaky ReLU stands between them.
        kernel_sizes: of which each convolution draws one; odd.
        mix: range of the share of the network's output in the result, the rest is the image.

    Raises:
        ValueError: if a setting is out of range.

    Reference:
        See :func:`convolution_intensity`.

    Examples:
        >>> image = torch.rand(1, 8, 8)
        >>> changed = RandConvolutionIntensity().set_random_state(0)(image)
        >>> bool((changed - image).abs().max() > 0.1), bool(torch.isclose(changed.norm(), image.norm()))
        (True, True)
    """

    def __init__(
        self,
        prob: float = 1.0,
        layers: Sequence[int] = (1, 4),
        kernel_sizes: Sequence[int] = (1, 3),
        mix: Sequence[float] = (0.0, 1.0),
    ) -> None:
        super().__init__(prob)
        if len(layers) != 2 or not 1 <= layers[0] <= layers[1]:
            raise ValueError(f"layers must be two ascending whole numbers of at least 1, got {tuple(layers)}.")
        if not kernel_sizes or any(size < 1 or size % 2 == 0 for size in kernel_sizes):
            raise ValueError(f"kernel_sizes must be odd whole numbers of at least 1, got {tuple(kernel_sizes)}.")
        if len(mix) != 2 or not 0 <= mix[0] <= mix[1] <= 1:
            raise ValueError(f"mix must be two ascending numbers in 0..1, got {tuple(mix)}.")
        self.layers, self.kernel_sizes, self.mix = tuple(layers), tuple(kernel_sizes), tuple(mix)
        self.drawn: dict[str, Tensor] = {}

    def randomize(self, spatial_dims: int = 2) -> None:
        """Sample a network for images of as many spatial dimensions, and its share; nothing is a share of 0."""
        super().randomize(None)
        most, size = self.layers[1], max(self.kernel_sizes)
        kernels = torch.zeros(most, WIDTH, WIDTH, *[size] * spatial_dims)
        shifts, depth, alpha = torch.zeros(most, WIDTH), 1, 0.0
        if self._do_transform:
            depth = int(self.R.randint(self.layers[0], most + 1))
            for layer in range(depth):
                own = int(self.R.choice(self.kernel_sizes))
                inside = (slice(None), slice(None)) + (slice((size - own) // 2, (size + own) // 2),) * spatial_dims
                values = self.R.normal(size=(WIDTH, WIDTH, *[own] * spatial_dims))
                kernels[layer][inside] = torch.as_tensor(values, dtype=torch.float32)
                shifts[layer] = torch.as_tensor(self.R.normal(size=WIDTH), dtype=torch.float32)
            alpha = float(self.R.uniform(*self.mix))
        self.drawn = {"kernels": kernels, "shifts": shifts, "depth": torch.tensor(depth), "alpha": torch.tensor(alpha)}

    def __call__(self, img: Tensor, randomize: bool = True) -> Tensor:
        """Return the changed image ``(C, *spatial)``; all channels go through one network. A MetaTensor stays one."""
        if randomize:
            self.randomize(img.ndim - 1)
        if not self._do_transform:
            return img
        image = plain_tensor(torch.as_tensor(img)).to(torch.float32)
        changed = convolution_intensity(image[None], **{name: one[None] for name, one in self.drawn.items()})
        return with_metadata(changed[0], img)


class RandConvolutionIntensityd(RandomizableTransform, MapTransform):
    """Dictionary form of :class:`RandConvolutionIntensity`: all keys go through one network.

    Examples:
        >>> change = RandConvolutionIntensityd("image", prob=1.0).set_random_state(0)
        >>> tuple(change({"image": torch.rand(2, 4, 4, 4)})["image"].shape)
        (2, 4, 4, 4)
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 1.0,
        layers: Sequence[int] = (1, 4),
        kernel_sizes: Sequence[int] = (1, 3),
        mix: Sequence[float] = (0.0, 1.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.network = RandConvolutionIntensity(1.0, layers, kernel_sizes, mix)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> RandConvolutionIntensityd:
        """Seed it."""
        super().set_random_state(seed, state)
        self.network.set_random_state(state=self.R)
        return self

    def randomize(self, spatial_dims: int = 2) -> None:
        """Sample whether anything changes, and the network."""
        super().randomize(None)
        self.network.prob = float(self._do_transform)
        self.network.randomize(spatial_dims)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with all keys changed alike."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        if keys:
            self.randomize(result[keys[0]].ndim - 1)
        for key in keys:
            result[key] = self.network(result[key], randomize=False)
        return result
