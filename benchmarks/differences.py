# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Differences between methods, out of the scores that `benchmarks/results` keeps, as the documentation states them.

``python -m benchmarks.differences "dafnet_table_2/scores.csv" lge unet_both:dafnet`` prints, for each setting: the
means of each training, the difference with its hierarchical 95 % interval, and the paired permutation test of the
subjects' means, corrected by Holm's method for the pairs that were named. Where settings are phantoms of their own,
``--together`` adds all of them as one setting: their subjects side by side. ``--distance`` does the same for the
surface distance in mm, of which less is better.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.kept_scores import read_kept
from monai_mmseg.metrics.significance import holm_correction, paired_permutation_test
from monai_mmseg.study.content import Setting
from monai_mmseg.study.statistics import hierarchical_interval

USAGE = "python -m benchmarks.differences FILES MODALITY METHOD:METHOD [METHOD:METHOD ...] [--together] [--distance]"
TOGETHER, DISTANCE = "--together", "--distance"
Values = Mapping[str, NDArray[np.float64]]  # method to (trainings, subjects)


def together(settings: Sequence[Setting], score: str = "dice") -> Values:
    """Scores of all subjects of settings that share none; NaN where a setting has fewer trainings than another.

    Args:
        settings: of :func:`~benchmarks.kept_scores.read_kept`; methods that one of them lacks are left out.
        score: ``dice`` or ``surface_distance``.

    Examples:
        >>> together([])
        {}
    """
    parts = [one.sample(score).values for one in settings]
    found = {}
    for name in [name for name in (parts[0] if parts else ()) if all(name in part for part in parts)]:
        most = max(len(part[name]) for part in parts)
        padded = [np.pad(one[name], ((0, most - len(one[name])), (0, 0)), constant_values=np.nan) for one in parts]
        found[name] = np.concatenate(padded, axis=1)
    return found


def differences(where: str, values: Values, pairs: Sequence[tuple[str, str]], *, less: bool = False) -> list[str]:
    """Lines of text on one setting.

    Args:
        where: name of the setting.
        values: of each method, shape ``(trainings, subjects)``.
        pairs: of methods; one that is not there, or shares less than two subjects, is left out, and not counted for
            Holm's correction.
        less: less is better.
    """
    lines = []
    for name in dict.fromkeys(one for pair in pairs for one in pair if one in values):
        means = np.nanmean(values[name], axis=1)
        there = np.isfinite(values[name]).any(axis=0)
        mean = np.nanmean(values[name][:, there], axis=0).mean()  # of subjects, also where one lacks a training
        spread = f" ± {means.std(ddof=1):.3f}" if len(means) > 1 else ""
        told = ", ".join(f"{one:.3f}" for one in means)
        lines.append(f"{where} {name}: {mean:.3f}{spread} (trainings {told}; {int(there.sum())} subjects)")
    found = {pair: _both(values, *pair) for pair in pairs if all(name in values for name in pair)}
    found = {pair: both for pair, both in found.items() if both[0].shape[1] > 1}
    p = {
        ":".join(pair): paired_permutation_test(*(np.nanmean(one, axis=0) for one in both)).p_value
        for pair, both in found.items()
    }
    corrected = holm_correction(p) if p else {}
    for (first, second), (a, b) in found.items():
        at, name = hierarchical_interval(a, b), f"{first}:{second}"
        means = [np.nanmean(one, axis=0) * (-1 if less else 1) for one in (a, b)]
        ahead = int((means[0] > means[1]).sum())
        lines.append(
            f"{where} {first} - {second}: {at.mean:+.3f} ({at.low:.3f} to {at.high:.3f}), p {p[name]:.3f}, Holm "
            f"{corrected[name]:.3f}, ahead in {ahead} of {a.shape[1]}"
        )
    return lines


def _both(values: Values, *pair: str) -> list[NDArray[np.float64]]:
    """Scores of two methods on the subjects that both have, of trainings that have one of them."""
    common = np.logical_and.reduce([np.isfinite(values[name]).any(axis=0) for name in pair])
    both = [values[name][:, common] for name in pair]
    return [one[np.isfinite(one).any(axis=1)] for one in both]


def main(words: Sequence[str]) -> None:
    """Print them.

    Args:
        words: of the command line, see the top.
    """
    given = [word for word in words if word not in (TOGETHER, DISTANCE)]
    less = DISTANCE in words
    score = "surface_distance" if less else "dice"
    pairs = [(first, second) for first, _, second in (word.partition(":") for word in given[2:])]
    if not pairs or not all(map(all, pairs)):
        sys.exit(USAGE)
    try:
        settings = read_kept(given[0].split(","), given[1])
    except FileNotFoundError as error:
        sys.exit(str(error))
    if not settings:
        sys.exit(f"{given[0]} has no scores of the modality {given[1]!r}.")
    known = {cell.method for setting in settings for cell, _ in setting.tables}
    if unknown := sorted({name for pair in pairs for name in pair} - known):
        sys.exit(f"{given[0]} has no scores of {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    for setting in settings:
        print(*differences(setting.name, setting.sample(score).values, pairs, less=less), sep="\n")
    if TOGETHER in words:
        print(*differences("all", together(settings, score), pairs, less=less), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
