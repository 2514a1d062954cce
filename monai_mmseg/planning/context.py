# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the rules of a plan read: the data, the situation, the machine, the time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from monai_mmseg.planning.situation import PRETRAINED, RANDOMISED, Situation

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TRAINING_SHARE = 0.85  # of the budget; the rest is reading, validation, and a machine that is busier another time
FACTORS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # by which voxels may be made coarser
FINEST_PART = 16  # voxels that the foreground keeps along its shorter side within a slice
MARGIN = 15.0  # mm around the foreground that the network sees


def seconds_of(budget: str) -> float:
    """Seconds of a text such as ``10m``, ``2h`` or ``1.5d``.

    Args:
        budget: a number and s, m, h or d.

    Raises:
        ValueError: another text.

    Examples:
        >>> seconds_of("10m"), seconds_of("2h")
        (600.0, 7200.0)
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", str(budget).strip())
    if not match or not float(match[1]):
        raise ValueError(f"budget must be a time such as 10m, 2h or 2d, got {budget!r}.")
    return float(match[1]) * _UNITS[match[2]]


def time_text(seconds: float) -> str:
    """Seconds to read, the other way round.

    Args:
        seconds: of a budget or a training.

    Examples:
        >>> time_text(40), time_text(180), time_text(9000)
        ('40 s', '3 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


@dataclass
class Context:
    """Everything that is known, and what the rules have decided so far.

    Args:
        fingerprint: see :func:`~monai_mmseg.planning.fingerprint`.
        situation: see :func:`~monai_mmseg.planning.find_situation`.
        device: ``"cpu"`` or ``"cuda"``.
        budget: seconds.
        memory: bytes that a training step may take.
        speed: voxels of a training step a second, for 2 and for 3 dimensions.
        method: what was chosen.
        volumes: three-dimensional windows, not slices.
        seconds: of a training step, of a validation and of the start, measured with the planned bundle; ``None``: not
            yet.
        grid: mm within slices and size of slices that are given, not decided; volumes have their own.
    """

    fingerprint: Mapping[str, Any]
    situation: Situation
    device: str = "cpu"
    budget: float = 7200.0
    memory: float = 4e9
    speed: Mapping[int, float] = field(default_factory=lambda: {2: 3e5, 3: 1.5e5})
    method: str = "unet"
    volumes: bool = False
    shrink: int = 0  # how often the batch was halved, because memory was short on the device
    seconds: Mapping[str, float] | None = None
    grid: tuple[float, list[int]] | None = None
    knobs: dict[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Bundle that the plan changes."""
        if self.method == RANDOMISED:
            return "ummkd_3d" if self.volumes else "ummkd"
        return {"disentangle": "disentangle_tumour", PRETRAINED: "dafnet"}.get(self.method, self.method)

    @property
    def dims(self) -> int:
        """Spatial dimensions of the network."""
        if self.base == "unet":
            return 3 if self.volumes else 2
        return 3 if self.base in ("ummkd_3d", "disentangle_tumour") else 2

    @property
    def drawn(self) -> int:
        """Modalities that a batch draws samples of, each as many; 1 where all of a subject are one sample."""
        parts = sum(self.situation.labelled[name] > 0 for name in self.situation.modalities)
        return parts if self.base in ("ummkd", "ummkd_3d", "csa") else 1

    @property
    def part(self) -> float:
        """Share of the budget that goes to this training: the first stage of disentangling has the rest."""
        return 0.5 if self.method == "disentangle" else 1.0

    @cached_property
    def spacing(self) -> tuple[float, float]:
        """Median spacing within slices, and of slices, in mm: each modality counts alike."""
        by_modality = [self._spacings(name) for name in self.situation.modalities]
        inside, across = np.mean([np.median(one, axis=0) for one in by_modality], axis=0)
        return float(inside), float(across)

    def _spacings(self, modality: str) -> list[tuple[float, float]]:
        return [(math.sqrt(a * b), c) for a, b, c in (one["spacing"] for one in self.images_of(modality))]

    def images_of(self, modality: str) -> list[Mapping[str, Any]]:
        """Facts of the images of a modality."""
        return [one for one in self.fingerprint["images"] if one["modality"] == modality]

    @property
    def anisotropy(self) -> float:
        """How many times slices are farther apart than pixels."""
        inside, across = self.spacing
        return across / inside

    @cached_property
    def extent(self) -> tuple[float, float, float]:
        """Rows, columns and slices in mm that hold the foreground of every labelled image, counted from its middle."""
        needed, whole = [], []
        # what is not annotated shows the same organs: the rest of the body would take most of the pixels
        labelled = [one for one in self.fingerprint["images"] if one["foreground"]]
        for image in labelled or self.fingerprint["images"]:
            mm = np.array(image["spacing"])
            size = np.array(image["shape"]) * mm
            box = np.array(image["foreground"] or image["body"]) * mm[:, None]
            middle = size / 2
            needed.append(2 * np.maximum(middle - box[:, 0], box[:, 1] - middle))
            whole.append(size)
        rows, columns, slices = np.minimum(np.max(needed, axis=0) + 2 * MARGIN, np.max(whole, axis=0))
        return float(rows), float(columns), float(slices)

    @cached_property
    def organ(self) -> float:
        """Shorter side of the foreground within slices, median in mm."""
        sides = []
        for image in self.fingerprint["images"]:
            if image["foreground"]:
                mm = np.array(image["spacing"][:2])
                sides.append(float(((np.array(image["foreground"])[:2] @ [-1, 1]) * mm).min()))
        return float(np.median(sides)) if sides else math.inf

    def factors(self) -> Iterable[float]:
        """By how much voxels may be made coarser: not so much that the foreground is lost."""
        inside = self.spacing[0]
        return [one for one in FACTORS if one == 1.0 or self.organ / (inside * one) >= FINEST_PART]

    def steps(self, voxels: float, dims: int, cost: float = 1.0) -> int:
        """Training steps of so many voxels that the budget has room for.

        Args:
            voxels: of a step.
            dims: of the network.
            cost: times what a plain network takes for them.
        """
        return int(TRAINING_SHARE * self.budget * self.speed[dims] / (voxels * cost))


def rounded_up(size: float, multiple: int = 8, least: int = 32) -> int:
    """The next multiple; of larger sizes coarser ones, so that networks can be deep.

    Examples:
        >>> rounded_up(41.2), rounded_up(130), rounded_up(300)
        (48, 144, 320)
    """
    step = max(multiple, 8 if size <= 96 else 16 if size <= 256 else 32)
    return max(least, math.ceil(size / step - 1e-6) * step)
