# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import io
import logging
import pickle

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from monai_mmseg.networks.layers import (
    ModalityNorm,
    ModalityNormNetwork,
    add_modality,
    convert_modality_norm,
    specialize,
)
from tests.networks.layers.modality_zoo import (
    HEAVY,
    MODALITIES,
    NORMS,
    ZOO,
    by_rows,
    dyn_unet,
    image_of,
    norms_of,
    pair,
    unet,
)

EVERY, LIGHT = (
    pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in ZOO])
    for slow in ({"VNet-2d", "FlexibleUNet-2d"}, HEAVY)
)


@EVERY
@torch.no_grad()
def test_conversion_changes_nothing(name):
    plain, image = ZOO[name][0](), image_of(name)
    kept = copy.deepcopy(plain.state_dict())
    network = convert_modality_norm(plain, MODALITIES)
    for training in (False, True):
        for modality in (None, "mr"):
            reference = copy.deepcopy(plain).train(training)
            converted = copy.deepcopy(network).train(training)
            assert torch.equal(converted(image, modality), reference(image))
    assert all(torch.equal(value, kept[key]) for key, value in plain.state_dict().items())
    assert not any(isinstance(module, ModalityNorm) for module in plain.modules())


@LIGHT
@torch.no_grad()
def test_every_modality_has_its_own_norms(name):
    network, references = pair(name)
    image = image_of(name)
    for modality, reference in references.items():
        assert torch.equal(network.eval()(image, modality), reference.eval()(image))


@EVERY
def test_mixed_batch_trains_as_single_batches_do(name):
    rows = [1, 0, 0, 2, 2, 1]
    network, references = pair(name)
    image = image_of(name, len(rows))
    network.train()
    output, expected = (
        network(image, torch.tensor(rows)),
        by_rows({modality: reference.train() for modality, reference in references.items()}, image, rows),
    )
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(output)
    (output * weight).sum().backward()
    (expected * weight).sum().backward()
    for key, _ in references["ct"].named_parameters():
        if isinstance(references["ct"].get_submodule(key.rpartition(".")[0]), NORMS):
            continue
        grads = [reference.get_parameter(key).grad for reference in references.values()]
        total = sum(grad for grad in grads if grad is not None)
        mine = network.network.get_parameter(key).grad
        torch.testing.assert_close(mine, total, rtol=1e-3, atol=1e-3 * float(total.abs().max()) + 1e-4)
    for modality, reference in references.items():
        for key, module in reference.named_modules():
            if not isinstance(module, NORMS) or not list(module.state_dict()):
                continue
            mine = network.network.get_submodule(key).norms[modality]
            for value, theirs in zip(mine.state_dict().values(), module.state_dict().values(), strict=True):
                torch.testing.assert_close(value, theirs, rtol=1e-4, atol=1e-4)
            for (leaf, value), theirs in zip(mine.named_parameters(), module.parameters(), strict=True):
                assert (value.grad is None) == (theirs.grad is None), f"{modality} {key}.{leaf}"
                if value.grad is not None:
                    scale = float(theirs.grad.abs().max())
                    torch.testing.assert_close(value.grad, theirs.grad, rtol=1e-3, atol=1e-3 * scale + 1e-4)


@LIGHT
@torch.no_grad()
def test_mixed_batch_in_evaluation(name):
    network, references = pair(name)
    for reference in references.values():
        reference.eval()
    image = image_of(name)
    for rows in ([0, 0, 1, 2], [1, 2, 1, 2]):
        torch.testing.assert_close(network.eval()(image, rows), by_rows(references, image, rows), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(image[:1], [2]), references["us"](image[:1]), rtol=1e-4, atol=1e-4)


@EVERY
def test_one_modality_does_not_touch_another(name):
    network, image = convert_modality_norm(ZOO[name][0](), MODALITIES).train(), image_of(name)
    before = {modality: norms_of(network, modality) for modality in MODALITIES}
    network(image, "mr").square().sum().backward()
    for modality in ("ct", "us"):
        assert all(torch.equal(value, before[modality][key]) for key, value in norms_of(network, modality).items())
        assert [p.grad for p in network.modality_parameters(modality) if p.grad is not None] == []
    assert all(p.grad is not None for p in network.modality_parameters("mr"))
    assert any("running" in key for key in before["mr"]) == any(
        not torch.equal(value, before["mr"][key]) for key, value in norms_of(network, "mr").items()
    )


@EVERY
@torch.no_grad()
def test_specialized_network_is_the_plain_one(name):
    network, references = pair(name)
    image = image_of(name)
    for modality, reference in references.items():
        special = specialize(network, modality)
        assert type(special) is type(reference)
        assert list(special.state_dict()) == list(reference.state_dict())
        assert [type(module) for module in special.modules()] == [type(module) for module in reference.modules()]
        assert torch.equal(special.eval()(image), reference.eval()(image))
        assert torch.equal(special(image), network.eval()(image, modality))
        shared = {p.data_ptr() for p in special.parameters()} & {p.data_ptr() for p in network.parameters()}
        assert shared == set()


@LIGHT
def test_state_of_another_conversion_loads(name):
    network, _ = pair(name)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = convert_modality_norm(ZOO[name][0](), MODALITIES)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    image = image_of(name)
    for each in (other, copy.deepcopy(network)):
        assert torch.equal(each.eval()(image, "us"), network.eval()(image, "us"))


def test_whole_network_pickles():
    network, _ = pair("UNet-batch-2d")
    image = image_of("UNet-batch-2d")
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(again.eval()(image, [0, 2, 1, 1]), network.eval()(image, [0, 2, 1, 1]))


