# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a plain segmentation network minimises on paired batches: the baselines of every method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.losses.dice import segmentation_loss
from monai_mmseg.losses.inputs import onehot_labels
from monai_mmseg.losses.masked import group_means
from monai_mmseg.objectives.base import PhaseOutput
from monai_mmseg.objectives.terms import SegmentationWithTerms, Term, TermInputs


class SegmentationObjective(SegmentationWithTerms):
    """(1 - Dice) + 0.01 * weighted cross-entropy of a network that sees one modality at a time.

    Use it for the networks that the papers compare with. ``sources`` names which image is trained with whose label: a
    network of one modality (``[(0, 0)]``), both modalities mixed as in the paper's "multi" rows (``[(0, 0), (1, 1)]``),
    or a target network with masks copied from the paired source slices (``[(1, 0)]``).

    Args:
        network: takes ``(N, 1, *spatial)``, gives logits ``(N, K, *spatial)``.
        num_classes: ``K``, background included.
        sources: pairs (modality of the image, modality of the label).
        candidates: slices per modality in ``image``; the first one is used.
        terms: further terms; rows are grouped by their source.
        weights: ``{"segmentation": {term: weight}}``: ``supervised`` is 1 by default, each of ``terms`` needs one.

    Raises:
        ValueError: if ``sources`` is empty or a weight is missing or misnamed.

    Examples:
        >>> objective = SegmentationObjective(nn.Conv2d(1, 3, 1), 3, sources=[(1, 0)])
        >>> batch = {"image": torch.rand(2, 2, 8, 8), "label": torch.zeros(2, 2, 8, 8, dtype=torch.long),
        ...          "present": torch.ones(2, 2, dtype=torch.bool), "labelled": torch.tensor([[True, False]] * 2)}
        >>> list(objective(batch, "segmentation").terms)
        ['supervised']
    """

    default_weights: ClassVar[dict[str, dict[str, float]]] = {"segmentation": {"supervised": 1.0}}

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        sources: Sequence[Sequence[int]] = ((0, 0),),
        candidates: int = 1,
        terms: Sequence[Term] = (),
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(network, terms, weights=weights)
        if not sources or any(len(pair) != 2 for pair in sources):
            raise ValueError(f"sources must hold pairs (image modality, label modality), got {sources!r}.")
        self.num_classes, self.candidates = int(num_classes), int(candidates)
        self.image_modality = [int(i) for i, _ in sources]
        self.label_modality = [int(j) for _, j in sources]

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """All parameters: there is one phase."""
        self.check_phase(phase)
        return list(self.network.parameters())

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """The term ``supervised``, over rows whose image is present and whose label is given, and added ones.

        Args:
            batch: a paired batch, see :class:`~monai_mmseg.objectives.DAFNetObjective`.
            phase: ``"segmentation"``.
            previous: not used.

        Returns:
            The terms, and the detached logits of the rows.
        """
        self.check_phase(phase)
        usable = self.usable(batch)
        group, sample = (index.to(batch["image"].device, non_blocking=True) for index in usable.nonzero(as_tuple=True))
        count = len(self.image_modality)
        image_index = torch.tensor(self.image_modality, device=group.device)[group] * self.candidates
        label = batch["label"][sample, torch.tensor(self.label_modality, device=group.device)[group]].unsqueeze(1)
        with self.tapped() as taps:
            logits = self.logits(batch["image"][sample, image_index].unsqueeze(1)).float()
        onehot = onehot_labels(label, self.num_classes)
        error = segmentation_loss(logits.softmax(1), onehot, group=group, num_groups=count)
        features = {} if taps is None else {name: taps[name] for name in taps}
        own = {"supervised": group_means(error, group, count).sum()}
        inputs = TermInputs(self.network, logits, label, onehot, group, count, None, features)
        terms, more = self.with_added(own, inputs)
        return PhaseOutput(terms, {"logits": logits.detach(), **more})

    def usable(self, batch: Mapping[str, Any]) -> Tensor:
        """Which samples of a batch each source has, image and label, bool ``(S, B)`` on the CPU."""
        return (batch["present"].cpu()[:, self.image_modality] & batch["labelled"].cpu()[:, self.label_modality]).T

    def logits(self, image: Tensor) -> Tensor:
        """Logits ``(N, K, *spatial)`` of rows ``(N, 1, *spatial)``."""
        logits: Tensor = self.network(image)
        return logits
