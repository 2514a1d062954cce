# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.preparation.export_nnunet import UnfitCases
from monai_mmseg.study.cells import Cell
from monai_mmseg.study.methods import find_method
from monai_mmseg.study.nnunet import run_nnunet_cell

# programs in nnU-Net's place: they note the cases that train, and predict where an image is above 100
PREDICT = """#!{python}
import pathlib, sys
import nibabel as nib, numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
pathlib.Path(given["-o"]).mkdir()
for path in sorted(pathlib.Path(given["-i"]).iterdir()):
    image = nib.load(path)
    mask = (np.asarray(image.dataobj) > 100).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, image.affine), pathlib.Path(given["-o"]) / path.name.replace("_0000", ""))
"""
TRAIN = """#!{python}
import os, pathlib, sys
(raw,) = pathlib.Path(os.environ["nnUNet_raw"]).glob(f"Dataset{{sys.argv[1]}}_*")
pathlib.Path("{seen}").write_text("\\n".join(sorted(path.name for path in (raw / "imagesTr").iterdir())))
"""


@pytest.fixture
def programs(tmp_path):
    """An environment, and the file that names what was shown to the training."""
    if os.name == "nt":
        pytest.skip("programs with a first line that names Python need POSIX")
    folder, seen = tmp_path / "environment" / "bin", tmp_path / "seen.txt"
    folder.mkdir(parents=True)
    texts = {"train": TRAIN, "predict": PREDICT, "plan_and_preprocess": "#!{python}\n"}
    for name, text in texts.items():
        path = folder / f"nnUNetv2_{name}"
        path.write_text(text.format(python=sys.executable, seen=seen))
        path.chmod(0o755)
    return folder.parent, seen


def hearts(folder: Path, *bare: str) -> Path:
    """Four subjects with cine and LGE, one of them for testing; images of `bare` have no label in training."""
    sections: dict[str, list] = {"training": [], "test": []}
    for number in range(4):
        for modality in ("cine", "lge"):
            name = f"{modality}{number}"
            label = np.zeros((6, 6, 3), np.uint8)
            label[1 + number : 3 + number, 2:4] = 1
            for path, array in ((f"{name}.nii.gz", label * 200.0), (f"{name}_label.nii.gz", label)):
                folder.mkdir(exist_ok=True)
                nib.save(nib.Nifti1Image(array, np.eye(4)), folder / path)
            item = {"image": f"{name}.nii.gz", "modality": modality, "subject": f"s{number}"}
            if number == 3 or name not in bare:
                item["label"] = f"{name}_label.nii.gz"
            sections["test" if number == 3 else "training"].append(item | ({"fold": number % 2} if number < 3 else {}))
    content = {"name": "hearts", "modalities": ["cine", "lge"], "labels": {"0": "background", "1": "LV"}, **sections}
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def run(method: str, data: Path, folder: Path, environment: Path):
    folder.mkdir()
    more = {"environment": str(environment), "budget": None, "steps": 20, "paper_dice": False, "threads": 1}
    return run_nnunet_cell(find_method(method), Cell(method, "few", 0, 0), folder, data, **more)


def test_images_that_train_without_a_label_are_left_out_and_all_tested_ones_are_scored(tmp_path, programs):
    environment, seen = programs
    data = hearts(tmp_path / "data", "lge0", "lge1")
    result = run("nnunet", data, tmp_path / "cell", environment)
    names = ("s0_cine", "s1_cine", "s2_cine", "s2_lge")
    assert seen.read_text().split() == [f"{name}_0000.nii.gz" for name in names]
    scored = {(one.subject, one.case["modality"]): one.dice for one in result.table}
    assert scored == {("s3", "cine"): 1.0, ("s3", "lge"): 1.0}
    assert (result.state, result.steps) == ("done", 20)


def test_a_subject_of_channels_keeps_its_images_where_one_has_a_label(tmp_path, programs):
    environment, seen = programs
    run("nnunet_channels", hearts(tmp_path / "data", "lge0", "lge1", "cine1"), tmp_path / "cell", environment)
    assert seen.read_text().split() == [f"{name}_000{at}.nii.gz" for name in ("s0", "s2") for at in (0, 1)]


def test_a_modality_without_any_label_has_no_network(tmp_path, programs):
    data = hearts(tmp_path / "data", "lge0", "lge1", "lge2")
    with pytest.raises(UnfitCases, match=r"data/datalist\.json: no image of lge that trains has a label"):
        run("nnunet_each", data, tmp_path / "each", programs[0])
    assert run("nnunet", data, tmp_path / "mixed", programs[0]).state == "done"


def test_a_modality_without_a_label_to_test_on_is_not_scored_and_that_is_said(tmp_path, programs):
    data = hearts(tmp_path / "data", "lge0", "lge1", "lge2")
    path = data / "datalist.json"
    content = json.loads(path.read_text())
    del content["test"][1]["label"]
    path.write_text(json.dumps(content))
    table = run("nnunet", data, tmp_path / "cell", programs[0]).table
    assert {one.case["modality"] for one in table} == {"cine"}
    assert any("Not scored, for no image has a label: lge." in note for note in table.notes())


def test_what_else_it_cannot_take_is_refused_by_the_name_of_the_list(tmp_path, programs):
    data = hearts(tmp_path / "data")
    (data / "lge3.nii.gz").unlink()
    with pytest.raises(UnfitCases, match=r"data/datalist\.json: nnU-Net cannot take 1 cases(.|\n)*s3_lge"):
        run("nnunet", data, tmp_path / "cell", programs[0])
