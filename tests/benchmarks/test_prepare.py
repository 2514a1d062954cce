# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import nibabel as nib
import numpy as np

from benchmarks.speed import prepare
from monai_mmseg.data import load_datalist
from monai_mmseg.preparation.layouts import import_layout, read_chaos


def test_what_is_imported_is_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "SIZE", 16)
    prepare.write_chaos(tmp_path / "CHAOS", [19])
    out = import_layout(read_chaos(tmp_path / "CHAOS"), tmp_path / "datalist.json")
    item = load_datalist(out)[-1]
    image, classes = prepare.abdomen(32, seed=190)
    assert set(np.unique(classes)) == {0, 1, 2, 3, 4}
    for key, expected in (("image", image), ("label", classes)):
        # slices were written from the head down
        found = np.asarray(nib.load(item[key]).dataobj).transpose(2, 1, 0)[::-1]
        np.testing.assert_array_equal(found, expected)


def test_peak_and_seconds_of_a_process():
    seconds, peaks = {}, {}
    prepare.look(os.getpid(), seconds, peaks)
    assert seconds[os.getpid()] > 0
    assert peaks[os.getpid()] > 20
