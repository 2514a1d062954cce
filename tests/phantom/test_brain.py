# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The brain phantom as a data set: one subject in several sequences, none of which tells all labels."""

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.bundle import find_datalist
from monai_mmseg.data import group_by_subject, load_datalist
from monai_mmseg.phantom import BRAIN_PROTOCOLS, BRAIN_SEQUENCES, make_brain_phantom, make_brain_volumes
from monai_mmseg.preparation import check_datalist
from monai_mmseg.transforms import LoadImageModalitiesd

SIZE = 32
NECROSIS, OEDEMA, ENHANCING = 1, 2, 3


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brain") / "out"
    return make_brain_phantom(folder, subjects=3, test_subjects=1, folds=2, seed=3, size=SIZE, pet=True)


@pytest.fixture(scope="module")
def volumes():
    return [make_brain_volumes(subject, modalities=list(BRAIN_PROTOCOLS), size=40) for subject in range(1, 5)]


def images(path):
    return {str(p.relative_to(path.parent)): p.read_bytes() for p in sorted(path.parent.rglob("*.nii.gz"))}


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def auc(low, high):
    """Chance that a random voxel of ``high`` is brighter than one of ``low``."""
    values = np.concatenate([low, high]).astype(float)
    ranks = values.argsort(kind="stable").argsort() + 1.0
    ranks = np.array([ranks[values == value].mean() for value in np.unique(values)])[
        np.searchsorted(np.unique(values), high)
    ]
    return (ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high))


def test_layout(phantom):
    datalist = json.loads(phantom.read_text(encoding="utf-8"))
    assert list(datalist) == ["name", "modalities", "labels", "training", "test"]
    assert datalist["modalities"] == ["t1", "t1gd", "t2", "flair", "pet"]
    assert datalist["labels"] == {"0": "background", "1": "necrosis", "2": "oedema", "3": "enhancing tumour"}
    item = {"image": "images/s01_t1gd.nii.gz", "label": "labels/s01.nii.gz", "modality": "t1gd", "subject": "s01"}
    assert datalist["training"][1] == {**item, "fold": 0}
    assert "label" not in datalist["training"][4]  # the PET is a target, not an image to segment
    assert [i["subject"] for i in datalist["test"]] == ["s03"] * 5
    assert {i["subject"]: i["fold"] for i in datalist["training"]} == {"s01": 0, "s02": 1}
    listed = {i[k] for part in ("training", "test") for i in datalist[part] for k in ("image", "label") if k in i}
    assert listed == set(images(phantom))


def test_check_finds_nothing_wrong(phantom):
    report = check_datalist(phantom)
    assert report.errors == report.warnings == report.notes == []
    assert "training: 2 subjects; t1 2 (2 labelled)" in "".join(report.summary())


def test_paired_reader_takes_it(phantom):
    (subject,) = group_by_subject(load_datalist(phantom, "test"), list(BRAIN_SEQUENCES))
    load = LoadImageModalitiesd("image", modalities=BRAIN_SEQUENCES, target="t1gd", labels=range(4))
    out = load({"image": subject["image"], "label": subject["label"]})
    assert out["present"].tolist() == out["labelled"].tolist() == [True] * 4


def test_background_is_zero_and_brain_is_not(phantom):
    for subject in ("s01", "s02"):
        stack = [nib.load(phantom.parent / f"images/{subject}_{m}.nii.gz") for m in (*BRAIN_SEQUENCES, "pet")]
        label = np.asarray(nib.load(phantom.parent / f"labels/{subject}.nii.gz").dataobj)
        assert all(np.array_equal(image.affine, stack[0].affine) for image in stack)  # one grid
        masks = [np.asarray(image.dataobj) > 0 for image in stack]
        assert all((mask == masks[0]).all() for mask in masks)
        assert min(np.asarray(image.dataobj).min() for image in stack) == 0
        assert 0.2 < masks[0].mean() < 0.5
        assert not (label > 0)[~masks[0]].any()
        assert set(np.unique(label)) == {0, 1, 2, 3}
        faces = [np.take(masks[0], end, axis) for axis in range(3) for end in (0, -1)]
        assert not any(face.any() for face in faces)  # the whole brain is in the picture


def test_brains_have_the_size_of_brains(volumes):
    for one in volumes:
        litres = (one["t1"].image > 0).sum() * np.prod(one["t1"].grid.spacing) / 1e6
        assert 1.1 < litres < 1.9  # with the CSF around it; textbooks: 1.1 to 1.7 without


def test_same_seed_same_bytes(phantom, tmp_path):
    again = make_brain_phantom(tmp_path / "a", subjects=3, test_subjects=1, folds=2, seed=3, size=SIZE, pet=True)
    assert images(again) == images(phantom)
    assert again.read_bytes() == phantom.read_bytes()


