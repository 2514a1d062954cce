# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How the classes of a label lie to each other: a flipped header or exchanged classes, in whomever the image shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SURE = 0.9  # length of the mean of unit vectors from one class to another: 1 where all are alike
_OPPOSITE = -0.7  # cosine of the angle between two of them
_ENOUGH = 3  # labels that say how it is


class Arrangement(NamedTuple):
    """Where the classes of one label lie."""

    modality: str
    subject: str
    centres: Mapping[str, NDArray[np.float64]]  # of mass, in mm, of the classes that have a voxel


def class_centres(
    label: NDArray[np.floating] | NDArray[np.integer], affine: NDArray[np.float64], labels: Mapping[int, str]
) -> tuple[dict[str, int], dict[str, NDArray[np.float64]]]:
    """Voxels of each class, and the centre of mass of those that have one.

    Args:
        label: values ``(X, Y, Z)``.
        affine: ``(4, 4)``, from voxels to mm.
        labels: value to name of the classes to look for.

    Returns:
        Name to the number of voxels; name to the centre ``(3,)`` in mm.

    Examples:
        >>> label = np.zeros((4, 4, 4))
        >>> label[1:3, 0, 3] = 2
        >>> counts, centres = class_centres(label, np.diag([2.0, 1.0, 1.0, 1.0]), {1: "left", 2: "right"})
        >>> counts, centres["right"].tolist()
        ({'left': 0, 'right': 2}, [3.0, 0.0, 3.0])
    """
    counts: dict[str, int] = {}
    centres: dict[str, NDArray[np.float64]] = {}
    for value, name in labels.items():
        inside = label == value
        profiles = [inside.sum(axis=others) for others in ((1, 2), (0, 2), (0, 1))]
        counts[name] = int(profiles[0].sum())
        if counts[name]:
            at = [float(profile @ np.arange(len(profile))) / counts[name] for profile in profiles]
            centres[name] = affine[:3, :3] @ np.asarray(at) + affine[:3, 3]
    return counts, centres


def arrangement_warnings(arrangements: Iterable[Arrangement]) -> list[str]:
    """Classes that lie the other way round in one modality, or in one label, than in all others.

    Patients differ, yet the liver lies on one side of the spleen in all. Classes around each other, as cavity and wall,
    have no direction and are not compared.

    Args:
        arrangements: one of each label.

    Returns:
        Warnings.

    Examples:
        >>> def kidneys(modality, subject, left):
        ...     centres = {"left": np.array([left, 0.0, 0.0]), "right": np.zeros(3)}
        ...     return Arrangement(modality, subject, centres)
        >>> ct = [kidneys("ct", f"c{number}", -100.0 - number) for number in range(3)]
        >>> mr = [kidneys("mr", f"m{number}", 100.0 + number) for number in range(3)]
        >>> print(arrangement_warnings([*ct, *mr])[0])
        'left' and 'right' lie the other way round in modality 'mr' (3 labels) than in 'ct' (3), along left to right: \
is the order of classes the same, and are the headers right?
    """
    towards: dict[tuple[str, str], dict[str, list[tuple[str, NDArray[np.float64]]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for label in arrangements:
        for first, second in combinations(sorted(label.centres), 2):
            way = label.centres[second] - label.centres[first]
            length = float(np.linalg.norm(way))
            if length > 0:
                towards[first, second][label.modality].append((label.subject, way / length))
    whole: dict[tuple[str, str, str], list[str]] = {}
    single: dict[tuple[str, str], list[str]] = {}
    for pair, modalities in towards.items():
        means = {name: _mean([way for _, way in ways]) for name, ways in modalities.items() if len(ways) >= _ENOUGH}
        sure = {name: mean for name, mean in means.items() if np.linalg.norm(mean) >= _SURE}
        for one, two in combinations(sure, 2):
            if sure[one] @ sure[two] < _OPPOSITE:
                axis = ("left to right", "back to front", "foot to head")[int(np.abs(sure[one]).argmax())]
                counts = (len(modalities[two]), len(modalities[one]))
                text = f"lie the other way round in modality {two!r} ({counts[0]} labels) than in {one!r} ({counts[1]})"
                whole.setdefault((one, two, text), []).append(f"{pair[0]!r} and {pair[1]!r}, along {axis}")
        for name, ways in modalities.items():
            if len(ways) <= _ENOUGH:
                continue
            each = np.array([way for _, way in ways])
            others = (each.sum(0) - each) / (len(each) - 1)  # mean of all but this one
            odd = (np.linalg.norm(others, axis=1) >= _SURE) & ((each * others).sum(1) < _OPPOSITE)
            for place in odd.nonzero()[0]:
                single.setdefault((name, ways[place][0]), []).append(f"{pair[0]!r} and {pair[1]!r}")
    found = []
    for (_, _, text), pairs in whole.items():
        classes, axis = pairs[0].split(", along ")
        more = f" (as {len(pairs) - 1} more pairs of classes)" if len(pairs) > 1 else ""
        found.append(
            f"{classes} {text}, along {axis}{more}: is the order of classes the same, and are the headers right?"
        )
    for (name, subject), pairs in single.items():
        more = f" (as {len(pairs) - 1} more pairs of classes)" if len(pairs) > 1 else ""
        found.append(
            f"subject {subject!r}: {pairs[0]} lie the other way round in its label of {name!r} than in all others"
            f"{more}: is its header flipped, or are its classes exchanged?"
        )
    return found


def _mean(ways: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(ways, axis=0)
    return mean
