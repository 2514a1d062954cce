# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks.accuracy import ummkd_alpha
from benchmarks.accuracy.ummkd_phantom import SETTINGS, STUDIES, cells
from benchmarks.accuracy.ummkd_summary import by_method, draw, markdown, summarise
from benchmarks.accuracy.unpaired_cells import parameters, verdict

SUBJECTS, CLASSES = 6, ("liver", "spleen")
LEVELS = {"joint": 0.5, "joint_kd": 0.55, "y_shaped": 0.6, "x_shaped": 0.62, "chilopod": 0.65, "ours": 0.7}


def cell(setting, seed, level, modalities=("ct", "mr"), dims=2):
    """A finished cell: Dice is the level, a little more in later subjects and seeds; one outlier per modality."""
    scores = {}
    for modality in modalities:
        for number in range(SUBJECTS + 1):
            outlier = number == SUBJECTS
            dice = level + 0.01 * number + 0.001 * seed - (0.3 if outlier else 0.0)
            one = {"dice": dice, "hausdorff95": 10 * (1 - dice), "hausdorff": 20 * (1 - dice)}
            one |= {"surface_distance": 2 * (1 - dice), "missed": outlier}
            subject = f"{modality}_outlier01" if outlier else f"{modality}{number:02d}"
            scores[subject] = {"modality": modality, "outlier": outlier, "classes": dict.fromkeys(CLASSES, one)}
    kd = {"epochs": [1, 2], "loss": [0.3, 0.1]} if len(modalities) > 1 else {}
    counts = {"parameters": 100, "parameters_at_paper_size": 1000, "seconds": 60.0}
    return {"dims": dims, "setting": setting, "seed": seed, **counts, "distillation": kd, "scores": scores}


@pytest.fixture(scope="module")
def finished():
    found = [cell(name, seed, level) for name, level in LEVELS.items() for seed in (0, 1)]
    found += [cell("individual_ct", seed, 0.68, ("ct",)) for seed in (0, 1)]
    return found + [cell("individual_mr", seed, 0.4, ("mr",)) for seed in (0, 1)]


def test_individual_is_both_networks_together(finished):
    line = summarise(finished)["dims"]["2"]["lines"]["individual"]
    assert (line["parameters"], line["parameters_at_paper_size"], line["seconds"]) == (200, 2000, [120.0, 120.0])
    # level + mean of 0.00 ... 0.05 + mean of the seeds' 0 and 0.001
    assert line["ct"]["dice"] == pytest.approx(0.68 + 0.025 + 0.0005)
    assert line["mr"]["dice"] == pytest.approx(0.40 + 0.025 + 0.0005)
    assert line["mean"]["dice"] == pytest.approx(0.54 + 0.025 + 0.0005)
    assert line["ct"]["sd_over_seeds"] == pytest.approx(0.001 / 2**0.5)
    assert line["distillation"] == []


def test_individual_counts_only_where_both_networks_are_there(finished):
    assert "individual" not in by_method([one for one in finished if one["setting"] != "individual_mr"])
    less = [one for one in finished if (one["setting"], one["seed"]) != ("individual_mr", 1)]
    assert len(by_method(less)["individual"]) == 1


def test_outliers_are_apart_and_can_be_added(finished):
    study = summarise(finished)["dims"]["2"]
    assert (study["subjects"], study["outliers"]) == ({"ct": 6, "mr": 6}, {"ct": 1, "mr": 1})
    line = study["lines"]["ours"]
    usual, odd = 0.7 + 0.025 + 0.0005, 0.7 + 0.06 - 0.3 + 0.0005
    assert line["mr outliers"]["dice"] == pytest.approx(odd)
    assert line["mr with outliers"]["dice"] == pytest.approx((6 * usual + odd) / 7)
    assert (line["mr"]["missed"], line["mr outliers"]["missed"]) == (0, 4)  # two classes, two seeds


