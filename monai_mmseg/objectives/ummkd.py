# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What one network for several unpaired modalities minimises: segmentation, and knowledge shared between modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from monai_mmseg.losses.class_logits import class_logit_sums, knowledge_matrices, pool_class_logits
from monai_mmseg.losses.frequency_weighted_cross_entropy import (
    frequency_weighted_cross_entropy,
    frequency_weights_from_counts,
)
from monai_mmseg.losses.inputs import at_least_float32
from monai_mmseg.losses.knowledge_distillation import (
    AbsentClass,
    DivideBy,
    KnowledgeDistillationLoss,
    knowledge_distance,
)
from monai_mmseg.losses.masked import class_counts, group_means
from monai_mmseg.losses.onehot import onehot_labels
from monai_mmseg.losses.squared_dice import squared_dice_loss
from monai_mmseg.losses.sum_of_squares import sum_of_squares
from monai_mmseg.objectives.base import Objective, PhaseOutput

SEGMENTATION, DISTILLATION, L2 = "segmentation", "knowledge_distillation", "l2"


class UMMKDObjective(Objective):
    r"""Dice + cross-entropy of every modality + knowledge distillation between them + L2.

    Use it to train one network on images of several modalities of *different* patients. The network shares its kernels
    and has normalisation layers of its own for each modality (the paper's method), or is any plain network (the paper's
    "joint" training); with ``kd_weight=0`` neither distils (the paper's "chilopod" and "joint"), with one modality it
    is ordinary training ("individual"). Terms of the one phase ``segmentation``, before weighting:

    ==========================  ======================================================  ===========================
    term                        what                                                    default weight
    ==========================  ======================================================  ===========================
    ``dice``                    minus the soft Dice of a modality, summed over them     1
    ``cross_entropy``           weighted cross-entropy of a modality, summed over them  1
    ``knowledge_distillation``  Eq. 4, mean over pairs of modalities                    ``kd_weight / 2`` = 0.25
    ``l2``                      half the squared kernels, or all squared parameters     ``l2_scale`` = 1e-4
    ==========================  ======================================================  ===========================

    A term of weight 0 is not computed. Sums and class weights are those of a modality over the whole batch, of all
    processes; a modality or labels that a batch lacks add nothing.

    Args:
        network: ``network(image, modality=indexes)`` where it has an attribute ``modalities``, else ``network(image)``;
            gives logits ``(B, K, *spatial)``.
        modalities: names in the order that ``batch["modality"]`` counts them.
        num_classes: K, background included.
        kd_weight: the paper's alpha, of which Eq. 5 takes the half.
        temperature: T of the distillation.
        absent: ``"uniform"`` or ``"skip"``: what a class does in the distillation that a modality of the batch lacks.
        divide_by: with ``"skip"``, divide by ``"all"`` classes or by the ``"used"`` ones.
        l2_scale: the paper's eta.
        l2_on: ``"kernels"``: half the sum of squares of the weights of convolutions and linear layers, as the original
            2D code; ``"all"``: the sum of squares of all parameters, as Eq. 5 and the original 3D code. Parameters that
            take no gradient are left out.
        ce_weighted: weigh the cross-entropy of a class by how rare it is in the batch.
        weights: ``{"segmentation": {term: weight}}`` that replace the weights above, those of ``kd_weight`` and
            ``l2_scale`` too.

    Raises:
        ValueError: if a setting is not one of those listed, a weight is misnamed, or the network has other modalities.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020, arXiv:2001.03111:
        Eq. 5.

    Examples:
        >>> objective = UMMKDObjective(nn.Conv2d(3, 5, 1), ["ct", "mr"], 5)
        >>> batch = {"image": torch.rand(4, 3, 8, 8), "label": torch.randint(5, (4, 1, 8, 8)),
        ...          "modality": torch.tensor([0, 0, 1, 1]), "labelled": torch.ones(4, dtype=torch.bool)}
        >>> terms, outputs = objective(batch, "segmentation")
        >>> list(terms), outputs["knowledge"].shape
        (['dice', 'cross_entropy', 'knowledge_distillation', 'l2'], torch.Size([2, 5, 5]))
    """

    phases: tuple[str, ...] = (SEGMENTATION,)
    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        SEGMENTATION: {"dice": 1.0, "cross_entropy": 1.0, DISTILLATION: 0.25, L2: 1e-4}
    }

    def __init__(
        self,
        network: nn.Module,
        modalities: Sequence[str],
        num_classes: int,
        *,
        kd_weight: float = 0.5,
        temperature: float = 2.0,
        absent: AbsentClass = "uniform",
        divide_by: DivideBy = "all",
        l2_scale: float = 1e-4,
        l2_on: Literal["kernels", "all"] = "kernels",
        ce_weighted: bool = True,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        given = {phase: dict(terms) for phase, terms in (weights or {}).items()}
        own = {DISTILLATION: float(kd_weight) / 2, L2: float(l2_scale)}
        super().__init__(network, weights={**given, SEGMENTATION: {**own, **given.get(SEGMENTATION, {})}})
        if negative := [name for name, weight in self.weights[SEGMENTATION].items() if not weight >= 0]:
            raise ValueError(f"the weights of {negative} must not be negative, got {self.weights[SEGMENTATION]}.")
        if isinstance(modalities, str) or not modalities or len(set(modalities)) != len(modalities):
            raise ValueError(f"modalities must list different names, got {modalities!r}.")
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, background included, got {num_classes}.")
        if l2_on not in ("kernels", "all"):
            raise ValueError(f"l2_on must be 'kernels' or 'all', got {l2_on!r}.")
        self.modalities, self.num_classes = tuple(modalities), int(num_classes)
        known = getattr(network, "modalities", None)
        if known is not None and tuple(known) != self.modalities:
            raise ValueError(f"modalities must be those of the network in its order {tuple(known)}, got {modalities}.")
        self.modality_aware = known is not None
        self.distillation = KnowledgeDistillationLoss(
            len(self.modalities), temperature=temperature, absent=absent, divide_by=divide_by
        )
        self.l2_on = l2_on
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
                where it is not given. The last two on the CPU, so that no GPU is waited for.
            phase: ``"segmentation"``.
            previous: not used.

        Returns:
            The terms, and detached: ``logits`` of all rows (as ``pred`` too, where a trainer looks) and, unless the
            distillation is off, ``knowledge`` of shape ``(M, K, K)``: what each modality takes each class for.

        Raises:
            ValueError: if the batch does not fit.
        """
        self.check_phase(phase)
        modality, labelled = self._row_masks(batch)
        logits = (
            self.network(batch["image"], modality=modality) if self.modality_aware else self.network(batch["image"])
        )
        label = batch["label"]
        if logits.shape[1:2] != (self.num_classes,) or label.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise ValueError(
                f"the network must give {self.num_classes} classes on the grid of the label (B, 1, *spatial), got "
                f"logits of shape {tuple(logits.shape)} for labels of shape {tuple(label.shape)}."
            )
        outputs = {"logits": logits.detach(), "pred": logits.detach()}
        scores = at_least_float32(logits)
        if not bool(labelled.all()):
            kept = labelled.nonzero()[:, 0]
            modality, rows = modality[kept], kept.to(label.device, non_blocking=True)
            scores, label = scores[rows], label[rows]
        modality = modality.to(label.device, non_blocking=True)

        count, weights = len(self.modalities), self.weights[phase]
        onehot, probs = onehot_labels(label, self.num_classes, scores.dtype), scores.softmax(1)
        counts = class_counts(onehot, modality, count)
        class_weights = (frequency_weights_from_counts(counts) if self.ce_weighted else counts.new_ones(counts.shape))[
            modality
        ]
        terms = {
            "dice": squared_dice_loss(probs, onehot, modality, count).sum(),
            "cross_entropy": group_means(
                frequency_weighted_cross_entropy(probs, onehot, class_weights), modality, count
            ).sum(),
            DISTILLATION: scores.new_zeros(()),
            L2: scores.new_zeros(()),
        }
        if weights[DISTILLATION] and count > 1:
            terms[DISTILLATION], outputs["knowledge"] = self._distil(scores, onehot, modality)
        if weights[L2]:
            terms[L2] = self._l2().to(scores.device)
        return PhaseOutput(terms, outputs)

    def _row_masks(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Modality and labelled of every row, on the CPU."""
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
        return modality, labelled

    def _distil(self, scores: Tensor, onehot: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
        settings = self.distillation
        classes = pool_class_logits(class_logit_sums(scores, onehot), modality, len(self.modalities))
        term = knowledge_distance(classes, settings.temperature, settings.absent, settings.divide_by)
        return term, knowledge_matrices(classes, settings.temperature).detach()

    def _l2(self) -> Tensor:
        if self.l2_on == "all":
            return sum_of_squares(self.parameters_of(SEGMENTATION))
        kernels = (part.weight for part in self.network.modules() if isinstance(part, _ConvNd | nn.Linear))
        # by identity: modalities may share a kernel through layers of their own
        return 0.5 * sum_of_squares({id(kernel): kernel for kernel in kernels if kernel.requires_grad}.values())
