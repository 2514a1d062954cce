# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A run without weights says which are missing and how they are made."""

import pytest
from monai.handlers import CheckpointLoader, StatsHandler
from torch import nn

from monai_mmseg.bundle import check_weights

RUN = ["somewhere/monai/bundle/__main__.py", "run", "--config_file", "inference.json"]


def loader(path):
    return CheckpointLoader(load_path=str(path), load_dict={"model": nn.Identity()})


def test_weights_that_are_there(tmp_path):
    (tmp_path / "model.pt").touch()
    check_weights([StatsHandler(), loader(tmp_path / "model.pt")], "configs/train.json", RUN)
    check_weights([], "configs/train.json", RUN)


@pytest.mark.parametrize(
    ("files", "there"),
    [
        (["models/last.pt", "models/resume.pt"], r"its folder holds last.pt, resume.pt"),
        (["models/README.md"], "its folder holds no weights"),
        ([], "there is no such folder"),
    ],
)
def test_a_run_is_stopped(files, there, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(SystemExit, match=there) as error:
        check_weights([loader(tmp_path / "models" / "model.pt")], "configs/train.json", RUN)
    assert f"The trained weights {tmp_path.as_posix()}/models/model.pt are missing" in str(error.value)
    assert "python -m monai.bundle run training --config_file configs/train.json" in str(error.value)
    assert "--ckpt_dir" in str(error.value)


def test_other_programs_are_warned(tmp_path, caplog):
    check_weights([loader(tmp_path / "model.pt")], "configs/train.json", ["monailabel", "start_server"])
    assert "model.pt are missing" in caplog.text


def test_files_are_checked_without_a_handler(tmp_path):
    with pytest.raises(SystemExit, match="there is no such folder"):
        check_weights([str(tmp_path / "models" / "model.pt")], "configs/train.json", RUN)