def test_a_subject_is_the_same_whatever_else_is_asked(phantom, tmp_path):
    fewer = make_brain_phantom(tmp_path / "f", subjects=2, test_subjects=0, modalities="flair,t2", seed=3, size=SIZE)
    assert len(images(fewer)) == 6
    assert images(fewer) == {name: images(phantom)[name] for name in images(fewer)}
    some = make_brain_phantom(tmp_path / "m", subjects=2, test_subjects=0, missing=0.5, seed=3, size=SIZE)
    assert images(some) == {name: images(phantom)[name] for name in images(some)}


def test_subjects_and_seeds_are_different_brains():
    brains = [make_brain_volumes(s, seed, modalities=["t1"], size=SIZE)["t1"] for s, seed in ((1, 0), (2, 0), (1, 1))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not np.array_equal(brains[a].image > 0, brains[b].image > 0)
        assert overlap(brains[a].label > 0, brains[b].label > 0) < 0.6
        inside = (brains[a].image > 0) & (brains[b].image > 0)
        # the pattern of folds is not shared
        assert np.corrcoef(brains[a].image[inside], brains[b].image[inside])[0, 1] < 0.6


def test_each_sequence_tells_other_labels(volumes):
    """Chance to order a voxel of two parts by brightness; 0.5 is guessing."""

    def between(low, high, modality):
        found = []
        for one in volumes:
            image, label = one[modality].image, one[modality].label
            found.append(auc(image[label == low], image[label == high]))
        return np.mean(found)

    assert between(OEDEMA, ENHANCING, "t1gd") > 0.95
    for modality in ("t1", "t2", "flair"):
        assert 0.25 < between(OEDEMA, ENHANCING, modality) < 0.75, modality
    for modality in ("t1", "t1gd", "flair"):
        assert between(OEDEMA, NECROSIS, modality) < 0.3, modality  # 0 but for partial volume
    assert 0.5 < between(OEDEMA, NECROSIS, "t2") < 0.9
    assert between(NECROSIS, ENHANCING, "pet") > 0.9


def test_oedema_stands_out_from_the_brain_in_t2_and_flair():
    for subject in (1,):
        sick, well = (make_brain_volumes(subject, healthy=h, size=40) for h in (False, True))
        oedema = sick["t1"].label == OEDEMA
        for modality, low, high in (("flair", 1.4, 2.6), ("t2", 1.4, 2.6), ("t1", 0.6, 0.95), ("t1gd", 0.6, 0.95)):
            gain = np.median(sick[modality].image[oedema]) / np.median(well[modality].image[oedema])
            assert low < gain < high, modality
        # cortex is as bright as oedema in T1 and not in FLAIR
        assert auc(well["flair"].image[well["flair"].image > 0], sick["flair"].image[oedema]) > 0.95
        assert auc(well["t1"].image[well["t1"].image > 0], sick["t1"].image[oedema]) < 0.75


def test_contrast_agent_changes_the_rim_alone(volumes):
    for one in volumes:
        ratio = one["t1gd"].image / np.maximum(one["t1"].image, 1)
        brain, rim = (one["t1"].image > 0) & (one["t1"].label == 0), one["t1"].label == ENHANCING
        assert np.median(ratio[rim]) > 1.3 * np.median(ratio[brain])


def test_healthy_is_the_same_brain_without_tumour(tmp_path):
    sick, well = (make_brain_volumes(2, healthy=h, modalities=["t1"], size=SIZE)["t1"] for h in (False, True))
    assert not well.label.any()
    far = np.ones(sick.label.shape, bool)
    x, y, z = (slice(max(0, i.min() - 8), i.max() + 9) for i in np.nonzero(sick.label))
    far[x, y, z] = False
    difference = np.abs(sick.image[far].astype(int) - well.image[far]) / sick.image.max()
    assert np.quantile(difference, 0.99) < 0.02
    path = make_brain_phantom(tmp_path / "h", subjects=2, test_subjects=1, healthy=True, size=SIZE)
    datalist = json.loads(path.read_text(encoding="utf-8"))
    assert datalist["modalities"] == ["t1", "t2"]
    assert not any("label" in item for part in ("training", "test") for item in datalist[part])
    assert check_datalist(path).errors == []


def test_missing_sequences(tmp_path):
    options = {"subjects": 8, "test_subjects": 1, "size": 24, "pet": True}
    path = make_brain_phantom(tmp_path / "m", missing=0.5, **options)
    datalist = json.loads(path.read_text(encoding="utf-8"))
    names = [f"s{n:02d}" for n in range(1, 9)]
    have = {
        s: [i["modality"] for part in ("training", "test") for i in datalist[part] if i["subject"] == s] for s in names
    }
    assert all(have[s] == [*BRAIN_SEQUENCES, "pet"] for s in names[7:])
    assert all(len(have[s]) > 1 and have[s][-1] == "pet" for s in names)
    assert 7 <= sum(len(have[s]) - 1 for s in names[:7]) <= 21  # 14 are expected
    assert len(images(path)) == sum(map(len, have.values())) + 8  # nothing is written for what is absent
    record = json.loads((path.parent / "phantom.json").read_text(encoding="utf-8"))["subjects"]
    assert all(sorted([*record[s]["absent"], *have[s]]) == sorted([*BRAIN_SEQUENCES, "pet"]) for s in names)
    assert check_datalist(path).errors == []
    path = make_brain_phantom(tmp_path / "all", missing=1.0, subjects=2, test_subjects=0, size=24)
    assert [i["subject"] for i in json.loads(path.read_text(encoding="utf-8"))["training"]] == ["s01", "s02"]


def test_own_grids_have_true_labels():
    volumes = make_brain_volumes(4, modalities=list(BRAIN_PROTOCOLS), own_grids=True, size=40)
    common = make_brain_volumes(4, modalities=["t1"], size=48)["t1"]
    assert len({volume.image.shape for volume in volumes.values()}) > 2
    codes = {name: "".join(nib.aff2axcodes(volume.grid.affine)) for name, volume in volumes.items()}
    assert codes == {"t1": "PSL", "t1gd": "LPS", "t2": "LPS", "flair": "LPS", "pet": "LPS"}
    assert len({round(volume.grid.spacing[2], 3) for volume in volumes.values()}) == 5
    for name, volume in volumes.items():
        assert ((volume.image > 0) | (volume.label == 0)).all()
        # the record of the motion takes every voxel to the common grid, where the same tissue is
        index = np.stack(np.meshgrid(*map(np.arange, volume.image.shape), indexing="ij")).reshape(3, -1)
        planes = [volume.motion.pull_back(volume.grid.plane(k), k) for k in range(volume.image.shape[2])]
        rest = np.stack(planes, -1).reshape(3, -1)
        place = np.rint(nib.affines.apply_affine(np.linalg.inv(common.grid.affine), rest.T)).astype(int)
        inside = ((place >= 0) & (place < common.label.shape)).all(1)
        there = np.zeros(index.shape[1], int)
        there[inside] = common.label[tuple(place[inside].T)]
        here = volume.label.reshape(-1)
        assert overlap(here > 0, there > 0) > 0.8, name
        assert 1 < np.linalg.norm(volume.motion.translation) + np.linalg.norm(volume.motion.rotation) < 12
    rim = {name: np.median(v.image[v.label == 3]) / np.median(v.image[v.image > 0]) for name, v in volumes.items()}
    assert rim["t1gd"] > 1.25 * rim["t1"]


def test_own_grids_as_a_data_set(tmp_path):
    path = make_brain_phantom(tmp_path / "o", subjects=2, test_subjects=1, own_grids=True, size=SIZE, pet=True)
    report = check_datalist(path)
    assert report.errors == report.warnings == []
    record = json.loads((path.parent / "phantom.json").read_text(encoding="utf-8"))["subjects"]["s01"]
    assert list(record["motion"]) == ["t1", "t1gd", "t2", "flair", "pet"]
    assert list(record["label_ml"]) == ["t1", "t1gd", "t2", "flair"]


def test_a_bundle_can_ask_for_it(tmp_path):
    settings = {"kind": "brain", "subjects": 1, "test_subjects": 0, "size": 24, "modalities": ["t1"]}
    assert find_datalist(tmp_path / "p", tmp_path / "p", settings) == tmp_path / "p" / "datalist.json"
    with pytest.raises(FileExistsError, match="same parameters"):
        make_brain_phantom(tmp_path / "p", subjects=2, size=24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modalities": ["t1", "ct"]}, r"modalities must be different names out of .*, got \['t1', 'ct'\]"),
        ({"modalities": ["t1", "pet"]}, "pet=True adds a PET"),
        ({"modalities": ["t1", "t1"]}, "modalities must be different names"),
        ({"modalities": []}, "modalities must be different names"),
        ({"subjects": 0}, "subjects must be a whole number of at least 1, got 0"),
        ({"test_subjects": 13}, "test_subjects must be at most subjects=12, got 13"),
        ({"folds": 0}, "folds must be a whole number of at least 1, got 0"),
        ({"size": 8}, "size must be a whole number of at least 24, got 8"),
        ({"seed": True}, "seed must be a whole number of at least 0, got True"),
        ({"missing": 1.5}, r"missing must lie in \[0, 1\], got 1.5"),
        ({"missing": float("nan")}, r"missing must lie in \[0, 1\], got nan"),
        ({"missing": "half"}, r"missing must lie in \[0, 1\], got 'half'"),
        ({"healthy": 1}, "healthy must be true or false, got 1"),
        ({"pet": "yes"}, "pet must be true or false, got 'yes'"),
    ],
)
def test_invalid_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_brain_phantom(tmp_path / "x", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unknown_modality_of_volumes():
    with pytest.raises(ValueError, match=r"modalities must be among \['t1', .*'pet'\], got \['ct'\]"):
        make_brain_volumes(1, modalities=["t1", "ct"])
