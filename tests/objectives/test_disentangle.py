# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import product

import pytest
import torch

from monai_mmseg.engines import ObjectiveTrainer
from monai_mmseg.losses import (
    anatomy_signature,
    mean_absolute,
    mean_of_columns,
    modality_classification,
    modality_confusion,
    modality_margin,
    subject_margin,
)
from monai_mmseg.networks.nets import AnatomyDiscriminator
from monai_mmseg.objectives import DisentangleObjective
from tests.networks.nets.disentangle.test_disentangle import image_of, net_of
from tests.reference_cases import arrays_of, cases_of

TERMS = [
    "self_reconstruction",
    "cross_reconstruction",
    "latent",
    "subject_margin",
    "modality_margin",
    "kl",
    "adversarial",
]
RECON = cases_of("disentangle_recon_latent")
PRESENT = torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1]]) > 0


def batch_of(net, present=PRESENT):
    return {"image": image_of(net, len(present)), "present": present}


@pytest.mark.parametrize("case", RECON)
def test_original_terms_from_their_parts(case):
    arrays = arrays_of("disentangle_recon_latent", case)
    count = RECON[case]["M"]
    x, mask = arrays["x"].float(), arrays["mask"] > 0
    own = mean_absolute(arrays["x_self"].float().flatten(0, 1), x.flatten(0, 1)).view(mask.shape)
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(mean_of_columns(own, mask), arrays["self_l1"].float(), **close)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    cross = torch.stack([mean_absolute(arrays["x_cross"][:, n].float(), x[:, j]) for n, (_, j) in enumerate(pairs)], 1)
    both = torch.stack([mask[:, i] & mask[:, j] for i, j in pairs], 1)
    torch.testing.assert_close(mean_of_columns(cross, both), arrays["cross_l1"].float(), **close)
    latent = (arrays["z"] - arrays["z_again"]).float().abs().sum(2)
    torch.testing.assert_close(mean_of_columns(latent, mask), arrays["latent"].float(), **close)


def test_the_weights_of_the_margins_grow():
    net = net_of()
    objective, batch = DisentangleObjective(net, margin_ramp=2), batch_of(net)
    weights = objective.weights["generator"]
    for factor in (0.0, 0.5, 1.0, 1.0):
        terms = objective(batch, "generator").terms
        grown = {n: w * (factor if n.endswith("margin") else 1) for n, w in weights.items()}
        expected = torch.stack([grown[name] * term for name, term in terms.items()]).sum()
        torch.testing.assert_close(objective.total(terms, "generator"), expected)
    assert objective.state_dict()["margin_ramp.state"] == 4
    objective.eval()(batch, "generator")
    assert objective.state_dict()["margin_ramp.state"] == 4
    assert not any("ramp" in name for name in DisentangleObjective(net).state_dict())
    with pytest.raises(ValueError, match="margin_ramp must be a number of steps"):
        DisentangleObjective(net, margin_ramp="dice")


@pytest.mark.parametrize("encoders", ["conditional", "separate"])
@pytest.mark.parametrize("present", [PRESENT, torch.ones(3, 3) > 0], ids=["some", "all"])
def test_terms_are_those_of_the_factors(encoders, present):
    net = net_of(encoders=encoders)
    batch = batch_of(net, present)
    objective = DisentangleObjective(net).eval()
    found, outputs = objective(batch, "generator")
    factors = net.factors(batch["image"], present)
    images = net.split(batch["image"], present)[0]
    own, cross, latent = {}, {}, {}
    for b in range(len(present)):
        for i in range(3):
            for j in range(3):
                if present[b, i] and present[b, j]:
                    drawn = net.decode(factors.anatomy[b, i][None], factors.code[b, j][None])
                    (own if i == j else cross).setdefault((i, j), []).append((drawn - images[b, j]).abs().mean())
                    if i == j:
                        again = net.appearance(drawn, [i]).code[0]
                        latent.setdefault(i, []).append((again - factors.code[b, i]).abs().sum())
    for name, groups in {
        "self_reconstruction": own, "cross_reconstruction": cross, "latent": latent,
    }.items():  # fmt: skip
        expected = torch.stack([torch.stack(group).mean() for group in groups.values()]).mean()
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6)
    codes = anatomy_signature(factors.anatomy)
    torch.testing.assert_close(found["subject_margin"], subject_margin(codes, present), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["modality_margin"], modality_margin(factors.code, present), rtol=1e-4, atol=1e-6)
    assert list(found) == TERMS
    assert outputs["pred"].shape == batch["image"].shape
    assert not outputs["pred"].view(images.shape)[~present].any()
    assert not outputs["pred"].requires_grad


