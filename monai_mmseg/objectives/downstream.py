# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What networks behind any subset of modalities minimise: segmentation, or the making of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.losses.cross_entropy import class_weighted_cross_entropy
from monai_mmseg.losses.dice import squared_foreground_dice
from monai_mmseg.losses.distances import gaussian_kl, mean_absolute, mean_squared
from monai_mmseg.losses.inputs import (
    at_least_float32,
    merge_unknown_classes,
    onehot_labels,
    without_unknown_background,
)
from monai_mmseg.losses.masked import mask_samples, masked_mean
from monai_mmseg.networks.nets.disentangle.downstream import DownstreamNet
from monai_mmseg.networks.nets.disentangle.nvnet import NVNet
from monai_mmseg.objectives.base import Objective, PhaseOutput
from monai_mmseg.objectives.terms import SegmentationWithTerms, Term, TermInputs

SEGMENTATION, SYNTHESIS = "segmentation", "synthesis"


class _Downstream(Objective):
    """One phase that trains what of a :class:`DownstreamNet` is not frozen."""

    network: DownstreamNet

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Parameters of the network that are not frozen."""
        self.check_phase(phase)
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def _inputs(self, batch: Mapping[str, Any]) -> Tensor:
        """What the task's network sees of a batch."""
        slices = batch.get("slice")
        if slices is not None:
            slices = slices.to(batch["image"].device, non_blocking=True)
        return self.network.inputs(batch["image"], batch.get("present"), slices)

    @staticmethod
    def _labelled(batch: Mapping[str, Any]) -> Tensor | None:
        """Which rows carry a label, ``None`` for all."""
        image, labelled = batch["image"], batch.get("labelled")
        if labelled is None:
            return None
        if labelled.shape != image.shape[:1] or labelled.dtype != torch.bool:
            raise ValueError(
                f"batch['labelled'] must be bool of shape ({image.shape[0]},), got {labelled.dtype} of shape "
                f"{tuple(labelled.shape)}."
            )
        on_device: Tensor = labelled.to(image.device, non_blocking=True)
        return on_device


