# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tissue intensities of each modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

HEART_TISSUES = ("air", "lung", "fat", "muscle", "liver", "blood", "myocardium", "scar", "bone", "stomach")
"""Tissues of the heart phantom; the position in this list is the tissue's number."""


@dataclass(frozen=True)
class TissueTable:
    """Mean signal of each tissue in one modality, and how it varies.

    Args:
        mean: signal by tissue name; 1 is about the brightest tissue.
        gain_sd: relative standard deviation of each tissue's signal between subjects.
        noise_sd: standard deviation of the noise of the two receiver channels.
        texture_sd: relative standard deviation of the signal within a tissue.
        spread: ``gain_sd`` of single tissues that differ from the rest, by tissue name.
    """

    mean: Mapping[str, float]
    gain_sd: float
    noise_sd: float
    texture_sd: float
    spread: Mapping[str, float] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator, tissues: Sequence[str]) -> NDArray[np.float32]:
        """Signal of each tissue in one subject.

        Args:
            rng: random generator.
            tissues: names, in the order of the tissue numbers.

        Returns:
            Signals, shape ``(len(tissues),)``, never negative.

        Raises:
            ValueError: a tissue is not in the table.
        """
        if missing := [name for name in tissues if name not in self.mean]:
            raise ValueError(f"tissues must be in the table ({sorted(self.mean)}), got {missing} besides.")
        sd = np.array([self.spread.get(name, self.gain_sd) for name in tissues])
        factor = np.maximum(0, 1 + sd * rng.normal(size=len(tissues)))
        return (np.array([self.mean[name] for name in tissues]) * factor).astype(np.float32)


# Relative to the brightest tissue. LGE: the inversion time nulls healthy myocardium (0.07), and scar, which keeps the
# contrast agent, is the brightest tissue. LGE blood at 0.40 keeps a network trained on cine (blood 0.90) from working
# on LGE by luck: brighter blood (0.5) looks enough like cine after normalisation, darker (0.3) is lost against liver.
HEART_TABLES: dict[str, TissueTable] = {
    "cine": TissueTable(
        {
            "air": 0.01,
            "lung": 0.10,
            "fat": 0.85,
            "muscle": 0.35,
            "liver": 0.42,
            "blood": 0.90,
            "myocardium": 0.33,
            "scar": 0.34,
            "bone": 0.45,
            "stomach": 0.60,
        },
        gain_sd=0.05,
        noise_sd=0.03,
        texture_sd=0.06,
    ),
    "lge": TissueTable(
        {
            "air": 0.01,
            "lung": 0.13,
            "fat": 0.95,
            "muscle": 0.34,
            "liver": 0.28,
            "blood": 0.40,
            "myocardium": 0.07,
            "scar": 0.92,
            "bone": 0.50,
            "stomach": 0.35,
        },
        gain_sd=0.10,
        noise_sd=0.06,
        texture_sd=0.10,
    ),
    # black-blood T2 with fat suppression
    "t2": TissueTable(
        {
            "air": 0.01,
            "lung": 0.06,
            "fat": 0.20,
            "muscle": 0.35,
            "liver": 0.38,
            "blood": 0.08,
            "myocardium": 0.50,
            "scar": 0.80,
            "bone": 0.25,
            "stomach": 0.85,
        },
        gain_sd=0.10,
        noise_sd=0.05,
        texture_sd=0.08,
    ),
    # oxygen-sensitive bSSFP: like cine, with less contrast between blood and muscle
    "bold": TissueTable(
        {
            "air": 0.01,
            "lung": 0.09,
            "fat": 0.95,
            "muscle": 0.40,
            "liver": 0.50,
            "blood": 0.75,
            "myocardium": 0.42,
            "scar": 0.34,
            "bone": 0.55,
            "stomach": 0.70,
        },
        gain_sd=0.08,
        noise_sd=0.05,
        texture_sd=0.08,
    ),
}
"""Table of each modality that the heart phantom knows."""
