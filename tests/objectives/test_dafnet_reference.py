# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The whole generator step of the original program: every term and the weighted total."""

import pytest
import torch

from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
from monai_mmseg.objectives import DAFNetObjective
from tests.reference_loading import (
    SETTINGS_OF_GENERATOR_STEP,
    classes_of,
    image_of,
    layers_of,
    load_dafnet,
    load_discriminator,
    read_vectors,
    vector_of,
)

BRANCHES = {
    "adversarial_mask": "advm_m{}",
    "reconstruction": "rec_y{}",
    "adversarial_image": "advx_y{}",
}
ALL = ("1", "2", "1_s2def", "2_s1def")


@pytest.fixture(scope="module")
def vectors():
    return read_vectors("dafnet_generator_step")


def make(vectors, *, swapped):
    net = DAFNet(**SETTINGS_OF_GENERATOR_STEP)
    load_dafnet(net, vectors)
    judges = [AdversarialDiscriminator(c, (64, 64), features=2, spectral="none") for c in (4, 1, 1)]
    for judge, name in zip(judges, ("DM", "DI1", "DI2"), strict=True):
        load_discriminator(judge, layers_of(vectors, name))
    return DAFNetObjective(net, judges[0], judges[1:], swapped_cross_entropy=swapped).eval()


def batch_of(vectors):
    return {
        "image": torch.cat([image_of(vectors["x1"]), image_of(vectors["x2"])], 1),
        "label": torch.stack([classes_of(vectors[m]).argmax(1) for m in ("m1", "m2")], 1),
        "present": torch.ones(2, 2, dtype=torch.bool),
        "labelled": torch.ones(2, 2, dtype=torch.bool),
    }


@pytest.fixture
def drawn(vectors, monkeypatch):
    """The noise that the original program drew."""
    samples = torch.cat([vector_of(vectors["z1_sample"]), vector_of(vectors["z2_sample"])])
    noise = vector_of(vectors["eps"]).repeat(2, 1)
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: samples)
    monkeypatch.setattr(torch, "randn_like", lambda _: noise)


@pytest.mark.usefixtures("drawn")
def test_every_term_and_the_total_of_the_original(vectors):
    objective = make(vectors, swapped=True)
    terms = objective(batch_of(vectors), "generator").terms
    for name, key in BRANCHES.items():
        expected = sum(float(vectors["loss_" + key.format(branch)]) for branch in ALL)
        assert terms[name].item() == pytest.approx(expected, rel=1e-4), name
    expected = sum(float(vectors[f"loss_sup_m{branch}"]) for branch in ALL)
    assert terms["supervised"].item() == pytest.approx(expected, rel=1e-4)
    assert terms["kl"].item() == pytest.approx(float(vectors["loss_kl1"] + vectors["loss_kl2"]), rel=1e-4)
    assert terms["latent"].item() == pytest.approx(float(vectors["loss_z1_rec"] + vectors["loss_z2_rec"]), rel=1e-4)
    total = objective.total(terms, "generator")
    assert total.item() == pytest.approx(float(vectors["total_supervised_as_trained"]), rel=1e-5)


@pytest.mark.usefixtures("drawn")
def test_named_cross_entropy(vectors):
    terms = make(vectors, swapped=False)(batch_of(vectors), "generator").terms
    expected = sum(
        float(vectors[f"loss_dice_m{branch}"]) + 0.01 * float(vectors[f"loss_wce_named_m{branch}"]) for branch in ALL
    )
    assert terms["supervised"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.usefixtures("drawn")
def test_source_labels_only_leave_the_two_branches_of_the_source(vectors):
    batch = batch_of(vectors)
    batch["labelled"][:, 1] = False
    batch["label"][:, 1] = -1
    terms = make(vectors, swapped=True)(batch, "generator").terms
    expected = float(vectors["loss_sup_m1"] + vectors["loss_sup_m1_s2def"])
    assert terms["supervised"].item() == pytest.approx(expected, rel=1e-4)
