# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0

import math

import pytest
import torch

from monai_mmseg.losses import foreground_dice_loss, weighted_cross_entropy
from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
from monai_mmseg.objectives import DAFNetObjective

SIZE = (48, 48)
CLASSES = 3
TERMS = {"supervised", "adversarial_mask", "reconstruction", "adversarial_image", "kl", "latent", "offset"}


def make_objective(modalities=2, k=1, **settings):
    torch.manual_seed(0)
    names = ["cine", "lge", "t2", "t1"][:modalities]
    net = DAFNet(
        2, 1, CLASSES, modalities=names, target=names[-1], spatial_size=SIZE, features=(2, 2, 2, 2, 2),
        segmentor_features=4, num_candidates=k,
    )  # fmt: skip
    discriminators = [AdversarialDiscriminator(c, SIZE, features=2) for c in [CLASSES - 1] + [1] * modalities]
    objective = DAFNetObjective(net, discriminators[0], discriminators[1:], **settings)
    # a transformer at its start is the identity: move the control points so that deformed rows differ
    with torch.no_grad():
        for parameter in net.transformer.parameters():
            parameter.add_(0.002 * torch.randn_like(parameter))
    return objective


def make_batch(modalities=2, k=1, size=3):
    generator = torch.Generator().manual_seed(1)
    return {
        "image": torch.rand(size, modalities * k, *SIZE, generator=generator) * 2 - 1,
        "label": torch.randint(0, CLASSES, (size, modalities, *SIZE), generator=generator),
        "present": torch.ones(size, modalities, dtype=torch.bool),
        "labelled": torch.ones(size, modalities, dtype=torch.bool),
    }


def terms_of(objective, batch, phase="generator", previous=None, seed=5):
    torch.manual_seed(seed)
    return objective(batch, phase, previous).terms


def gradients(objective, batch, phase="generator", previous=None):
    objective.zero_grad()
    objective.total(terms_of(objective, batch, phase, previous), phase).backward()
    return {n: p.grad.clone() for n, p in objective.named_parameters() if p.grad is not None}


def test_phases_share_no_parameter_and_cover_all():
    objective = make_objective()
    parts = [{id(p) for p in objective.parameters_of(phase)} for phase in objective.phases]
    assert sum(len(part) for part in parts) == len(set().union(*parts)) == len(list(objective.parameters()))


def test_weights_are_the_papers():
    assert make_objective().weights == {
        "generator": {
            "supervised": 10, "adversarial_mask": 1, "reconstruction": 1, "adversarial_image": 1, "kl": 0.1,
            "latent": 1, "offset": 0,
        },
        "mask_discriminator": {"least_squares": 1, "spectral": 1},
        "image_discriminators": {"least_squares": 1, "spectral": 1},
    }  # fmt: skip
    with pytest.raises(ValueError, match="no term 'latant': did you mean latent"):
        make_objective(weights={"generator": {"latant": 0}})


