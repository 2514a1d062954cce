# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One network out of those of several sites, each of which has some of the modalities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

_OWN = re.compile(r"(?:^|\.)norms\.([^.]+)\.")


def modality_of_key(key: str, modalities: Iterable[str]) -> str | None:
    """Which modality an entry of a ``state_dict`` belongs to, by :class:`ModalityNorm`; ``None``: it is shared.

    When to use: to keep what is a modality's own where that modality is.

    Examples:
        >>> modality_of_key("network.1.norms.mr.running_mean", ["ct", "mr"])
        'mr'
        >>> modality_of_key("network.0.weight", ["ct", "mr"]) is None
        True
    """
    names = set(modalities)
    return next((name for name in _OWN.findall(key) if name in names), None)


def average_sites(states: Sequence[Mapping[str, Tensor]], samples: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
    """Weighted mean of the weights of several sites; normalisation of a modality is that of the sites that have it.

    When to use: as aggregation of a federated training of a network from :func:`convert_modality_norm`. What is shared
    is weighted by all samples of a site, what is a modality's own by the samples of that modality, so that a site
    changes nothing that it has not learned. A site may leave out what it has no samples for.

    Args:
        states: ``state_dict`` of each site after its training.
        samples: number of training samples of each site by modality.

    Returns:
        The mean on the CPU, in each entry's own type. Counters are the largest; what no site has samples for is that of
        the first one.

    Raises:
        ValueError: if sites and their samples differ in number, a number is negative, or there is no sample at all.

    Reference:
        H. B. McMahan et al., AISTATS 2017, arXiv:1602.05629: Eq. 1; X. Li et al., ICLR 2021, arXiv:2102.07623, whose
        normalisation stays with each client.

    Examples:
        >>> ct = {"0.weight": torch.tensor(1.0), "1.norms.ct.bias": torch.tensor(5.0)}
        >>> mr = {"0.weight": torch.tensor(4.0), "1.norms.ct.bias": torch.tensor(0.0)}
        >>> average_sites([ct, mr], [{"ct": 10}, {"mr": 20}])
        {'0.weight': tensor(3.), '1.norms.ct.bias': tensor(5.)}
    """
    counts = [count for one in samples for count in one.values()]
    if len(states) != len(samples) or min(counts, default=-1) < 0 or not sum(counts):
        raise ValueError(
            f"samples must give numbers from 0 by modality for each of {len(states)} sites, got {list(samples)}."
        )
    modalities = {name for one in samples for name in one}
    mean: dict[str, Tensor] = {}
    for key in dict.fromkeys(key for state in states for key in state):
        name = modality_of_key(key, modalities)
        own = [sum(one.values()) if name is None else one.get(name, 0) for one in samples]
        given = [(weight, state[key].detach().cpu()) for weight, state in zip(own, states, strict=True) if key in state]
        mean[key] = _mean([pair for pair in given if pair[0]] or [(1, given[0][1])])
    return mean


def _mean(given: Sequence[tuple[int, Tensor]]) -> Tensor:
    """Weighted mean, in double precision, for sites may be many."""
    tensors, total = [tensor for _, tensor in given], sum(weight for weight, _ in given)
    if not tensors[0].is_floating_point():
        return torch.stack(tensors).amax(0)
    mean = torch.stack([tensor.double() * (weight / total) for weight, tensor in given]).sum(0)
    return mean.to(tensors[0].dtype)