def test_claims_and_what_they_say(finished):
    study = summarise(finished)["dims"]["2"]
    found = {(t["a"], t["b"], t["scope"]): t for t in study["tests"]["dice"]}
    assert len(found) == 13
    small = found["ours", "chilopod", "mr"]
    assert small["difference"] == pytest.approx(0.05)
    assert small["p"] == pytest.approx(2 / 2**6)  # all six agree
    assert small["p_holm"] > 0.05
    assert small["verdict"] == "better in the mean, could be chance"
    both = found["ours", "joint", "ct and mr"]
    assert both["p"] == pytest.approx(2 / 2**12)
    assert both["verdict"] == "better"
    distance = {(t["a"], t["b"], t["scope"]): t for t in study["tests"]["hausdorff95"]}["ours", "joint", "ct and mr"]
    assert distance["difference"] == pytest.approx(-2.0)
    assert distance["verdict"] == "better"  # a shorter distance
    assert study["gains"]["mr"]["mean"] == pytest.approx(0.3)
    assert study["gains"]["ct"]["mean"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("difference", "p", "higher", "expected"),
    [
        (0.1, 0.01, True, "better"),
        (-0.1, 0.01, True, "worse"),
        (-0.1, 0.01, False, "better"),
        (-0.1, 0.2, True, "not better"),
        (0.0, 1.0, False, "not better"),
    ],
)
def test_verdict(difference, p, higher, expected):
    assert verdict({"difference": difference, "p_holm": p}, higher=higher) == expected


def test_tables_and_picture(finished, tmp_path):
    summary = {"phantom_seed": 1, **summarise([*finished, cell("ours", 0, 0.7, dims=3)])}
    text = markdown(summary)
    assert "| ours | 100 | 0.7" in text
    assert "| ours | individual | mr | +0.300 |" in text
    assert "## 3D" in text
    draw(summary, tmp_path / "summary.png")
    assert 0 < (tmp_path / "summary.png").stat().st_size < 100_000


def test_nothing_finished_is_said():
    text = markdown({"phantom_seed": 1, **summarise([cell("individual_ct", 0, 0.5, ("ct",))])})
    assert "No method is complete yet." in text


def test_cells_are_whole_seeds():
    names = [one.name for one in cells([2, 3], [0, 1])]
    assert len(set(names)) == len(names) == 2 * 2 * len(SETTINGS)
    assert names[0] == "2d_individual_ct_seed0"
    assert {name[-1] for name in names[: 2 * len(SETTINGS)]} == {"0"}


# counts of the paper's networks, 2D as published, 3D with the weights on skip connections
@pytest.mark.parametrize(
    ("dims", "setting", "expected"),
    [(2, "joint", 39_322_648), (2, "chilopod", 39_342_840), (3, "x_shaped", 3_960_042), (3, "chilopod", 2_204_565)],
)
def test_parameters_at_paper_size(dims, setting, expected):
    assert parameters(STUDIES[dims].bundle, (f"settings/{setting}",)) == expected


def test_sweep_takes_ours_as_the_usual_setting(finished, tmp_path):
    found = [*finished, cell("alpha_0.1", 0, 0.6), cell("temperature_10", 0, 0.5)]
    summary = ummkd_alpha.summarise([one for one in found if one["setting"] in (*ummkd_alpha.REFERENCES, *SWEPT)])
    assert list(summary["sweeps"]["alpha"]) == ["0.1", "0.5"]
    assert list(summary["sweeps"]["temperature"]) == ["2", "10"]
    assert summary["sweeps"]["alpha"]["0.5"]["mr"]["dice"] == pytest.approx(0.7255)
    assert len(summary["sweeps"]["alpha"]["0.1"]["ct"]["each_subject"]) == SUBJECTS
    assert summary["individual"]["mr"] == pytest.approx(0.4255)
    assert "Highest minus lowest mean: CT 0.200, MR 0.200." in ummkd_alpha.markdown(summary)
    ummkd_alpha.draw(summary, tmp_path)
    assert (tmp_path / "alpha.png").is_file()
    assert (tmp_path / "temperature.png").is_file()


SWEPT = ("alpha_0.1", "temperature_10")


def test_sweep_leaves_out_what_ours_is():
    names = [one.name for one in ummkd_alpha.swept(2, [0])]
    assert len(names) == 8 + 3
    assert "2d_alpha_0.5_seed0" not in names
    assert "2d_temperature_2_seed0" not in names
