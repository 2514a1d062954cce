# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Tissue tables: complete, and with the contrasts that give the modalities their names."""

import numpy as np
import pytest

from monai_mmseg.phantom.tissues import HEART_TABLES, HEART_TISSUES, TissueTable


@pytest.mark.parametrize("modality", sorted(HEART_TABLES))
def test_tables_are_complete(modality):
    table = HEART_TABLES[modality]
    assert set(table.mean) == set(HEART_TISSUES)
    assert all(0 <= value <= 1 for value in table.mean.values())
    assert table.noise_sd > 0


def test_contrasts():
    cine, lge = HEART_TABLES["cine"].mean, HEART_TABLES["lge"].mean
    assert cine["blood"] > 2 * cine["myocardium"]
    assert cine["scar"] == pytest.approx(cine["myocardium"], abs=0.02)  # cine does not show scar
    assert lge["myocardium"] < 0.1 < lge["blood"] < lge["scar"]  # nulled, and lit up


def test_draw_statistics_and_order():
    table = TissueTable({"a": 1.0, "b": 0.5}, gain_sd=0.1, noise_sd=0.0, texture_sd=0.0)
    values = np.array([table.draw(np.random.default_rng(s), ["b", "a"]) for s in range(400)])
    np.testing.assert_allclose(values.mean(0), [0.5, 1.0], rtol=0.02)
    np.testing.assert_allclose(values.std(0), [0.05, 0.1], rtol=0.12)


def test_draw_is_never_negative():
    table = TissueTable({"a": 1.0}, gain_sd=50.0, noise_sd=0.0, texture_sd=0.0)
    assert min(table.draw(np.random.default_rng(s), ["a"])[0] for s in range(20)) == 0


def test_unknown_tissue():
    with pytest.raises(ValueError, match=r"tissues must be in the table .*got \['bone'\] besides"):
        TissueTable({"a": 1.0}, 0.1, 0.1, 0.1).draw(np.random.default_rng(0), ["a", "bone"])
