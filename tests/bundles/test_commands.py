# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Bundles as users type them: from the repository's root or the bundle's folder, misspelt, and in two processes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from tests.bundle.toy_bundle import write_bundle
from tests.bundles.runs import ABDOMEN, BRAIN, CSA, DAFNET, HEART, SHORT, flags, launch, saved_shapes, shapes, shell

pytestmark = pytest.mark.slow


@pytest.fixture
def data(heart, unpaired, brain):
    return lambda bundle: heart if bundle is DAFNET else brain if bundle is BRAIN else unpaired(bundle)


def bundle_copy(folder):
    """A repository with nothing but the bundle, without what earlier runs left."""
    copy = folder / "bundles" / "dafnet"
    for part in ("configs", "docs"):
        shutil.copytree(DAFNET.root / part, copy / part)
    for part in ("LICENSE", "large_files.yml"):
        shutil.copy(DAFNET.root / part, copy / part)


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_runs_write_into_the_bundle_only(heart, tmp_path):
    """Started in the repository's root and in the bundle's folder."""
    bundle_copy(tmp_path)
    before = tree(tmp_path)
    training, inference = {**SHORT, **DAFNET.small("train")}, DAFNET.small("inference")
    for start, root, run_id, names, own in (
        (".", "bundles/dafnet/", ["training"], ("train", "demo"), training),
        ("bundles/dafnet", "", [], ("inference",), inference),
        ("bundles/dafnet", "", ["evaluating"], ("train", "demo", "evaluate"), training),
    ):
        files = str([f"{root}configs/{name}.json" for name in names])
        words = ["-m", "monai.bundle", "run", *run_id, "--config_file", files, "--dataset_dir", str(heart), *flags(own)]
        code, text = shell(*words, cwd=tmp_path / start)
        assert code == 0, text
    new = tree(tmp_path) - before
    assert {"models/model.pt", "eval/s05_lge_seg.nii.gz", "eval/report.html"} < {
        path.removeprefix("bundles/dafnet/") for path in new
    }
    assert {"/".join(path.split("/")[:3]) for path in new} == {"bundles/dafnet/models", "bundles/dafnet/eval"}
    settings = json.loads((tmp_path / "bundles/dafnet/eval/run.json").read_text(encoding="utf-8"))["settings"]
    assert (settings["max_epochs"], settings["spatial_size"]) == (1, [48, 48])


@pytest.mark.parametrize(
    ("bundle", "overlay", "words", "messages"),
    [
        (
            DAFNET,
            {"anatomy_chanels": 4},
            {"trainer#max_epoch": 3},
            ["there is no 'trainer'; did you mean 'train#trainer#max_epochs'", "did you mean 'anatomy_channels'"],
        ),
        (CSA, {}, {"layer_pairs": [["group_4", "group_55"]]}, ["did you mean 'group_5'"]),
    ],
)
def test_misspelt_names_stop_the_run(bundle, overlay, words, messages, data, tmp_path):
    own = {**bundle.paths(tmp_path, data(bundle)), **SHORT, **bundle.small("train")}
    (tmp_path / "mine.json").write_text(json.dumps(overlay), encoding="utf-8")
    files = [*bundle.files("train", "demo"), str(tmp_path / "mine.json")]
    command = ["-m", "monai.bundle", "run", "training", "--config_file", str(files)]
    code, text = shell(*command, *flags({**own, **words}), cwd=tmp_path)
    assert code != 0
    assert all(message in text for message in messages), text
    if overlay:
        assert "Nothing was run. Errors in the config:\n" in text
        assert "Traceback" not in text
    assert "Epoch" not in text
    assert not (tmp_path / "models").exists()


