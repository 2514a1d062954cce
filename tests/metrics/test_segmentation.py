# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math
import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from monai_mmseg.metrics import ClassScore, image_diagonal, segmentation_scores, surface_distances


def surface(mask):
    """Voxels with a neighbour along an axis, or the border, outside of the mask; by looking at each."""
    padded = np.pad(mask, 1)
    points = []
    for point in np.argwhere(padded):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                neighbour = point.copy()
                neighbour[axis] += step
                if not padded[tuple(neighbour)]:
                    points.append(tuple(point))
    return np.unique(np.array(points), axis=0)


def brute_force(pred, label, spacing):
    """Hausdorff, its 95th percentile and the average symmetric distance from all pairs of surface voxels."""
    a, b = surface(pred) * np.array(spacing), surface(label) * np.array(spacing)
    pairs = np.linalg.norm(a[:, None] - b[None], axis=2)
    forth, back = pairs.min(1), pairs.min(0)
    return (
        max(forth.max(), back.max()),
        max(np.percentile(forth, 95), np.percentile(back, 95)),
        np.concatenate([forth, back]).mean(),
    )


def blob(rng, size, threshold=0.55):
    """A random smooth-ish mask that is not empty."""
    noise = rng.random(size)
    for axis in range(len(size)):
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)) / 3
    return noise > np.quantile(noise, threshold)


@pytest.mark.parametrize(
    ("size", "spacing"),
    [((14, 11), (1.0, 1.0)), ((14, 11), (0.7, 2.0)), ((9, 8, 6), (1.5, 1.5, 5.0)), ((7, 9, 5), (1, 2, 3))],
)
@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_brute_force(size, spacing, seed):
    rng = np.random.default_rng(seed)
    pred, label = blob(rng, size), blob(rng, size, 0.7)
    np.testing.assert_allclose(surface_distances(pred, label, spacing), brute_force(pred, label, spacing), rtol=1e-5)


# monai's distance functions hand on an argument that monai deprecated
@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges.always_return_as_numpy:FutureWarning")
@pytest.mark.parametrize("seed", range(3))
def test_distances_are_monais(seed):
    rng = np.random.default_rng(seed)
    masks = blob(rng, (9, 8, 6)), blob(rng, (9, 8, 6), 0.8)
    spacing = (1.4, 1.5, 5.0)
    found = surface_distances(*masks, spacing)
    one_hot = [torch.from_numpy(mask)[None, None].float() for mask in masks]
    settings = {"include_background": True, "spacing": list(spacing)}
    assert found.hausdorff == compute_hausdorff_distance(*one_hot, **settings).item()
    assert found.hausdorff95 == compute_hausdorff_distance(*one_hot, percentile=95, **settings).item()
    assert found.surface_distance == compute_average_surface_distance(*one_hot, symmetric=True, **settings).item()


