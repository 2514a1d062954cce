# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import math
from itertools import combinations

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import kl_div

from monai_mmseg.losses import KnowledgeDistillationLoss, knowledge_distillation_loss
from monai_mmseg.losses.class_logits import ClassLogits, class_logit_sums, knowledge_matrices, pool_class_logits
from tests.losses.ummkd_cases import CASES, case

EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = pytest.mark.parametrize("size", [(6, 5), (4, 3, 2)], ids=["2d", "3d"])


def classes_of(labels, num_classes):
    """Class indices of one-hot labels; pixels of zeros get a value that is no class."""
    return torch.where(labels.bool().any(1, keepdim=True), labels.argmax(1, keepdim=True), num_classes + 7)


def batch(size=(6, 5), rows=(2, 3), classes=4, spread=2.0):
    generator = torch.Generator().manual_seed(4)
    logits = [spread * torch.randn(n, classes, *size, generator=generator, dtype=torch.float64) for n in rows]
    labels = [torch.randint(classes, (n, 1, *size), generator=generator) for n in rows]
    return logits, labels


def mixed(logits, labels, order):
    """The same rows in one tensor, in another order."""
    index = torch.arange(len(logits)).repeat_interleave(torch.tensor([len(x) for x in logits]))[order]
    return torch.cat(logits)[order], torch.cat(labels)[order], index, len(logits)


