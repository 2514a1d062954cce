# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tissue intensities of CT and MR in chest and abdomen, and the opposite of a table."""

from __future__ import annotations

from monai_mmseg.phantom.tissues import TissueTable

# CT is kept as density, 1 + HU / 1000, so that no signal is negative. What carries contrast agent differs between
# patients by its timing; the agent makes the aorta as bright as the bone's marrow, and kidneys as bright as vessels.
_CT_REST = {
    "air": 0.0,
    "lung": 0.16,
    "gas": 0.02,
    "fat": 0.90,
    "fluid": 1.01,
    "wall": 1.065,
    "muscle": 1.06,
    "marrow": 1.24,
    "bone": 1.50,
}
_CT_SPREAD = {"lung": 0.25, "content": 0.02, "marrow": 0.05, "bone": 0.05, "lesion": 0.03}

CARDIAC_TABLES: dict[str, TissueTable] = {
    # arterial phase: the left heart is filled, the right one more or less washed out
    "ct": TissueTable(
        {
            **_CT_REST,
            "content": 1.03,
            "liver": 1.085,
            "spleen": 1.12,
            "cortex": 1.20,
            "medulla": 1.10,
            "pancreas": 1.09,
            "lesion": 1.04,
            "myocardium": 1.115,
            "venous": 1.22,
            "blood": 1.33,
        },
        gain_sd=0.012,
        noise_sd=0.045,
        texture_sd=0.016,
        spread={**_CT_SPREAD, "blood": 0.05, "venous": 0.07, "myocardium": 0.018},
    ),
    # balanced steady-state free precession of the whole heart, without contrast agent
    "mr": TissueTable(
        {
            "air": 0.01,
            "lung": 0.08,
            "gas": 0.02,
            "bone": 0.10,
            "muscle": 0.32,
            "myocardium": 0.38,
            "wall": 0.40,
            "liver": 0.42,
            "pancreas": 0.45,
            "spleen": 0.50,
            "content": 0.55,
            "marrow": 0.50,
            "cortex": 0.55,
            "medulla": 0.60,
            "lesion": 0.70,
            "fat": 0.72,
            "venous": 0.80,
            "blood": 0.85,
            "fluid": 0.95,
        },
        gain_sd=0.08,
        noise_sd=0.06,
        texture_sd=0.10,
    ),
}
"""Table of each modality of the cardiac phantom; CT in units of ``1 + HU / 1000``."""

ABDOMEN_TABLES: dict[str, TissueTable] = {
    # portal-venous phase: parenchyma, bowel wall and muscle within some tens of HU
    "ct": TissueTable(
        {
            **_CT_REST,
            "content": 1.045,
            "lesion": 1.05,
            "pancreas": 1.10,
            "liver": 1.11,
            "spleen": 1.12,
            "myocardium": 1.12,
            "medulla": 1.15,
            "venous": 1.15,
            "blood": 1.165,
            "cortex": 1.185,
        },
        gain_sd=0.012,
        noise_sd=0.028,
        texture_sd=0.012,
        spread={**_CT_SPREAD, "liver": 0.018, "content": 0.035, "cortex": 0.02},
    ),
    # T2-weighted with fat suppression: fluid is bright, vessels and fat are dark
    "mr": TissueTable(
        {
            "air": 0.01,
            "gas": 0.02,
            "lung": 0.05,
            "bone": 0.06,
            "blood": 0.12,
            "fat": 0.17,
            "venous": 0.18,
            "muscle": 0.19,
            "marrow": 0.28,
            "liver": 0.30,
            "myocardium": 0.33,
            "wall": 0.36,
            "pancreas": 0.40,
            "spleen": 0.50,
            "content": 0.52,
            "cortex": 0.54,
            "medulla": 0.68,
            "lesion": 0.75,
            "fluid": 0.95,
        },
        gain_sd=0.09,
        noise_sd=0.05,
        texture_sd=0.11,
        spread={"content": 0.30, "fat": 0.25},
    ),
}
"""Table of each modality of the abdomen phantom; CT in units of ``1 + HU / 1000``."""


def inverse_table(table: TissueTable, like: TissueTable, window: tuple[float, float]) -> TissueTable:
    """Table in which what is bright in another one is dark.

    Args:
        table: whose tissues are turned over.
        like: how much signals vary and how noisy they are.
        window: signals of ``table`` that become 1 and 0; what lies outside is clipped.

    Returns:
        The table: the signal falls linearly over the window.

    Examples:
        >>> like = TissueTable({}, gain_sd=0.1, noise_sd=0.02, texture_sd=0.0)
        >>> table = TissueTable({"fat": 0.9, "liver": 1.1}, gain_sd=0.0, noise_sd=0.0, texture_sd=0.0)
        >>> {name: round(signal, 3) for name, signal in inverse_table(table, like, (0.9, 1.3)).mean.items()}
        {'fat': 1.0, 'liver': 0.5}
    """
    low, high = window
    mean = {name: 1 - min(max((signal - low) / (high - low), 0.0), 1.0) for name, signal in table.mean.items()}
    return TissueTable(mean, like.gain_sd, like.noise_sd, like.texture_sd)
