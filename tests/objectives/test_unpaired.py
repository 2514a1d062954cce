# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.networks.layers import ModalityNorm, convert_modality_norm
from monai_mmseg.networks.nets import AnisotropicUNet, DilatedResidualNet
from monai_mmseg.objectives import KnowledgeDistillationTerm, L2Term, UnpairedSegmentationObjective
from tests.losses.ummkd_cases import CASES, case
from tests.networks.ummkd_weights import case_of, fill_kernels, fill_norms, image_in

MODALITIES = ["ct", "mr"]
TERMS = ["dice", "cross_entropy", "knowledge_distillation", "l2"]
EXACT = {"rtol": 0, "atol": 1e-12}


class Given(nn.Module):
    """Answers with the image: logits that are known."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, image):
        return image * self.scale


def make_batch(size=(16, 16), modality=(1, 0, 0, 1), labelled=None, classes=3, channels=1):
    generator = torch.Generator().manual_seed(7)
    rows = len(modality)
    return {
        "image": torch.randn(rows, channels, *size, generator=generator),
        "label": torch.randint(classes, (rows, 1, *size), generator=generator),
        "modality": torch.tensor(modality),
        "labelled": torch.tensor([True] * rows if labelled is None else labelled),
    }


def rows_of(batch, rows):
    return {key: value[rows] for key, value in batch.items()}


def unet(size=(16, 16), norm="batch", classes=3):
    torch.manual_seed(3)
    return BasicUNet(len(size), 1, classes, features=(4, 4, 8, 8, 8, 4), norm=norm, dropout=0.0)


def two_norms(size=(16, 16), norm=("group", {"num_groups": 2})):
    return convert_modality_norm(unet(size, norm), MODALITIES)


def ummkd(
    network,
    modalities,
    num_classes,
    *,
    kd_weight=0.5,
    temperature=2.0,
    absent="uniform",
    l2_scale=1e-4,
    l2_on="kernels",
    weights=None,
    **settings,
):
    """Eq. 5 of UMMKD."""
    terms = [KnowledgeDistillationTerm(temperature, absent), L2Term(l2_on)]
    own = {"knowledge_distillation": kd_weight / 2, "l2": l2_scale}
    given = {**(weights or {}), "segmentation": {**own, **(weights or {}).get("segmentation", {})}}
    return UnpairedSegmentationObjective(network, modalities, num_classes, terms=terms, weights=given, **settings)


def total(objective, batch):
    return objective.total(objective(batch, "segmentation").terms, "segmentation")


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_original_losses(name, mixed):
    true = case(name)
    images, masks = torch.cat([true["logits_s"], true["logits_t"]]), torch.cat([true["onehot_s"], true["onehot_t"]])
    classes = images.shape[1]
    label = torch.where(
        masks.bool().any(1, keepdim=True), masks.argmax(1, keepdim=True), -1
    )  # 255 is masked here, unlike there
    modality = torch.tensor([0] * len(true["logits_s"]) + [1] * len(true["logits_t"]))
    order = torch.randperm(len(images)) if mixed else torch.arange(len(images))
    image = images[order].requires_grad_()
    objective = ummkd(Given(), MODALITIES, classes, temperature=float(true["T"]))
    terms, outputs = objective({"image": image, "label": label[order], "modality": modality[order]}, "segmentation")
    torch.testing.assert_close(terms["dice"], true["dice_s"] + true["dice_t"], **EXACT)
    torch.testing.assert_close(terms["cross_entropy"], true["ce_s"] + true["ce_t"], **EXACT)
    torch.testing.assert_close(terms["knowledge_distillation"] / 2, true["kd"], **EXACT)
    torch.testing.assert_close(outputs["knowledge"], torch.stack([true["q_s"], true["q_t"]]), **EXACT)
    assert torch.equal(outputs["logits"], image.detach())
    assert torch.equal(outputs["pred"], image.detach())
    assert not any(value.requires_grad for value in outputs.values())
    source = order.argsort()[: len(true["logits_s"])]
    segmentation = torch.autograd.grad(terms["dice"] + terms["cross_entropy"], image, retain_graph=True)[0][source]
    torch.testing.assert_close(segmentation, true["g_dice_s"] + true["g_ce_s"], **EXACT)
    distillation = torch.autograd.grad(terms["knowledge_distillation"] / 2, image)[0][source]
    torch.testing.assert_close(distillation, true["g_kd_s"], **EXACT)


def test_what_nobody_annotated_counts_nowhere():
    logits, label = torch.randn(4, 3, 6, 6), torch.randint(3, (4, 1, 6, 6))
    batch = {"label": label, "modality": torch.tensor([0, 1, 0, 1])}
    label[:, :, :2] = 255
    found = []
    for shift in (0.0, 2.0):
        image = logits.clone()
        image[:, 1, :2] += shift
        image.requires_grad_()
        objective = ummkd(Given(), MODALITIES, 3, temperature=2.0)
        terms, _ = objective({**batch, "image": image}, "segmentation")
        found.append(terms)
        assert torch.autograd.grad(sum(terms.values()), image)[0][:, :, :2].abs().sum() == 0
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["net2d_b2", "net3d_b2"])
def test_original_total(name):
    stored, flat = case_of(name), name == "net2d_b2"
    if flat:
        plain = DilatedResidualNet(2, 3, 5, features=(4, 8, 16, 32, 64, 64, 128, 128), dropout=0.0)
    else:
        plain = AnisotropicUNet(3, 1, 5, features=(8, 16, 32, 64))
    network = convert_modality_norm(plain, MODALITIES)
    fill_kernels([m for m in network.modules() if isinstance(m, _ConvNd)], stored, transposed_cell=flat)
    for index, name in enumerate(MODALITIES):
        norms = [m.norms[name] for m in network.modules() if isinstance(m, ModalityNorm)]
        assert all(isinstance(norm, _BatchNorm) for norm in norms)
        fill_norms(norms, stored, index, transposed_cell=flat)
    batch = {
        "image": torch.cat([image_in(stored, "x_s"), image_in(stored, "x_t")]),
        "label": torch.cat([torch.as_tensor(stored[key]) for key in ("y_s", "y_t")])[:, None],
        "modality": torch.tensor([0, 0, 1, 1]),
    }
    objective = ummkd(network.train(), MODALITIES, 5, l2_on="kernels" if flat else "all")
    terms = objective(batch, "segmentation").terms
    if flat:
        torch.testing.assert_close(terms["l2"], torch.tensor(stored["L2"]), rtol=1e-5, atol=0)
        expected = torch.tensor(stored["train_loss"])
    else:
        expected = torch.tensor(stored["train_loss_without_kd"])
        objective.weights["segmentation"]["knowledge_distillation"] = 0.0
    assert terms["knowledge_distillation"].item() / 2 == pytest.approx(float(stored["train_kd"]), rel=1e-3)
    torch.testing.assert_close(objective.total(terms, "segmentation"), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 16)], ids=["2d", "3d"])
def test_every_shared_parameter_learns_from_both_modalities(size):
    network = two_norms(size)
    objective = ummkd(network, MODALITIES, 3)
    terms, outputs = objective(make_batch(size), "segmentation")
    assert list(terms) == TERMS
    assert outputs["knowledge"].shape == (2, 3, 3)
    torch.testing.assert_close(outputs["knowledge"].sum(-1), torch.ones(2, 3))
    objective.total(terms, "segmentation").backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_a_plain_network_is_called_with_the_image_alone():
    terms, outputs = ummkd(unet(), MODALITIES, 3)(make_batch(), "segmentation")
    assert list(terms) == TERMS
    assert outputs["logits"].shape == (4, 3, 16, 16)


def test_order_of_the_rows_is_free():
    objective = ummkd(two_norms(), MODALITIES, 3).eval()
    batch = make_batch(modality=(1, 0, 0, 1, 1))
    order = torch.tensor([3, 1, 4, 0, 2])
    expected, other = objective(batch, "segmentation"), objective(rows_of(batch, order), "segmentation")
    for name in TERMS:
        torch.testing.assert_close(other.terms[name], expected.terms[name])
    torch.testing.assert_close(other.outputs["logits"], expected.outputs["logits"][order])


@pytest.mark.parametrize("absent", ["uniform", "skip"])
def test_one_modality_alone_trains_without_distillation(absent):
    network = two_norms()
    batch = make_batch(modality=(0, 0))
    objective = ummkd(network, MODALITIES, 3, absent=absent)
    terms = objective(batch, "segmentation").terms
    single = ummkd(unet(norm=("group", {"num_groups": 2})), ["ct"], 3)(batch, "segmentation")
    assert "knowledge" not in single.outputs
    for name in ("dice", "cross_entropy"):
        torch.testing.assert_close(terms[name], single.terms[name])
    assert terms["knowledge_distillation"] == 0
    objective.total(terms, "segmentation").backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_rows_without_a_label_change_no_loss():
    objective = ummkd(two_norms(), MODALITIES, 3)
    batch = make_batch(modality=(1, 0, 0, 1, 1), labelled=(True, False, True, True, False))
    batch["label"][1] = 255
    terms, outputs = objective(batch, "segmentation")
    expected = objective(rows_of(batch, torch.tensor([0, 2, 3])), "segmentation")
    for name in TERMS:
        torch.testing.assert_close(terms[name], expected.terms[name])
    assert outputs["logits"].shape[0] == 5
    alone = objective(dict(batch, labelled=torch.tensor([True, False, False, True, True])), "segmentation")
    assert alone.terms["knowledge_distillation"] == 0  # no label of modality 0


def test_nothing_labelled_stays_finite_and_attached():
    network = two_norms()
    objective = ummkd(network, MODALITIES, 3, weights={"segmentation": {"l2": 0}})
    terms = objective(make_batch(labelled=[False] * 4), "segmentation").terms
    assert all(terms[name] == 0 for name in TERMS)
    objective.total(terms, "segmentation").backward()
    assert all((p.grad == 0).all() for p in network.parameters() if p.grad is not None)
    unlabelled = dict(make_batch(), label=torch.full((4, 1, 16, 16), -1))
    assert all(term.isfinite() for term in objective(unlabelled, "segmentation").terms.values())


def test_l2_of_kernels_and_of_all():
    network = two_norms()
    batch = make_batch()
    kernels = [m.weight for m in network.modules() if isinstance(m, _ConvNd)]
    found = ummkd(network, MODALITIES, 3)(batch, "segmentation").terms["l2"]
    torch.testing.assert_close(found, 0.5 * torch.stack([(k * k).sum() for k in kernels]).sum())
    found = ummkd(network, MODALITIES, 3, l2_on="all")(batch, "segmentation").terms["l2"]
    torch.testing.assert_close(found, torch.stack([(p * p).sum() for p in network.parameters()]).sum())


def test_shared_kernels_count_once_and_frozen_ones_not():
    conv = nn.Conv2d(1, 3, 1, bias=False)
    twin = nn.Conv2d(1, 3, 1, bias=False)
    twin.weight = conv.weight

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts, self.last = nn.ModuleList([conv, twin]), nn.Conv2d(3, 3, 1)
            self.last.requires_grad_(False)

        def forward(self, image):
            return self.last(conv(image) + twin(image))

    objective = ummkd(Sum(), MODALITIES, 3)
    term = objective(make_batch(), "segmentation").terms["l2"]
    torch.testing.assert_close(term, 0.5 * conv.weight.square().sum())
    assert [id(p) for p in objective.parameters_of("segmentation")] == [id(conv.weight)]


def test_a_term_of_weight_zero_is_not_computed(monkeypatch):
    def fail(*_):
        raise AssertionError("computed")

    monkeypatch.setattr("monai_mmseg.objectives.terms.class_logit_sums", fail)
    monkeypatch.setattr("monai_mmseg.objectives.terms.sum_of_squares", fail)
    terms, outputs = ummkd(two_norms(), MODALITIES, 3, kd_weight=0, l2_scale=0)(make_batch(), "segmentation")
    assert terms["knowledge_distillation"] == terms["l2"] == 0
    assert "knowledge" not in outputs


def test_weights():
    assert ummkd(Given(), MODALITIES, 3).weights["segmentation"] == {
        "dice": 1.0, "cross_entropy": 1.0, "knowledge_distillation": 0.25, "l2": 1e-4,
    }  # fmt: skip
    given = ummkd(Given(), MODALITIES, 3, kd_weight=0.9, l2_scale=0.1, weights={"segmentation": {"dice": 2, "l2": 0.3}})
    assert given.weights["segmentation"] == {
        "dice": 2.0, "cross_entropy": 1.0, "knowledge_distillation": 0.45, "l2": 0.3,
    }  # fmt: skip


@pytest.mark.parametrize("aware", [True, False])
def test_training(aware):
    network = two_norms(norm="batch") if aware else unet()
    objective = ummkd(network, MODALITIES, 3)
    adam = torch.optim.Adam(objective.parameter_groups("segmentation", lr=3e-3))
    batch = make_batch(modality=(0, 1, 1, 0))
    batch["label"] = (batch["image"] > 0.5).long() + (batch["image"] > 1.5).long()
    trainer = ObjectiveTrainer("cpu", 12, [batch], objective, {"segmentation": adam}, amp=True)
    first = total(objective, batch)
    trainer.run()
    assert set(trainer.state.metrics) == {f"segmentation/{name}" for name in [*TERMS, "total"]}
    assert trainer.state.metrics["segmentation/total"] < first - 0.3
    assert trainer.state.output[0]["pred"].shape == (3, 16, 16)


def test_half_precision_logits_are_scored_in_single():
    objective = ummkd(two_norms(), MODALITIES, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(make_batch(), "segmentation").terms
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modalities": "ct"}, r"modalities must list different names, got 'ct'"),
        ({"modalities": ["ct", "ct"]}, r"modalities must list different names, got \['ct', 'ct'\]"),
        ({"modalities": ["mr", "ct"]}, r"modalities must be those of the network in its order \('ct', 'mr'\), got"),
        ({"num_classes": 1}, "num_classes must be at least 2, background included, got 1"),
        ({"l2_on": "norm"}, "on must be 'kernels' or 'all', got 'norm'"),
        ({"absent": "none"}, "absent must be 'uniform' or 'skip', got 'none'"),
        ({"temperature": -1}, "temperature must be positive, got -1"),
        ({"kd_weight": -0.5}, r"the weights of \['knowledge_distillation'\] must not be negative"),
        ({"weights": {"segmentation": {"kd": 1}}}, "has no term 'kd'"),
        ({"weights": {"segment": {"dice": 1}}}, "has no phase 'segment': did you mean segmentation"),
    ],
)
def test_messages_of_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ummkd(**{"network": two_norms(), "modalities": MODALITIES, "num_classes": 3, **settings})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": torch.tensor([0, 1, 2, 0])}, r"batch\['modality'\] must index \('ct', 'mr'\), got \[0, 1, 2\]"),
        ({"modality": torch.zeros(3).long()}, r"batch\['modality'\] must be int64 of shape \(4,\), got torch.int64 of"),
        ({"modality": torch.zeros(4)}, r"batch\['modality'\] must be int64 of shape \(4,\), got torch.float32"),
        ({"labelled": torch.ones(4, 2).bool()}, r"batch\['labelled'\] must be bool of shape \(4,\), got torch.bool of"),
        ({"label": torch.zeros(4, 16, 16)}, r"the network must give 3 classes on the grid of the label \(B, 1, \*spat"),
    ],
)
def test_messages_of_batches(change, message):
    with pytest.raises(ValueError, match=message):
        ummkd(unet(), MODALITIES, 3)({**make_batch(), **change}, "segmentation")


def test_other_messages():
    objective = ummkd(unet(), MODALITIES, 3)
    batch = make_batch()
    with pytest.raises(ValueError, match="has no phase 'generator'"):
        objective(batch, "generator")
    del batch["modality"]
    with pytest.raises(ValueError, match=r"batch must hold 'modality', the index of each row in \('ct', 'mr'\)"):
        objective(batch, "segmentation")


def marginal(probs, label, unknown):
    """Probabilities of what a label can tell apart, one row at a time."""
    rows = []
    for row, hidden in zip(probs, unknown, strict=True):
        told = row.clone()
        told[0] += row[hidden].sum(0)
        told[hidden] = 0
        rows.append(told)
    return torch.stack(rows)


def test_classes_that_nobody_drew_are_part_of_the_background():
    """The own terms are those of merged probabilities; hidden classes have no gradient where they are background."""
    objective = UnpairedSegmentationObjective(Given(), MODALITIES, 3, ce_weighted=False)
    batch = make_batch(channels=3)
    batch["image"] = batch["image"].double()
    unknown = torch.tensor([[False, False, True], [False] * 3, [False] * 3, [False, True, False]])
    batch["label"] = torch.where(
        unknown.gather(1, batch["label"].flatten(1)).view_as(batch["label"]), 0, batch["label"]
    )
    terms = objective({**batch, "unknown": unknown}, "segmentation").terms
    told = marginal(batch["image"].softmax(1), batch["label"], unknown)
    plain = objective({**batch, "image": told.log().clamp(min=-1e9)}, "segmentation").terms
    for name in ("dice", "cross_entropy"):
        torch.testing.assert_close(terms[name], plain[name])
    known = torch.zeros_like(unknown)
    same = objective({**batch, "unknown": known}, "segmentation").terms
    torch.testing.assert_close(same, objective(batch, "segmentation").terms, **EXACT)
    assert terms["dice"] < same["dice"]  # less is wrong


def test_distillation_leaves_out_what_may_be_another_organ():
    """The region of the background is unknown in rows with hidden classes."""
    terms = [KnowledgeDistillationTerm(temperature=2)]
    weights = {"segmentation": {"knowledge_distillation": 0.5}}
    objective = UnpairedSegmentationObjective(Given(), MODALITIES, 3, terms=terms, weights=weights)
    batch = make_batch(channels=3)
    batch["image"] = batch["image"].double()
    batch["label"] = batch["label"].clamp(max=1)
    unknown = torch.tensor([[False, False, True]] * 4)
    found = objective({**batch, "unknown": unknown}, "segmentation").terms["knowledge_distillation"]
    blank = {**batch, "label": torch.where(batch["label"] == 0, 255, batch["label"])}
    wanted = objective(blank, "segmentation").terms["knowledge_distillation"]
    torch.testing.assert_close(found, wanted)


def test_an_objective_that_cannot_tell_is_refused():
    class Blind(UnpairedSegmentationObjective):
        takes_label_sets = False

    objective = Blind(nn.Conv2d(1, 3, 1), MODALITIES, 3)
    batch = {**make_batch(), "unknown": torch.zeros(4, 3, dtype=torch.bool)}
    adam = torch.optim.Adam(objective.parameters())
    trainer = ObjectiveTrainer("cpu", 1, [batch], objective, {"segmentation": adam})
    with pytest.raises(ValueError, match="labels of the batch show some classes only .*: Blind would learn"):
        trainer.run()
