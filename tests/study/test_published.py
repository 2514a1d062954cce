# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers of the papers, against means that their texts quote."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_mmseg.study import read_study
from monai_mmseg.study.published import read_published


@pytest.mark.parametrize(
    ("table", "part", "method", "mean"),
    [
        ("csa_mscmr", "lge", "csa", 0.8765),  # quoted in the text, as the next five
        ("csa_mscmr", "bssfp", "csa", 0.8995),
        ("csa_mscmr", "lge", "individual", 0.8566),
        ("csa_mscmr", "bssfp", "individual", 0.8892),
        ("csa_mscmr", "lge", "ummkd", 0.8596),
        ("csa_mscmr", "bssfp", "ummkd", 0.8966),
        ("ummkd_cardiac", "ct", "ummkd", 0.917),
        ("ummkd_cardiac", "mr", "payer", 0.802),
        ("ummkd_abdomen", "mr", "ummkd", 0.893),
        ("ummkd_abdomen", "ct", "joint", 0.812),
    ],
)
def test_means_of_classes(table, part, method, mean):
    assert float(read_published(table).of("any", part, method)[""]) == pytest.approx(mean, abs=6e-4)


def test_dafnet():
    eri, chaos = read_published("dafnet_eri"), read_published("dafnet_chaos")
    assert eri.of("target_100", "cine", "unet_target") == {"": "0.85 ± 0.08"}
    assert eri.of("target_12.5", "lge", "dafnet") == {"": "0.74 ± 0.05"}
    assert eri.of("target_0", "lge", "register") == {"": "0.68 ± 0.07"}
    assert chaos.of("target_0", "t2", "unet_multi") == {}  # did not converge
    assert chaos.of("target_0", "t1", "dadr") == {"": "0.49 ± 0.17"}
    assert eri.of("target_0", "lge", "unet_target") == {}  # has no labels to learn from


def test_classes_are_beside_their_names():
    found = read_published("csa_mmwhs").of("any", "ct", "csa")
    assert found["ascending aorta"] == "0.8142"
    assert read_published("ummkd_cardiac").of("any", "ct", "x_shaped")["ascending aorta"] == "0.862 ± 0.053"


def test_outlier():
    assert read_published("ummkd_outlier").of("outliers", "ct", "ummkd") == {"": "0.8110"}
    assert read_published("ummkd_outlier").of("outliers", "mr", "ummkd") == {}


@pytest.mark.parametrize("name", ["ummkd_2d", "ummkd_outliers"])
def test_published_numbers_stand_beside_the_methods_of_the_study(name):
    study = read_study(Path(__file__).parents[2] / "benchmarks" / "studies" / f"{name}.json")
    assert set(read_published(study.published).settings["*"]["ct"]) <= {one.name for one in study.methods}


def test_unknown_table():
    with pytest.raises(ValueError, match=r"got 'dafnet_er'\. Did you mean 'dafnet_eri'\?"):
        read_published("dafnet_er")
