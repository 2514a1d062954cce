# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The cardiac and the abdomen phantom: patients, places in the body, intensities."""

from functools import partial
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.phantom import make_ct_mr_volume

SIZE = 40
KINDS = {kind: partial(make_ct_mr_volume, kind) for kind in ("cardiac", "abdomen")}
AXES = {("cardiac", "ct"): "LPS", ("cardiac", "mr"): "PIR", ("abdomen", "ct"): "LPS", ("abdomen", "mr"): "RPI"}


@pytest.fixture(scope="module", params=sorted(AXES), ids="-".join)
def case(request):
    kind, modality = request.param
    volumes = [KINDS[kind](modality, subject, seed=1, size=SIZE) for subject in (1, 2, 3, 4)]
    return SimpleNamespace(kind=kind, modality=modality, volumes=volumes, make=KINDS[kind])


def centres(volume):
    """Middle of each class in patient space: right, front, head are positive."""
    return {
        k: volume.grid.affine[:3, :3] @ np.argwhere(volume.label == k).mean(0) + volume.grid.affine[:3, 3]
        for k in range(1, 5)
    }


def test_every_class_is_whole_and_there(case):
    for volume in case.volumes:
        assert volume.image.dtype == np.int16
        assert volume.label.dtype == np.uint8
        counts = np.bincount(volume.label.ravel(), minlength=5)
        assert len(counts) == 5
        assert counts[1:].min() > 30
        edges = np.ones(volume.label.shape, bool)
        edges[1:-1, 1:-1, 1:-1] = False
        assert (volume.label[edges] > 0).sum() < 0.02 * counts[1:].sum()  # little is cut off


def test_volumes_in_millilitres(case):
    # wide ranges of adults; the cardiac phantom's ventricle is on the large side
    ranges = {
        "cardiac": {1: (55, 260), 2: (20, 140), 3: (40, 200), 4: (10, 110)},
        "abdomen": {1: (800, 2600), 2: (70, 280), 3: (70, 280), 4: (70, 450)},
    }
    for volume in case.volumes:
        for k, (low, high) in ranges[case.kind].items():
            assert low < (volume.label == k).sum() * np.prod(volume.grid.spacing) / 1000 < high


def test_orientation_of_the_voxels(case):
    for volume in case.volumes:
        assert "".join(nib.aff2axcodes(volume.grid.affine)) == AXES[case.kind, case.modality]
        assert np.linalg.det(volume.grid.affine[:3, :3]) > 0
        assert volume.image.shape[0] == SIZE


def test_organs_are_where_they_belong(case):
    for volume in case.volumes:
        x, y, z = np.array([centres(volume)[k] for k in range(1, 5)]).T
        if case.kind == "abdomen":
            liver, right, left, spleen = range(4)
            assert x[liver] > 25
            assert x[spleen] < -50
            assert 40 < x[right] < 95
            assert -95 < x[left] < -40
            assert max(y[right], y[left]) < y[liver] - 20  # kidneys lie behind
            assert max(z[right], z[left]) < min(z[liver], z[spleen])
        else:
            muscle, atrium, blood, aorta = range(4)
            assert x[blood] < x[atrium] - 10  # the ventricle points to the left
            assert y[blood] > y[atrium] + 15  # the atrium lies behind
            assert z[aorta] > z[blood] + 30
            assert abs(x[muscle] - x[blood]) < 12


def test_no_two_patients_are_alike(case):
    sizes = [[(v.label == k).sum() * np.prod(v.grid.spacing) for k in range(1, 5)] for v in case.volumes]
    spread = np.std(sizes, axis=0) / np.mean(sizes, axis=0)
    assert spread.min() > 0.02
    assert spread.mean() > 0.1
    assert len({v.grid.affine.tobytes() for v in case.volumes}) == len(case.volumes)


def test_patients_differ_between_modalities(case):
    other = case.make("mr" if case.modality == "ct" else "ct", 1, seed=1, size=SIZE)
    mine = case.volumes[0]
    differ = [(other.label == k).sum() * np.prod(other.grid.spacing) for k in range(1, 5)]
    same = [(mine.label == k).sum() * np.prod(mine.grid.spacing) for k in range(1, 5)]
    assert not np.allclose(differ, same, rtol=0.02)


def test_same_seed_same_volume(case):
    again = case.make(case.modality, 2, seed=1, size=SIZE)
    np.testing.assert_array_equal(again.image, case.volumes[1].image)
    np.testing.assert_array_equal(again.label, case.volumes[1].label)
    np.testing.assert_array_equal(again.grid.affine, case.volumes[1].grid.affine)


def test_intensities(case):
    for volume in case.volumes:
        mean = [np.median(volume.image[volume.label == k]) for k in range(5)]
        if case.modality == "ct":
            assert volume.image.min() < -950
            assert min(mean[1:]) > 0
            assert max(mean[1:]) < 500
            if case.kind == "cardiac":
                assert min(mean[2:]) > mean[1] + 30
                assert np.ptp(mean[2:]) < 60  # three cavities with one blood
        else:
            assert volume.image.min() >= 0
            assert (mean[1] < 0.8 * mean[3]) if case.kind == "cardiac" else (mean[1] < min(mean[2:]))


def best_interval_dice(image, mask):
    """Dice of the best interval of intensities, chosen with the truth in hand."""
    edges = np.quantile(image, np.linspace(0, 1, 120))
    hit, all_ = (np.r_[0, np.histogram(values, np.unique(edges))[0].cumsum()] for values in (image[mask], image))
    hits, picked = hit[None] - hit[:, None], all_[None] - all_[:, None]
    return (2 * hits / np.maximum(mask.sum() + picked, 1)).max()


def test_thresholds_do_not_solve_it(case):
    dice = [[best_interval_dice(v.image, v.label == k) for k in range(1, 5)] for v in case.volumes]
    assert np.mean(dice, axis=0).max() < 0.65
    assert np.mean(dice) < 0.5


def test_inverse_changes_mr_images_only(case):
    clean, turned = case.volumes[0], case.make(case.modality, 1, seed=1, size=SIZE, inverse=True)
    np.testing.assert_array_equal(clean.label, turned.label)
    if case.modality == "ct":
        np.testing.assert_array_equal(clean.image, turned.image)
        return
    ct = case.make("ct", 1, seed=1, size=SIZE)
    pairs = ((1, 3),) if case.kind == "cardiac" else ((1, 2), (1, 3))
    for dark, bright in pairs:  # in CT
        assert np.median(ct.image[ct.label == dark]) < np.median(ct.image[ct.label == bright])
        assert np.median(turned.image[turned.label == dark]) > 1.1 * np.median(turned.image[turned.label == bright])
    corner = turned.image[:3, :3, :3]
    assert np.median(corner) > np.median(turned.image[turned.label == 3])  # air is white


def test_artefacts_change_the_image_only(case):
    artefact = "metal" if case.modality == "ct" else "ghosts"
    spoilt = case.make(case.modality, 1, seed=1, size=SIZE, artefact=artefact)
    np.testing.assert_array_equal(spoilt.label, case.volumes[0].label)
    assert (spoilt.image != case.volumes[0].image).mean() > 0.2


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_errors(kind):
    with pytest.raises(ValueError, match=r"modality must be one of \['ct', 'mr'\], got 'pet'"):
        KINDS[kind]("pet", 1)
    with pytest.raises(ValueError, match=r"artefact must be one of \['metal', .*\] for ct, got 'ghosts'"):
        KINDS[kind]("ct", 1, size=24, artefact="ghosts")
