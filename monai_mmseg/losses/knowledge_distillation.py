# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

"""Knowledge distillation between modalities: what a network takes for what, class by class, made alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.loss import _Loss

from monai_mmseg.losses.class_logits import ClassLogits, class_logit_sums, pool_class_logits
from monai_mmseg.losses.masked import check_rows, mask_samples

AbsentClass = Literal["uniform", "skip"]
Maps = Tensor | Sequence[Tensor]  # rows of several modalities, or a tensor for each


def knowledge_distillation_loss(
    logits: Maps,
    labels: Maps,
    modality: Tensor | None = None,
    num_modalities: int | None = None,
    labelled: Maps | None = None,
    *,
    temperature: float = 2.0,
    absent: AbsentClass = "uniform",
) -> Tensor:
    r"""Distance between what the modalities of a batch take each class for: a symmetric Kullback-Leibler divergence.

    When to use: beside a segmentation loss, to train one network on images of several modalities of different patients.
    Only the mean logits :math:`z_c` of the pixels of a class enter, so nothing has to be paired or aligned and the
    numbers of images may differ:

    .. math:: \frac{1}{K} \sum_c KL(q^a_c \| q^b_c) + KL(q^b_c \| q^a_c), \quad q_c = softmax(z_c / T).

    With more than two modalities it is the mean of this over their (unordered) pairs. The gradient flows into all
    modalities. A modality without a labelled row takes part in no pair; where no pair is left the loss is zero.

    Args:
        logits: before the softmax: one tensor ``(N_m, K, *spatial)`` for each modality, of any batch and image sizes,
            or one tensor ``(N, K, *spatial)`` with rows of several modalities.
        labels: in the same form: class indices with one channel, in which a value that is no class means no label, or
            one-hot labels.
        modality: for the second form: index of each row's modality, shape ``(N,)``.
        num_modalities: for the second form: number of modalities M. It is not taken from the batch, which may lack one.
        labelled: which rows carry a label, bool ``(N,)``, or one such mask for each modality, or ``None`` for one
            whose rows all do. ``None`` means all.
        temperature: T, larger is softer.
        absent: a class without pixels in a modality has the uniform distribution there (``"uniform"``, as in the
            original code: the other modality's row is pulled to it), or adds nothing to a pair with it (``"skip"``).

    Returns:
        Scalar, at least float32, zero or more. In a distributed run every process has the loss of the joined batch.

    Raises:
        ValueError: when the arguments do not fit together.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020, arXiv:2001.03111:
        Eqs. 2 to 4. Differs from the paper: 1e-6 beside the number of pixels, and absent classes, as in its code.

    Examples:
        >>> labels = torch.tensor([[[0, 1]]])
        >>> ct, mr = torch.tensor([[[4.0, 0.0], [0.0, 4.0]]]), torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
        >>> knowledge_distillation_loss([ct, mr], [labels, labels])  # class 1: (0.88 - 0.5) * 2
        tensor(0.3808)
        >>> knowledge_distillation_loss(torch.cat([ct, mr]), torch.cat([labels] * 2), torch.tensor([0, 1]), 2)
        tensor(0.3808)
    """
    _check_settings(temperature, absent)
    return _distance(_class_logits(logits, labels, modality, num_modalities, labelled), temperature, absent)


class KnowledgeDistillationLoss(_Loss):
    """Module form of :func:`knowledge_distillation_loss`.

    When to use: in any training loop that holds images of several modalities in one step. Call it with ``logits``,
    ``labels``, ``modality`` and ``labelled``, in either form.

    Args:
        num_modalities: number of modalities, for logits in one tensor; ``None`` for lists.
        temperature: as in the function.
        absent: as there.

    Raises:
        ValueError: when a setting is not one of those listed.

    Examples:
        >>> loss = KnowledgeDistillationLoss(2)
        >>> loss(torch.zeros(2, 3, 4), torch.zeros(2, 1, 4), torch.tensor([0, 1]))
        tensor(0.)
    """

    def __init__(
        self, num_modalities: int | None = None, *, temperature: float = 2.0, absent: AbsentClass = "uniform"
    ) -> None:
        super().__init__()
        _check_settings(temperature, absent)
        self.num_modalities = num_modalities
        self.temperature = float(temperature)
        self.absent: AbsentClass = absent

    def forward(
        self, logits: Maps, labels: Maps, modality: Tensor | None = None, labelled: Maps | None = None
    ) -> Tensor:
        """Returns the loss of the batch."""
        count = self.num_modalities if isinstance(logits, Tensor) else None
        return self.compare(_class_logits(logits, labels, modality, count, labelled))

    def compare(self, classes: ClassLogits) -> Tensor:
        """Returns the loss of given class means."""
        return _distance(classes, self.temperature, self.absent)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(loss)``."""
        return f"num_modalities={self.num_modalities}, temperature={self.temperature:g}, absent={self.absent!r}"


def _distance(classes: ClassLogits, temperature: float, absent: str) -> Tensor:
    """How far the class means of the modalities are from each other."""
    log_probs = (classes.means / temperature).log_softmax(-1)
    probs = log_probs.exp()
    # KL(a|b) + KL(b|a) in one product, no summand of which is negative; (M, M, K)
    distance = ((probs[:, None] - probs) * (log_probs[:, None] - log_probs)).sum(-1)
    if absent == "skip":
        there = classes.pixels > 0
        distance = distance * (there[:, None] & there)
    # a modality without a labelled row is not there: it has no knowledge, not a uniform one
    known = classes.rows > 0
    pairs = (known[:, None] & known).triu(1)
    return (distance.mean(-1) * pairs).sum() / pairs.sum().clamp(min=1)


def _class_logits(
    logits: Maps,
    labels: Maps,
    modality: Tensor | None,
    num_modalities: int | None,
    labelled: Maps | None,
) -> ClassLogits:
    """Class means of either form of the arguments."""
    if isinstance(logits, Tensor):
        if not isinstance(labels, Tensor) or modality is None or num_modalities is None:
            raise ValueError("logits in one tensor need labels in one tensor, modality and num_modalities.")
        if labelled is not None and not isinstance(labelled, Tensor):
            raise ValueError(f"labelled must be one mask for logits in one tensor, got {type(labelled).__name__}.")
        check_rows("modality", modality, len(logits), torch.long)
        if labelled is not None:
            check_rows("labelled", labelled, len(logits), torch.bool)
        sums = class_logit_sums(logits, _kept(labels, labelled))
        return pool_class_logits(sums, modality.to(sums.device), num_modalities, labelled)
    if isinstance(labels, Tensor) or isinstance(labelled, Tensor) or modality is not None or num_modalities is not None:
        raise ValueError("logits in a list need labels and labelled in lists, without modality and num_modalities.")
    masks = [None] * len(logits) if labelled is None else list(labelled)
    if not logits or len(labels) != len(logits) or len(masks) != len(logits):
        raise ValueError(
            f"logits, labels and labelled must have one entry for each modality, got {len(logits)}, {len(labels)} and "
            f"{len(masks)}."
        )
    if len(classes := {part.shape[1] for part in logits}) > 1:
        raise ValueError(f"logits must have one number of classes, got {sorted(classes)}.")
    sums = torch.cat([class_logit_sums(x, _kept(y, mask)) for x, y, mask in zip(logits, labels, masks, strict=True)])
    counts = torch.tensor([len(part) for part in logits])
    index = torch.arange(len(logits)).repeat_interleave(counts).to(sums.device, non_blocking=True)
    every = [
        torch.ones(len(x), dtype=torch.bool, device=x.device) if mask is None else mask
        for x, mask in zip(logits, masks, strict=True)
    ]
    kept = None if labelled is None else torch.cat([mask.to(sums.device) for mask in every])
    return pool_class_logits(sums, index, len(logits), kept)


def _kept(labels: Tensor, labelled: Tensor | None) -> Tensor:
    """Labels whose rows may be added up; the logits need no mask, because their gradient does not depend on them."""
    return labels if labels.shape[1] == 1 else mask_samples(labels, labelled, "labelled")


def _check_settings(temperature: float, absent: str) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}.")
    if absent not in ("uniform", "skip"):
        raise ValueError(f"absent must be 'uniform' or 'skip', got {absent!r}.")
