# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Terms that any segmentation objective takes beside its own: knowledge distillation, affinities, L2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from monai_mmseg.losses.affinity_consistency import AffinityConsistencyLoss
from monai_mmseg.losses.class_logits import class_logit_sums, knowledge_matrices, pool_class_logits
from monai_mmseg.losses.distances import sum_of_squares
from monai_mmseg.losses.knowledge_distillation import AbsentClass, KnowledgeDistillationLoss
from monai_mmseg.losses.running_class_logits import RunningClassLogits
from monai_mmseg.networks.layers.feature_taps import FeatureTaps
from monai_mmseg.objectives.base import Objective, PhaseOutput, weighted_sum
from monai_mmseg.objectives.weighting import GradientBalance, Ramp, Weighting, foreground_dice


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

    What it remembers from step to step are buffers of ``parts``, which the objective saves. The part ``"weighting"``
    moves its weight.

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
    parts: Mapping[str, nn.Module] = MappingProxyType({})  # what it remembers

    @abstractmethod
    def __call__(self, inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The unweighted term, and detached outputs for figures and later phases."""

    def advance(self, term: Tensor, own: Tensor, inputs: TermInputs) -> None:  # noqa: B027 - most weights do not move
        """Move the weight, once a training step.

        Args:
            term: what the call gave.
            own: weighted sum of the objective's own terms.
            inputs: of the call.
        """


class KnowledgeDistillationTerm(Term):
    """``knowledge_distillation``: what the groups of a batch take each class for, made alike.

    When to use: in UMMKD, and beside any other segmentation loss of several modalities. See
    :func:`~monai_mmseg.losses.knowledge_distillation_loss`. Its output ``knowledge (M, K, K)`` is what each group takes
    each class for. With one group it is zero.

    Args:
        temperature: T, larger is softer.
        absent: ``"uniform"`` or ``"skip"``: what a class does that a group of the batch lacks; with running means, one
            that the group never had.
        ramp: the weight grows from 0 to its value over a number of steps, or with the Dice of the training batches
            (``"dice"``); ``None``: it does not. See :class:`~monai_mmseg.objectives.weighting.Ramp`.
        momentum: how much of the class rows comes from the batch, the rest from those before: running means, with the
            gradient of the batch. 1: the batch alone. See
            :class:`~monai_mmseg.losses.running_class_logits.RunningClassLogits`.

    Raises:
        ValueError: if a setting is not one of those listed.

    Reference:
        Dou et al., IEEE TMI 2020, arXiv:2001.03111: Eq. 4, of which Eq. 5 takes ``kd_weight / 2``. Ramp and running
        means are not in the paper.

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

    def __init__(
        self,
        temperature: float = 2.0,
        absent: AbsentClass = "uniform",
        *,
        ramp: int | Literal["dice"] | None = None,
        momentum: float = 1.0,
    ) -> None:
        self.loss = KnowledgeDistillationLoss(temperature=temperature, absent=absent)
        self.ramp = None if ramp is None else Ramp(ramp)
        running = RunningClassLogits(momentum)
        self.running = None if running.momentum == 1 else running
        parts = {"weighting": self.ramp, "running": self.running}
        self.parts = {name: part for name, part in parts.items() if part is not None}

    def __call__(self, inputs: TermInputs) -> tuple[Tensor, dict[str, Tensor]]:
        """The term, and ``knowledge``."""
        if inputs.num_groups < 2:
            return inputs.logits.new_zeros(()), {}
        sums = class_logit_sums(inputs.logits, inputs.onehot)
        classes = pool_class_logits(sums, inputs.group, inputs.num_groups, inputs.labelled)
        if self.running is not None:
            classes = self.running(classes)
        return self.loss.compare(classes), {"knowledge": knowledge_matrices(classes, self.loss.temperature).detach()}

    def advance(self, term: Tensor, own: Tensor, inputs: TermInputs) -> None:
        """Move the ramp."""
        if self.ramp is None:
            return
        rows = inputs.group, inputs.num_groups, inputs.labelled
        self.ramp.advance(foreground_dice(inputs.logits, inputs.onehot, *rows) if self.ramp.over == "dice" else None)


class AffinityTerm(Term):
    """``affinity``: class-specific affinities between layers, made alike in the groups of a batch.

    When to use: in CSA, and beside any other segmentation loss of several modalities, with any network: features are
    those of named modules, which stay as they are. It is the mean over layer pairs of ``loss``; the outputs
    ``affinity_<n>`` are the matrices ``(M, C, P, Q)`` of each. With one group it is zero. Affinities of whole images
    (``class_specific=False``) need no label.

    Args:
        layer_pairs: names of the modules between which affinities are taken, as ``network.named_modules()`` has them.
        loss: how they are compared; its ``num_modalities`` is not used.
        balance: steps between two measurements of gradients: the weight of the term is then how large its gradient is
            beside that of the objective's own terms. ``None``: a plain weight. See
            :class:`~monai_mmseg.objectives.weighting.GradientBalance`.
        balance_layer: name of the module at whose kernels gradients are compared; the first of ``layer_pairs``.

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

    def __init__(
        self,
        layer_pairs: Sequence[Sequence[str]],
        loss: AffinityConsistencyLoss,
        *,
        balance: int | None = None,
        balance_layer: str | None = None,
    ) -> None:
        pairs = [tuple(pair) for pair in layer_pairs if not isinstance(pair, str)]
        if not pairs or len(pairs) < len(layer_pairs) or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"layer_pairs must list pairs of module names, got {layer_pairs!r}.")
        self.layer_pairs, self.loss = pairs, loss
        self.layers = tuple(dict.fromkeys(name for pair in pairs for name in pair))
        if balance is None and balance_layer is not None:
            raise ValueError(f"balance_layer {balance_layer!r} needs balance, the steps between two measurements.")
        self.balance = None if balance is None else GradientBalance(balance)
        self.balance_layer = balance_layer or self.layers[0]
        self.parts = {} if self.balance is None else {"weighting": self.balance}

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

    def kernels(self, network: nn.Module) -> list[nn.Parameter]:
        """Parameters at which gradients are compared: what modalities have of their own are vectors."""
        module = FeatureTaps(network, [self.balance_layer]).modules[self.balance_layer]
        found = [parameter for parameter in module.parameters() if parameter.requires_grad and parameter.ndim > 1]
        if not found:
            raise ValueError(f"balance_layer must have a kernel that is trained, {self.balance_layer!r} has none.")
        return found

    def advance(self, term: Tensor, own: Tensor, inputs: TermInputs) -> None:
        """Move the balance."""
        if self.balance is not None:
            self.balance.advance(term, own, self.kernels(inputs.network))


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
    and let :meth:`with_added` put the further terms behind the objective's own ones.

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
            if isinstance(term, AffinityTerm) and term.balance is not None:
                term.kernels(network)
        remembered = {term.name: nn.ModuleDict(dict(term.parts)) for term in self.terms if term.parts}
        if remembered:  # of its own only then, so that states without are as they were
            self.term_parts = nn.ModuleDict(remembered)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile in place; refused where gradients are measured inside of a step."""
        for term in self.terms:
            if isinstance(term.parts.get("weighting"), GradientBalance):
                raise ValueError(f"term {term.name!r} measures gradients in a step, which cannot be compiled.")
        super().compile(*args, **kwargs)

    def weight_factors(self, phase: str) -> dict[str, Tensor]:
        """Factors of the terms that have a weighting."""
        parts = {term.name: term.parts.get("weighting") for term in self.terms}
        return {name: part.factor for name, part in parts.items() if isinstance(part, Weighting)}

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

    def with_added(self, own: Mapping[str, Tensor], inputs: TermInputs) -> PhaseOutput:
        """The objective's own terms, the added ones (zero where the weight is), and outputs of these."""
        terms = {**own, **{term.name: inputs.logits.new_zeros(()) for term in self.terms}}
        outputs: dict[str, Tensor] = {}
        weights = self.weights[self.phases[0]]
        for term in self._active():
            terms[term.name], more = term(inputs)
            outputs |= more
            if self.training and "weighting" in term.parts:
                total = weighted_sum(own, {name: weights[name] for name in own})
                term.advance(terms[term.name], total, inputs)
        return PhaseOutput(terms, outputs)
