# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What one network for several unpaired modalities minimises: segmentation, and affinities of layers made alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from monai_mmseg.losses.affinity_consistency import AffinityConsistencyLoss, AffinityReduction
from monai_mmseg.losses.class_affinity import MaskResize, Pool, SizeNorm
from monai_mmseg.losses.knowledge_distillation import AbsentClass
from monai_mmseg.networks.layers.feature_taps import FeatureTaps
from monai_mmseg.objectives.base import PhaseOutput
from monai_mmseg.objectives.ummkd import DISTILLATION, L2, SEGMENTATION, UMMKDObjective

AFFINITY = "affinity"


class CSAObjective(UMMKDObjective):
    r"""Dice + cross-entropy of every modality + consistency of class-specific affinities between layers.

    Use it to train one network on images of several modalities of *different* patients, by any network: the affinities
    are taken between features of named modules, which stay as they are. Terms of the one phase ``segmentation``, before
    weighting:

    ==========================  ======================================================  ===========================
    term                        what                                                    default weight
    ==========================  ======================================================  ===========================
    ``dice``                    minus the soft Dice of a modality, summed over them     1
    ``cross_entropy``           cross-entropy of a modality, summed over them           1
    ``affinity``                Eq. 4, mean over layer pairs and pairs of modalities    ``csa_weight`` = 0.5
    ``knowledge_distillation``  of UMMKD, beside the affinities                         ``kd_weight / 2`` = 0
    ``l2``                      half the squared kernels, or all squared parameters     ``l2_scale`` = 0
    ==========================  ======================================================  ===========================

    A term of weight 0 is not computed: with ``csa_weight=0`` this trains the same network without affinities (the
    paper's "MSBN", or "Joint" for a network that knows no modalities).

    Args:
        network: ``network(image, modality=indexes)`` where it has an attribute ``modalities``, else ``network(image)``;
            gives logits ``(B, K, *spatial)``.
        modalities: names in the order that ``batch["modality"]`` counts them.
        num_classes: K, background included.
        layer_pairs: names of the modules between which affinities are taken, as ``network.named_modules()`` has them.
        csa_weight: the paper's lambda.
        class_specific: ``False``: affinities of whole images (the paper's "Affinity"), for which no label is needed.
        reduction: ``"mse"``, ``"literal"`` or ``"frobenius_p2"``; see
            :func:`~monai_mmseg.losses.affinity_consistency_loss`, as for all further ones.
        size_norm: ``"feature"``, ``"input"``, ``"fraction"`` or ``"none"``.
        pool: ``"batch"`` or ``"sample"``.
        resize: ``"nearest"`` or ``"area"``.
        absent_class: ``"skip"`` or ``"zero"``: what a class does in the affinities that a modality of the batch lacks.
        include_background: whether class 0 has affinities.
        detach: index of a modality that the others are pulled to.
        kd_weight: alpha of the knowledge distillation.
        temperature: T of the distillation.
        absent: ``"uniform"`` or ``"skip"``, of the distillation.
        l2_scale: weight of the L2 term.
        l2_on: ``"kernels"`` or ``"all"``.
        ce_weighted: weigh the cross-entropy of a class by how rare it is in the batch.
        weights: ``{"segmentation": {term: weight}}`` that replace the weights above.

    Raises:
        ValueError: if a setting is not one of those listed, a module does not exist, or a weight is misnamed.

    Reference:
        Chen et al., MICCAI 2020, arXiv:2101.01513: Eq. 5.

    Examples:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 3, 1))
        >>> objective = CSAObjective(net, ["lge", "bssfp"], 3, [("0", "1")])
        >>> batch = {"image": torch.rand(4, 1, 8, 8), "label": torch.randint(3, (4, 1, 8, 8)),
        ...          "modality": torch.tensor([0, 0, 1, 1]), "labelled": torch.ones(4, dtype=torch.bool)}
        >>> terms, outputs = objective(batch, "segmentation")
        >>> list(terms), outputs["affinity_0"].shape
        (['dice', 'cross_entropy', 'knowledge_distillation', 'l2', 'affinity'], torch.Size([2, 3, 4, 6]))
    """

    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        SEGMENTATION: {"dice": 1.0, "cross_entropy": 1.0, DISTILLATION: 0.0, L2: 0.0, AFFINITY: 0.5}
    }

    def __init__(
        self,
        network: nn.Module,
        modalities: Sequence[str],
        num_classes: int,
        layer_pairs: Sequence[Sequence[str]],
        *,
        csa_weight: float = 0.5,
        class_specific: bool = True,
        reduction: AffinityReduction = "mse",
        size_norm: SizeNorm = "feature",
        pool: Pool = "batch",
        resize: MaskResize = "nearest",
        absent_class: Literal["skip", "zero"] = "skip",
        include_background: bool = True,
        detach: int | None = None,
        kd_weight: float = 0.0,
        temperature: float = 2.0,
        absent: AbsentClass = "uniform",
        l2_scale: float = 0.0,
        l2_on: Literal["kernels", "all"] = "kernels",
        ce_weighted: bool = False,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        given = {phase: dict(terms) for phase, terms in (weights or {}).items()}
        super().__init__(
            network,
            modalities,
            num_classes,
            kd_weight=kd_weight,
            temperature=temperature,
            absent=absent,
            l2_scale=l2_scale,
            l2_on=l2_on,
            ce_weighted=ce_weighted,
            weights={**given, SEGMENTATION: {AFFINITY: float(csa_weight), **given.get(SEGMENTATION, {})}},
        )
        pairs = [tuple(pair) for pair in layer_pairs if not isinstance(pair, str)]
        if not pairs or len(pairs) < len(layer_pairs) or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"layer_pairs must list pairs of module names, got {layer_pairs!r}.")
        self.layer_pairs = pairs
        FeatureTaps(network, self._tapped)  # unknown names are an error now, not at the first step
        self.consistency = AffinityConsistencyLoss(
            num_classes,
            len(self.modalities),
            class_specific=class_specific,
            reduction=reduction,
            size_norm=size_norm,
            pool=pool,
            resize=resize,
            absent=absent_class,
            include_background=include_background,
            detach=detach,
        )

    @property
    def _tapped(self) -> list[str]:
        return list(dict.fromkeys(name for pair in self.layer_pairs for name in pair))

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms over the labelled rows of every modality.

        Args:
            batch: as :class:`UMMKDObjective` takes it.
            phase: ``"segmentation"``.
            previous: not used.

        Returns:
            The terms, and detached: the outputs of :class:`UMMKDObjective` and, for each layer pair, ``affinity_<n>``
            of shape ``(M, C, P, Q)``.

        Raises:
            ValueError: if the batch does not fit.
        """
        self.check_phase(phase)
        if not self.weights[phase][AFFINITY] or len(self.modalities) < 2:
            terms, outputs = super().forward(batch, phase, previous)
            return PhaseOutput({**terms, AFFINITY: terms["dice"].new_zeros(())}, outputs)
        with FeatureTaps(self.network, self._tapped) as taps:
            terms, outputs = super().forward(batch, phase, previous)
        modality, labelled = self._row_masks(batch)
        features = {name: taps.rows(name, modality, self.modalities) for name in taps}
        label = batch["label"]
        if self.consistency.class_specific and not bool(labelled.all()):
            kept = labelled.nonzero()[:, 0]
            rows = kept.to(label.device, non_blocking=True)
            features, label, modality = {n: x[rows] for n, x in features.items()}, label[rows], modality[kept]
        index = modality.to(label.device, non_blocking=True)
        found = [self.consistency.affinities(features[a], features[b], label, index) for a, b in self.layer_pairs]
        term = torch.stack([self.consistency.compare(one) for one in found]).mean()
        matrices: dict[str, Tensor] = {f"{AFFINITY}_{n}": one.matrices.detach() for n, one in enumerate(found)}
        return PhaseOutput({**terms, AFFINITY: term}, {**outputs, **matrices})
