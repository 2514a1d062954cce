# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.evaluation import OTHERS, MethodInfo, Score, ScoreTable
from monai_mmseg.report.sections import silhouette_rows, subset_blocks, table_section

NAMES = ("t1", "t2", "flair")


def subsets(*methods):
    scores = []
    for method in methods:
        for subject in ("s1", "s2"):
            for subset, dice in (("t1 + t2 + flair", 0.75), ("t1 + flair", 0.5), ("t1", 0.25)):
                for name, value in (("core", 0.5), ("oedema", 2 * dice - 0.5)):
                    values = {"dice": value, "hausdorff95": 4.0}
                    scores.append(Score(method, subject, {"subset": subset, "class": name}, values))
    return ScoreTable(scores, {method: MethodInfo(modalities=NAMES) for method in methods})


def test_reconstructed_images_by_target_and_by_pair():
    scores = [
        Score("ours", subject, {"source": source, "target": "t2"}, {"psnr": psnr, "ssim": 0.5})
        for subject, source, psnr in (("s1", "t1", 20.0), ("s1", OTHERS, 18.0), ("s2", "t1", 24.0))
    ]
    found = table_section("Reconstructed images", ScoreTable(scores))
    by_target, by_pair = found["tables"]
    assert by_target["head"] == ["reconstructed", "PSNR [dB]", "SSIM", "subjects", "left out"]
    assert by_target["rows"] == [["t2", "22.00 ± 2.83", "0.500 ± 0.000", "2", "0"]]
    assert by_pair["rows"][1] == [OTHERS, "t2", "18.00", "0.500", "1", "1"]
    assert any("as at inference" in note for note in found["notes"])


def test_missing_modalities_have_a_short_table():
    short, every = table_section("Missing modalities", subsets("ours"))["tables"]
    tail = ["HD95 [mm]", "subjects", "left out", "Dice minus that of all", "p (Holm)"]
    assert short["head"] == ["missing", "Dice core", "Dice oedema", "Dice mean", *tail]
    assert [row[0] for row in short["rows"]] == ["none", "t2"]
    assert every["rows"][1][:3] == ["●", "○", "●"]
    assert every["rows"][1][5:] == ["0.500 ± 0.000", "4.0 ± 0.0", "2", "0", "-0.250", "1.0000"]


def test_methods_are_named_where_there_are_several():
    found = table_section("Missing modalities", subsets("ours", "zero"))["tables"][0]["rows"]
    assert [row[:2] for row in found] == [["ours", "none"], ["ours", "t2"], ["zero", "none"], ["zero", "t2"]]


def test_blocks_of_a_heat_map():
    dice, distance = subset_blocks(subsets("ours"))
    assert (dice.title, distance.title, dice.higher, distance.higher) == ("Dice", "HD95 [mm]", True, False)
    assert list(dice.columns) == ["mean", "core", "oedema"]
    assert dice.columns["mean"] == {NAMES: 0.75, ("t1", "flair"): 0.5, ("t1",): 0.25}
    (several,) = subset_blocks(subsets("ours", "zero"), ["dice"])
    assert list(several.columns)[:2] == ["ours, mean", "zero, mean"]
    with pytest.raises(ValueError, match=r"got \['psnr'\]"):
        subset_blocks(subsets("ours"), ["psnr"])


def test_silhouettes_that_could_not_be_measured():
    found = silhouette_rows({"code_by_modality": 0.987, "anatomy_by_modality": -0.2, "anatomy_by_subject": None})
    assert [row[1] for row in found] == ["0.99", "-0.20", "–"]
