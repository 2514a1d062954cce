# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which tested classes are told for their volume, by their Dice."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from benchmarks.told_volumes import main


def write(path, voxels):
    values = np.zeros(1000, dtype=np.uint8)
    values[:voxels] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.reshape(10, 10, 10), np.eye(4)), path)


def test_classes_of_tested_volumes_by_their_dice(tmp_path, capsys):
    data, cell = tmp_path / "data" / "mr_2" / "fold0", tmp_path / "cells" / "mr_2" / "csa" / "fold0_seed0"
    sections = {"training": [], "test": []}
    for name, section, voxels in [
        ("held", "training", 9),
        *[(f"t{n}", "training", 300 + n) for n in range(3)],
        ("a", "test", 300),
        ("b", "test", 300),
    ]:
        for kind in ("images", "labels"):
            write(data / kind / f"{name}.nii.gz", voxels)
        item = {"subject": name, "modality": "ct", "image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"}
        sections[section].append({**item, "fold": int(name != "held")} if section == "training" else item)
    listed = {"name": "d", "modalities": ["ct"], "labels": {"0": "background", "1": "LV"}, **sections}
    (data / "datalist.json").write_text(json.dumps(listed))
    write(cell / "predictions" / "a_seg.nii.gz", 100)  # Dice 2 * 100 / 400; less than half of 300
    write(cell / "predictions" / "b_seg.nii.gz", 200)  # Dice 0.8
    main([str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 trainings, 2 classes of tested volumes, 1 told"
    assert [line for line in lines[1:] if "0 classes" not in line] == [
        "Dice 0.4 to 0.6:     1 classes,    1 told",
        "Dice 0.8 to 1.0:     1 classes,    0 told",
    ]


def test_a_study_without_predictions_is_said(tmp_path):
    (tmp_path / "a" / "cells" / "all" / "csa" / "fold0_seed0" / "predictions").mkdir(parents=True)
    with pytest.raises(SystemExit, match=f"no predictions in {tmp_path / 'b'}; usage"):
        main([str(tmp_path / "a"), str(tmp_path / "b")])
