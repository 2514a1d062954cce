# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What MUNIT minimises: discriminators first, then both generators, on images that are no pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.losses.distances import least_squares_fake, least_squares_real, mean_absolute
from monai_mmseg.losses.masked import masked_mean
from monai_mmseg.networks.nets.munit.munit import MUNIT
from monai_mmseg.objectives.base import Objective, PhaseOutput

Batch = Mapping[str, Any]


class MUNITObjective(Objective):
    """Images of two modalities redrawn as each other, without pairs: Huang et al., ECCV 2018, arXiv:1804.04732.

    Use it to train a :class:`~monai_mmseg.networks.nets.MUNIT` on slices of different (or the same) patients. An image
    is redrawn in a style that is drawn from ``N(0, I)``. Each term is a sum over both modalities of the mean over the
    images that the batch has of it; a modality without images adds zero.

    ==================  =========================================================================  ======
    generator term      what                                                                       weight
    ==================  =========================================================================  ======
    ``adversarial``     ``mean (D(redrawn) - 1)^2``, summed over scales                                1
    ``image``           ``mean |x - G(c, s)|``, an image rebuilt from its own content and style       10
    ``style``           ``mean |s' - E_s(redrawn)|``, the style that was drawn, found again            1
    ``content``         ``mean |c - E_c(redrawn)|``, the content found again                           1
    ``cycle``           ``mean |x - G(E_c(redrawn), s)|``, the image found again                       0
    ==================  =========================================================================  ======

    The phase ``discriminator`` comes first, as in the paper; its term ``least_squares`` is ``mean (D(real) - 1)^2 +
    mean D(redrawn)^2``, summed over scales, with redrawn images of its own.

    Differs from the paper: no perceptual loss, which needs a network trained on photographs.

    Args:
        network: both generators.
        discriminators: one for each modality; give a list of maps of scores.
        weights: ``{phase: {term: weight}}`` that replace defaults; unknown names are errors.

    Raises:
        ValueError: if there are not two discriminators, or a weight is misnamed.

    Examples:
        >>> from monai_mmseg.networks.nets import MultiScaleDiscriminator
        >>> net = MUNIT(2, 1, ["cine", "lge"], features=2)
        >>> objective = MUNITObjective(net, [MultiScaleDiscriminator(2, 1, 2, num_scales=1) for _ in range(2)])
        >>> batch = {"image": torch.rand(3, 1, 32, 32), "modality": torch.tensor([0, 1, 1])}
        >>> sorted(objective(batch, "generator").terms)
        ['adversarial', 'content', 'cycle', 'image', 'style']
    """

    network: MUNIT
    phases: tuple[str, ...] = ("discriminator", "generator")
    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        "discriminator": {"least_squares": 1.0},
        "generator": {"adversarial": 1.0, "image": 10.0, "style": 1.0, "content": 1.0, "cycle": 0.0},
    }
    outside_graphs: ClassVar[tuple[str, ...]] = ("_images",)

    def __init__(
        self,
        network: MUNIT,
        discriminators: Sequence[nn.Module],
        *,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(network, weights=weights)
        if len(discriminators) != len(network.modalities):
            raise ValueError(
                f"discriminators must hold one network per modality {list(network.modalities)}, "
                f"got {len(discriminators)}."
            )
        self.discriminators = nn.ModuleList(discriminators)

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Parameters that ``phase`` trains; the two phases share none."""
        part = self.network if self.check_phase(phase) == "generator" else self.discriminators
        return list(part.parameters())

    def forward(self, batch: Batch, phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms of one phase.

        Args:
            batch: ``image (B, C, *spatial)`` in [-1, 1]; ``modality (B,)``, index of each image, kept on the CPU by the
                trainer.
            phase: ``"discriminator"`` or ``"generator"``.
            previous: not used.

        Returns:
            Unweighted terms; no outputs.
        """
        images = self._images(batch)
        terms = self._generator if self.check_phase(phase) == "generator" else self._discriminator
        parts = [terms(images, one) for one in range(len(images))]
        return PhaseOutput({name: torch.stack([part[name] for part in parts]).sum() for name in parts[0]}, {})

    def _discriminator(self, images: Sequence[Tensor], own: int) -> dict[str, Tensor]:
        """Real images of one modality, and the other's redrawn as it."""
        real, other = images[own], images[1 - own]
        judge = self.discriminators[own]
        with torch.no_grad():
            fake = self.network.draw(other, 1 - own, own, self._drawn_style(other)) if len(other) else other
        right = masked_mean(_over_scales(judge, real, real=True))
        return {"least_squares": right + masked_mean(_over_scales(judge, fake, real=False))}

    def _generator(self, images: Sequence[Tensor], own: int) -> dict[str, Tensor]:
        """Images of one modality, rebuilt and redrawn as the other."""
        image, weight = images[own], self.weights["generator"]
        if not len(image):
            return {name: masked_mean(image.new_zeros(0)) for name in weight}
        generator, other = self.network.generator(own), self.network.generator(1 - own)
        size = image.shape[2:]
        content, style = generator.factors(image)
        drawn = self._drawn_style(image)
        redrawn = other.decode(content, drawn, size)
        again = other.factors(redrawn)
        nothing = image.new_zeros(len(image))
        found = {
            "adversarial": _over_scales(self.discriminators[1 - own], redrawn, real=True),
            "image": mean_absolute(generator.decode(content, style, size), image),
            "style": mean_absolute(again.style, drawn),
            "content": mean_absolute(again.content, content),
            "cycle": nothing
            if weight["cycle"] == 0
            else mean_absolute(generator.decode(again.content, style, size), image),
        }
        return {name: masked_mean(rows) for name, rows in found.items()}

    def _drawn_style(self, image: Tensor) -> Tensor:
        return torch.randn(len(image), self.network.style_channels, device=image.device, dtype=image.dtype)

    def _images(self, batch: Batch) -> list[Tensor]:
        """Images of each modality; maybe none."""
        image, modality = batch["image"], batch["modality"].cpu()
        if image.shape[0] != len(modality):
            raise ValueError(f"modality must name each of the {image.shape[0]} images, got {len(modality)} numbers.")
        rows = [(modality == one).nonzero().flatten() for one in range(len(self.network.modalities))]
        return [image[index.to(image.device, non_blocking=True)] for index in rows]


def _over_scales(judge: nn.Module, image: Tensor, *, real: bool) -> Tensor:
    """Distance of the scores from 1 or 0 for each image, summed over scales."""
    if not len(image):
        return image.new_zeros(0)
    distance = least_squares_real if real else least_squares_fake
    return torch.stack([distance(score) for score in judge(image)]).sum(0)