@pytest.mark.parametrize("encoders", ["conditional", "separate"])
@pytest.mark.parametrize("present", [PRESENT, torch.tensor([[True, False, False]] * 2)], ids=["some", "one"])
def test_latent_of_all_pairs_is_equation_1_over_those_that_are_there(encoders, present):
    net = net_of(encoders=encoders)
    batch = batch_of(net, present)
    found = DisentangleObjective(net, latent_pairs="all").eval()(batch, "generator").terms["latent"]
    factors = net.factors(batch["image"], present)
    distances = {}
    for i, j in product(range(3), repeat=2):
        for b in (present[:, i] & present[:, j]).nonzero()[:, 0].tolist():
            drawn = net.decode(factors.anatomy[b, i][None], factors.code[b, j][None])
            again = net.appearance(drawn, [j]).code[0]
            distances.setdefault((i, j), []).append((again - factors.code[b, j]).abs().sum())
    expected = torch.stack([torch.stack(each).mean() for each in distances.values()]).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    if len(distances) == 1:  # one modality: there are no other pairs
        torch.testing.assert_close(found, DisentangleObjective(net).eval()(batch, "generator").terms["latent"])


@pytest.mark.parametrize("pairs", ["same", "all"])
def test_what_is_absent_changes_nothing(pairs):
    net = net_of(background=0.0).train()
    objective = DisentangleObjective(net, latent_pairs=pairs)
    batch = batch_of(net)
    gradients = []
    for filling in (0.0, 9.0, float("nan")):
        image = batch["image"].view(4, 3, 1, 64, 32).clone()
        image[~PRESENT] = filling
        objective.zero_grad()
        net.mean_code.zero_()
        terms = objective({**batch, "image": image.flatten(1, 2)}, "generator").terms
        objective.total(terms, "generator").backward()
        gradients.append({n: p.grad.clone() for n, p in net.named_parameters()} | {"code": net.mean_code.clone()})
    for other in gradients[1:]:
        for name, value in gradients[0].items():
            torch.testing.assert_close(other[name], value)


@pytest.mark.parametrize("encoders", ["conditional", "separate"])
def test_channels_last_gives_the_same(encoders):
    net = net_of(encoders=encoders).double()
    other = net_of(encoders=encoders).double()
    other.load_state_dict(net.state_dict())
    other.to(memory_format=torch.channels_last)
    batch = batch_of(net)
    batch["image"] = batch["image"].double()
    found = [DisentangleObjective(one)(batch, "generator").terms for one in (other, net)]
    torch.testing.assert_close(found[0], found[1])
    for terms in found:
        torch.stack(list(terms.values())).sum().backward()
    for own, expected in zip(other.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-6, atol=1e-9)


def test_a_modality_absent_in_the_whole_batch_is_left_out():
    net = net_of()
    present = torch.tensor([[True, False, True]] * 3)
    batch = batch_of(net, present)
    objective = DisentangleObjective(net).eval()
    terms = objective(batch, "generator").terms
    one = objective({**batch, "present": torch.tensor([[True, False, False]] * 3)}, "generator").terms
    assert all(value.isfinite() for value in terms.values())
    assert one["cross_reconstruction"] == one["subject_margin"] == one["modality_margin"] == 0
    assert terms["cross_reconstruction"] > 0
    net.train()
    before = net.mean_code[1].clone()
    DisentangleObjective(net).train()(batch, "generator")
    torch.testing.assert_close(net.mean_code[1], before)


