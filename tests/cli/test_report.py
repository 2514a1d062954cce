# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``mmseg quality`` on predictions of subjects that lack an image."""

from __future__ import annotations

import json
import math
import shutil

from monai_mmseg.cli.main import main
from monai_mmseg.evaluation.quality import Quality, write_quality
from tests.synthetic_volumes import write_study


def test_quality_is_compared_on_the_grid_that_was_predicted(tmp_path, capsys, caplog):
    """Of a subject without the image that is segmented; one without a label is named."""
    names = ("s1", "s2", "s3", "s4", "s5")
    study = write_study(tmp_path, {"cine": ((8, 8, 4), (8, 8, 12)), "lge": ((9, 8, 4), (8, 8, 12))}, subjects=names)
    content = json.loads(study.read_text())
    items = [one for one in content["training"] if (one["modality"] == "lge") == (one["subject"] in ("s1", "s2"))]
    for one in items:
        if one["subject"] != "s5":  # whom nobody predicted
            stem = one["image"].rpartition("/")[2].removesuffix(".nii.gz")
            (tmp_path / "out").mkdir(exist_ok=True)
            shutil.copy(tmp_path / one["label"], tmp_path / "out" / f"{stem}_seg.nii.gz")
        if one["subject"] == "s4":
            del one["label"]
    study.write_text(json.dumps({**content, "training": items}))
    name = content["labels"]["1"]
    rows = [Quality(one, "lge", name, math.nan, at / 10, at / 10, 0.1, "shift") for at, one in enumerate(names[:4])]
    write_quality(tmp_path / "out" / "quality.csv", rows)
    assert main(["quality", str(study), str(tmp_path / "out"), "--section", "training"]) == 0
    err = capsys.readouterr().err
    assert "1 of 4 lines have no true label in training: s4" in err
    assert "weights that were trained on these subjects are sure of them" in err
    assert "Without an image of lge, scored on the grid of another: s3 on cine." in caplog.text