def test_nothing_is_warned_about():
    """Neither for what is there nor for what is missing: nobody who evaluates could do anything about it."""
    label, pred = np.zeros((2, 8, 8, 4), dtype=int)
    label[2:5, 2:5, 1:3], pred[3:6, 2:5, 1:3], pred[7, 7, 3] = 1, 1, 3
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("error")
        segmentation_scores(pred, label, {1: "there", 2: "empty", 3: "spurious"}, (1.0, 1.0, 2.0))
        segmentation_scores(label, pred, {3: "missed"}, (1.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("shift", "spacing"), [((3, 0, 0), (2.0, 1.0, 1.0)), ((0, 2, 1), (1.0, 1.5, 4.0)), ((-1, 2, 2), (1, 1, 3))]
)
def test_hausdorff_equals_simpleitk(shift, spacing):
    sitk = pytest.importorskip("SimpleITK")
    label = np.zeros((14, 14, 10), dtype=np.uint8)
    label[4:9, 4:8, 3:6] = 1
    pred = np.roll(label, shift, axis=(0, 1, 2))
    images = [sitk.GetImageFromArray(mask.transpose(2, 1, 0)) for mask in (pred, label)]
    for image in images:
        image.SetSpacing([float(s) for s in spacing])
    other = sitk.HausdorffDistanceImageFilter()
    other.Execute(*images)
    found = surface_distances(pred, label, spacing)
    assert found.hausdorff == pytest.approx(other.GetHausdorffDistance(), rel=1e-5)


def test_cropping_changes_nothing():
    label, pred = np.zeros((2, 30, 30), dtype=bool)
    label[0:4, 26:30] = True  # touches the border: the border is a surface
    pred[0:5, 25:30] = True
    large = surface_distances(np.pad(pred, 7), np.pad(label, 7), (1.0, 2.0))
    assert surface_distances(pred, label, (1.0, 2.0)) == large
    np.testing.assert_allclose(large, brute_force(pred, label, (1.0, 2.0)), rtol=1e-5)


def test_known_scores():
    label = np.zeros((10, 10, 4), dtype=int)
    label[2:6, 2:6, 0:2] = 1  # 32 voxels
    label[8, 8, 3] = 2
    pred = np.zeros_like(label)
    pred[3:7, 2:6, 0:2] = 1  # the same, one voxel on: 24 in common
    pred[8, 5, 3] = 2  # one voxel, three voxels off
    first, second = segmentation_scores(pred, label, {0: "background", 1: "liver", 2: "spleen"}, (2.0, 1.0, 5.0))
    assert (first.label, first.name) == (1, "liver")
    assert first.dice == pytest.approx(48 / 64)
    assert first.hausdorff == pytest.approx(2.0)
    assert first.volume_pred_ml == pytest.approx(32 * 10 / 1000)
    assert second == ClassScore(
        2, "spleen", 0.0, 3.0, 3.0, 3.0, False, False, False, pytest.approx(0.01), pytest.approx(0.01)
    )


def test_missed_empty_and_spurious():
    label, pred = np.zeros((2, 30, 40), dtype=int)
    label[3:9, 3:9] = 1
    pred[20:25, 3:9] = 2
    scores = {s.name: s for s in segmentation_scores(pred, label, {1: "a", 2: "b", 3: "c"}, (1.0, 1.0))}
    missed, spurious, empty = scores["a"], scores["b"], scores["c"]
    assert (missed.missed, missed.empty, missed.spurious) == (True, False, False)
    assert (spurious.missed, spurious.empty, spurious.spurious) == (False, False, True)
    assert (empty.missed, empty.empty, empty.spurious) == (False, True, False)
    for wrong in (missed, spurious):
        assert wrong.dice == 0
        assert wrong[3:6] == (50.0, 50.0, 50.0)  # the diagonal of 30 x 40
    assert empty[2:6] == (1.0, 0.0, 0.0, 0.0)
    assert spurious.volume_pred_ml == pytest.approx(0.03)
    assert spurious.volume_label_ml == 0
    stated = segmentation_scores(pred, label, {1: "a"}, (1.0, 1.0), penalty=12.0)[0]
    assert stated[3:6] == (12.0, 12.0, 12.0)


def test_a_miss_is_worse_than_any_error():
    label, pred = np.zeros((2, 12, 9, 5), dtype=int)
    label[0, 0, 0] = pred[-1, -1, -1] = 1
    spacing = (1.0, 2.0, 4.0)
    worst = segmentation_scores(pred, label, {1: "a"}, spacing)[0]
    assert worst.hausdorff < image_diagonal(label.shape, spacing)


def test_datalist_keys_tensors_and_whole_floats():
    label = torch.zeros(8, 8)
    label[2:5, 2:5] = 1
    scores = segmentation_scores(label.double(), label.numpy(), {"0": "background", "1": "a"}, [1, 1])
    assert [s.name for s in scores] == ["a"]
    assert scores[0][2:6] == (1.0, 0.0, 0.0, 0.0)
    # a label that nobody named is not scored
    assert len(segmentation_scores(label + 1, label, {1: "a"}, (1, 1))) == 1


EMPTY = np.zeros((4, 4), dtype=int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: segmentation_scores(EMPTY, EMPTY[:3], {1: "a"}, (1, 1)),
            "pred and label must have one shape, got (4, 4) and (3, 4).",
        ),
        (
            lambda: segmentation_scores(EMPTY[None, None], EMPTY[None, None], {1: "a"}, (1, 1)),
            "pred must be 2D or 3D without a channel axis, got shape (1, 1, 4, 4).",
        ),
        (
            lambda: segmentation_scores(EMPTY, EMPTY, {1: "a"}, (1, 1, 1)),
            "spacing must list 2 positive lengths in mm, got (1, 1, 1).",
        ),
        (
            lambda: segmentation_scores(EMPTY, EMPTY, {1: "a"}, (1, 0)),
            "spacing must list 2 positive lengths in mm, got (1, 0).",
        ),
        (
            lambda: segmentation_scores(EMPTY, EMPTY, {1: "a"}, (1, 1), penalty=math.nan),
            "penalty must be a positive length in mm, got nan.",
        ),
        (
            lambda: segmentation_scores(EMPTY + 0.5, EMPTY, {1: "a"}, (1, 1)),
            "pred must hold whole class indices, got other numbers (float64).",
        ),
        (lambda: segmentation_scores(EMPTY, EMPTY * np.nan, {1: "a"}, (1, 1)), "label must hold whole class indices"),
        (lambda: surface_distances(EMPTY + 1, EMPTY, (1, 1)), "label must not be empty"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)
