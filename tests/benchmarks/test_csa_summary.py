# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from benchmarks.accuracy.csa_phantom import SETTINGS, cells
from benchmarks.accuracy.csa_summary import draw, markdown, signed_rank, summarise
from benchmarks.accuracy.unpaired_cells import last_terms, parameters
from benchmarks.speed.csa_loss import CLASSES, MODALITIES, looped
from monai_mmseg.losses import affinity_consistency_loss

PATIENTS, CLASS_NAMES = 6, ("LV", "RV")
LEVELS = {"ummkd": 0.6, "joint": 0.5, "msbn": 0.65, "affinity": 0.66, "csa": 0.7, "size_none": 0.7}


def cell(setting, seed, level, modalities=("lge", "bssfp")):
    """A finished cell: Dice is the level, a little more in later patients and seeds."""
    scores = {}
    for modality in modalities:
        for number in range(PATIENTS):
            dice = level + 0.01 * number + 0.001 * seed
            one = {"dice": dice, "hausdorff95": 10 * (1 - dice), "hausdorff": 20 * (1 - dice), "missed": False}
            one["surface_distance"] = 2 * (1 - dice)
            classes = dict.fromkeys(CLASS_NAMES, one)
            scores[f"{modality}{number:02d}"] = {"modality": modality, "outlier": False, "classes": classes}
    counts = {"parameters": 100, "parameters_at_paper_size": 1000, "seconds": 60.0}
    terms = {"dice": -1.5, "affinity": 0.002 if setting == "csa" else 0.0}
    return {"setting": setting, "seed": seed, **counts, "distillation": {}, "terms": terms, "scores": scores}


@pytest.fixture(scope="module")
def finished():
    found = [cell(name, seed, level) for name, level in LEVELS.items() for seed in (0, 1)]
    found += [cell("single_lge", seed, 0.68, ("lge",)) for seed in (0, 1)]
    return found + [cell("single_bssfp", seed, 0.4, ("bssfp",)) for seed in (0, 1)]


@pytest.fixture(scope="module")
def summary(finished):
    return summarise(finished)


def test_single_is_both_networks_together(summary):
    line = summary["lines"]["single"]
    assert (line["parameters"], line["seconds"], line["affinity"]) == (200, [120.0, 120.0], [])
    # level + mean of 0.00 ... 0.05 + mean of the seeds' 0 and 0.001
    assert line["lge"]["dice"] == pytest.approx(0.68 + 0.025 + 0.0005)
    assert line["mean"]["dice"] == pytest.approx(0.54 + 0.025 + 0.0005)
    assert summary["lines"]["csa"]["affinity"] == [0.002, 0.002]
    assert summary["patients"] == {"lge": PATIENTS, "bssfp": PATIENTS}


def test_both_kinds_of_tests_and_their_correction(summary):
    """Six patients that all agree: 2 of 64 patterns of signs, for permutations and for signed ranks alike."""
    found = {(t["a"], t["b"], t["scope"]): t for t in summary["tests"]["dice"]}
    assert len(found) == 3 * (5 + 2)
    test = found["csa", "ummkd", "lge"]
    assert test["difference"] == pytest.approx(0.1)
    assert test["p"] == pytest.approx(2 / 2**6)
    assert test["p_wilcoxon"] == pytest.approx(2 / 2**6)
    assert test["p_wilcoxon_holm"] > 0.05
    assert test["verdict"] == "better in the mean, could be chance"
    assert found["csa", "ummkd", "lge and bssfp"]["verdict"] == "better"
    same = found["size_none", "csa", "lge"]
    assert (same["p"], same["p_wilcoxon"], same["verdict"]) == (1.0, 1.0, "not better")
    distance = {(t["a"], t["b"], t["scope"]): t for t in summary["tests"]["hausdorff"]}
    assert distance["csa", "ummkd", "lge and bssfp"]["difference"] == pytest.approx(-2.0)
    assert distance["csa", "ummkd", "lge and bssfp"]["verdict"] == "better"  # a shorter distance


def test_signed_rank_of_a_textbook_case():
    """All of 1 ... 5 positive but the smallest: W = 1, of 32 patterns 2 have W of at most 1 on either side."""
    assert signed_rank([0, 2, 3, 4, 5], [1, 0, 0, 0, 0]) == pytest.approx(4 / 32)
    assert signed_rank([1, 2], [1, 2]) == 1.0


def test_tables_and_picture(summary, tmp_path):
    summary = {"phantom_seed": 1, **summary}
    text = markdown(summary)
    assert "| csa | 100 | 0.7" in text
    assert "| csa | single | bssfp | +0.300 |" in text
    assert "HD [mm], paired permutation and Wilcoxon" in text
    draw(summary, tmp_path / "summary.png")
    assert 0 < (tmp_path / "summary.png").stat().st_size < 100_000
    assert "No method is complete yet." in markdown({"phantom_seed": 1, **summarise([])})


def test_cells_are_whole_seeds():
    names = [one.name for one in cells([0, 1])]
    assert len(set(names)) == len(names) == 2 * len(SETTINGS)
    assert names[0] == "single_lge_seed0"
    assert {name[-1] for name in names[: len(SETTINGS)]} == {"0"}


def test_affinities_add_no_parameters():
    assert parameters("csa", ()) == parameters("csa", ("settings/msbn",)) == 36_979_408


def test_terms_of_the_last_epoch(tmp_path):
    text = "epoch,segmentation/dice,segmentation/affinity\n1,-0.5,0.25\n2,-1.5,0.125\n"
    (tmp_path / "terms.csv").write_text(text, encoding="utf-8")
    assert last_terms(tmp_path) == {"dice": -1.5, "affinity": 0.125}


def test_the_loop_that_the_loss_is_timed_against_gives_its_value():
    torch.manual_seed(0)
    first, second = torch.randn(4, 3, 4, 4), torch.randn(4, 5, 4, 4)
    label, modality = torch.randint(CLASSES, (4, 1, 16, 16)), torch.tensor([0, 1, 1, 0])
    expected = affinity_consistency_loss(first, second, label, CLASSES, modality, len(MODALITIES))
    torch.testing.assert_close(sum(looped(first, second, label, modality)), expected)
