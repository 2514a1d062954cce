# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""NVNet: a segmentation network that also has to rebuild its input while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks.nets.segresnet import SegResNetVAE
from torch import Tensor
from torch.nn import functional as F

from monai_mmseg.networks.layers.spatial_check import check_divisible

EPS = 1e-8  # beside the variance


class NVNetFactors(NamedTuple):
    """What :meth:`NVNet.factors` returns."""

    logits: Tensor  # (B, K, *spatial)
    reconstruction: Tensor  # (B, C, *spatial)
    mean: Tensor  # (B, D)
    log_variance: Tensor  # (B, D)


class NVNet(SegResNetVAE):
    """MONAI's ``SegResNetVAE`` with one output, and what its autoencoder adds in training as another method.

    Use it to segment tumours from few labelled volumes: rebuilding its input keeps the encoder honest. A call gives the
    logits, in training mode too, of any size divisible by 8; :meth:`factors` needs the size that the dense layers of
    the autoencoder were made for. MONAI's network returns a pair whose second part is the sum of two losses in training
    mode and ``None`` else, which no inferer, exporter or weighting of losses can use.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: number of classes.
        spatial_size: size of the input in training, divisible by 16.
        init_filters: channels of the first level.
        dropout: probability with which channels are dropped behind the first convolution.
        latent: numbers of the autoencoder's code.

    Raises:
        ValueError: when the size does not fit.

    Reference:
        Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", 2018, arXiv:1810.11654. Differs
        from it as MONAI's network does (linear upsampling, dropout behind the first convolution, a dense layer in front
        of the code).

    Examples:
        >>> net = NVNet(2, 12, 4, spatial_size=(32, 48), init_filters=8)
        >>> net(torch.rand(1, 12, 64, 40)).shape, net.factors(torch.rand(2, 12, 32, 48)).reconstruction.shape
        (torch.Size([1, 4, 64, 40]), torch.Size([2, 12, 32, 48]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        spatial_size: Sequence[int],
        init_filters: int = 16,
        dropout: float = 0.2,
        latent: int = 256,
    ) -> None:
        size = [int(n) for n in spatial_size]
        if len(size) != spatial_dims:
            raise ValueError(f"spatial_size must have {spatial_dims} numbers, got {tuple(size)}.")
        check_divisible(size, 4, "spatial_size")
        super().__init__(
            input_image_size=size,
            vae_estimate_std=True,
            vae_nz=latent,
            spatial_dims=spatial_dims,
            init_filters=init_filters,
            in_channels=in_channels,
            out_channels=out_channels,
            dropout_prob=dropout,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, out_channels, *spatial)`` of ``x`` ``(B, in_channels, *spatial)``, sizes divisible by 8."""
        if not torch.jit.is_scripting():
            check_divisible(x.shape[2:], 3, "x")
        deepest, skips = self.encode(x)
        skips.reverse()
        logits: Tensor = self.decode(deepest, skips)
        return logits

    @torch.jit.unused
    def factors(self, x: Tensor) -> NVNetFactors:
        """Logits, the rebuilt input, and mean and log-variance of the code, which is sampled in training mode.

        Args:
            x: shape ``(B, in_channels, *spatial_size)``.

        Raises:
            ValueError: for another size.
        """
        if list(x.shape[2:]) != self.input_image_size:
            raise ValueError(
                f"x must have the spatial size {tuple(self.input_image_size)} that the autoencoder was made for "
                f"(crop or pad volumes in training), got {tuple(x.shape[2:])}."
            )
        deepest, skips = self.encode(x)
        skips.reverse()
        logits = self.decode(deepest, skips)
        code = self.vae_down(deepest).flatten(1)
        mean = self.vae_fc1(code)
        deviation = F.softplus(self.vae_fc2(code))
        sampled = mean + deviation * torch.randn_like(mean) if self.training else mean
        hidden = self.act_mod(self.vae_fc3(sampled)).reshape(-1, self.smallest_filters, *self.fc_insize)
        hidden = self.vae_fc_up_sample(hidden)
        for up, layer in zip(self.up_samples, self.up_layers, strict=True):
            hidden = layer(up(hidden))
        return NVNetFactors(logits, self.vae_conv_final(hidden), mean, (deviation.square() + EPS).log())