def test_mean_codes_follow():
    net = net_of().train()
    net.mean_code.zero_()
    objective = DisentangleObjective(net, momentum=0.25)
    batch = batch_of(net)
    objective(batch, "generator")
    net.eval()
    code = net.factors(batch["image"], PRESENT).code
    first = torch.stack([code[PRESENT[:, m], m].mean(0) for m in range(3)])
    torch.testing.assert_close(net.mean_code, first, rtol=1e-4, atol=1e-5)
    net.train()
    shifted = {**batch, "image": batch["image"] * 3 + 1}
    objective(shifted, "generator")
    net.eval()
    code = net.factors(shifted["image"], PRESENT).code
    second = torch.stack([code[PRESENT[:, m], m].mean(0) for m in range(3)])
    torch.testing.assert_close(net.mean_code, first + 0.25 * (second - first), rtol=1e-4, atol=1e-5)


def test_every_parameter_learns():
    net = net_of().train()
    terms = DisentangleObjective(net)(batch_of(net), "generator").terms
    DisentangleObjective(net).total(terms, "generator").backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_variational():
    net = net_of(variational=True)
    objective = DisentangleObjective(net, weights={"generator": {"kl": 0.1}})
    assert objective(batch_of(net), "generator").terms["kl"] > 0
    with pytest.raises(ValueError, match="needs a variational network"):
        DisentangleObjective(net_of(), weights={"generator": {"kl": 0.1}})(batch_of(net), "generator")


def test_training_draws_better():
    net = net_of(background=0.0).train()
    objective = DisentangleObjective(net)
    adam = torch.optim.Adam(objective.parameters_of("generator"), 3e-3)
    batch = batch_of(net)
    trainer = ObjectiveTrainer("cpu", 15, [batch], objective, {"generator": adam})
    before = objective(batch, "generator").terms["cross_reconstruction"].item()
    trainer.run()
    assert set(trainer.state.metrics) == {f"generator/{name}" for name in [*TERMS, "total"]}
    assert trainer.state.metrics["generator/cross_reconstruction"] < 0.9 * before


def adversarial_of(net, weight=1.0, **settings):
    torch.manual_seed(1)
    judge = AnatomyDiscriminator(2, 4, 3, spatial_size=net.spatial_size, features=(2, 4, 4), hidden=8)
    return DisentangleObjective(net, judge, weights={"generator": {"adversarial": weight}}, **settings)


def test_adversarial_terms_are_those_of_the_anatomies():
    net = net_of()
    objective, batch = adversarial_of(net).eval(), batch_of(net)
    assert objective.phases == ("generator", "discriminator")
    found, outputs = objective(batch, "generator")
    anatomy = net.factors(batch["image"], PRESENT).anatomy
    sure, error = [], []
    for m in range(3):
        logits = objective.discriminator(anatomy[PRESENT[:, m], m])
        index = torch.full((len(logits),), m)
        sure.append(modality_confusion(logits, index).mean())
        error.append(modality_classification(logits, index).mean())
    torch.testing.assert_close(found["adversarial"], torch.stack(sure).mean())
    own = objective(batch, "discriminator", outputs).terms
    assert list(own) == ["classification"]
    torch.testing.assert_close(own["classification"], torch.stack(error).mean())
    plain = DisentangleObjective(net).eval()(batch, "generator").terms
    for name, value in plain.items():
        if name != "adversarial":
            torch.testing.assert_close(found[name], value)
    assert plain["adversarial"] == 0


