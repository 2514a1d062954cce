# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a method minimises, in the form that every method of this package gives it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class PhaseOutput(NamedTuple):
    """What one phase of an objective returns."""

    terms: dict[str, Tensor]  # unweighted, each a scalar
    outputs: dict[str, Tensor]  # detached, for later phases of the same step


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]) -> Tensor:
    """Sum of loss terms, each times its weight.

    When to use: wherever terms become a total, so that a misspelt name cannot switch a term off silently.

    Args:
        terms: scalars by name.
        weights: one weight for each of these names, and for no other; a scalar tensor where training moves it.

    Returns:
        Scalar.

    Raises:
        ValueError: if the names differ, or a term is not a scalar.

    Examples:
        >>> weighted_sum({"dice": torch.tensor(0.5), "kl": torch.tensor(2.0)}, {"dice": 10, "kl": 0.1})
        tensor(5.2000)
    """
    if unknown := weights.keys() ^ terms.keys():
        raise ValueError(f"loss terms and weights must have the same names, they differ on {sorted(unknown)}.")
    for name, term in terms.items():
        if term.ndim:
            raise ValueError(f"term {name!r} must be a scalar, got shape {tuple(term.shape)}.")
    return torch.stack([term * weights[name] for name, term in terms.items()]).sum()


class Objective(nn.Module):
    """Base of all objectives: the networks of a method and the named terms that each phase of a step minimises.

    When to use: subclass it to write a method. Set :attr:`phases` and :attr:`default_weights`, write :meth:`forward`
    and :meth:`parameters_of`; :class:`~monai_mmseg.engines.ObjectiveTrainer` does the rest.

    Rules for subclasses:

    * ``forward`` returns the **unweighted** terms of the phase, named exactly as in ``default_weights[phase]``,
      whatever the batch lacks (a term without rows is zero), because every process of a distributed run must give the
      same names.
    * ``outputs`` are detached.
    * Sums over the batch go through :mod:`monai_mmseg.losses.masked`, never inside a branch that depends on the batch.
    * State that is neither a parameter nor a buffer goes through ``get_extra_state``, as numbers and tensors, or a
      resumed run will not have it.

    Args:
        network: what is deployed; the parts needed in training only are further attributes.
        weights: ``{phase: {term: weight}}`` that replace defaults.

    Raises:
        ValueError: if ``weights`` names a phase or term that does not exist.

    Examples:
        >>> class Fit(Objective):
        ...     phases = ("fit",)
        ...     default_weights = {"fit": {"error": 1.0}}
        ...     def parameters_of(self, phase):
        ...         return list(self.network.parameters())
        ...     def forward(self, batch, phase, previous=None):
        ...         return PhaseOutput({"error": (self.network(batch["image"]) - batch["label"]).square().mean()}, {})
        >>> Fit(nn.Linear(1, 1), weights={"fit": {"error": 2.0}}).weights
        {'fit': {'error': 2.0}}
    """

    phases: tuple[str, ...] = ()
    default_weights: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    retraining: ClassVar[tuple[str, ...]] = ()
    """Phases that train parameters of an earlier phase once more, with an optimiser of their own."""
    takes_label_sets: ClassVar[bool] = False
    """Whether labels of a batch may show different classes, ``unknown`` in it; else that is an error, since an organ
    that nobody drew would be taught as background."""
    outside_graphs: ClassVar[tuple[str, ...]] = ()
    """Methods that run as they are where the rest is compiled: they read masks on the CPU, or set hooks."""

    def __init__(self, network: nn.Module, *, weights: Mapping[str, Mapping[str, float]] | None = None) -> None:
        super().__init__()
        # a phase that an instance can do without may have weights and not be in its phases
        if not self.phases or not set(self.phases) <= set(self.default_weights):
            raise TypeError(f"{type(self).__name__} must set phases and one entry of default_weights for each of them.")
        self.network = network
        self.weights: dict[str, dict[str, float]] = {p: dict(self.default_weights[p]) for p in self.phases}
        for phase, terms in (weights or {}).items():
            known = self.weights[self.check_phase(phase)]
            for term, weight in terms.items():
                if term not in known:
                    raise ValueError(f"weights[{phase!r}] has no term {_not_known(term, known)}")
                known[term] = float(weight)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the objective in place, as :meth:`torch.nn.Module.compile`; not by ``torch.compile(objective)``."""
        for name in self.outside_graphs:  # here and not where they are written: that would import the compiler for all
            method = getattr(type(self), name)
            if not hasattr(method, "_torchdynamo_disable"):
                setattr(type(self), name, torch.compiler.disable(method))
        super().compile(*args, **kwargs)

    def check_phase(self, phase: str) -> str:
        """The name itself, or a ValueError with close names if there is no such phase."""
        if phase not in self.phases:
            raise ValueError(f"{type(self).__name__} has no phase {_not_known(phase, self.phases)}")
        return phase

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms of one phase.

        Args:
            batch: what the data loader made, on the device, with ``present`` and ``labelled`` left on the CPU.
            phase: one of :attr:`phases`.
            previous: the outputs of the phases before in the same step, ``update``: which of the repeated updates of
                this phase it is, from 0, and ``updates``: how many there are.

        Returns:
            Unweighted terms and detached outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} must write forward.")

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Parameters that ``phase`` trains; none belongs to two phases, but for those of :attr:`retraining`."""
        raise NotImplementedError(f"{type(self).__name__} must write parameters_of.")

    def total(self, terms: Mapping[str, Tensor], phase: str) -> Tensor:
        """Weighted sum of the terms of a phase; weights that training moves are those of its last forward."""
        weights = self.weights[self.check_phase(phase)]
        factors = self.weight_factors(phase)
        return weighted_sum(terms, {name: weight * factors.get(name, 1) for name, weight in weights.items()})

    def weight_factors(self, phase: str) -> Mapping[str, Tensor]:
        """What the weights of a phase are multiplied by where training moves them, scalars on the device by term."""
        return {}

    def parameter_groups(self, phase: str, lr: float, scale: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
        """Parameters of a phase for its optimiser, with a smaller or larger learning rate for named parts.

        Args:
            phase: one of :attr:`phases`.
            lr: learning rate.
            scale: factors of ``lr`` by sub-module name, e.g. ``{"network.transformer": 0.1}``. The longest name that
                fits a parameter counts.

        Returns:
            Groups for a ``torch.optim`` optimiser: ``params``, ``lr`` and ``name``.

        Raises:
            ValueError: if a name in ``scale`` fits no parameter of the phase, or a factor is negative.

        Examples:
            >>> from monai_mmseg.objectives import SegmentationObjective
            >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1))
            >>> fit = SegmentationObjective(net, num_classes=2, sources=[(0, 0)])
            >>> [(g["name"], g["lr"]) for g in fit.parameter_groups("segmentation", 1e-3, {"network.1": 0.1})]
            [('segmentation', 0.001), ('network.1', 0.0001)]
        """
        factors = dict(scale or {})
        own = {id(p) for p in self.parameters_of(phase)}
        named = {name: p for name, p in self.named_parameters() if id(p) in own}
        prefixes = {name.rsplit(".", depth)[0] for name in named for depth in range(name.count(".") + 1)}
        for prefix, factor in factors.items():
            if prefix not in prefixes:
                raise ValueError(f"scale names no part of phase {phase!r}: {_not_known(prefix, prefixes)}")
            if factor < 0:
                raise ValueError(f"scale[{prefix!r}] must not be negative, got {factor}.")
        groups: dict[str, list[nn.Parameter]] = {name: [] for name in ["", *factors]}
        for name, parameter in named.items():
            fits = [prefix for prefix in factors if name == prefix or name.startswith(prefix + ".")]
            groups[max(fits, key=len, default="")].append(parameter)
        return [
            {"params": parameters, "lr": lr * factors.get(name, 1.0), "name": name or phase}
            for name, parameters in groups.items()
            if parameters
        ]


def _not_known(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {names[:20]}."
    return f"{name!r}: {hint}"
