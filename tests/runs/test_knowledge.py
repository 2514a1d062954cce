# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from monai_mmseg.runs import read_knowledge
from monai_mmseg.runs.knowledge import add_knowledge

NAMES = {"modalities": ["ct", "mr"], "classes": ["background", "liver", "spleen"]}


def matrices(value):
    return np.full((2, 3, 3), float(value))


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "run" / "knowledge.npz"
    given = np.random.default_rng(0).random((2, 3, 3))
    given[1, 2] = np.nan
    assert add_knowledge(path, 2, given, 0.25, **NAMES) == path
    add_knowledge(path, 4, matrices(1), float("nan"), **NAMES)
    history = read_knowledge(path)
    assert history.epochs.tolist() == [2, 4]
    np.testing.assert_array_equal(history.matrices, np.stack([given, matrices(1)]))
    np.testing.assert_array_equal(history.loss, [0.25, np.nan])
    assert (history.modalities, history.classes) == (("ct", "mr"), ("background", "liver", "spleen"))
    assert [found.name for found in path.parent.iterdir()] == ["knowledge.npz"]


def test_an_epoch_again_replaces_it_and_the_later_ones(tmp_path):
    path = tmp_path / "knowledge.npz"
    for epoch in (1, 2, 3, 4):
        add_knowledge(path, epoch, matrices(epoch), epoch, **NAMES)
    add_knowledge(path, 3, matrices(9), 9.0, **NAMES)
    history = read_knowledge(path)
    assert history.epochs.tolist() == [1, 2, 3]
    assert history.loss.tolist() == history.matrices[:, 0, 0, 0].tolist() == [1, 2, 9]


def test_messages(tmp_path):
    path = tmp_path / "knowledge.npz"
    with pytest.raises(
        ValueError, match=r"matrices must have shape \(2, 3, 3\) for \('ct', 'mr'\) and .* got \(3, 3\)"
    ):
        add_knowledge(path, 1, np.zeros((3, 3)), 0.0, **NAMES)
    assert not path.exists()
    add_knowledge(path, 1, matrices(0), 0.0, **NAMES)
    with pytest.raises(ValueError, match=r"knowledge.npz is of \('ct', 'mr'\) and .*, got \('mr', 'ct'\)"):
        add_knowledge(path, 2, matrices(0), 0.0, **{**NAMES, "modalities": ["mr", "ct"]})
    np.savez(tmp_path / "other.npz", epochs=[1])
    with pytest.raises(
        ValueError, match=r"other.npz must hold .* \['matrices', 'loss', 'modalities', 'classes'\] missi"
    ):
        read_knowledge(tmp_path / "other.npz")