def test_encoder_and_discriminator_do_not_move_each_other():
    net = net_of().train()
    objective, batch = adversarial_of(net), batch_of(net)
    outputs = objective(batch, "generator").outputs
    objective(batch, "discriminator", outputs).terms["classification"].backward()
    assert all(p.grad is None for p in net.parameters())
    assert all(p.grad is not None for p in objective.discriminator.parameters())
    rates = {"generator": 0.0, "discriminator": 0.1}
    for still, moving in (("generator", "discriminator"), ("discriminator", "generator")):
        optimizers = {
            p: torch.optim.SGD(objective.parameters_of(p), rates["discriminator"] * (p == moving)) for p in rates
        }
        before = {p: [x.detach().clone() for x in objective.parameters_of(p)] for p in rates}
        ObjectiveTrainer("cpu", 1, [batch], objective, optimizers).run()
        moved = {
            p: [not torch.equal(a, b) for a, b in zip(before[p], objective.parameters_of(p), strict=True)]
            for p in rates
        }
        assert not any(moved[still])
        assert any(moved[moving])
    held = [{id(x) for x in objective.parameters_of(p)} for p in rates]
    assert not held[0] & held[1]


def test_what_is_absent_does_not_reach_the_discriminator():
    net = net_of(background=0.0).train()
    objective, batch = adversarial_of(net), batch_of(net)
    gradients = []
    for filling in (0.0, float("nan")):
        image = batch["image"].view(4, 3, 1, 64, 32).clone()
        image[~PRESENT] = filling
        objective.zero_grad()
        made = {**batch, "image": image.flatten(1, 2)}
        terms, outputs = objective(made, "generator")
        objective.total(terms, "generator").backward()
        objective.discriminator.zero_grad()
        objective(made, "discriminator", outputs).terms["classification"].backward()
        gradients.append({n: p.grad.clone() for n, p in objective.named_parameters()})
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value)


def test_the_adversarial_term_hides_the_modality():
    """A classifier that has learned the modalities is unlearned by the encoder alone."""
    net = net_of(encoders="separate").train()
    objective = adversarial_of(net, 1.0)
    none = dict.fromkeys(TERMS, 0.0) | {"adversarial": 1.0}
    objective.weights["generator"] = none
    batch = batch_of(net)
    adam = torch.optim.Adam(objective.parameters_of("discriminator"), 1e-2)
    for _ in range(15):
        outputs = objective(batch, "generator").outputs
        adam.zero_grad()
        error = objective(batch, "discriminator", outputs).terms["classification"]
        error.backward()
        adam.step()
    before = objective(batch, "generator").terms["adversarial"].item()
    adam = torch.optim.Adam(objective.parameters_of("generator"), 1e-2)
    for _ in range(5):
        adam.zero_grad()
        objective(batch, "generator").terms["adversarial"].backward()
        adam.step()
    assert objective(batch, "generator").terms["adversarial"].item() < 0.8 * before


def test_messages_of_the_discriminator():
    net = net_of()
    with pytest.raises(ValueError, match=r"weights\['generator'\]\['adversarial'\] needs a discriminator"):
        DisentangleObjective(net, weights={"generator": {"adversarial": 1.0}})
    with pytest.raises(ValueError, match="has no phase 'discriminator'"):
        DisentangleObjective(net).parameters_of("discriminator")
    with pytest.raises(ValueError, match="previous must hold the outputs of phase 'generator'"):
        adversarial_of(net)(batch_of(net), "discriminator")


def test_messages():
    net = net_of()
    with pytest.raises(ValueError, match="latent_pairs must be 'same' or 'all', got 'self'"):
        DisentangleObjective(net, latent_pairs="self")
    with pytest.raises(ValueError, match=r"momentum must lie in \(0, 1\], got 0"):
        DisentangleObjective(net, momentum=0)
    with pytest.raises(ValueError, match="has no term 'cross'"):
        DisentangleObjective(net, weights={"generator": {"cross": 1}})
    with pytest.raises(ValueError, match=r"batch\['present'\] must be bool"):
        DisentangleObjective(net)({**batch_of(net), "present": PRESENT.float()}, "generator")