@pytest.mark.parametrize("labels_as", ["onehot", "classes"])
@pytest.mark.parametrize("name", CASES)
def test_original(name, labels_as):
    true = case(name)
    logits = [true["logits_s"].requires_grad_(), true["logits_t"].requires_grad_()]
    labels = [true["onehot_s"], true["onehot_t"]]
    if labels_as == "classes":
        labels = [classes_of(part, part.shape[1]) for part in labels]
    loss = knowledge_distillation_loss(logits, labels, temperature=float(true["T"]))
    half = loss / 2  # the file holds half of Eq. 4
    torch.testing.assert_close(half, true["kd"], **EXACT)
    for found, expected in zip(torch.autograd.grad(half, logits), (true["g_kd_s"], true["g_kd_t"]), strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("name", CASES)
def test_original_matrices_of_a_mixed_batch(name):
    true = case(name)
    order = torch.randperm(len(true["logits_s"]) + len(true["logits_t"]))
    logits, labels, modality, count = mixed(
        [true["logits_s"], true["logits_t"]], [true["onehot_s"], true["onehot_t"]], order
    )
    temperature = float(true["T"])
    matrices = knowledge_matrices(pool_class_logits(class_logit_sums(logits, labels), modality, count), temperature)
    torch.testing.assert_close(matrices, torch.stack([true["q_s"], true["q_t"]]), **EXACT)
    loss = KnowledgeDistillationLoss(2, temperature=temperature)(logits, labels, modality)
    torch.testing.assert_close(loss / 2, true["kd"], **EXACT)


@SIZES
@pytest.mark.parametrize("count", [2, 3, 4])
def test_against_plain_loops(size, count):
    logits, labels = batch(size, rows=range(1, count + 1))
    rows = [
        torch.stack([x.movedim(1, -1)[y[:, 0] == c].mean(0) / 3 for c in range(4)])
        for x, y in zip(logits, labels, strict=True)
    ]

    def distance(a, b):
        a, b = a.log_softmax(1), b.log_softmax(1)
        return (kl_div(a, b, reduction="sum", log_target=True) + kl_div(b, a, reduction="sum", log_target=True)) / 4

    expected = torch.stack([distance(a, b) for a, b in combinations(rows, 2)]).mean()
    # the 1e-6 beside the number of pixels is not in the loops
    torch.testing.assert_close(knowledge_distillation_loss(logits, labels, temperature=3), expected, rtol=1e-5, atol=0)


@SIZES
def test_a_mixed_batch_equals_lists(size):
    logits, labels = batch(size, rows=(2, 3, 1))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    expected = knowledge_distillation_loss(logits, labels)
    torch.testing.assert_close(knowledge_distillation_loss(*mixed(logits, labels, order)), expected)


def test_lists_of_different_image_sizes():
    a, la = batch((6, 5), rows=(2,))
    b, lb = batch((3, 9), rows=(3,))
    halves = [b[0][..., :4], b[0][..., 4:]]
    whole = knowledge_distillation_loss([*a, *b], [*la, *lb])
    assert whole > 0
    # cutting the images of one modality into pieces changes no class mean
    pooled = pool_class_logits(
        torch.cat(
            [class_logit_sums(x, y) for x, y in zip([*a, *halves], [*la, lb[0][..., :4], lb[0][..., 4:]], strict=True)]
        ),
        torch.tensor([0] * 2 + [1] * 6),
        2,
    )
    torch.testing.assert_close(KnowledgeDistillationLoss().compare(pooled), whole)


@SIZES
def test_what_changes_nothing(size):
    (a, b), (la, lb) = batch(size)
    loss = knowledge_distillation_loss([a, b], [la, lb])
    pixels = torch.randperm(math.prod(size))

    def same(x, y, lx, ly):
        torch.testing.assert_close(knowledge_distillation_loss([x, y], [lx, ly]), loss)

    assert loss > 0
    same(b, a, lb, la)
    same(a.flip(0), b[[1, 2, 0]], la.flip(0), lb[[1, 2, 0]])
    same(a + torch.randn(2, 1, *size, dtype=a.dtype), b, la, lb)  # one constant a pixel, over all classes
    same(a.flatten(2)[..., pixels], b.flatten(2), la.flatten(2)[..., pixels], lb.flatten(2))
    new = torch.tensor([2, 0, 3, 1])  # class c is now called new[c]
    old = new.argsort()
    same(a[:, old], b[:, old], new[la], new[lb])


def test_zero_for_equal_means_and_never_negative():
    (a, _), (la, _) = batch(rows=(2, 2))
    within = a.clone()
    where = (la == 1).expand_as(a)
    noise = torch.randn(int(where[:, :1].sum()), dtype=a.dtype)
    within[:, :1][where[:, :1]] += noise - noise.mean()
    torch.testing.assert_close(knowledge_distillation_loss([a, within], [la, la]), a.new_zeros(()))
    for scale in (1e-6, 1e-3, 1, 30):
        logits, labels = batch(spread=scale)
        for dtype in (torch.float32, torch.float64):
            assert knowledge_distillation_loss([x.to(dtype) for x in logits], labels) >= 0


def test_temperature():
    logits, labels = batch()
    scaled = [x / 3 for x in logits]
    torch.testing.assert_close(
        knowledge_distillation_loss(logits, labels, temperature=3),
        knowledge_distillation_loss(scaled, labels, temperature=1),
    )
    values = [float(knowledge_distillation_loss(logits, labels, temperature=t)) for t in (1, 10, 100, 1e4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-8


def test_class_absent_in_one_is_pulled_to_uniform_or_skipped():
    (a, b), (la, lb) = batch()
    la, lb = la.clamp(max=2), lb.clamp(max=2)
    lb[0, 0, 0, 0] = 3  # class 3 has one pixel in b, none in a
    full = pool_class_logits(class_logit_sums(torch.cat([a, b]), torch.cat([la, lb])), torch.tensor([0, 0, 1, 1, 1]), 2)
    row = (b[0, :, 0, 0] / (1 + 1e-6) / 2).log_softmax(0)
    uniform = torch.full_like(row, 0.25).log()
    pull = kl_div(row, uniform, reduction="sum", log_target=True) + kl_div(
        uniform, row, reduction="sum", log_target=True
    )
    skip = KnowledgeDistillationLoss(absent="skip").compare(full)
    torch.testing.assert_close(KnowledgeDistillationLoss().compare(full), skip + pull / 4)


def test_class_absent_in_both_adds_nothing():
    (a, b), (la, lb) = batch()
    la, lb = la.clamp(max=2), lb.clamp(max=2)
    loss = knowledge_distillation_loss([a, b], [la, lb])
    torch.testing.assert_close(loss, knowledge_distillation_loss([a, b], [la, lb], absent="skip"))


@pytest.mark.parametrize("absent", ["uniform", "skip"])
def test_gradient_flows_into_both_and_is_finite(absent):
    (a, b), (la, lb) = batch()
    la, lb = la.clamp(max=2), lb.clamp(min=1)
    a.requires_grad_()
    b.requires_grad_()
    knowledge_distillation_loss([a, b], [la, lb], absent=absent).backward()
    for x, y in ((a, la), (b, lb)):
        assert x.grad.isfinite().all()
        assert x.grad.abs().sum() > 0
        torch.testing.assert_close(x.grad.sum(1), torch.zeros_like(x.grad[:, 0]))
        for c in range(4):  # only the mean enters: one gradient for all pixels of a class
            found = x.grad.movedim(1, -1)[y[:, 0] == c]
            torch.testing.assert_close(found, found[:1].expand_as(found))


@pytest.mark.parametrize("absent", ["uniform", "skip"])
def test_gradient_is_the_derivative(absent):
    (a, b), (la, lb) = batch((2, 2), rows=(1, 2), classes=3)

    def loss(x, y):
        return knowledge_distillation_loss([x, y], [la, lb], absent=absent)

    assert gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))


@pytest.mark.parametrize("form", ["lists", "mixed"])
@pytest.mark.parametrize("onehot", [False, True])
def test_rows_without_a_label_change_nothing(form, onehot):
    logits, labels = batch(rows=(2, 3))
    if onehot:
        labels = [torch.eye(4, dtype=torch.float64)[y[:, 0]].movedim(-1, 1) for y in labels]
    expected = knowledge_distillation_loss([logits[0], logits[1][:2]], [labels[0], labels[1][:2]])
    masks = [torch.tensor([True, True]), torch.tensor([True, True, False])]
    logits[1][2] = float("nan")
    if onehot:
        labels[1][2] = float("nan")
    for x in logits:
        x.requires_grad_()
    if form == "lists":
        loss = knowledge_distillation_loss(logits, labels, labelled=masks)
    else:
        order = torch.tensor([4, 1, 3, 0, 2])
        loss = knowledge_distillation_loss(*mixed(logits, labels, order), torch.cat(masks)[order])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits[1].grad.isfinite().all()
    assert logits[1].grad[2].abs().sum() == 0


@pytest.mark.parametrize("absent", ["uniform", "skip"])
def test_a_modality_that_is_not_there_is_in_no_pair(absent):
    logits, labels = batch(rows=(2, 0, 3))
    for x in logits:
        x.requires_grad_()
    expected = knowledge_distillation_loss(logits[::2], labels[::2], absent=absent)
    torch.testing.assert_close(knowledge_distillation_loss(logits, labels, absent=absent), expected)
    alone = knowledge_distillation_loss(logits[:2], labels[:2], absent=absent)
    assert alone == 0
    alone.backward()
    assert logits[0].grad.abs().sum() == 0
    one = knowledge_distillation_loss(logits[0], labels[0], torch.zeros(2).long(), 1, absent=absent)
    assert one == 0


def test_nothing_labelled():
    (a, b), (la, lb) = batch()
    a.requires_grad_()
    masks = [torch.zeros(2, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)]
    for settings in ({}, {"absent": "skip"}):
        loss = knowledge_distillation_loss([a, b], [la, lb], labelled=masks, **settings)
        assert loss == 0
        loss.backward()
    assert (a.grad == 0).all()
    # rows that are labelled, with pixels that all are not: all classes are absent, as in the original
    nothing = knowledge_distillation_loss([a, b], [torch.full_like(la, 255), torch.full_like(lb, -1)])
    assert nothing == 0


def test_sharp_logits_stay_finite():
    logits = [torch.tensor([[[500.0, 0.0], [0.0, 500.0]]]), torch.tensor([[[0.0, 500.0], [500.0, 0.0]]])]
    labels = [torch.tensor([[[0, 1]]])] * 2
    for x in logits:
        x.requires_grad_()
    loss = knowledge_distillation_loss(logits, labels)
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(500.0))  # (500 / 2) in both directions, two classes of two
    assert logits[0].grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    logits = torch.ones(2, 2, 300, 300, dtype=dtype)  # 90,000 pixels: no float16
    logits[0, 0] = 3
    labels = torch.zeros(2, 1, 300, 300)
    expected = knowledge_distillation_loss(logits.float(), labels, torch.tensor([0, 1]), 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = knowledge_distillation_loss(logits, labels, torch.tensor([0, 1]), 2)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_print():
    assert "temperature=4, absent='skip'" in repr(KnowledgeDistillationLoss(2, temperature=4, absent="skip"))
    assert ClassLogits._fields == ("means", "pixels", "rows")


L, Y = torch.zeros(2, 3, 4), torch.zeros(2, 1, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KnowledgeDistillationLoss(temperature=0), "temperature must be positive, got 0."),
        (lambda: KnowledgeDistillationLoss(absent="zero"), "absent must be 'uniform' or 'skip', got 'zero'."),
        (
            lambda: knowledge_distillation_loss(L, Y),
            "logits in one tensor need labels in one tensor, modality and num_modalities.",
        ),
        (
            lambda: knowledge_distillation_loss(L, Y, torch.zeros(2).long(), 1, [torch.ones(2)]),
            "labelled must be one mask for logits in one tensor, got list.",
        ),
        (
            lambda: knowledge_distillation_loss([L, L], Y),
            "logits in a list need labels and labelled in lists, without modality and num_modalities.",
        ),
        (
            lambda: knowledge_distillation_loss([L, L], [Y]),
            "logits, labels and labelled must have one entry for each modality, got 2, 1 and 2.",
        ),
        (
            lambda: knowledge_distillation_loss([L, torch.zeros(2, 5, 4)], [Y, Y]),
            "logits must have one number of classes, got [3, 5].",
        ),
        (lambda: class_logit_sums(L[0], Y), "logits must have shape (N, K, *spatial), got (3, 4)."),
        (
            lambda: class_logit_sums(L, torch.zeros(2, 4)),
            "labels must have shape (2, 1, 4) or (2, 3, 4) to fit logits, got (2, 4).",
        ),
        (
            lambda: pool_class_logits(class_logit_sums(L, Y), torch.zeros(3).long(), 1),
            "group must be torch.int64 of shape (2,), got torch.int64 of shape (3,).",
        ),
        (
            lambda: knowledge_distillation_loss(L, Y, ["ct", "mr"], 2),
            "modality must be a tensor, torch.int64 of shape (2,), got ['ct', 'mr'].",
        ),
        (
            lambda: knowledge_distillation_loss(L, Y, torch.zeros(2, dtype=torch.int32), 2),
            "modality must be torch.int64 of shape (2,), got torch.int32 of shape (2,).",
        ),
        (
            lambda: knowledge_distillation_loss(L, Y, torch.zeros(2).long(), 2, torch.ones(2)),
            "labelled must be torch.bool of shape (2,), got torch.float32 of shape (2,).",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


def test_no_mask_of_one_modality_means_all_of_its_rows():
    logits, labels = [torch.randn(2, 3, 4), torch.randn(3, 3, 4)], [torch.randint(3, (n, 1, 4)) for n in (2, 3)]
    mask = torch.tensor([True, False, True])
    found = knowledge_distillation_loss(logits, labels, labelled=[None, mask])
    every = torch.ones(2, dtype=torch.bool)
    torch.testing.assert_close(found, knowledge_distillation_loss(logits, labels, labelled=[every, mask]))
