# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The heart phantom as a data set: reproducible, true in its own grids, and as hard as asked for."""

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.phantom import make_heart_phantom
from monai_mmseg.phantom.heart import HEART_PROTOCOLS, SLICES, make_heart_volume

SIZE = 48


def copy_dice(source, target):
    """Mean Dice of LV and myocardium after copying the label to the nearest voxel."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in target.label.shape], indexing="ij")).reshape(3, -1)
    world = nib.affines.apply_affine(target.grid.affine, index.T)
    nearest = np.rint(nib.affines.apply_affine(np.linalg.inv(source.grid.affine), world)).astype(int)
    inside = ((nearest >= 0) & (nearest < source.label.shape)).all(1)
    copied = np.zeros(len(nearest), int)
    copied[inside] = source.label[tuple(nearest[inside].T)]
    true = target.label.reshape(-1)
    return np.mean(
        [2 * ((copied == k) & (true == k)).sum() / ((copied == k).sum() + (true == k).sum()) for k in (1, 2)]
    )


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return make_heart_phantom(tmp_path_factory.mktemp("heart") / "out", subjects=6, seed=3, size=SIZE, folds=2)


def images(path):
    return {str(p.relative_to(path.parent)): p.read_bytes() for p in sorted(path.parent.rglob("*.nii.gz"))}


def test_layout(phantom):
    datalist = json.loads(phantom.read_text(encoding="utf-8"))
    assert list(datalist) == ["name", "modalities", "labels", "training", "test"]
    assert datalist["modalities"] == ["cine", "lge"]
    assert datalist["labels"] == {"0": "background", "1": "LV", "2": "myocardium", "3": "RV"}
    assert datalist["training"][1] == {
        "image": "images/s01_lge.nii.gz",
        "label": "labels/s01_lge.nii.gz",
        "modality": "lge",
        "subject": "s01",
        "fold": 0,
    }
    assert [i["subject"] for i in datalist["test"]] == ["s05", "s05", "s06", "s06"]
    folds = {i["subject"]: i["fold"] for i in datalist["training"]}
    assert folds == {"s01": 0, "s02": 1, "s03": 0, "s04": 1}
    listed = {i[k] for part in ("training", "test") for i in datalist[part] for k in ("image", "label")}
    assert listed == set(images(phantom))


def test_volumes_are_sound(phantom):
    datalist = json.loads(phantom.read_text(encoding="utf-8"))
    for item in datalist["training"] + datalist["test"]:
        image, label = (nib.load(phantom.parent / item[k]) for k in ("image", "label"))
        assert image.shape == label.shape
        np.testing.assert_array_equal(image.affine, label.affine)
        assert image.get_data_dtype() == np.int16
        assert np.linalg.det(image.affine[:3, :3]) > 0
        axes = np.abs(image.affine[:3, :3]) / np.linalg.norm(image.affine[:3, :3], axis=0)
        assert axes.max() < 0.95  # oblique: no axis of the volume along one of the patient
        assert SLICES[0] <= image.shape[2] <= SLICES[1]
        assert 7.99 < image.header.get_zooms()[2] < 10.01
        values = np.asarray(label.dataobj)
        assert set(np.unique(values)) == {0, 1, 2, 3}
        assert np.asarray(image.dataobj).min() >= 0


def test_same_seed_same_bytes(phantom, tmp_path):
    again = make_heart_phantom(tmp_path / "again", subjects=6, seed=3, size=SIZE, folds=2)
    assert images(again) == images(phantom)
    assert again.read_bytes() == phantom.read_bytes()
    assert (again.parent / "phantom.json").read_bytes() == (phantom.parent / "phantom.json").read_bytes()


def test_subjects_do_not_depend_on_the_others(phantom, tmp_path):
    fewer = images(make_heart_phantom(tmp_path / "few", subjects=2, seed=3, size=SIZE, modalities=["lge"]))
    assert fewer == {name: images(phantom)[name] for name in fewer}
    assert len(fewer) == 4


def test_seeds_and_subjects_differ(phantom, tmp_path):
    other = images(make_heart_phantom(tmp_path / "other", subjects=1, seed=4, size=SIZE))
    assert all(other[name] != images(phantom)[name] for name in other)
    contents = list(images(phantom).values())
    assert len(set(contents)) == len(contents)


def test_same_folder_is_kept_and_others_refused(phantom):
    before = phantom.stat().st_mtime_ns
    assert make_heart_phantom(phantom.parent, subjects=6, seed=3, size=SIZE, folds=2) == phantom
    assert phantom.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="same parameters"):
        make_heart_phantom(phantom.parent, subjects=6, seed=4, size=SIZE, folds=2)


def test_record(phantom):
    record = json.loads((phantom.parent / "phantom.json").read_text(encoding="utf-8"))
    assert record["parameters"]["seed"] == 3
    assert sorted(record["subjects"]) == [f"s0{i}" for i in range(1, 7)]
    first = record["subjects"]["s01"]
    assert isinstance(first["scar"], bool)
    slices = nib.load(phantom.parent / "images/s01_lge.nii.gz").shape[2]
    assert len(first["motion"]["lge"]["slice_jitter_mm"]) == slices
    assert np.linalg.norm(first["motion"]["lge"]["translation_mm"]) > np.linalg.norm(
        first["motion"]["cine"]["translation_mm"]
    )


def test_default_spacings_and_fields_of_view():
    volumes = {m: make_heart_volume(m, 1) for m in ("cine", "lge")}
    for modality, (low, high) in (("cine", (1.4, 1.6)), ("lge", (1.6, 1.8))):
        grid = volumes[modality].grid
        assert low - 1e-6 <= grid.spacing[0] <= high + 1e-6
        assert grid.spacing[1] == pytest.approx(grid.spacing[0])
        assert 275 < grid.spacing[0] * grid.shape[0] < 325
    # planned on one heart: nearly the same orientation, not the same grid
    angle = np.degrees(np.arccos(volumes["cine"].grid.axes[:, 2] @ volumes["lge"].grid.axes[:, 2]))
    assert 0.05 < angle < 10
    middles = [v.grid.affine @ [*(np.array(v.grid.shape) - 1) / 2, 1] for v in volumes.values()]
    assert 0.5 < np.linalg.norm(middles[0] - middles[1]) < 40


def test_modalities_overlap_but_do_not_match():
    volumes = [[make_heart_volume(m, s, size=64) for m in ("cine", "lge")] for s in range(1, 5)]
    dice = [copy_dice(*pair) for pair in volumes]
    assert 0.5 < np.mean(dice) < 0.8
    assert min(dice) > 0.3


def test_motion_knob_is_the_difficulty():
    dice = []
    for amount in (0.0, 0.5, 1.0, 2.0):
        pairs = []
        for subject in (1, 2):
            cine = make_heart_volume("cine", subject, motion=amount, size=64)
            pairs.append(copy_dice(cine, make_heart_volume("lge", subject, motion=amount, grid=cine.grid)))
        dice.append(np.mean(pairs))
    assert dice[0] == 1  # nothing moved and one grid
    assert dice[0] > dice[1] > dice[2] > dice[3]


def test_no_motion_on_own_grids():
    dice = [copy_dice(*(make_heart_volume(m, s, motion=0.0, size=96) for m in ("cine", "lge"))) for s in (1, 2)]
    assert min(dice) > 0.75  # what thick slices at other positions cost
    assert np.mean(dice) > 0.8


@pytest.mark.parametrize("modality", sorted(HEART_PROTOCOLS))
def test_contrast_in_the_image(modality):
    volume = make_heart_volume(modality, 2, size=64)
    blood, muscle = (np.median(volume.image[volume.label == k]) for k in (1, 2))
    assert (blood > 1.3 * muscle) if modality != "t2" else (blood < 0.7 * muscle)


def test_scar_shows_on_lge_only():
    for subject in range(1, 12):
        if make_heart_volume("cine", subject, size=16, scar_fraction=0.6).shape.scar is not None:
            break
    for modality, shows in (("cine", False), ("lge", True)):
        with_scar, without = (make_heart_volume(modality, subject, size=64, scar_fraction=f) for f in (0.6, 0.0))
        np.testing.assert_array_equal(with_scar.label, without.label)  # scar is myocardium
        wall = with_scar.label == 2
        gain = with_scar.image[wall].astype(float).mean() / without.image[wall].mean()
        assert (gain > 1.15) if shows else (0.95 < gain < 1.05)


def test_more_than_two_modalities(tmp_path):
    path = make_heart_phantom(tmp_path / "m", subjects=1, modalities="cine,lge t2,bold", size=24, test_subjects=1)
    datalist = json.loads(path.read_text(encoding="utf-8"))
    assert datalist["training"] == []
    assert [i["modality"] for i in datalist["test"]] == ["cine", "lge", "t2", "bold"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modalities": ["cine", "ct"]}, r"modalities must be different names out of .*, got \['cine', 'ct'\]"),
        ({"modalities": ["cine", "cine"]}, "modalities must be different names"),
        ({"modalities": []}, "modalities must be different names"),
        ({"subjects": 0}, "subjects must be a whole number of at least 1, got 0"),
        ({"subjects": 2.5, "test_subjects": 0}, "subjects must be a whole number of at least 1, got 2.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"folds": 0}, "folds must be a whole number of at least 1, got 0"),
        ({"size": 8}, "size must be a whole number of at least 16, got 8"),
        ({"test_subjects": 13}, "test_subjects must be at most subjects=12, got 13"),
        ({"test_subjects": True}, "test_subjects must be a whole number of at least 0, got True"),
        ({"motion": -0.1}, "motion must be a number of at least 0, got -0.1"),
        ({"motion": float("nan")}, "motion must be a number of at least 0, got nan"),
        ({"motion": "much"}, "motion must be a number of at least 0, got 'much'"),
        ({"scar_fraction": 1.5}, r"scar_fraction must lie in \[0, 1\], got 1.5"),
    ],
)
def test_invalid_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_heart_phantom(tmp_path / "x", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unknown_modality_of_a_volume():
    with pytest.raises(ValueError, match=r"modality must be one of \['bold', 'cine', 'lge', 't2'\], got 'ct'"):
        make_heart_volume("ct", 1)
