# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Disentanglement: cases whose answer is known beforehand, and scipy for the correlation."""

from __future__ import annotations

import json
import math

import pytest
import torch
from scipy import stats

from monai_mmseg.metrics import (
    TrainingCodes,
    disentanglement_report,
    latent_traversal,
    modality_classification,
    posterior_variance,
)

SUBJECTS = [name for name in "abcdefgh" for _ in range(4)]
MODALITY = torch.tensor([0, 0, 1, 1] * 8)


def test_one_dimension_that_decides_is_found():
    z = torch.stack([torch.zeros(32), MODALITY * 2.0 - 1 + 0.1 * torch.randn(32), torch.tensor([1.0, -1.0] * 16)], 1)
    found = modality_classification(z, MODALITY, SUBJECTS, test_subjects=["a", "b"])
    assert found.accuracy == 1.0
    # a constant, and one that is balanced within both modalities, tell nothing
    assert found.per_dimension == [0.5, 1.0, 0.5]
    assert found.chance == 0.5
    assert (found.test_subjects, len(found.train_subjects)) == (["a", "b"], 6)


def test_scale_of_z_does_not_matter():
    z = torch.stack([1e4 + MODALITY * 1e-3, 1e3 * torch.randn(32)], 1).double()
    assert modality_classification(z, MODALITY, SUBJECTS).accuracy == 1.0


def test_no_subject_is_trained_and_tested():
    # every subject has a code of its own in which the modality is swapped for half of the subjects
    swapped = torch.tensor([name in "aceg" for name in SUBJECTS])
    z = torch.where(swapped, 1 - MODALITY, MODALITY).double()[:, None]
    found = modality_classification(z, MODALITY, SUBJECTS, test_subjects=["a", "c"])
    assert found.accuracy == 0.0  # more of the others are not swapped
    assert not set(found.train_subjects) & set(found.test_subjects)


def test_drawn_subjects_depend_on_the_seed_only():
    z = torch.randn(32, 2)
    first, again = (modality_classification(z, MODALITY, SUBJECTS, seed=3) for _ in range(2))
    assert first == again
    assert len(first.test_subjects) == 2  # 0.3 of 8, rounded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": SUBJECTS[:-1]}, r"one entry per row of z \(32\), got 32 and 31"),
        ({"test_subjects": ["zz"]}, r"must be among the subjects .* got \['zz'\]"),
        ({"test_subjects": list("abcdefgh")}, "leave subjects to train on"),
        ({"modality": torch.zeros(32, dtype=torch.long)}, r"at least two values .* got \[0\]"),
        ({"z": torch.full((32, 2), math.nan)}, "z must be finite"),
        ({"test_fraction": 1.5}, "test_fraction must lie between 0 and 1"),
    ],
)
def test_wrong_input_of_the_classification(change, message):
    given = {"z": torch.randn(32, 2), "modality": MODALITY, "subjects": SUBJECTS, **change}
    with pytest.raises(ValueError, match=message):
        modality_classification(**given)


def test_posterior_variance():
    logvar = torch.log(torch.tensor([[1.0, 0.2], [3.0, 0.4]]))
    torch.testing.assert_close(posterior_variance(logvar), torch.tensor([2.0, 0.3]))
    with pytest.raises(ValueError, match=r"\(N, D\) with N > 0, got \(0, 2\)"):
        posterior_variance(torch.zeros(0, 2))


def test_traversal_against_scipy():
    weight = torch.randn(3, 5, 5)

    def decode(anatomy, z):
        return torch.tanh(torch.einsum("nd,dhw->nhw", z, weight) + anatomy[:, 0])[:, None]

    anatomy, mu = torch.rand(1, 2, 5, 5), torch.randn(1, 3)
    found = latent_traversal(anatomy, mu, decode, limits=(-2, 2), steps=5)
    assert found.images.shape == (3, 5, 5, 5)
    assert found.values.tolist() == [-2, -1, 0, 1, 2]
    z = mu.clone()
    z[0, 1] = -1.0
    torch.testing.assert_close(found.images[1, 1], decode(anatomy, z)[0, 0])
    expected = stats.pearsonr(found.values.numpy(), found.images[2, :, 3, 4].numpy()).statistic
    assert found.correlation[2, 3, 4].item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(found.difference, found.images[:, 4] - found.images[:, 0])


def test_dimension_without_effect_has_correlation_zero():
    found = latent_traversal(
        torch.rand(1, 1, 3, 4, 2), torch.zeros(1, 2), lambda a, z: a[:, :1] + 0 * z[:, :1, None, None, None]
    )
    assert found.images.shape == (2, 7, 3, 4, 2)
    assert found.correlation.abs().max() == 0
    assert found.difference.abs().max() == 0


def test_traversal_leaves_no_gradient():
    anatomy = torch.rand(1, 1, 3, 3, requires_grad=True)
    assert not latent_traversal(anatomy, torch.zeros(1, 1), lambda a, z: a * z[:, :, None, None]).images.requires_grad


def test_wrong_input_of_the_traversal():
    image = lambda a, z: a[:, :1]  # noqa: E731
    with pytest.raises(ValueError, match="must have one row"):
        latent_traversal(torch.rand(2, 1, 3, 3), torch.zeros(1, 1), image)
    with pytest.raises(ValueError, match="steps must be at least 2"):
        latent_traversal(torch.rand(1, 1, 3, 3), torch.zeros(1, 1), image, steps=1)
    with pytest.raises(ValueError, match=r"\(7, 1, \*spatial\), got \(7, 2, 3, 3\)"):
        latent_traversal(torch.rand(1, 2, 3, 3), torch.zeros(1, 1), lambda a, z: a)


def test_report_is_plain_json():
    z = MODALITY[:, None].float() + 0.01 * torch.randn(32, 2)
    anatomy = (z[:, :1] * 2 + 1)[..., None, None].expand(32, 1, 1, 1)
    report = disentanglement_report(
        anatomy, z[:, :1], torch.zeros(32, 1), MODALITY, SUBJECTS, modalities=["cine", "lge"]
    )
    assert json.loads(json.dumps(report)) == report
    assert report["distance_correlation"] == pytest.approx(1.0)  # a similarity transform
    assert report["posterior_variance"] == [1.0]
    assert report["modality_classification"]["accuracy"] == 1.0
    assert (report["rows"], report["subjects"]) == (32, 8)


def test_classifier_trained_on_other_subjects():
    """By hand: a code whose sign is turned in the training subjects tells every tested row wrong."""
    z = MODALITY[:, None].float() * 2 - 1
    report = disentanglement_report(
        z[..., None, None], z, torch.zeros(32, 1), MODALITY, SUBJECTS, modalities=["cine", "lge"],
        training=TrainingCodes(-z, MODALITY, [f"other {name}" for name in SUBJECTS]),
    )  # fmt: skip
    found = report["modality_classification"]
    assert (found["accuracy"], len(found["train_subjects"]), len(found["test_subjects"])) == (0.0, 8, 8)
    assert (report["rows"], report["subjects"]) == (32, 8)
    with pytest.raises(ValueError, match="training must hold other subjects than those tested on"):
        disentanglement_report(
            z[..., None, None], z, z, MODALITY, SUBJECTS, modalities=["cine", "lge"],
            training=TrainingCodes(z, MODALITY, list(SUBJECTS)),
        )  # fmt: skip
