# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from monai_mmseg.losses import AffinityConsistencyLoss, affinity_consistency_loss, class_affinities
from monai_mmseg.losses.class_affinity import resize_class_masks

FILE = Path(__file__).resolve().parents[1] / "reference" / "csa_losses.npz"
with np.load(FILE) as stored:
    ARRAYS = {key: torch.from_numpy(np.asarray(stored[key])) for key in stored.files}
CASES = sorted({key.split("/")[0] for key in ARRAYS})
EXACT = {"rtol": 1e-12, "atol": 1e-12}
SIZES = pytest.mark.parametrize("size", [(6, 5), (4, 3, 2)], ids=["2d", "3d"])


def case(name):
    """Features of both layers and labels, each a list with one tensor a modality; number of classes; all arrays."""
    found = {key.split("/")[1]: value for key, value in ARRAYS.items() if key.startswith(f"{name}/")}
    lists = [[found["F1l"], found["F2l"]], [found["F1k"], found["F2k"]], [found["y1"][:, None], found["y2"][:, None]]]
    return *lists, int(found["C"]), found


def batch(size=(6, 5), rows=(2, 3), channels=(4, 3), classes=3, scale=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    first, second = (
        [torch.randn(n, c, *size, generator=generator, dtype=torch.float64) for n in rows] for c in channels
    )
    labels = [torch.randint(classes, (n, 1, *(scale * s for s in size)), generator=generator) for n in rows]
    return first, second, labels, classes


def loop(first, second, labels, classes):
    """Matrices of one modality, one entry at a time, from the equations."""
    masks = resize_class_masks(labels, classes, first.shape[2:])
    found = []
    for c in range(classes):
        mask = masks[:, c]
        a = [(first[:, m] * mask).flatten() for m in range(first.shape[1])]
        b = [(second[:, m] * mask).flatten() for m in range(second.shape[1])]
        found.append(torch.tensor([[float(x @ y / (x.norm() * y.norm())) for y in b] for x in a]) / mask.sum())
    return torch.stack(found).double()


@pytest.mark.parametrize("size_norm", ["input", "feature"])
@pytest.mark.parametrize("name", CASES)
def test_reference_matrices(name, size_norm):
    first, second, labels, classes, true = case(name)
    found = class_affinities(first, second, labels, classes, size_norm=size_norm).matrices
    for m in range(2):
        torch.testing.assert_close(found[m], true[f"A{m + 1}_{size_norm}_batch"], **EXACT)


@pytest.mark.parametrize(
    "settings", list(product(["literal", "mse", "frobenius_p2"], ["skip", "zero"], ["input", "feature"])), ids="-".join
)
@pytest.mark.parametrize("name", CASES)
def test_reference_losses(name, settings):
    first, second, labels, classes, true = case(name)
    reduction, absent, size_norm = settings
    loss = AffinityConsistencyLoss(classes, reduction=reduction, absent=absent, size_norm=size_norm)
    expected = true[f"loss_{'_'.join(settings)}_batch"]
    torch.testing.assert_close(loss(first, second, labels), expected, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("name", CASES)
def test_reference_variants(name):
    first, second, labels, classes, true = case(name)
    for suffix, settings in {
        "mse_skip_input_batch_foreground": {"include_background": False},
        "affinity_noclass_mse_input_batch": {"class_specific": False},
    }.items():
        found = affinity_consistency_loss(first, second, labels, classes, size_norm="input", **settings)
        torch.testing.assert_close(found, true[f"loss_{suffix}"], rtol=1e-10, atol=1e-16)


@SIZES
def test_matrices_against_a_loop(size):
    first, second, labels, classes = batch(size)
    found = class_affinities(first, second, labels, classes)
    for m in range(2):
        expected = loop(first[m], second[m], labels[m], classes)
        torch.testing.assert_close(found.matrices[m], expected, rtol=1e-5, atol=1e-7)
    assert found.rows.tolist() == [2, 3]


@SIZES
def test_one_tensor_is_the_lists(size):
    first, second, labels, classes = batch(size, rows=(2, 3, 1))
    index = torch.tensor([0, 0, 1, 1, 1, 2])
    order = torch.tensor([5, 1, 3, 0, 4, 2])
    joined = [torch.cat(x)[order] for x in (first, second, labels)]
    a = class_affinities(first, second, labels, classes)
    b = class_affinities(*joined, classes, index[order], 3)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y)
    loss = AffinityConsistencyLoss(classes, 3)
    torch.testing.assert_close(loss(*joined, index[order]), loss(first, second, labels))


def test_more_modalities_are_the_mean_of_pairs():
    first, second, labels, classes = batch(rows=(2, 3, 1))
    loss = AffinityConsistencyLoss(classes)
    pairs = [loss(*([x[i], x[j]] for x in (first, second, labels))) for i, j in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(loss(first, second, labels), torch.stack(pairs).mean())


def test_invariants():
    first, second, labels, classes = batch()
    loss = AffinityConsistencyLoss(classes, size_norm="none")
    value = loss(first, second, labels)
    assert value > 0
    torch.testing.assert_close(loss(first[::-1], second[::-1], labels[::-1]), value)
    assert loss([first[0]] * 2, [second[0]] * 2, [labels[0]] * 2) == 0
    scale = torch.rand(4, 1, 1, dtype=torch.float64) + 0.5
    torch.testing.assert_close(loss([first[0] * scale, first[1]], second, labels), value)
    matrices = class_affinities(first, second, labels, classes).matrices
    flipped = class_affinities(
        [first[0] * torch.tensor([-1, 1, 1, 1]).view(4, 1, 1), first[1]], second, labels, classes
    )
    torch.testing.assert_close(flipped.matrices[0, :, 0], -matrices[0, :, 0])
    torch.testing.assert_close(flipped.matrices[0, :, 1:], matrices[0, :, 1:])


def test_no_spatial_alignment_is_needed():
    first, second, labels, classes = batch(scale=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    moved = [x[0].flatten(2)[..., order].view(x[0].shape) for x in (first, second, labels)]
    loss = AffinityConsistencyLoss(classes)
    torch.testing.assert_close(
        loss([moved[0], first[1]], [moved[1], second[1]], [moved[2], labels[1]]), loss(first, second, labels)
    )


def test_reductions():
    first, second, labels, classes = batch()
    value = {
        name: affinity_consistency_loss(first, second, labels, classes, reduction=name)
        for name in ("literal", "mse", "frobenius_p2")
    }
    assert value["literal"] <= value["mse"]
    torch.testing.assert_close(value["frobenius_p2"], value["mse"] / 12)
    permuted = [first[0][:, [2, 0, 3, 1]], first[1]]
    literal = affinity_consistency_loss(permuted, second, labels, classes, reduction="literal")
    torch.testing.assert_close(literal, value["literal"])
    assert not torch.isclose(affinity_consistency_loss(permuted, second, labels, classes), value["mse"])
    both = [x[:, [2, 0, 3, 1]] for x in first]
    torch.testing.assert_close(affinity_consistency_loss(both, second, labels, classes), value["mse"])


def test_size_of_the_region():
    first, second, labels, classes = batch(scale=1)
    twice = [[x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in part] for part in (first, second, labels)]
    for size_norm, factor in {"feature": 4, "none": 1, "fraction": 1}.items():
        a = class_affinities(first, second, labels, classes, size_norm=size_norm).matrices
        b = class_affinities(*twice, classes, size_norm=size_norm).matrices
        torch.testing.assert_close(a, b * factor)
    found = class_affinities(first, second, labels, classes)
    assert (found.matrices.abs() <= 1 / found.pixels[..., None, None] + 1e-12).all()
    share = class_affinities(first, second, labels, classes, size_norm="fraction").matrices
    torch.testing.assert_close(share[0], found.matrices[0] * 60)  # two images of thirty pixels


def test_finer_features_are_averaged():
    first, second, labels, classes = batch()
    fine = [x.repeat_interleave(2, 2).repeat_interleave(3, 3) for x in first]
    for pair in ((fine, second), (second, fine)):
        coarse = (first, second) if pair[0] is fine else (second, first)
        torch.testing.assert_close(
            affinity_consistency_loss(*pair, labels, classes), affinity_consistency_loss(*coarse, labels, classes)
        )


def test_absent_classes():
    first, second, labels, classes = batch()
    labels[0] = labels[0].clamp(max=1)
    first = [x.requires_grad_() for x in first]
    skip = affinity_consistency_loss(first, second, labels, classes)
    a, b = class_affinities(first, second, labels, classes).matrices
    torch.testing.assert_close(skip, (a - b)[:2].square().mean((1, 2)).sum() / 3)
    zero = affinity_consistency_loss(first, second, labels, classes, absent="zero")
    torch.testing.assert_close(zero, skip + b[2].square().mean() / 3)
    for value in (skip, zero):
        assert all(g.isfinite().all() for g in torch.autograd.grad(value, first, retain_graph=True))


def test_absent_modality_and_no_label():
    first, second, labels, classes = batch()
    first = [x.requires_grad_() for x in first]
    index = torch.tensor([0, 0, 1, 1, 1])
    joined = [torch.cat(x) for x in (first, second, labels)]
    loss = AffinityConsistencyLoss(classes, 2)
    nobody = loss(*joined, index, labelled=torch.zeros(5, dtype=torch.bool))
    assert nobody == 0
    assert loss(*joined, index, labelled=index == 0) == 0
    kept = torch.tensor([True, True, False, True, True])
    spoilt = joined[0].clone()
    spoilt[2] = torch.nan
    value = loss(spoilt, joined[1], joined[2], index, labelled=kept)
    torch.testing.assert_close(value, loss(*(x[kept] for x in joined), index[kept]))
    assert torch.autograd.grad(value, first[1])[0].isfinite().all()
    three = AffinityConsistencyLoss(classes, 3)
    torch.testing.assert_close(three(*joined, index), loss(*joined, index))


def test_pixels_without_a_label_count_nowhere():
    first, second, labels, classes = batch(scale=1)
    labels[0][:, :, :2] = 255
    value = affinity_consistency_loss(first, second, labels, classes)
    spoilt = [first[0].clone(), first[1]]
    spoilt[0][:, :, :2] = 7
    torch.testing.assert_close(affinity_consistency_loss(spoilt, second, labels, classes), value)


def test_gradient_stays_in_the_region():
    first, second, labels, classes = batch(scale=1)
    first = [x.requires_grad_() for x in first]
    affinity_consistency_loss(first, second, labels, classes, include_background=False).backward()
    for x, y in zip(first, labels, strict=True):
        background = (y == 0).expand_as(x)
        assert (x.grad[background] == 0).all()
        assert (x.grad[~background] != 0).any()


def test_dead_channels():
    first, second, labels, classes = batch()
    first[0][:, 1] = 0
    first[0].requires_grad_()
    found = class_affinities(first, second, labels, classes)
    assert (found.matrices[0, :, 1] == 0).all()
    gradient = torch.autograd.grad(found.matrices.square().sum(), first[0])[0]
    assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [1e-7, 1e-11, 1e-13, 1e-18])
def test_channels_that_are_nearly_dead_have_finite_gradients(size):
    """Such as of a gate that is closed: its square is a number, the derivative of the norm's inverse is none."""
    torch.manual_seed(0)
    first, second = ((torch.rand(1, 3, 4, 4) * scale).requires_grad_() for scale in (size, 1.0))
    labels = torch.randint(0, 2, (1, 1, 4, 4))
    affinity_consistency_loss([first, second], [second, second], [labels] * 2, 2, size_norm="none").backward()
    assert first.grad.isfinite().all()
    assert second.grad.isfinite().all()
    assert bool((first.grad != 0).any()) == (size > 1e-12)


def test_affinity_without_classes_is_one_class_everywhere():
    first, second, labels, classes = batch()
    everywhere = [torch.zeros_like(y) for y in labels]
    found = affinity_consistency_loss(first, second, labels, classes, class_specific=False)
    torch.testing.assert_close(found, affinity_consistency_loss(first, second, everywhere, 1))
    nobody = [torch.zeros(len(x), dtype=torch.bool) for x in first]  # it needs no labels
    torch.testing.assert_close(
        affinity_consistency_loss(first, second, labels, classes, labelled=nobody, class_specific=False), found
    )


@SIZES
@pytest.mark.parametrize("settings", [{}, {"reduction": "literal", "size_norm": "none"}])
def test_gradient(size, settings):
    first, second, labels, classes = batch(size[:1] + (2,) * (len(size) - 1), rows=(1, 2), channels=(2, 3))
    inputs = [x.requires_grad_() for x in (*first, *second)]
    settings = {"size_norm": "fraction", **settings}

    def loss(a, b, c, d):
        return affinity_consistency_loss([a, b], [c, d], labels, classes, **settings)

    assert gradcheck(loss, inputs)


def test_half_precision_is_summed_in_single():
    first, second, labels, classes = batch((24, 24), rows=(1, 1))
    exact = affinity_consistency_loss(first, second, labels, classes, size_norm="none")
    with torch.autocast("cpu", torch.bfloat16):
        found = affinity_consistency_loss(
            [x.bfloat16().double().float() for x in first],
            [x.float() for x in second],
            labels,
            classes,
            size_norm="none",
        )
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reduction": "mean"}, "reduction must be one of .*'mean'"),
        ({"size_norm": "x"}, "size_norm must be one of"),
        ({"labels": [torch.zeros(2, 1, 4)] * 2}, "labels must have shape"),
        ({"labelled": [torch.ones(2, dtype=torch.bool)]}, "one entry for each modality"),
        ({"modality": torch.tensor([0, 0])}, "without modality"),
        ({"first": torch.zeros(5, 4, 6, 5)}, "second and labels in one tensor"),
        ({"second": [torch.zeros(2, 3, 6, 5), torch.zeros(3, 2, 6, 5)]}, "the same channels"),
    ],
)
def test_wrong_arguments(change, message):
    first, second, labels, classes = batch()
    arguments = {"first": first, "second": second, "labels": labels, "num_classes": classes, **change}
    with pytest.raises(ValueError, match=message):
        affinity_consistency_loss(**arguments)


def test_wrong_settings_of_the_module():
    with pytest.raises(ValueError, match="size_norm must be one of"):
        AffinityConsistencyLoss(3, size_norm="x")
    assert "size_norm='none'" in repr(AffinityConsistencyLoss(3, size_norm="none"))


def test_the_modality_is_a_tensor_of_indices():
    features, labels = torch.zeros(2, 3, 4), torch.zeros(2, 1, 4)
    with pytest.raises(ValueError, match=r"modality must be a tensor, torch.int64 of shape \(2,\), got \['ct', 'mr'\]"):
        AffinityConsistencyLoss(2, 2)(features, features, labels, ["ct", "mr"])
