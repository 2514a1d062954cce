# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a plain segmentation network minimises on paired batches: the baselines of every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.losses.foreground_dice import foreground_dice_loss
from monai_mmseg.losses.masked import class_counts, group_means
from monai_mmseg.losses.weighted_cross_entropy import class_weights_from_counts, weighted_cross_entropy
from monai_mmseg.objectives.base import Objective, PhaseOutput


class SegmentationObjective(Objective):
    """(1 - Dice) + ``ce_factor`` * weighted cross-entropy of a network that sees one modality at a time.

    Use it for the networks that the papers compare with. ``sources`` names which image is trained with whose label: a
    network of one modality (``[(0, 0)]``), both modalities mixed as in the paper's "multi" rows (``[(0, 0), (1, 1)]``),
    or a target network with masks copied from the paired source slices (``[(1, 0)]``).

    Args:
        network: takes ``(N, 1, *spatial)``, gives logits ``(N, K, *spatial)``.
        num_classes: ``K``, background included.
        sources: pairs (modality of the image, modality of the label).
        candidates: slices per modality in ``image``; the first one is used.
        weights: ``{"segmentation": {"supervised": weight}}`` to replace the default 1.
        ce_factor: factor of the cross-entropy beside the Dice error.

    Raises:
        ValueError: if ``sources`` is empty or a weight is misnamed.

    Examples:
        >>> objective = SegmentationObjective(nn.Conv2d(1, 3, 1), 3, sources=[(1, 0)])
        >>> batch = {"image": torch.rand(2, 2, 8, 8), "label": torch.zeros(2, 2, 8, 8, dtype=torch.long),
        ...          "present": torch.ones(2, 2, dtype=torch.bool), "labelled": torch.tensor([[True, False]] * 2)}
        >>> list(objective(batch, "segmentation").terms)
        ['supervised']
    """

    phases: tuple[str, ...] = ("segmentation",)
    default_weights: ClassVar[dict[str, dict[str, float]]] = {"segmentation": {"supervised": 1.0}}

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        sources: Sequence[Sequence[int]] = ((0, 0),),
        candidates: int = 1,
        weights: Mapping[str, Mapping[str, float]] | None = None,
        ce_factor: float = 0.01,
    ) -> None:
        super().__init__(network, weights=weights)
        if not sources or any(len(pair) != 2 for pair in sources):
            raise ValueError(f"sources must hold pairs (image modality, label modality), got {sources!r}.")
        self.num_classes, self.candidates, self.ce_factor = int(num_classes), int(candidates), float(ce_factor)
        self.image_modality = [int(i) for i, _ in sources]
        self.label_modality = [int(j) for _, j in sources]

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """All parameters: there is one phase."""
        self.check_phase(phase)
        return list(self.network.parameters())

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """The one term ``supervised``, over rows whose image is present and whose label is given.

        Args:
            batch: a paired batch, see :class:`~monai_mmseg.objectives.DAFNetObjective`.
            phase: ``"segmentation"``.
            previous: not used.

        Returns:
            The term, and the detached logits of the rows.
        """
        self.check_phase(phase)
        usable = (batch["present"].cpu()[:, self.image_modality] & batch["labelled"].cpu()[:, self.label_modality]).T
        branch, sample = (index.to(batch["image"].device, non_blocking=True) for index in usable.nonzero(as_tuple=True))
        image_index = torch.tensor(self.image_modality, device=branch.device)[branch] * self.candidates
        label_index = torch.tensor(self.label_modality, device=branch.device)[branch]
        logits = self.network(batch["image"][sample, image_index].unsqueeze(1)).float()
        label = batch["label"][sample, label_index]
        classes = torch.arange(self.num_classes, device=label.device)
        onehot = (label.unsqueeze(1) == classes.view(1, -1, *(1,) * (label.ndim - 1))).float()
        probs = logits.softmax(1)
        counts = class_counts(onehot, branch, len(self.image_modality))
        error = foreground_dice_loss(probs, onehot) + self.ce_factor * weighted_cross_entropy(
            probs, onehot, class_weights_from_counts(counts)[branch]
        )
        term: Tensor = group_means(error, branch, len(self.image_modality)).sum()
        return PhaseOutput({"supervised": term}, {"logits": logits.detach()})
