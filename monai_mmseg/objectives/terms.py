# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Terms that any segmentation objective takes beside its own: knowledge distillation, affinities, L2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from monai_mmseg.losses.affinity_consistency import AffinityConsistencyLoss
from monai_mmseg.losses.class_logits import class_logit_sums, knowledge_matrices, pool_class_logits
from monai_mmseg.losses.distances import sum_of_squares
from monai_mmseg.losses.knowledge_distillation import AbsentClass, KnowledgeDistillationLoss
from monai_mmseg.networks.layers.feature_taps import FeatureTaps
from monai_mmseg.objectives.base import Objective, PhaseOutput


class TermInputs(NamedTuple):
    """What a term sees of a step; tensors on the device of the network, rows first."""

    network: nn.Module
    logits: Tensor  # (N, K, *spatial), at least float32
    label: Tensor  # (N, 1, *spatial), class indices; a value that is no class means no label
    onehot: Tensor  # (N, K, *spatial), of the label; zeros where there is none
    group: Tensor  # (N,), int64: modality of each row, or what else tells rows apart
    num_groups: int
    labelled: Tensor | None  # (N,), bool: rows that carry a label; None means all
    features: Mapping[str, Tensor]  # (N, ...), what the layers put out that the terms ask for


class Term(ABC):
    """Base of the terms; a term has a name and no weight, for weights are the objective's, and no parameters.

    When to use: subclass it for a loss that any segmentation objective shall take. :meth:`__call__` gives a scalar that
    is zero when the batch lacks what the term needs, and named, detached outputs. Sums over the batch go through
    :mod:`monai_mmseg.losses.masked`, never inside a branch that depends on the batch. It is not called where its weight
    is 0.

    Examples:
        >>> class Certainty(Term):
        ...     name = "certainty"
        ...     def __call__(self, inputs):
        ...         return masked_mean(-inputs.logits.softmax(1).amax(1).flatten(1).mean(1), inputs.labelled), {}
        >>> from monai_mmseg.losses import masked_mean
        >>> from monai_mmseg.objectives import SegmentationObjective
        >>> weights = {"segmentation": {"certainty": 0.1}}
        >>> SegmentationObjective(nn.Conv2d(1, 3, 1), 3, terms=[Certainty()], weights=weights).weights
        {'segmentation': {'supervised': 1.0, 'certainty': 0.1}}
    """

    name: str = ""
    layers: tuple[str, ...] = ()  # modules of the network whose features the term needs

    @abstractmethod
    def __call__(self, inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The unweighted term, and detached outputs for figures and later phases."""


class KnowledgeDistillationTerm(Term):
    """``knowledge_distillation``: what the groups of a batch take each class for, made alike.

    When to use: in UMMKD, and beside any other segmentation loss of several modalities. See
    :func:`~monai_mmseg.losses.knowledge_distillation_loss`. Its output ``knowledge (M, K, K)`` is what each group takes
    each class for. With one group it is zero.

    Args:
        temperature: T, larger is softer.
        absent: ``"uniform"`` or ``"skip"``: what a class does that a group of the batch lacks.

    Raises:
        ValueError: if a setting is not one of those listed.

    Reference:
        Dou et al., IEEE TMI 2020, arXiv:2001.03111: Eq. 4, of which Eq. 5 takes ``kd_weight / 2``.

    Examples:
        >>> from monai_mmseg.losses import onehot_labels
        >>> logits, label = torch.rand(2, 3, 4, 4), torch.randint(3, (2, 1, 4, 4))
        >>> onehot, group = onehot_labels(label, 3), torch.tensor([0, 1])
        >>> inputs = TermInputs(nn.Identity(), logits, label, onehot, group, 2, None, {})
        >>> term, outputs = KnowledgeDistillationTerm()(inputs)
        >>> bool(term > 0), outputs["knowledge"].shape
        (True, torch.Size([2, 3, 3]))
    """

    name = "knowledge_distillation"

    def __init__(self, temperature: float = 2.0, absent: AbsentClass = "uniform") -> None:
        self.loss = KnowledgeDistillationLoss(temperature=temperature, absent=absent)

    def __call__(self, inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The term, and ``knowledge``."""
        if inputs.num_groups < 2:
            return inputs.logits.new_zeros(()), {}
        sums = class_logit_sums(inputs.logits, inputs.onehot)
        classes = pool_class_logits(sums, inputs.group, inputs.num_groups, inputs.labelled)
        return self.loss.compare(classes), {"knowledge": knowledge_matrices(classes, self.loss.temperature).detach()}


class AffinityTerm(Term):
    """``affinity``: class-specific affinities between layers, made alike in the groups of a batch.

    When to use: in CSA, and beside any other segmentation loss of several modalities, with any network: features are
    those of named modules, which stay as they are. It is the mean over layer pairs of ``loss``; the outputs
    ``affinity_<n>`` are the matrices ``(M, C, P, Q)`` of each. With one group it is zero. Affinities of whole images
    (``class_specific=False``) need no label.

    Args:
        layer_pairs: names of the modules between which affinities are taken, as ``network.named_modules()`` has them.
        loss: how they are compared; its ``num_modalities`` is not used.

    Raises:
        ValueError: if ``layer_pairs`` does not list pairs.

    Reference:
        Chen et al., MICCAI 2020, arXiv:2101.01513: Eqs. 2 to 4.

    Examples:
        >>> term = AffinityTerm([("0", "1"), ("1", "2")], AffinityConsistencyLoss(3))
        >>> term.layers
        ('0', '1', '2')
    """

    name = "affinity"

    def __init__(self, layer_pairs: Sequence[Sequence[str]], loss: AffinityConsistencyLoss) -> None:
        pairs = [tuple(pair) for pair in layer_pairs if not isinstance(pair, str)]
        if not pairs or len(pairs) < len(layer_pairs) or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"layer_pairs must list pairs of module names, got {layer_pairs!r}.")
        self.layer_pairs, self.loss = pairs, loss
        self.layers = tuple(dict.fromkeys(name for pair in pairs for name in pair))

    def __call__(self, inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The term, and the matrices of each layer pair."""
        if inputs.logits.shape[1] != self.loss.num_classes:
            raise ValueError(f"loss must be of {inputs.logits.shape[1]} classes, got {self.loss.num_classes}.")
        if inputs.num_groups < 2:
            return inputs.logits.new_zeros(()), {}
        rows = inputs.label, inputs.group, inputs.labelled, inputs.num_groups
        found = [self.loss.affinities(inputs.features[a], inputs.features[b], *rows) for a, b in self.layer_pairs]
        term = torch.stack([self.loss.compare(one) for one in found]).mean()
        return term, {f"{self.name}_{n}": one.matrices.detach() for n, one in enumerate(found)}


class L2Term(Term):
    """``l2``: squared parameters of the network, those that take a gradient.

    When to use: for an L2 penalty that is logged; see :func:`~monai_mmseg.losses.sum_of_squares`.

    Args:
        on: ``"kernels"``: half the sum of squares of the weights of convolutions and linear layers, as the original 2D
            code of UMMKD; ``"all"``: the sum of squares of all parameters, as its Eq. 5 and original 3D code.

    Raises:
        ValueError: if ``on`` is neither.

    Examples:
        >>> nothing = torch.zeros(0)
        >>> network = nn.Conv2d(1, 1, 1).requires_grad_()
        >>> inputs = TermInputs(network, nothing, nothing, nothing, nothing, 1, None, {})
        >>> bool(L2Term("all")(inputs)[0] == network.weight.square().sum() + network.bias.square().sum())
        True
    """

    name = "l2"

    def __init__(self, on: Literal["kernels", "all"] = "kernels") -> None:
        if on not in ("kernels", "all"):
            raise ValueError(f"on must be 'kernels' or 'all', got {on!r}.")
        self.on = on

    def __call__(self, inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The term, and no output."""
        if self.on == "all":
            squares = sum_of_squares(p for p in inputs.network.parameters() if p.requires_grad)
        else:
            kernels = (part.weight for part in inputs.network.modules() if isinstance(part, _ConvNd | nn.Linear))
            # by identity: modalities may share a kernel through layers of their own
            squares = 0.5 * sum_of_squares({id(w): w for w in kernels if w.requires_grad}.values())
        return squares.to(inputs.logits.device), {}


class SegmentationWithTerms(Objective):
    """Base of the objectives with the one phase ``segmentation``, to which terms can be added.

    When to use: subclass it for an objective that takes any :class:`Term`. Run the network inside of :meth:`tapped`,
    and put :meth:`added` behind the objective's own terms.

    Args:
        network: what is trained and tapped.
        terms: further terms.
        weights: ``{"segmentation": {term: weight}}``; each of ``terms`` needs one.

    Raises:
        ValueError: if names of terms repeat, a weight is missing, misnamed or negative, or a term needs a layer that
            does not exist.

    Examples:
        >>> issubclass(SegmentationWithTerms, Objective)
        True
    """

    phases: tuple[str, ...] = ("segmentation",)

    def __init__(
        self,
        network: nn.Module,
        terms: Sequence[Term] = (),
        *,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        own = dict(self.default_weights[self.phases[0]])
        if not isinstance(terms, Sequence) or (wrong := [term for term in terms if not isinstance(term, Term)]):
            got = terms if not isinstance(terms, Sequence) else wrong
            raise TypeError(f"terms must list terms such as KnowledgeDistillationTerm(), got {got!r}.")
        for term in terms:
            if term.name in own:
                raise ValueError(f"terms must have names of their own, {term.name!r} is there twice.")
            if term.name not in (weights or {}).get(self.phases[0], {}):
                raise ValueError(f"weights[{self.phases[0]!r}] must hold a weight of the term {term.name!r}.")
            own[term.name] = 0.0
        vars(self)["default_weights"] = {self.phases[0]: own}  # of this instance, for the base class to check
        super().__init__(network, weights=weights)
        if negative := [name for name, weight in self.weights[self.phases[0]].items() if not weight >= 0]:
            raise ValueError(f"the weights of {negative} must not be negative, got {self.weights[self.phases[0]]}.")
        self.terms = tuple(terms)
        for term in self.terms:
            if term.layers:
                FeatureTaps(network, term.layers)  # unknown names are an error now, not at the first step

    def _active(self) -> list[Term]:
        return [term for term in self.terms if self.weights[self.phases[0]][term.name]]

    @contextmanager
    def tapped(self) -> Iterator[FeatureTaps | None]:
        """Record the layers that terms of some weight need, while the network runs; ``None`` if there are none."""
        layers = list(dict.fromkeys(layer for term in self._active() for layer in term.layers))
        if not layers:
            yield None
            return
        with FeatureTaps(self.network, layers) as taps:
            yield taps

    def added(self, inputs: TermInputs) -> PhaseOutput:
        """The added terms (zero where the weight is) and their outputs."""
        terms = {term.name: inputs.logits.new_zeros(()) for term in self.terms}
        outputs: dict[str, Tensor] = {}
        for term in self._active():
            terms[term.name], more = term(inputs)
            outputs |= more
        return PhaseOutput(terms, outputs)
