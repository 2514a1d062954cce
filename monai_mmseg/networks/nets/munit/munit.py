# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Two auto-encoders that share what images show, so that one can draw what the other has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from monai_mmseg.networks.initialisation import he_normal
from monai_mmseg.networks.layers.modality_selection import modality_name
from monai_mmseg.networks.nets.munit.decoder import MUNITDecoder
from monai_mmseg.networks.nets.munit.encoders import MUNITContentEncoder, MUNITStyleEncoder


class ImageFactors(NamedTuple):
    """What an image is taken apart into."""

    content: Tensor  # (B, C, *spatial / 4)
    style: Tensor  # (B, style_channels)


class MUNITGenerator(nn.Module):
    """Auto-encoder of the images of one modality: content map and style vector, and back.

    Weights start He-normal. 15,007,369 of them at the defaults.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        features: channels of the first and of the last convolution.
        style_channels: length of the style.
        num_downsamples: how often the content is halved.
        num_blocks: residual blocks of the encoder, and of the decoder.
        style_downsamples: how often the image is halved on the way to the style.

    Reference:
        Huang et al., "Multimodal unsupervised image-to-image translation", ECCV 2018, arXiv:1804.04732, appendix B.

    Examples:
        >>> import torch
        >>> generator = MUNITGenerator(2, 1, features=4)
        >>> content, style = generator.factors(torch.zeros(1, 1, 30, 32))
        >>> content.shape, style.shape, generator.decode(content, style, (30, 32)).shape
        (torch.Size([1, 16, 8, 8]), torch.Size([1, 8]), torch.Size([1, 1, 30, 32]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        features: int = 64,
        style_channels: int = 8,
        num_downsamples: int = 2,
        num_blocks: int = 4,
        style_downsamples: int = 4,
    ) -> None:
        super().__init__()
        sizes = (features, num_downsamples, num_blocks)
        self.content = MUNITContentEncoder(spatial_dims, in_channels, *sizes)
        self.style = MUNITStyleEncoder(spatial_dims, in_channels, features, style_downsamples, style_channels)
        self.decoder = MUNITDecoder(spatial_dims, in_channels, *sizes, style_channels)
        self.apply(he_normal)

    def factors(self, image: Tensor) -> ImageFactors:
        """Content and style of images ``(B, in_channels, *spatial)``."""
        return ImageFactors(self.content(image), self.style(image))

    def decode(self, content: Tensor, style: Tensor, size: Sequence[int]) -> Tensor:
        """Images ``(B, in_channels, *size)`` in (-1, 1).

        Args:
            content: shape ``(B, C, *spatial)``.
            style: shape ``(B, style_channels)``, or one row for all.
            size: of the image that the content was made of; what had been added at its end is cut off.
        """
        image: Tensor = self.decoder(content, style)
        for axis, length in enumerate(size, 2):
            image = image.narrow(axis, 0, int(length))
        return image

    def forward(self, image: Tensor) -> Tensor:
        """The image, rebuilt from its own content and style."""
        return self.decode(*self.factors(image), image.shape[2:])


class MUNIT(nn.Module):
    """Generators of two modalities whose contents mean the same: images of one are redrawn as the other.

    When to use: to train a segmentation of the target on images of the source and their labels, which fit the redrawn
    images, and as first stage of DADR, which segments contents. :meth:`forward` is what is deployed.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image.
        modalities: two names; their order gives the indices.
        target: the modality that images are drawn as; the last by default.
        features: channels of the first and of the last convolution of a generator.
        style_channels: length of a style.
        num_downsamples: how often a content is halved.
        num_blocks: residual blocks of each encoder and decoder.
        style_downsamples: how often the image is halved on the way to its style.

    Raises:
        ValueError: if there are not two modalities, or the target is none of them.

    Reference:
        Huang et al., "Multimodal unsupervised image-to-image translation", ECCV 2018, arXiv:1804.04732; DADR: Yang
        et al., "Unsupervised domain adaptation via disentangled representations", MICCAI 2019, arXiv:1907.13590.
        Differs from the paper: layer normalisation divides by the deviation with ``eps`` under the root; no
        perceptual loss; initial weights of the generators are cut at two deviations.

    Examples:
        >>> import torch
        >>> net = MUNIT(2, 1, ["cine", "lge"], features=4)
        >>> cine = torch.rand(2, 1, 32, 32)
        >>> net(cine, "cine").shape, net(cine, "cine", style=net.style(cine, "cine")).shape
        (torch.Size([2, 1, 32, 32]), torch.Size([2, 1, 32, 32]))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        modalities: Sequence[str],
        *,
        target: str | None = None,
        features: int = 64,
        style_channels: int = 8,
        num_downsamples: int = 2,
        num_blocks: int = 4,
        style_downsamples: int = 4,
    ) -> None:
        super().__init__()
        if isinstance(modalities, str) or len(modalities) != 2 or len(set(modalities)) != 2:
            raise ValueError(f"modalities must be two names, got {modalities!r}.")
        self.modalities = tuple(str(name) for name in modalities)
        self.target = modality_name(self.modalities[-1] if target is None else target, self.modalities)
        self.style_channels = style_channels
        self.generators = nn.ModuleList(
            MUNITGenerator(
                spatial_dims, in_channels, features, style_channels, num_downsamples, num_blocks, style_downsamples
            )
            for _ in self.modalities
        )

    @property
    def source(self) -> str:
        """The modality that is not the target."""
        return self.modalities[1 - self.modalities.index(self.target)]

    def generator(self, modality: str | int) -> MUNITGenerator:
        """The generator of a modality, by name or index."""
        found = self.generators[self.modalities.index(modality_name(modality, self.modalities))]
        assert isinstance(found, MUNITGenerator)
        return found

    def style(self, image: Tensor, modality: str | int) -> Tensor:
        """Styles ``(B, style_channels)`` of images ``(B, in_channels, *spatial)`` of one modality."""
        style: Tensor = self.generator(modality).style(image)
        return style

    def draw(self, image: Tensor, modality: str | int, target: str | int, style: Tensor | None = None) -> Tensor:
        """Images with the content that they have, as one of the modalities would show it.

        Args:
            image: shape ``(B, in_channels, *spatial)``, in [-1, 1].
            modality: what the images are of.
            target: what they become.
            style: ``(B, style_channels)``, or one row for all; ``None``: zero, the middle of all styles.

        Returns:
            Shape of ``image``, in (-1, 1).
        """
        if style is None:
            style = image.new_zeros(1, self.style_channels)
        content = self.generator(modality).content(image)
        return self.generator(target).decode(content, style, image.shape[2:])

    def forward(self, image: Tensor, modality: str | int | None = None, style: Tensor | None = None) -> Tensor:
        """Images as the target modality would show them.

        Images of the target lose what is particular to their own style: the same content with style zero.

        Args:
            image: shape ``(B, in_channels, *spatial)``, in [-1, 1].
            modality: what all of them are of; ``None``: the source.
            style: see :meth:`draw`.
        """
        return self.draw(image, self.source if modality is None else modality, self.target, style)

    def cycle(self, image: Tensor, modality: str | int | None = None) -> Tensor:
        """Images drawn as the other modality in the middle of its styles, and back in their own style.

        When to use: to see in validation how much of a content survives. A network that hides the image in its own
        contrast scores well, too: look at the pictures.
        """
        own = modality_name(self.source if modality is None else modality, self.modalities)
        other = self.modalities[1 - self.modalities.index(own)]
        return self.draw(self.draw(image, own, other), other, own, self.style(image, own))
