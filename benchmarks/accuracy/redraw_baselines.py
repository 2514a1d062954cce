# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Predictors that need no network, beside which reconstructed images are judged.

The mean image of a sequence over the people that were trained on, and each other sequence of the same person with the
histogram of the target, which it would not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigParser
from torch import Tensor
from torch.nn import functional as F

from benchmarks import ROOT
from monai_mmseg.data import group_by_subject, load_datalist
from monai_mmseg.evaluation import OTHERS, ScoreTable, reconstruction_scores

MEAN, COPY = "mean image", "other sequence"


class Stack(NamedTuple):
    """One person on the network's lattice."""

    images: dict[str, Tensor]  # modality to (D, H, W)
    mask: Tensor  # (D, H, W), where there is anything


def read_stacks(data: Path, section: str, overlays: Sequence[str], overrides: Mapping[str, Any]) -> dict[str, Stack]:
    """People as the network of ``bundles/disentangle`` gets them, the middle of neighbouring slices."""
    parser = ConfigParser()
    configs = ROOT / "bundles" / "disentangle" / "configs"
    parser.read_config([configs / f"{name}.json" for name in ("train", *overlays)])
    parser.update(dict(overrides))
    prepare = parser.get_parsed_content("validate#preprocessing")
    names = parser.get_parsed_content("modalities")
    slices, background = parser.get_parsed_content("num_slices"), parser.get_parsed_content("background")
    found = {}
    for item in group_by_subject(load_datalist(data / "datalist.json", section), names):
        image = torch.as_tensor(prepare(item)["image"].as_tensor()).movedim(-1, 0)[:, slices // 2 :: slices]
        found[item["subject"]] = stack_of(image, names, background)
    return found


def stack_of(image: Tensor, modalities: Sequence[str], background: float) -> Stack:
    """Modalities that are there and the mask, of ``(D, M, H, W)`` with NaN where absent."""
    present = {name: image[:, m] for m, name in enumerate(modalities) if not bool(image[:, m].isnan().any())}
    return Stack(present, torch.stack([values != background for values in present.values()]).any(0))


def mean_image(people: Sequence[Stack], target: str, test: Stack) -> Tensor:
    """Mean of a sequence over people that have it, each stretched from the box of its brain to that of the test."""
    box = _box(test.mask)
    size = [edge.stop - edge.start for edge in box]
    parts = [
        F.interpolate(one.images[target][_box(one.mask)][None, None], size=size, mode="trilinear", align_corners=False)
        for one in people
        if target in one.images
    ]
    if not parts:
        raise ValueError(f"nobody that was trained on has {target!r}.")
    made = torch.zeros_like(test.images[target])
    made[box] = torch.cat(parts).mean((0, 1))
    return torch.where(test.mask, made, 0.0)


def matched(source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The source with the histogram of the target inside of the mask: the n-th smallest value for the n-th smallest."""
    made = torch.zeros_like(target)
    values = target[mask].sort().values
    made[mask] = torch.empty_like(values).scatter(0, source[mask].argsort(stable=True), values)
    return made


def trivial(test: Stack, people: Sequence[Stack], subject: str) -> ScoreTable:
    """Scores of the predictors that need no network."""
    names = list(test.images)
    means = {(OTHERS, name): mean_image(people, name, test) for name in names}
    copies = {(a, b): matched(test.images[a], test.images[b], test.mask) for a, b in permutations(names, 2)}
    about = {"subject": subject, "mask": test.mask}
    made = ((MEAN, means), (COPY, copies))
    return ScoreTable(
        s for method, each in made for s in reconstruction_scores(test.images, each, method=method, **about)
    )


def baselines(data: Path, overlays: Sequence[str], overrides: Mapping[str, Any]) -> ScoreTable:
    """Scores of the test subjects of a data set, with means over its training subjects."""
    people = list(read_stacks(data, "training", overlays, overrides).values())
    tests = read_stacks(data, "test", overlays, overrides)
    return ScoreTable().join(*(trivial(test, people, name) for name, test in tests.items()))


def _box(mask: Tensor) -> tuple[slice, slice, slice]:
    """The smallest box that holds a mask ``(D, H, W)``."""
    ends = zip(mask.nonzero().amin(0).tolist(), mask.nonzero().amax(0).tolist(), strict=True)
    depth, rows, columns = (slice(first, last + 1) for first, last in ends)
    return depth, rows, columns
