# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tissue intensities of the brain in four MR sequences and FDG-PET."""

from __future__ import annotations

from monai_mmseg.phantom.tissues import TissueTable

BRAIN_TISSUES = ("outside", "csf", "grey", "white", "nucleus", "necrosis", "oedema", "enhancing")
"""Tissues of the brain phantom; the position in this list is the tissue's number."""

# Oedema, necrosis and rim of one patient are more or less wet: their signals differ more than those of healthy tissue.
_LESION = {"necrosis": 0.12, "oedema": 0.05, "enhancing": 0.05}

_T1 = {
    "outside": 0.0,
    "csf": 0.16,
    "grey": 0.52,
    "white": 0.80,
    "nucleus": 0.62,
    "necrosis": 0.30,
    "oedema": 0.58,
    "enhancing": 0.57,
}

BRAIN_TABLES: dict[str, TissueTable] = {
    # necrosis is dark; rim and oedema look like cortex
    "t1": TissueTable(_T1, gain_sd=0.04, noise_sd=0.025, texture_sd=0.05, spread=_LESION),
    # the contrast agent passes where the barrier is broken and nowhere else: all but the rim is as in T1
    "t1gd": TissueTable({**_T1, "enhancing": 1.0}, gain_sd=0.04, noise_sd=0.025, texture_sd=0.05, spread=_LESION),
    # all that is wet is bright: the lesion as a whole against the brain, its parts hardly against each other
    "t2": TissueTable(
        {
            "outside": 0.0,
            "csf": 1.0,
            "grey": 0.56,
            "white": 0.40,
            "nucleus": 0.46,
            "necrosis": 0.88,
            "oedema": 0.79,
            "enhancing": 0.78,
        },
        gain_sd=0.05,
        noise_sd=0.03,
        texture_sd=0.06,
        spread=_LESION,
    ),
    # T2 with the inversion time that nulls CSF; the contents of a necrosis are nulled in part
    "flair": TissueTable(
        {
            "outside": 0.0,
            "csf": 0.10,
            "grey": 0.60,
            "white": 0.48,
            "nucleus": 0.55,
            "necrosis": 0.52,
            "oedema": 0.92,
            "enhancing": 0.90,
        },
        gain_sd=0.05,
        noise_sd=0.035,
        texture_sd=0.06,
        spread=_LESION,
    ),
    # uptake of glucose
    "pet": TissueTable(
        {
            "outside": 0.0,
            "csf": 0.05,
            "grey": 0.80,
            "white": 0.28,
            "nucleus": 0.85,
            "necrosis": 0.08,
            "oedema": 0.20,
            "enhancing": 1.0,
        },
        gain_sd=0.06,
        noise_sd=0.03,
        texture_sd=0.06,
        spread={**_LESION, "enhancing": 0.15},
    ),
}
"""Table of each modality of the brain phantom; 1 is about the brightest tissue."""
