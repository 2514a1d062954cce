# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One network out of those of several sites, each of which has some of the modalities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

import torch
from torch import Tensor

# of ModalityNorm `norms.<modality>`, of ModalityStreams `streams.<stage>.<modality>`; a list of the name has numbers
_OWN = re.compile(r"(?:^|\.)(?:norms|streams\.(?!\d+\.)[^.]+)\.([^.]+)\.")


def modality_of_key(key: str, modalities: Iterable[str]) -> str | None:
    """Which modality an entry of a ``state_dict`` belongs to; ``None``: it is shared.

    When to use: to keep what is a modality's own where that modality is: its normalisation (:class:`ModalityNorm`), and
    its stages where some exist once per modality (:class:`~monai_mmseg.networks.nets.ModalityStreams`).

    Examples:
        >>> modality_of_key("network.1.norms.mr.running_mean", ["ct", "mr"])
        'mr'
        >>> modality_of_key("streams.group_1.mr.first.conv.weight", ["ct", "mr"])
        'mr'
        >>> modality_of_key("network.0.weight", ["ct", "mr"]) is None
        True
    """
    names = set(modalities)
    return next((name for name in _OWN.findall(key) if name in names), None)


def average_sites(states: Sequence[Mapping[str, Tensor]], samples: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
    """Weighted mean of the weights of several sites; normalisation of a modality is that of the sites that have it.

    When to use: as aggregation of a federated training of a network from :func:`convert_modality_norm`, or of
    :class:`~monai_mmseg.networks.nets.ModalityStreams`. What is shared is weighted by all samples of a site, what is a
    modality's own by the samples of that modality, so that a site changes nothing that it has not learned. A site may
    leave out what it has no samples for.

    Args:
        states: ``state_dict`` of each site after its training.
        samples: number of training samples of each site by modality, spelt as the network does.

    Returns:
        The mean on the CPU, in each entry's own type. Counters are the largest; of a modality of which all sites have 0
        samples it is that of the first site.

    Raises:
        ValueError: if sites and their samples differ in number, a number is negative, or there is no sample at all; a
            modality with samples has no entry in any state, while other modalities have; one without samples is
            none of the states, while these have one that is not among the samples; a site with samples lacks an entry
            that others sent; sites differ in the shape or type of an entry; or an entry that counts is not finite.

    Reference:
        H. B. McMahan et al., AISTATS 2017, arXiv:1602.05629: Eq. 1; X. Li et al., ICLR 2021, arXiv:2102.07623, whose
        normalisation stays with each client.

    Examples:
        >>> ct = {"0.weight": torch.tensor(1.0), "1.norms.ct.bias": torch.tensor(5.0)}
        >>> mr = {"0.weight": torch.tensor(4.0), "1.norms.mr.bias": torch.tensor(1.0)}
        >>> average_sites([ct, mr], [{"ct": 10}, {"mr": 20}])
        {'0.weight': tensor(3.), '1.norms.ct.bias': tensor(5.), '1.norms.mr.bias': tensor(1.)}
    """
    samples = _checked(samples, len(states))
    modalities = {name for one in samples for name in one}
    _check_names(states, samples)
    mean: dict[str, Tensor] = {}
    for key in dict.fromkeys(key for state in states for key in state):
        name = modality_of_key(key, modalities)
        own = [sum(one.values()) if name is None else one.get(name, 0) for one in samples]
        given = {
            site: (weight, state[key].detach().cpu())
            for site, (weight, state) in enumerate(zip(own, states, strict=True))
            if key in state
        }
        if lost := [site for site, weight in enumerate(own) if weight and site not in given]:
            raise ValueError(
                f"states must agree in their entries, got no {key!r} from site {lost[0]} (counted from 0), which has "
                "samples for it: the networks are not the same at all sites, or it must send what it has learned."
            )
        counted = {site: pair for site, pair in given.items() if pair[0]} or {0: (1, next(iter(given.values()))[1])}
        _check_entry(key, counted)
        mean[key] = _mean(list(counted.values()))
    return mean


def _checked(samples: Sequence[Mapping[str, int]], sites: int) -> list[dict[str, int]]:
    found = list(samples)
    told = len(found) == sites and all(isinstance(one, Mapping) for one in found)
    counts = [count for one in found for count in one.values()] if told else []
    if not all(isinstance(count, Real) and 0 <= count < float("inf") for count in counts) or not sum(counts):
        raise ValueError(f"samples must give numbers from 0 by modality for each of {sites} sites, got {found}.")
    return [dict(one) for one in found]


def _check_names(states: Sequence[Mapping[str, Tensor]], samples: Sequence[Mapping[str, int]]) -> None:
    """A modality that is spelt otherwise in the samples would be averaged over all sites, or lost, without a word."""
    found = {name for state in states for key in state for name in _OWN.findall(key) if not name.isdigit()}
    counts = {name: max(one.get(name, 0) for one in samples) for one in samples for name in one}
    unknown = sorted(counts.keys() - found)
    # a site that sends what its samples name has sent nothing of a name that is spelt otherwise
    lost = [name for name in unknown if counts[name]] if found else []
    if found - counts.keys():
        lost = lost or unknown
    if lost:
        raise ValueError(
            f"samples must name modalities as the network does, got {lost[0]!r}; the weights that were sent have "
            f"entries of {sorted(found)}: send those of {lost[0]!r}, too, or spell it so; if nobody has it, give 0."
        )


def _check_entry(key: str, given: Mapping[int, tuple[int, Tensor]]) -> None:
    shapes = {site: tuple(tensor.shape) for site, (_, tensor) in given.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"states must agree in shape, got {key!r} as {shapes} (site, counted from 0, and shape): labels or "
            "modalities are not the same at all sites."
        )
    types = {site: str(tensor.dtype).removeprefix("torch.") for site, (_, tensor) in given.items()}
    if len(set(types.values())) > 1:
        raise ValueError(
            f"states must agree in type, got {key!r} as {types} (site, counted from 0, and type): convert them to that "
            "of the network before the mean."
        )
    broken = [site for site, (_, tensor) in given.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"states must be finite, got NaN or infinity in {key!r} of site {broken[0]} (counted from 0): leave that "
            "site out of this round, or let it train again."
        )


def _mean(given: Sequence[tuple[int, Tensor]]) -> Tensor:
    """Weighted mean, in double precision, for sites may be many."""
    tensors, total = [tensor for _, tensor in given], sum(weight for weight, _ in given)
    if not tensors[0].is_floating_point():
        return torch.stack(tensors).amax(0)
    mean = torch.stack([tensor.double() * (weight / total) for weight, tensor in given]).sum(0)
    return mean.to(tensors[0].dtype)
