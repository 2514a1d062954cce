# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from monai_mmseg.evaluation import OTHERS, ReconstructionRow, ReconstructionTable, SubsetRow, SubsetTable
from monai_mmseg.report.sections import reconstruction_section, silhouette_rows, subset_section


def test_redrawn_images_by_target_and_by_pair():
    rows = [
        ReconstructionRow("ours", subject, source, "t2", 3, psnr, 0.5)
        for subject, source, psnr in (("s1", "t1", 20.0), ("s1", OTHERS, 18.0), ("s2", "t1", 24.0))
    ]
    found = reconstruction_section(ReconstructionTable(rows))
    by_target, by_pair = found["tables"]
    assert by_target["head"] == ["drawn", "PSNR [dB]", "SSIM", "subjects", "left out"]
    assert by_target["rows"] == [["t2", "22.00 ± 2.83", "0.500 ± 0.000", "2", "0"]]
    assert by_pair["rows"][1] == [f"{OTHERS} → t2", "18.00", "0.500", "1", "1"]
    assert any("as at inference" in note for note in found["notes"])


def test_missing_modalities_have_a_short_table():
    table = SubsetTable(["t1", "t2", "flair"])
    for subject in ("s1", "s2"):
        table.add(SubsetRow("ours", ("t1", "t2", "flair"), subject, {"dice": 0.75, "dice/core": 0.5}))
        table.add(SubsetRow("ours", ("t1", "flair"), subject, {"dice": 0.5, "dice/core": 0.5}))
        table.add(SubsetRow("ours", ("t1",), subject, {"dice": 0.25, "dice/core": 0.5}))
    short, every = subset_section(table)["tables"]
    assert short["head"] == ["missing", "Dice", "subjects", "left out", "Dice minus that of all", "p (Holm)"]
    assert [row[0] for row in short["rows"]] == ["none", "t2"]
    assert every["rows"][1] == ["●○● t1 + flair", "0.500 ± 0.000", "2", "0", "-0.250", "1.0000"]


def test_methods_are_named_where_there_are_several():
    table = SubsetTable(["t1", "t2"])
    for method in ("ours", "zero"):
        table.add(SubsetRow(method, ("t1", "t2"), "s1", {"dice": 0.75}))
    assert [row[0] for row in subset_section(table)["tables"][0]["rows"]] == ["none (ours)", "none (zero)"]


def test_silhouettes_that_could_not_be_measured():
    found = silhouette_rows({"code_by_modality": 0.987, "anatomy_by_modality": -0.2, "anatomy_by_subject": None})
    assert [row[1] for row in found] == ["0.99", "-0.20", "–"]
