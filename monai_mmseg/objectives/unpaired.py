# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What one network for several unpaired modalities minimises: segmentation, and what terms add between modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.losses.cross_entropy import frequency_weighted_cross_entropy, frequency_weights_from_counts
from monai_mmseg.losses.dice import squared_dice_loss
from monai_mmseg.losses.inputs import (
    at_least_float32,
    merge_unknown_classes,
    onehot_labels,
    without_unknown_background,
)
from monai_mmseg.losses.masked import class_counts, group_means, mask_samples
from monai_mmseg.objectives.base import PhaseOutput
from monai_mmseg.objectives.terms import SegmentationWithTerms, Term, TermInputs
from monai_mmseg.unannotated import UNANNOTATED


class UnpairedSegmentationObjective(SegmentationWithTerms):
    r"""Dice + cross-entropy of every modality, and terms between modalities.

    Use it to train one network on images of several modalities of *different* patients. The network shares its kernels
    and has normalisation layers of its own for each modality, or is any plain network ("joint" training); with one
    modality it is ordinary training ("individual"). Own terms of the one phase ``segmentation``, of weight 1:

    ==========================  ======================================================
    term                        what
    ==========================  ======================================================
    ``dice``                    minus the soft Dice of a modality, summed over them
    ``cross_entropy``           weighted cross-entropy of a modality, summed over them
    ==========================  ======================================================

    UMMKD adds :class:`~monai_mmseg.objectives.KnowledgeDistillationTerm` (of weight ``alpha / 2``) and
    :class:`~monai_mmseg.objectives.L2Term`, CSA :class:`~monai_mmseg.objectives.AffinityTerm`. A term of weight 0 is
    not computed. Sums and class weights are those of a modality over the whole batch, of all processes; a modality or
    labels that a batch lacks add nothing.

    Args:
        network: ``network(image, modality=indexes)`` where it has an attribute ``modalities``, else ``network(image)``;
            gives logits ``(B, K, *spatial)``.
        modalities: names in the order that ``batch["modality"]`` counts them.
        num_classes: K, background included.
        terms: further terms; rows are grouped by modality.
        ce_weighted: weigh the cross-entropy of a class by how rare it is in the batch.
        weights: ``{"segmentation": {term: weight}}``; each of ``terms`` needs one.

    Raises:
        ValueError: if a setting does not fit, a weight is missing or misnamed, or the network has other modalities.

    Reference:
        Dou et al., IEEE TMI 2020, arXiv:2001.03111: Eq. 5. Chen et al., MICCAI 2020, arXiv:2101.01513: Eq. 5.

    Examples:
        >>> from monai_mmseg.objectives import KnowledgeDistillationTerm
        >>> weights = {"segmentation": {"knowledge_distillation": 0.25}}
        >>> terms = [KnowledgeDistillationTerm(temperature=2)]
        >>> objective = UnpairedSegmentationObjective(nn.Conv2d(3, 5, 1), ["ct", "mr"], 5, terms=terms, weights=weights)
        >>> batch = {"image": torch.rand(4, 3, 8, 8), "label": torch.randint(5, (4, 1, 8, 8)),
        ...          "modality": torch.tensor([0, 0, 1, 1]), "labelled": torch.ones(4, dtype=torch.bool)}
        >>> terms, outputs = objective(batch, "segmentation")
        >>> list(terms), outputs["knowledge"].shape
        (['dice', 'cross_entropy', 'knowledge_distillation'], torch.Size([2, 5, 5]))
    """

    default_weights: ClassVar[dict[str, dict[str, float]]] = {"segmentation": {"dice": 1.0, "cross_entropy": 1.0}}

    takes_label_sets = True

    # a compiled graph would keep the hooks of its first step; what the masks say is constant in a graph
    outside_graphs: ClassVar[tuple[str, ...]] = ("_tapped_network", "_row_masks")

    def __init__(
        self,
        network: nn.Module,
        modalities: Sequence[str],
        num_classes: int,
        *,
        terms: Sequence[Term] = (),
        ce_weighted: bool = True,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(network, terms, weights=weights)
        if isinstance(modalities, str) or not modalities or len(set(modalities)) != len(modalities):
            raise ValueError(f"modalities must list different names, got {modalities!r}.")
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, background included, got {num_classes}.")
        self.modalities, self.num_classes = tuple(modalities), int(num_classes)
        known = getattr(network, "modalities", None)
        if known is not None and tuple(known) != self.modalities:
            raise ValueError(f"modalities must be those of the network in its order {tuple(known)}, got {modalities}.")
        self.modality_aware = known is not None
        self.ce_weighted = bool(ce_weighted)

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Parameters of the network that take a gradient: there is one phase, and what is frozen stays frozen."""
        self.check_phase(phase)
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms over the labelled rows of every modality.

        Args:
            batch: ``image (B, S, *spatial)``; ``label (B, 1, *spatial)``, class indices in which a value that is no
                class means no label; ``modality (B,)``, int64 index into ``modalities``; ``labelled (B,)``, bool, all
                where it is not given. The last two on the CPU, so that no GPU is waited for. Also ``unknown (B, K)``,
                bool, where labels do not show all classes.
            phase: ``"segmentation"``.
            previous: not used.

        Returns:
            The terms, and detached: ``logits`` of all rows (as ``pred`` too, where a trainer looks) and what the added
            terms give.

        Raises:
            ValueError: if the batch does not fit.
        """
        self.check_phase(phase)
        modality, labelled, names = self._row_masks(batch)
        if any(term.layers for term in self._active()):
            logits, features = self._tapped_network(batch["image"], modality)
        else:
            # names are constants of a compiled graph, a tensor would cut it
            aware = {"modality": names if torch.compiler.is_compiling() else modality} if self.modality_aware else {}
            logits, features = self.network(batch["image"], **aware), {}
        label = batch["label"]
        if logits.shape[1:2] != (self.num_classes,) or label.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ValueError(
                f"the network must give {self.num_classes} classes on the grid of the label (B, 1, *spatial), got "
                f"logits of shape {tuple(logits.shape)} for labels of shape {tuple(label.shape)}."
            )
        labelled = None if labelled is None else labelled.to(label.device, non_blocking=True)
        group, count = modality.to(label.device, non_blocking=True), len(self.modalities)
        scores = mask_samples(at_least_float32(logits), labelled)
        unknown = batch.get("unknown")
        told = scores if unknown is None else merge_unknown_classes(scores, unknown)
        onehot, probs = mask_samples(onehot_labels(label, self.num_classes, scores.dtype), labelled), told.softmax(1)
        weights = scores.new_ones(self.num_classes)
        if self.ce_weighted:
            weights = frequency_weights_from_counts(class_counts(onehot, group, count, labelled))[group]
        entropy = frequency_weighted_cross_entropy(probs, onehot, labelled, class_weights=weights)
        # of any other value that is no class, what is predicted counts as mass, as in the original code
        known = probs.masked_fill(label == UNANNOTATED, 0)
        terms = {
            "dice": squared_dice_loss(known, onehot, labelled, group=group, num_groups=count).sum(),
            "cross_entropy": group_means(entropy, group, count, labelled).sum(),
        }
        if unknown is not None:
            label = without_unknown_background(label, unknown)
            onehot = mask_samples(onehot_labels(label, self.num_classes, scores.dtype), labelled)
        inputs = TermInputs(self.network, scores, label, onehot, group, count, labelled, features)
        found, more = self.with_added(terms, inputs)
        return PhaseOutput(found, {"logits": logits.detach(), "pred": logits.detach(), **more})

    def _tapped_network(self, image: Tensor, modality: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and what the layers put out that terms ask for."""
        with self.tapped() as taps:
            logits: Tensor = self.network(image, **({"modality": modality} if self.modality_aware else {}))
        return logits, {} if taps is None else {name: taps.rows(name, modality, self.modalities) for name in taps}

    def _row_masks(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None, list[str]]:
        """Modality of every row and which are labelled (``None``: all), on the CPU, and the names of the modalities."""
        rows, count = batch["image"].shape[0], len(self.modalities)
        if "modality" not in batch:
            raise ValueError(f"batch must hold 'modality', the index of each row in {self.modalities}.")
        modality = torch.as_tensor(batch["modality"]).cpu()
        if modality.shape != (rows,) or modality.dtype != torch.int64:
            raise ValueError(
                f"batch['modality'] must be int64 of shape ({rows},), got {modality.dtype} of {tuple(modality.shape)}."
            )
        if rows and not 0 <= int(modality.min()) <= int(modality.max()) < count:
            raise ValueError(f"batch['modality'] must index {self.modalities}, got {modality.unique().tolist()}.")
        labelled = torch.as_tensor(batch.get("labelled", torch.ones(rows, dtype=torch.bool))).cpu()
        if labelled.shape != (rows,) or labelled.dtype != torch.bool:
            raise ValueError(
                f"batch['labelled'] must be bool of shape ({rows},), got {labelled.dtype} of {tuple(labelled.shape)}."
            )
        names = [self.modalities[index] for index in modality.tolist()]
        return modality, None if bool(labelled.all()) else labelled, names
