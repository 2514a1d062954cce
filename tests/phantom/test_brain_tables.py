# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tissue intensities of the brain: the order of tissues that names each sequence."""

import pytest

from monai_mmseg.phantom.brain_tables import BRAIN_TABLES, BRAIN_TISSUES

# as textbooks have it, from dark to bright
ORDER = {
    "t1": ("outside", "csf", "necrosis", "grey", "nucleus", "white"),
    "t1gd": ("outside", "csf", "necrosis", "grey", "nucleus", "white", "enhancing"),
    "t2": ("outside", "white", "nucleus", "grey", "oedema", "csf"),
    "flair": ("outside", "csf", "white", "nucleus", "grey", "oedema"),
    "pet": ("outside", "csf", "necrosis", "oedema", "white", "grey", "enhancing"),
}


@pytest.mark.parametrize("modality", sorted(BRAIN_TABLES))
def test_order_of_tissues(modality):
    table = BRAIN_TABLES[modality]
    assert set(table.mean) == set(BRAIN_TISSUES) >= set(table.spread)
    assert all(0 <= value <= 1 for value in table.mean.values())
    values = [table.mean[name] for name in ORDER[modality]]
    assert values == sorted(set(values))
    assert table.mean["outside"] == 0


def test_contrast_agent_goes_to_the_rim_alone():
    t1, t1gd = BRAIN_TABLES["t1"].mean, BRAIN_TABLES["t1gd"].mean
    assert {name for name in t1 if t1[name] != t1gd[name]} == {"enhancing"}