def test_values_that_cannot_be_meant_stop_the_run(data, tmp_path):
    """Before the data are looked at, which are not there."""
    wrong = {"csa_weight": "ten", "size_norm": "pixels", "max_epochs": 1.5, "resume": "off", "amp": "true"}
    code, text = CSA.shell(tmp_path, tmp_path / "nowhere", **wrong)
    assert code == 1
    assert text.partition("Nothing was run. ")[2].splitlines()[:-1] == [
        "Errors in the config:",
        "  csa_weight must be a number of at least 0, got 'ten'.",
        "  size_norm must be one of 'feature', 'input', 'fraction', 'none', got 'pixels'.",
        "  max_epochs must be a whole number of at least 1, got 1.5.",
        "  resume must be true or false, got 'off'.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_read_ends_the_run_with_one_line(tmp_path):
    """Also where another process loads it; the traceback is in a file."""
    train = write_bundle(tmp_path / "toy")
    shutil.copy(DAFNET.configs / "logging.conf", train.parent)
    (tmp_path / "a.nii").write_text("no image")
    read = f"$lambda item: monai_mmseg.transforms.LoadImageItemd()({{'image': '{tmp_path}/a.nii'}})"
    (train.parent / "broken.json").write_text(
        json.dumps({"train#dataset#transform": read, "train#dataloader#num_workers": 2})
    )
    files = str([str(train), str(train.parent / "broken.json")])
    code, text = shell("-m", "monai.bundle", "run", "training", "--config_file", files, cwd=tmp_path)
    assert code == 1
    # what MONAI and ignite log goes to stdout, which comes first
    shown = [line for line in text.splitlines() if line.strip() and "INFO" not in line and "parsing config" not in line]
    assert shown.pop(0).startswith("training epochs 1 to 1")
    log = tmp_path / "toy" / "eval" / "error.log"
    assert len(shown) == 2, shown
    assert shown[0].startswith(f"Error: {tmp_path}/a.nii: cannot be read as an image (")
    assert shown[1] == f"(traceback: {log.as_posix()})"
    assert "Original Traceback" in log.read_text(encoding="utf-8")


def test_two_processes_end_with_equal_weights(heart, tmp_path):
    """Each process writes the objective it ends with; validation, savers and records are process 0's."""
    look = "$torch.save(@objective_def.state_dict(), @output_dir + '/rank' + str(dist.get_rank()) + '.pt')"
    ends = {"finalize": [look, "$dist.barrier()", "$dist.destroy_process_group()"]}
    (tmp_path / "look.json").write_text(json.dumps(ends))
    files = [*DAFNET.files("train", "demo", "multi_gpu_train"), str(tmp_path / "look.json")]
    own = {**DAFNET.paths(tmp_path, heart), **SHORT, **DAFNET.small("train")}
    words = ["monai.bundle", "run", "training", "--config_file", str(files), *flags(own)]
    code, text = launch(*words, cwd=tmp_path, processes=2)
    assert code == 0, text
    first, second = (torch.load(tmp_path / "eval" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == second.keys()
    buffers = ("running_mean", "running_var", "num_batches_tracked")  # batch norm looks at its own half of the batch
    for key in first:
        if not key.endswith(buffers):
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0, msg=key)
    state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert not any(key.startswith("module.") for key in state)
    assert (tmp_path / "eval" / "terms.csv").read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize(
    ("bundle", "overlays"),
    [
        (HEART, ()),
        pytest.param(CSA, ("volumes",), marks=pytest.mark.overlays),
        pytest.param(BRAIN, ("conv_adv",), marks=pytest.mark.overlays),
        pytest.param(ABDOMEN, (), marks=pytest.mark.overlays),
        pytest.param(CSA, (), marks=pytest.mark.overlays),
    ],
)
def test_two_processes_end_with_one_model(bundle, overlays, data, tmp_path):
    """All of them take part in the record of knowledge, which adds up over processes; process 0 writes it."""
    code, text = bundle.shell(tmp_path, data(bundle), *overlays, "multi_gpu_train", processes=2)
    assert code == 0, text
    network = bundle.parser("train", "demo", *overlays, small=True).get_parsed_content("network_def")
    assert saved_shapes(tmp_path / "models" / "model.pt") == shapes(network)
    assert (tmp_path / "eval" / "terms.csv").read_text(encoding="utf-8").count("\n") == 2
    if bundle in (HEART, ABDOMEN):
        matrices = np.load(tmp_path / "eval" / "knowledge.npz")
        assert any(np.isfinite(matrices[key]).all() for key in matrices.files if matrices[key].shape[-3:] == (2, 5, 5))
