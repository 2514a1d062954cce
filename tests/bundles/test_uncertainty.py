# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Uncertainty in the bundles: labels as without it, maps and foretold Dice beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from monai_mmseg.bundle.collection import bundle_names
from monai_mmseg.cli.main import main
from monai_mmseg.evaluation.quality import read_quality
from tests.bundles.runs import DAFNET, causes, read, write

BUNDLES = Path(__file__).parents[2] / "bundles"
OF_IMAGES = {"disentangle", "disentangle_pet", "translation"}  # draw images, so there are no classes


@pytest.mark.parametrize("name", sorted(set(bundle_names()) - OF_IMAGES))
def test_all_segmenting_bundles_ask_alike(name):
    found, first = (
        json.loads((BUNDLES / one / "configs" / "inference.json").read_text(encoding="utf-8"))
        for one in (name, "dafnet")
    )
    assert found["uncertainty"] is False
    assert found["fold"] is None
    assert found["sampled"] == first["sampled"]
    saved, asked = (one["postprocessing"]["transforms"][0] for one in (found, first))
    assert saved == {key: value for key, value in asked.items() if key in saved}
    assert asked.keys() - saved.keys() <= {"seen"}  # DAFNet may look at the target alone
    assert found["evaluator"]["inferer"] == "$@sampled or @inferer"
    evaluation = json.loads((BUNDLES / name / "configs" / "evaluate.json").read_text(encoding="utf-8"))
    older = "check_uncertainty(False, output_dir=@prediction_dir, weights=@validate#handlers#0#load_path)"
    assert f"$monai_mmseg.bundle.{older}" in evaluation["initialize"]  # which replaces what was foretold of


def test_from_samples_to_foretold_dice(trained, heart, tmp_path, capsys):
    models = tmp_path / "models"
    shutil.copytree(trained(DAFNET, heart)[0] / "models", models)
    asked = {"ckpt_dir": str(models), "section": "training"}
    plain = DAFNET.infer(tmp_path / "plain", heart, **asked)
    sampled = {**asked, "uncertainty": True, "samples": ["anatomies"]}
    found = DAFNET.infer(tmp_path / "sampled", heart, **sampled)
    assert set(found) - set(plain) == {name.replace("_seg", "_uncertainty") for name in plain}
    for name, volume in plain.items():
        np.testing.assert_array_equal(volume.get_fdata(), found[name].get_fdata())
        unsure = found[name.replace("_seg", "_uncertainty")]
        assert unsure.shape == volume.shape
        np.testing.assert_array_equal(unsure.affine, volume.affine)
        assert 0 <= unsure.get_fdata().min() < unsure.get_fdata().max() <= 1
    out = tmp_path / "sampled" / "eval"
    rows = read_quality(out / "quality.csv")
    assert [(row.subject, row.name) for row in rows[:3]] == [(rows[0].subject, c) for c in ("LV", "myocardium", "RV")]
    assert {row.predicted_dice for row in rows if row.predicted_dice == row.predicted_dice} == set()
    words = [str(heart / "datalist.json"), str(out), "--modality", "lge", "--section", "training"]
    assert main(["quality", *words, "--fit", str(tmp_path)]) == 1
    assert "--fit must be the folder of the weights, with model.pt in it" in capsys.readouterr().err
    assert main(["quality", *words, "--fit", str(models)]) == 0
    said = capsys.readouterr()
    assert "fitted on 4 subjects" in said.out
    assert "was trained on 2 of these subjects" in said.err  # all folds were predicted, and one was left out
    fold = DAFNET.infer(tmp_path / "fold", heart, **sampled, fold=0)
    assert len(fold) == 4  # two subjects
    rows = read_quality(tmp_path / "fold" / "eval" / "quality.csv")
    assert all(0 <= row.predicted_dice <= 1 for row in rows)
    content = read(heart / "datalist.json")
    content["test"] = [one for one in content["test"] if (one["subject"], one["modality"]) != ("s06", "cine")]
    write(tmp_path / "data", content, heart)
    DAFNET.infer(tmp_path / "lacks", tmp_path / "data", **{**sampled, "section": "test"})
    rows = read_quality(tmp_path / "lacks" / "eval" / "quality.csv")
    assert {row.subject: row.missing for row in rows} == {"s05": "", "s06": "cine"}
    assert {row.subject for row in rows if row.predicted_dice != row.predicted_dice} == {"s06"}
    assert "No Dice is foretold for s06 (cine missing)" in "".join(capsys.readouterr())
    DAFNET.infer(tmp_path / "single", tmp_path / "data", **{**sampled, "section": "test", "inference": "single"})
    rows = read_quality(tmp_path / "single" / "eval" / "quality.csv")
    assert {row.subject: row.missing for row in rows} == {"s05": "", "s06": ""}  # nothing looks at cine
    assert all(0 <= row.predicted_dice <= 1 for row in rows)
    others = tmp_path / "others"
    shutil.copytree(models, others)
    (others / "quality.json").unlink()
    voting = {**sampled, "samples": [], "sampled#checkpoints": [str(others / "model.pt")], "ckpt_dir": str(others)}
    capsys.readouterr()
    DAFNET.infer(tmp_path / "voting", heart, **voting)  # all of the training section
    assert "others/model.pt was trained on s0" in "".join(capsys.readouterr())
    settings = read(others / "settings.json")
    settings["knobs"]["labels"] = {"0": "background", "1": "myocardium", "2": "LV", "3": "RV"}
    (tmp_path / "exchanged").mkdir()
    shutil.copy(others / "model.pt", tmp_path / "exchanged")
    voting["sampled#checkpoints"] = [str(tmp_path / "exchanged" / "model.pt")]
    DAFNET.infer(tmp_path / "unknown", heart, **voting)
    assert "no settings.json beside" in "".join(capsys.readouterr())
    (tmp_path / "exchanged" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(RuntimeError) as error:
        DAFNET.infer(tmp_path / "wrong", heart, **voting)
    assert "exchanged/model.pt was trained otherwise than" in causes(error.value)
    assert "Their probabilities cannot be averaged" in causes(error.value)
    with pytest.raises(RuntimeError) as error:
        DAFNET.infer(tmp_path / "other", heart, **{**sampled, "samples": ["shift"]})
    assert "fitted for other samples" in causes(error.value)
