# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from benchmarks.accuracy.disentangle_phantom import STAGES, by_subset, cells, reconstructed, run_cell, write_whole
from benchmarks.accuracy.disentangle_summary import draw, joined, markdown, summarise
from benchmarks.cells import read_json, write_json
from monai_mmseg.evaluation import OTHERS, MethodInfo, Score, ScoreTable, modality_subsets

NAMES, SUBJECTS = ["t1", "t2"], [f"s{number}" for number in range(6)]
LEVELS = {"conv_na": 24.0, "conv_adv": 25.0, "conv_sim": 25.5, "condconv_sim": 26.0}
DROPS = {"standard_zero": 0.4, "standard_average": 0.2, "ours": 0.05}
COMMON = {"seconds": 60.0, "parameters": 1000}


def redraw(setting, seed):
    level = LEVELS[setting] + 0.1 * seed
    values = {s: level + 0.01 * n for n, s in enumerate(SUBJECTS)}
    one = {"psnr": values, "ssim": {s: v / 100 for s, v in values.items()}}
    released = {"original_psnr": values, "original_ssim": one["ssim"]}
    found = {"code_by_modality": 0.5, "anatomy_by_modality": 0.0, "anatomy_by_subject": None}
    return {
        "stage": "redraw", "setting": setting, "seed": seed, **COMMON, "silhouettes": found,
        "cross": {name: {**one, **released} for name in NAMES}, "others": dict.fromkeys(NAMES, one),
    }  # fmt: skip


def tumour(setting, seed):
    rows = []
    for subset in modality_subsets(NAMES):
        for number, subject in enumerate(SUBJECTS):
            dice = 0.8 + 0.01 * number - DROPS[setting] * (2 - len(subset)) + 0.02 * seed
            measures = {"dice": dice, "hausdorff95": 10 * (1 - dice), "dice/core": dice}
            rows.append({"subset": list(subset), "subject": subject, "measures": measures})
    return {"stage": "tumour", "setting": setting, "seed": seed, **COMMON, "modalities": NAMES, "rows": rows}


TRIVIAL = {
    part: {
        name: {m: dict.fromkeys(SUBJECTS, level / scale) for m, scale in (("psnr", 1), ("ssim", 100))} for name in NAMES
    }
    for part, level in (("cross", 23.0), ("others", 22.0))
}


@pytest.fixture(scope="module")
def finished():
    found = [redraw(name, seed) for name in LEVELS for seed in (0, 1)]
    return found + [tumour(name, seed) for name in DROPS for seed in (0, 1)]


def test_reconstructed_means_and_tests(finished):
    study = summarise(finished, TRIVIAL)["redraw"]
    psnr = study["lines"]["conv_sim"]["cross"]["t1"]["psnr"]
    assert psnr["mean"] == pytest.approx(25.5 + 0.05 + 0.025)
    assert psnr["sd_over_seeds"] == pytest.approx(0.1 / 2**0.5)
    found = {(t["a"], t["b"], t["scope"]): t for t in study["tests"]["psnr"]}
    assert len(found) == 6
    best = found["condconv_sim", "conv_na", "each other"]
    # all six subjects agree: 2 of 64 patterns of signs, six tests
    assert (best["difference"], best["p"], best["p_holm"]) == pytest.approx((2.0, 2 / 64, 12 / 64))
    assert found["condconv_sim", "trivial", "all others"]["difference"] == pytest.approx(26.0 + 0.05 + 0.025 - 22.0)
    assert best["verdict"] == "better in the mean, could be chance"
    assert study["lines"]["conv_na"]["silhouettes"]["anatomy_by_subject"] is None
    assert study["subjects"] == 6


def test_downstream_means_and_tests(finished):
    study = summarise(finished, TRIVIAL)["tumour"]
    assert study["lines"]["ours"]["dice"]["t1"]["mean"] == pytest.approx(0.8 + 0.025 - 0.05 + 0.01)
    assert study["lines"]["standard_zero"]["dice"]["none"]["mean"] == pytest.approx(0.8 + 0.025 + 0.01)
    found = {(t["b"], t["scope"]): t for t in study["tests"]["hausdorff95"]}
    assert len(found) == 6
    assert found["standard_zero", "t2"]["difference"] == pytest.approx(-3.5)
    assert "better" in found["standard_zero", "t2"]["verdict"]  # a shorter distance
    assert found["standard_average", "none"]["verdict"] == "not better"


