# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The picture of the best, median and worst subject: which ones, and in which window."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.evaluation import evaluate_predictions
from monai_mmseg.report import add_cases, cases
from monai_mmseg.runs import RunRecorder

LABELS = {0: "background", 1: "organ"}


def volume(path, values):
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 5.0, 1.0])), path)
    return str(path)


@pytest.mark.parametrize(
    ("modality", "low", "high", "window"),
    [
        ("ct", -150, 300, (-160.0, 240.0)),
        ("venous", -1000, 1500, (-160.0, 240.0)),  # Hounsfield units, whatever its name is
        ("mr", 0, 300, (3.0, 297.0)),  # the 1st and 99th percentile of 0, 3, ..., 300
    ],
)
def test_cases(tmp_path, monkeypatch, modality, low, high, window):
    label = np.zeros((8, 8, 101), dtype=np.uint8)
    label[2:6, 2:6, 40:60] = 1
    image = np.broadcast_to(np.linspace(low, high, 101), label.shape).astype(np.float32)
    items = []
    for at, subject in enumerate(["bad", "good", "middle"]):
        prediction = label.copy()
        prediction[:, :, 40 : 40 + (12, 0, 6)[at]] = 0
        volume(tmp_path / f"{subject}_x_seg.nii.gz", prediction)
        paths = {"image": volume(tmp_path / f"{subject}_x.nii.gz", image)}
        paths["label"] = volume(tmp_path / f"{subject}_label.nii.gz", label)
        items.append({**paths, "subject": subject, "modality": modality})
    files = {item["subject"]: tmp_path / f"{item['subject']}_x_seg.nii.gz" for item in items}
    table = evaluate_predictions(items, files, modality=modality, labels=LABELS)
    given = []
    monkeypatch.setattr(cases, "overlay_figure", lambda shown, labels, title: given.extend(shown))
    monkeypatch.setattr(cases, "find_prediction", lambda folder, item: files[item["subject"]])
    captions = []
    monkeypatch.setattr(RunRecorder, "add_figure", lambda self, figure, name, caption: captions.append(caption))
    add_cases(RunRecorder(tmp_path, "a"), items, table, tmp_path, LABELS, modality)
    # 20 slices, of which 0, 6 and 12 are missed: 2 * 14 / 34 and 2 * 8 / 28
    assert [one.title for one in given] == [
        *("best: good, mean Dice 1.00", "median: middle, mean Dice 0.82", "worst: bad, mean Dice 0.57"),
    ]
    assert [one.window for one in given] == [pytest.approx(window)] * 3
    assert "dashed line of the same colour: the label" in captions[0]
