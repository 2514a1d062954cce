# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Intensity tables of CT and MR."""

import pytest

from monai_mmseg.phantom.anatomy.torso import BODY_TISSUES
from monai_mmseg.phantom.ct_mr_tables import ABDOMEN_TABLES, CARDIAC_TABLES, inverse_table

TABLES = {
    (name, modality): t
    for name, tables in (("cardiac", CARDIAC_TABLES), ("abdomen", ABDOMEN_TABLES))
    for modality, t in tables.items()
}


@pytest.mark.parametrize("key", sorted(TABLES), ids="-".join)
def test_every_tissue_has_a_signal(key):
    assert set(TABLES[key].mean) == set(BODY_TISSUES)
    assert set(TABLES[key].spread) <= set(BODY_TISSUES)
    assert min(TABLES[key].mean.values()) >= 0


def hounsfield(name, tissue):
    return 1000 * (TABLES[name, "ct"].mean[tissue] - 1)


@pytest.mark.parametrize("name", ["cardiac", "abdomen"])
def test_ct_is_in_hounsfield_units(name):
    # textbook ranges
    ranges = {"air": (-1001, -990), "fat": (-120, -80), "fluid": (0, 20), "muscle": (40, 70), "lung": (-900, -700)}
    for tissue, (low, high) in ranges.items():
        assert low <= hounsfield(name, tissue) <= high


def test_contrast_agent_makes_arterial_blood_brighter_than_myocardium():
    assert hounsfield("cardiac", "blood") > hounsfield("cardiac", "venous") > hounsfield("cardiac", "myocardium") + 50


def test_labelled_organs_do_not_stand_out():
    mean = ABDOMEN_TABLES["ct"].mean
    for organ, neighbour in (("liver", "pancreas"), ("spleen", "liver"), ("cortex", "blood")):
        assert abs(mean[organ] - mean[neighbour]) < ABDOMEN_TABLES["ct"].noise_sd


def test_inverse_turns_the_order_over():
    table = inverse_table(CARDIAC_TABLES["ct"], CARDIAC_TABLES["mr"], (0.85, 1.45))
    inside = [name for name, signal in CARDIAC_TABLES["ct"].mean.items() if 0.85 <= signal <= 1.45]
    by_ct = sorted(inside, key=CARDIAC_TABLES["ct"].mean.get)
    assert by_ct == sorted(inside, key=lambda name: -table.mean[name])
    assert table.mean["air"] == 1
    assert table.mean["bone"] == 0
    assert table.mean["blood"] == pytest.approx((1.45 - 1.33) / 0.6)
    assert (table.noise_sd, table.gain_sd) == (CARDIAC_TABLES["mr"].noise_sd, CARDIAC_TABLES["mr"].gain_sd)
