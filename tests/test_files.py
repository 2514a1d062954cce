# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import os

import pytest
import torch

from monai_mmseg.files import atomic_save


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = atomic_save({"a": 1}, tmp_path / "x.pt")
    with pytest.raises(Exception, match="pickle"):
        atomic_save({"a": lambda: None}, path)
    assert torch.load(path, weights_only=True) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_others_may_read_it(tmp_path):
    old = os.umask(0o022)
    try:
        assert (atomic_save(1, tmp_path / "x.pt").stat().st_mode & 0o777) == 0o644
    finally:
        os.umask(old)