def test_tables_and_pictures(finished, tmp_path):
    text = markdown({"phantom_seed": 1, **summarise(finished, TRIVIAL)})
    assert "| CondConv+Sim | 26.0" in text
    assert " ± 0.07 / 0.261 ± 0.001 |" in text
    assert "| mean image of the training subjects | 22.00 / 0.220 |" in text
    assert "| Ours | 0.835 ± 0.014 | 0.785 ± 0.014 | 0.785 ± 0.014 |" in text
    assert "| Ours | Standard+Zero | t1 | +0.350 |" in text
    (path,) = draw(finished, tmp_path)
    assert path.name == "tumour_subsets.png"
    assert 0 < path.stat().st_size < 100_000


def test_seeds_are_averaged_before_pictures(finished):
    table = joined([cell for cell in finished if cell["stage"] == "tumour"], ["dice"])
    assert list(table.methods) == ["Standard+Zero", "Standard+Average", "Ours"]
    assert table.per_subject("dice", method="Ours", subset="t1 + t2")["s0"] == pytest.approx(0.81)


def test_one_stage_and_one_setting_alone(finished):
    text = markdown({"phantom_seed": 1, **summarise([finished[0]], TRIVIAL)})
    assert "Conv+NA" in text
    assert "Tumours" not in text


def test_cells_are_whole_seeds_and_encoders_come_first():
    names = [cell.name for cell in cells(list(STAGES), [0, 1])]
    assert len(set(names)) == len(names) == 2 * (4 + 4 * 3)
    assert {name[-1] for name in names[:10]} == {"0"}
    assert names.index("redraw_condconv_sim_seed0") < names.index("tumour_ours_seed0")
    assert [cell.name for cell in cells(["pet"], [2], ["ours"])] == ["pet_ours_seed2"]


def test_ours_needs_encoders(tmp_path):
    (cell,) = cells(["pet"], [2], ["ours"])
    with pytest.raises(FileNotFoundError, match="needs the encoders of condconv_sim"):
        run_cell(cell, tmp_path, tmp_path / "results", {})


def test_what_a_run_leaves(tmp_path):
    scores = [
        Score("a", "s0", {"source": source, "target": "t2"}, {"psnr": psnr, "ssim": ssim})
        for source, psnr, ssim in (("t1", 20.0, 0.5), (OTHERS, 18.0, 0.4))
    ]
    ScoreTable(scores).save(tmp_path, "reconstruction")
    found = reconstructed(tmp_path)
    assert found["cross"]["t2"]["psnr"] == {"s0": 20.0}
    assert found["others"] == {"t2": {"psnr": {"s0": 18.0}, "ssim": {"s0": 0.4}}}
    assert found["silhouettes"] == {}
    info = {"a": MethodInfo(modalities=tuple(NAMES))}
    ScoreTable([Score("a", "s0", {"subset": "t2"}, {"psnr": 1.0})], info).save(tmp_path, "subsets")
    rows = [{"subset": ["t2"], "subject": "s0", "measures": {"psnr": 1.0}}]
    assert by_subset(tmp_path) == {"modalities": NAMES, "rows": rows}


def test_scores_of_classes_stand_beside_their_mean(tmp_path):
    scores = [
        Score("a", "s0", {"subset": "t2", "class": name}, {"dice": dice, "hausdorff": 9.0, "hausdorff95": 4 * dice})
        for name, dice in (("core", 0.25), ("oedema", 0.75))
    ]
    ScoreTable(scores).save(tmp_path, "subsets")
    (row,) = by_subset(tmp_path)["rows"]
    assert row["measures"] == {"dice": 0.5, "hausdorff95": 2.0, "dice/core": 0.25, "dice/oedema": 0.75}


def test_tumours_as_one_label(tmp_path):
    data, whole = tmp_path / "phantom", tmp_path / "whole"
    (data / "labels").mkdir(parents=True)
    affine, label = np.diag([3.0, 3.0, 3.0, 1.0]), np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 4
    nib.save(nib.Nifti1Image(label, affine), data / "labels" / "s01.nii.gz")
    (data / "s01_t1.nii.gz").write_bytes(b"an image")
    items = [{"image": "s01_t1.nii.gz", "label": "labels/s01.nii.gz"}, {"image": "s01_t1.nii.gz"}]
    write_json(data / "datalist.json", {"labels": {"0": "background"}, "training": items[:1], "test": items[1:]})
    write_whole(data, whole)
    content = read_json(whole / "datalist.json")
    assert content["labels"] == {"0": "background", "1": "tumour"}
    assert (whole / content["training"][0]["image"]).read_bytes() == b"an image"
    assert "label" not in content["test"][0]
    found = nib.load(whole / content["training"][0]["label"])
    np.testing.assert_array_equal(np.asarray(found.dataobj), label > 0)
    np.testing.assert_array_equal(found.affine, affine)