class DownstreamSegmentationObjective(_Downstream, SegmentationWithTerms):
    """Segmentation from any subset of the modalities, such as of tumours from pooled anatomies.

    Use it to train a :class:`~monai_mmseg.networks.nets.FusedAnatomyNet`, or a
    :class:`~monai_mmseg.networks.nets.ImputedModalitiesNet` as baseline. Terms of the one phase ``segmentation``:

    ======================  ===================================================================================  ======
    term                    what                                                                                 weight
    ======================  ===================================================================================  ======
    ``dice``                Dice error of the foreground, squares in the denominator, over the labelled rows          1
    ``cross_entropy``       with the weights of the classes, over the labelled rows                                   1
    ``reconstruction``      mean squared error of the rebuilt input (:class:`~monai_mmseg.networks.nets.NVNet`)       0
    ``kl``                  of its code to a standard normal distribution, mean over its numbers                      0
    ======================  ===================================================================================  ======

    The last two count rows without a label too, and are not computed where both weights are 0. Added terms group rows
    by which modalities they have: what is distilled, or made alike, is what the network makes of each subset.

    Args:
        network: its ``task`` gives logits.
        num_classes: K, background included.
        class_weights: K numbers; by default 1 for the background and 5 for all others.
        terms: further terms; layers of a term are named as in ``network``, such as ``task.down_1``.
        weights: ``{"segmentation": {term: weight}}`` that replace the weights above; each of ``terms`` needs one.

    Raises:
        ValueError: if a setting does not fit, a weight is misnamed, or a network without autoencoder has a weight
            for it.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456 (the first two terms, as in the released code); Myronenko,
        arXiv:1810.11654: ``dice`` 1, ``cross_entropy`` 0, ``reconstruction`` and ``kl`` 0.1.

    Examples:
        >>> from monai_mmseg.networks.nets import ImputedModalitiesNet
        >>> objective = DownstreamSegmentationObjective(ImputedModalitiesNet(nn.Conv3d(2, 4, 1), ("t1", "t2")), 4)
        >>> batch = {"image": torch.rand(2, 2, 4, 4, 4), "label": torch.randint(4, (2, 1, 4, 4, 4)),
        ...          "present": torch.tensor([[True, False], [True, True]]), "labelled": torch.tensor([True, False])}
        >>> list(objective(batch, "segmentation").terms)
        ['dice', 'cross_entropy', 'reconstruction', 'kl']
    """

    takes_label_sets = True
    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        SEGMENTATION: {"dice": 1.0, "cross_entropy": 1.0, "reconstruction": 0.0, "kl": 0.0}
    }

    def __init__(
        self,
        network: DownstreamNet,
        num_classes: int,
        *,
        class_weights: Sequence[float] | None = None,
        terms: Sequence[Term] = (),
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(network, terms, weights=weights)
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, background included, got {num_classes}.")
        self.num_classes = int(num_classes)
        own = [1.0, *[5.0] * (num_classes - 1)] if class_weights is None else [float(w) for w in class_weights]
        if len(own) != num_classes or min(own) < 0:
            raise ValueError(f"class_weights must hold {num_classes} numbers that are not negative, got {own}.")
        self.register_buffer("class_weights", torch.tensor(own), persistent=False)
        self.class_weights: Tensor
        needed = [name for name in ("reconstruction", "kl") if self.weights[SEGMENTATION][name]]
        if needed and not isinstance(network.task, NVNet):
            raise ValueError(
                f"weights['segmentation'] of {needed} need an NVNet as task, got {type(network.task).__name__}."
            )

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms of a batch.

        Args:
            batch: ``image``, all modalities, NaN where absent; ``label (B, 1, *spatial)`` class indices; optionally
                ``present (B, M)`` and ``labelled (B,)``, bool, on the CPU, ``slice (B,)``, the number of each image in
                its volume, and ``unknown (B, K)``, bool, where labels do not show all classes.
            phase: ``"segmentation"``.
            previous: not used.

        Returns:
            The terms, and detached: the logits as ``pred`` and what the added terms give.

        Raises:
            ValueError: if the batch does not fit.
        """
        weights = self.weights[self.check_phase(phase)]
        labelled, fed = self._labelled(batch), self._inputs(batch)
        task = self.network.task
        wanted = isinstance(task, NVNet) and (weights["reconstruction"] or weights["kl"])
        with self.tapped() as taps:
            rebuilt = task.factors(fed) if isinstance(task, NVNet) and wanted else None
            logits: Tensor = task(fed) if rebuilt is None else rebuilt.logits
        label = batch["label"]
        if label.shape != (logits.shape[0], 1, *logits.shape[2:]) or logits.shape[1] != self.num_classes:
            raise ValueError(
                f"logits and label must have shapes (B, {self.num_classes}, *spatial) and (B, 1, *spatial), got "
                f"{tuple(logits.shape)} and {tuple(label.shape)}."
            )
        onehot, unknown = onehot_labels(label, self.num_classes), batch.get("unknown")
        told = logits if unknown is None else merge_unknown_classes(at_least_float32(logits), unknown)
        terms = dict.fromkeys(type(self).default_weights[SEGMENTATION], logits.sum() * 0)
        if weights["dice"]:
            terms["dice"] = squared_foreground_dice(told.softmax(1), onehot, labelled)
        if weights["cross_entropy"]:
            terms["cross_entropy"] = class_weighted_cross_entropy(
                told, onehot, labelled, class_weights=self.class_weights
            )
        if rebuilt is not None:
            terms["reconstruction"] = masked_mean(mean_squared(rebuilt.reconstruction, fed.detach()))
            terms["kl"] = masked_mean(gaussian_kl(rebuilt.mean, rebuilt.log_variance)) / rebuilt.mean.shape[1]
        outputs = {"pred": logits.detach()}
        if not self.terms:
            return PhaseOutput(terms, outputs)
        features = {} if taps is None else {name: taps[name] for name in taps}
        scores = mask_samples(at_least_float32(logits), labelled)
        group, count = self._subsets(batch)
        if unknown is not None:
            label = without_unknown_background(label, unknown)
            onehot = onehot_labels(label, self.num_classes)
        onehot = mask_samples(onehot, labelled)
        found, more = self.with_added(
            terms, TermInputs(self.network, scores, label, onehot, group, count, labelled, features)
        )
        return PhaseOutput(found, {**outputs, **more})

    @staticmethod
    def _subsets(batch: Mapping[str, Any]) -> tuple[Tensor, int]:
        """Number of the subset of modalities that each row has, and how many subsets there are."""
        image, present = batch["image"], batch.get("present")
        if present is None:
            return torch.zeros(len(image), dtype=torch.long, device=image.device), 1
        bits = 2 ** torch.arange(present.shape[1])
        group = (present.cpu() * bits).sum(1) - 1
        return group.to(image.device, non_blocking=True), 2 ** int(present.shape[1]) - 1


class DownstreamSynthesisObjective(_Downstream):
    """An image from any subset of the modalities, such as a PET from MR sequences.

    Use it as :class:`DownstreamSegmentationObjective`. Terms of the one phase ``synthesis``: ``absolute``, the mean
    absolute error (weight 1), and ``squared``, the mean squared one (weight 0, not computed).

    Args:
        network: its ``task`` gives an image.
        weights: ``{"synthesis": {term: weight}}`` that replace the weights above.

    Raises:
        ValueError: if a weight is misnamed.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: zero-dose PET.

    Examples:
        >>> from monai_mmseg.networks.nets import ImputedModalitiesNet
        >>> objective = DownstreamSynthesisObjective(ImputedModalitiesNet(nn.Conv2d(2, 1, 1), ("t1", "t2")))
        >>> list(objective({"image": torch.rand(2, 2, 8, 8), "target": torch.rand(2, 1, 8, 8)}, "synthesis").terms)
        ['absolute', 'squared']
    """

    phases: tuple[str, ...] = (SYNTHESIS,)
    default_weights: ClassVar[dict[str, dict[str, float]]] = {SYNTHESIS: {"absolute": 1.0, "squared": 0.0}}

    def __init__(self, network: DownstreamNet, *, weights: Mapping[str, Mapping[str, float]] | None = None) -> None:
        super().__init__(network, weights=weights)

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms of a batch.

        Args:
            batch: ``image``, all modalities, NaN where absent; ``target (B, C, *spatial)``; optionally ``present
                (B, M)`` and ``labelled (B,)`` (which rows have a target), bool, on the CPU, and ``slice (B,)``, the
                number of each image in its volume.
            phase: ``"synthesis"``.
            previous: not used.

        Returns:
            The terms, and the detached image as ``pred``.

        Raises:
            ValueError: if the batch does not fit.
        """
        weights = self.weights[self.check_phase(phase)]
        labelled = self._labelled(batch)
        made: Tensor = self.network.task(self._inputs(batch))
        if made.shape != batch["target"].shape:
            raise ValueError(
                f"batch['target'] must have the shape {tuple(made.shape)} of the image that is made, got "
                f"{tuple(batch['target'].shape)}."
            )
        pred, true = (mask_samples(values, labelled, "labelled") for values in (made, batch["target"]))
        terms = dict.fromkeys(weights, made.sum() * 0)
        for name, distance in (("absolute", mean_absolute), ("squared", mean_squared)):
            if weights[name]:
                terms[name] = masked_mean(distance(pred, true), labelled)
        return PhaseOutput(terms, {"pred": made.detach()})