def test_add_modality_trains_nothing_else():
    network, references = pair("UNet-batch-2d")
    image = image_of("UNet-batch-2d")
    more = add_modality(network, "pet", like="mr", freeze=True)
    assert more.modalities == ("ct", "mr", "us", "pet")
    assert torch.equal(more.eval()(image, "pet"), references["mr"].eval()(image))
    before = copy.deepcopy(more.state_dict())
    optimiser = torch.optim.SGD([p for p in more.parameters() if p.requires_grad], lr=0.1)
    more.train()
    more(image, "pet").square().mean().backward()
    optimiser.step()
    changed = {key for key, value in more.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(".norms.pet." in key for key in changed)
    for modality, reference in references.items():
        assert torch.equal(more.eval()(image, modality), reference.eval()(image))
    assert network.modalities == MODALITIES
    assert all(p.requires_grad for p in network.parameters())


def test_add_modality_starts_from_the_default_and_trains_all():
    network = convert_modality_norm(unet(2, "batch"), ["ct", "mr"], "mr")
    more = add_modality(network, "us")
    assert more.default_modality == "mr"
    assert all(p.requires_grad for p in more.parameters())
    image = torch.randn(2, 1, 16, 16)
    assert torch.equal(more.eval()(image, 2), network.eval()(image))
    assert torch.equal(specialize(more, "us").eval()(image), network.eval()(image))


def test_network_that_keeps_its_last_maps_is_copied():
    """A ``DynUNet`` with deep supervision cannot be copied as it is, once it has run."""
    plain = dyn_unet(2, deep_supervision=True)
    image = torch.randn(2, 1, 16, 16)
    plain.train()(image)
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(plain)
    network = convert_modality_norm(plain, ["ct", "mr"]).train()
    output = network(image, [0, 1])
    assert output.shape == (2, 2, 3, 16, 16)
    torch.testing.assert_close(output, plain(image), rtol=1e-4, atol=1e-4)
    assert specialize(network, "mr").train()(image).shape == output.shape
    assert add_modality(network, "us")(image, "us").shape == output.shape


def test_norm_alone_is_a_network():
    network = convert_modality_norm(nn.BatchNorm2d(2), ["ct", "mr"])
    assert type(specialize(network, "mr")) is nn.BatchNorm2d


def test_norm_of_ones_own():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * self.scale

    plain = nn.Sequential(nn.Conv2d(1, 2, 1), Own())
    network = convert_modality_norm(plain, ["ct", "mr"], norm_types=(Own,))
    assert network.mixed == "apart"
    network.network[1].norms["mr"].scale.data.fill_(0)
    output = network(torch.rand(2, 1, 4, 4) + 1, [0, 1])
    assert output[0].any()
    assert not output[1].any()


@pytest.mark.parametrize(("name", "mixed"), [("UNet-batch-3d", "together"), ("SwinUNETR-2d", "apart")])
def test_way_of_mixed_batches(name, mixed):
    assert convert_modality_norm(ZOO[name][0](), ["a", "b"]).mixed == mixed


def test_norm_without_anything_to_learn_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        network = convert_modality_norm(UNet(2, 1, 2, channels=(4, 8), strides=(2,)), ["ct", "mr"])
    assert "nothing differs between modalities" in caplog.text
    assert network(torch.rand(2, 1, 8, 8), [0, 1]).shape == (2, 2, 8, 8)


def test_errors():
    plain = unet(2, "batch")
    network = convert_modality_norm(plain, ["ct", "mr"])
    with pytest.raises(ValueError, match="Sequential has none"):
        convert_modality_norm(nn.Sequential(nn.Conv2d(1, 1, 1)), ["ct"])
    with pytest.raises(ValueError, match="different names, got 'ct'"):
        convert_modality_norm(plain, "ct")
    with pytest.raises(ValueError, match="different names"):
        convert_modality_norm(plain, ["ct", "ct"])
    with pytest.raises(ValueError, match=r"default_modality must be one of \['ct'\], got 'mr'"):
        convert_modality_norm(plain, ["ct"], "mr")
    with pytest.raises(ValueError, match=r"'t1\.post' cannot be the name of a module"):
        convert_modality_norm(plain, ["t1.post"])
    with pytest.raises(ValueError, match="mixed must be 'together' or 'apart', got 'both'"):
        convert_modality_norm(plain, ["ct"], mixed="both")
    with pytest.raises(ValueError, match="see add_modality"):
        convert_modality_norm(network, ["ct"])
    with pytest.raises(ValueError, match="run it once before"):
        convert_modality_norm(nn.Sequential(nn.LazyBatchNorm2d(affine=False)), ["ct"])
    with pytest.raises(TypeError, match="must come from convert_modality_norm, got UNet"):
        specialize(plain, "ct")
    with pytest.raises(TypeError, match="must come from convert_modality_norm, got UNet"):
        add_modality(plain, "ct")
    with pytest.raises(ValueError, match=r"unknown modality 'us'; known are 'ct' \(0\), 'mr' \(1\)"):
        specialize(network, "us")
    with pytest.raises(ValueError, match="name must be a new modality, got 'ct'"):
        add_modality(network, "ct")
    with pytest.raises(ValueError, match="unknown modality 'pet'"):
        add_modality(network, "us", like="pet")
    with pytest.raises(ValueError, match="one layer per modality"):
        ModalityNorm({})
    assert isinstance(network, ModalityNormNetwork)