@pytest.mark.parametrize(("modalities", "k"), [(2, 1), (3, 1), (2, 3)])
def test_supervised_term_equals_a_loop_over_branches(modalities, k):
    objective, batch = make_objective(modalities, k).eval(), make_batch(modalities, k)
    batch["labelled"] = torch.rand(3, modalities, generator=torch.Generator().manual_seed(2)) > 0.3
    net, image = objective.network, batch["image"].view(3, modalities, k, *SIZE)
    anatomy = [[net.anatomy(image[:, m, c][:, None], m) for c in range(k)] for m in range(modalities)]

    def branch(probs, m, weight):
        keep = batch["labelled"][:, m]
        onehot = torch.nn.functional.one_hot(batch["label"][:, m], CLASSES).movedim(-1, 1).float()[keep]
        if not keep.any():
            return torch.zeros(())
        n = onehot.sum((0, 2, 3))
        ce_weight = onehot[:, 0].numel() / (n + 1e-12)
        total = torch.zeros(())
        for c, p in enumerate(probs):
            rows = foreground_dice_loss(p[keep], onehot) + 0.01 * weighted_cross_entropy(
                p[keep], onehot, class_weights=ce_weight
            )
            total = total + (weight[keep, c] * rows).mean()
        return total

    expected = torch.zeros(())
    ones = torch.ones(3, 1)
    for i in range(modalities):
        expected = expected + branch([net.segment(anatomy[i][0]).softmax(1)], i, ones)
        for j in range(modalities):
            if i == j:
                continue
            moved = [net.deform(anatomy[i][c], anatomy[j][0])[0] for c in range(k)]
            weight = ones
            if k > 1:
                overlap = [
                    (2 * (m * anatomy[j][0]).sum((1, 2, 3)) + 1e-12)
                    / (m.sum((1, 2, 3)) + anatomy[j][0].sum((1, 2, 3)) + 1e-12)
                    for m in moved
                ]
                weight = net.balancer(torch.stack(overlap, 1))
            expected = expected + branch([net.segment(m).softmax(1) for m in moved], j, weight)
    torch.testing.assert_close(terms_of(objective, batch)["supervised"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_target_labels_that_are_not_given_are_never_read(mode):
    objective, batch = make_objective(), make_batch()
    getattr(objective, mode)()
    batch["labelled"][:, 1] = False
    state = {n: b.clone() for n, b in objective.named_buffers()}
    first, grads = terms_of(objective, batch), gradients(objective, batch)
    for name, buffer in objective.named_buffers():
        buffer.copy_(state[name])
    batch["label"][:, 1] = 99
    second = terms_of(objective, batch)
    assert all(torch.equal(first[name], second[name]) for name in TERMS)
    assert all(torch.equal(grads[n], g) for n, g in gradients(objective, batch).items()) or mode == "train"
    outputs = objective(batch, "generator").outputs
    assert terms_of(objective, batch, "mask_discriminator", outputs)["least_squares"].isfinite()


def test_a_label_on_one_sample_counts_as_if_it_came_alone():
    objective, batch = make_objective().eval(), make_batch()
    batch["labelled"][:] = False
    batch["labelled"][1] = True
    alone = {key: value[1:2] for key, value in batch.items()}
    torch.testing.assert_close(
        terms_of(objective, batch)["supervised"], terms_of(objective, alone)["supervised"], rtol=1e-5, atol=1e-6
    )


def test_absent_modalities_change_nothing_whatever_stands_there():
    objective, batch = make_objective(3).train(), make_batch(3)
    batch["present"][0, 1] = batch["present"][2, 0] = False
    batch["labelled"] &= batch["present"]
    first = terms_of(objective, batch)
    batch["image"][0, 1], batch["image"][2, 0] = float("nan"), 1e30
    second = terms_of(make_objective(3).train(), batch)
    assert all(value.isfinite() for value in second.values())
    assert all(torch.equal(first[name], second[name]) for name in TERMS)
    assert all(g.isfinite().all() for g in gradients(objective, batch).values())


@pytest.mark.parametrize("k", [1, 3])
def test_a_batch_with_one_modality_only_trains(k):
    objective, batch = make_objective(k=k).train(), make_batch(k=k)
    batch["present"][:, 1] = batch["labelled"][:, 1] = False
    out = objective(batch, "generator")
    assert out.terms["supervised"] > 0
    assert out.terms["offset"] == 0
    for phase in ("mask_discriminator", "image_discriminators"):
        terms = objective(batch, phase, dict(out.outputs, update=0, updates=2)).terms
        assert terms["least_squares"].isfinite()
    assert all(g.isfinite().all() for g in gradients(objective, batch).values())


@pytest.mark.parametrize("k", [1, 2])
def test_a_batch_with_nothing_at_all_has_all_terms(k):
    objective, batch = make_objective(k=k), make_batch(k=k)
    batch["present"] = torch.zeros_like(batch["present"])
    batch["image"] = torch.full_like(batch["image"], torch.nan)
    previous = {}
    for phase in objective.phases:
        terms, outputs = objective(batch, phase, previous)
        previous |= outputs
        assert terms.keys() == objective.weights[phase].keys()
        objective.total(terms, phase).backward()
    assert not any(p.grad.any() for p in objective.network.parameters() if p.grad is not None)
    assert all(buffer.isfinite().all() for buffer in objective.buffers())


def transformer_gradient(grads):
    return sum(g.abs().sum() for n, g in grads.items() if n.startswith("network.transformer"))


def test_the_transformer_learns_from_cross_terms_only():
    only, batch = dict.fromkeys(TERMS, 0.0), make_batch()
    for term in ("supervised", "reconstruction"):
        weights = {"generator": {**only, term: 1.0}}
        assert transformer_gradient(gradients(make_objective(weights=weights), batch)) > 0
        alone = dict(batch, present=batch["present"] & torch.tensor([True, False]))
        alone["labelled"] = alone["present"]
        assert transformer_gradient(gradients(make_objective(weights=weights), alone)) == 0


def test_weights_of_zero_leave_their_networks_out():
    off = {"generator": {"adversarial_mask": 0, "adversarial_image": 0, "reconstruction": 0, "kl": 0, "latent": 0}}
    objective, batch = make_objective(weights=off), make_batch()
    grads = gradients(objective, batch)
    assert not any("discriminator" in n or "decoder" in n for n in grads)
    out = objective(batch, "generator")
    assert terms_of(objective, batch, "image_discriminators", out.outputs)["least_squares"].isfinite()


def test_weights_of_the_candidates_are_recorded():
    """Of the paper's Fig. 6; a batch without pairs has none, and they change no total."""
    objective, batch = make_objective(k=3), make_batch(k=3)
    weights = {name: term for name, term in terms_of(objective, batch).items() if name not in TERMS}
    assert list(weights) == ["pair_weight_1", "pair_weight_2", "pair_weight_3"]
    assert sum(weight.item() for weight in weights.values()) == pytest.approx(1, abs=1e-6)
    assert not any(weight.requires_grad or objective.weights["generator"][name] for name, weight in weights.items())
    with torch.no_grad():  # the last layer says the first candidate, whatever the overlaps
        objective.network.balancer.out.weight.zero_()
        objective.network.balancer.out.bias.copy_(torch.tensor([50.0, 0.0, 0.0]))
    assert terms_of(objective, batch)["pair_weight_1"].item() == pytest.approx(1)
    batch["present"][:, 0] = False
    assert terms_of(objective, batch)["pair_weight_1"].item() == 0
    assert terms_of(make_objective(), make_batch()).keys() == TERMS


def test_candidates_that_repeat_the_paired_slice_change_nothing():
    single, batch = make_objective(), make_batch()
    wide = dict(batch, image=batch["image"].repeat_interleave(3, 1))
    triple = make_objective(k=3)
    triple.network.load_state_dict(single.network.state_dict(), strict=False)
    one, three = terms_of(single.eval(), batch), terms_of(triple.eval(), wide)
    for name in ("supervised", "reconstruction", "kl", "offset"):
        torch.testing.assert_close(one[name], three[name], rtol=1e-4, atol=1e-5)


def test_the_balancer_learns_through_the_cross_terms():
    grads = gradients(make_objective(k=3), make_batch(k=3))
    assert sum(g.abs().sum() for n, g in grads.items() if n.startswith("network.balancer")) > 0


def test_align_start_keeps_the_anatomies_where_they_are():
    objective, batch = make_objective(align_start=1), make_batch()
    assert terms_of(objective, batch)["offset"] == 0
    assert terms_of(objective, batch)["offset"] > 0
    other = make_objective(align_start=1)
    other.load_state_dict(objective.state_dict())
    assert other.iteration == 2


@pytest.mark.slow
@pytest.mark.overlays  # tracing takes 15 s
def test_a_step_is_not_compiled_anew_for_its_number():
    torch.compiler.reset()
    graphs, objective, batch = [], make_objective(align_start=2), make_batch()
    objective.compile(backend=lambda graph, _: graphs.append(graph) or graph)
    for _ in range(5):
        objective(batch, "generator")
    torch.compiler.reset()
    assert len(graphs) == 2  # without the transformer and with it


def test_a_mask_with_holes_is_no_real_one():
    batch = make_batch()
    previous = make_objective()(batch, "generator").outputs
    batch["label"][0, :, :4] = 255  # nobody annotated
    found = terms_of(make_objective(), batch, "mask_discriminator", previous)
    batch["labelled"][0] = False
    torch.testing.assert_close(terms_of(make_objective(), batch, "mask_discriminator", previous), found)


def test_updates_of_the_mask_discriminator_take_one_frame_each():
    objective, batch = make_objective().eval(), make_batch()
    out = objective(batch, "generator").outputs
    rows, _ = objective._plan(batch, "generator")
    poisoned = out["mask_fakes"].clone()
    poisoned[rows.frames[1]] = float("nan")
    previous = {"mask_fakes": poisoned, "updates": 2}
    frames = [objective(batch, "mask_discriminator", dict(previous, update=u)).terms["least_squares"] for u in (0, 1)]
    assert frames[0].isfinite()
    assert frames[1].isnan()


def test_discriminator_terms_by_hand():
    objective, batch = make_objective().eval(), make_batch()
    out = objective(batch, "generator").outputs
    rows, _ = objective._plan(batch, "generator")
    expected = 0.0
    torch.manual_seed(5)
    for m, judge in enumerate(objective.image_discriminators):
        fake = out["image_fakes"][rows.frames[m][torch.randperm(6)[:3]]]
        expected += ((judge(batch["image"][:, m : m + 1]) - 1) ** 2).mean() + (judge(fake) ** 2).mean()
    got = terms_of(objective, batch, "image_discriminators", out)["least_squares"]
    torch.testing.assert_close(got, expected)


def test_kl_of_a_standard_normal_is_zero_and_terms_are_sums_over_modalities():
    objective, batch = make_objective().eval(), make_batch()
    for head in objective.network.modality_encoder.children():
        for parameter in head.parameters():
            torch.nn.init.zeros_(parameter)
    terms = terms_of(objective, batch)
    assert terms["kl"] == 0
    # mu is zero whatever z~ is: mean |z~| of a normal is sqrt(2 / pi), once for each of two modalities
    assert terms["latent"].item() == pytest.approx(2 * math.sqrt(2 / math.pi), abs=0.35)


def test_errors_say_what_was_wanted():
    objective, batch = make_objective(), make_batch()
    with pytest.raises(ValueError, match="no phase 'genrator': did you mean generator"):
        objective(batch, "genrator")
    with pytest.raises(ValueError, match=r"previous must hold the outputs of phase 'generator' .* got \[\]"):
        objective(batch, "mask_discriminator")
    with pytest.raises(ValueError, match=r"2 modalities x 1 candidates = 2 channels, got shape \(3, 4, 48, 48\)"):
        objective(dict(batch, image=torch.zeros(3, 4, *SIZE)), "generator")
    with pytest.raises(ValueError, match=r"one network per modality \['cine', 'lge'\], got 1"):
        DAFNetObjective(objective.network, objective.mask_discriminator, [objective.mask_discriminator])
    with pytest.raises(ValueError, match="align_start must not be negative, got -1"):
        make_objective(align_start=-1)
