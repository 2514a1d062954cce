# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from typing import NamedTuple

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch import nn

from monai_mmseg.networks.layers import ModalityNorm, ModalityNormNetwork, convert_modality_norm
from tests.networks.layers.modality_zoo import TokenNet, by_rows, image_of, pair, unet


class Several(NamedTuple):
    logits: torch.Tensor
    rest: dict


class SeveralNet(nn.Module):
    """A network with outputs of every kind."""

    def __init__(self, scalar=False):
        super().__init__()
        self.scalar = scalar
        self.norm = nn.LayerNorm(4)

    def forward(self, x):
        y = self.norm(x)
        return Several(y, {"list": [y[:, 0], None], "tuple": (y.flatten(1).mean(1), y.mean() if self.scalar else y)})


def test_outputs_of_every_kind_are_joined():
    network = convert_modality_norm(SeveralNet(), ["ct", "mr"])
    network.network.norm.norms["mr"].bias.data.fill_(1)
    x = torch.rand(3, 2, 4)
    mixed, ct, mr = network(x, [1, 0, 1]), network(x, "ct"), network(x, "mr")

    def expected(pick):
        return torch.stack([pick(mr)[0], pick(ct)[1], pick(mr)[2]])

    assert isinstance(mixed, Several)
    for pick in (
        lambda out: out.logits,
        lambda out: out.rest["list"][0],
        lambda out: out.rest["tuple"][0],
        lambda out: out.rest["tuple"][1],
    ):
        torch.testing.assert_close(pick(mixed), expected(pick))
    assert mixed.rest["list"][1] is None


def test_output_without_rows_is_refused():
    network = convert_modality_norm(SeveralNet(scalar=True), ["ct", "mr"])
    assert network(torch.rand(2, 2, 4), [1, 1]).logits.shape == (2, 2, 4)
    with pytest.raises(TypeError, match="a Tensor without rows.*mixed='together'"):
        network(torch.rand(2, 2, 4), [1, 0])


def test_rows_that_are_not_first_are_refused():
    network = convert_modality_norm(TokenNet(), ["ct", "mr"], mixed="together")
    with pytest.raises(RuntimeError, match=r"mixed batch of 2 rows reached a normalisation as \(4, 2, 8\).*'apart'"):
        network(torch.rand(2, 1, 8, 8), [0, 1])
    folded = nn.Sequential(nn.Flatten(0, 1), nn.Unflatten(0, (-1, 1)), nn.BatchNorm2d(1))
    network = convert_modality_norm(folded, ["ct", "mr"])
    with pytest.raises(RuntimeError, match="first axis is not the row"):
        network(torch.rand(2, 3, 4, 4), [0, 1])
    assert network(torch.rand(2, 3, 4, 4), "mr").shape == (6, 1, 4, 4)


def test_unknown_modality():
    network = convert_modality_norm(unet(2, "batch"), ["ct", "mr"])
    with pytest.raises(ValueError, match=r"unknown modality 'us'; known are 'ct' \(0\), 'mr' \(1\)"):
        network(torch.rand(2, 1, 8, 8), "us")
    with pytest.raises(ValueError, match="unknown modality 2"):
        network(torch.rand(2, 1, 8, 8), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="each of the 2 rows"):
        network(torch.rand(2, 1, 8, 8), torch.tensor([0]))
    with pytest.raises(ValueError, match="unknown modality 'us'"):
        network.modality_parameters("us")


def test_layers_need_a_modality():
    network = convert_modality_norm(unet(2, "batch"), ["ct", "mr"])
    with pytest.raises(RuntimeError, match="ran without a modality: call the ModalityNormNetwork"):
        network.network(torch.rand(2, 1, 8, 8))


def test_default_modality():
    network, references = pair("UNet-batch-2d", default_modality="us")
    image = image_of("UNet-batch-2d")
    assert torch.equal(network.eval()(image), references["us"].eval()(image))


@pytest.mark.parametrize("name", ["UNet-batch-2d", "UNet-instance-2d", "SegResNet-3d"])
@pytest.mark.parametrize("rows", [[0, 0, 2, 2], [2, 0, 2, 1]], ids=["runs", "mixed"])
def test_together_equals_apart(name, rows):
    (network, _), image = pair(name), image_of(name)
    results = {}
    for mixed in ("together", "apart"):
        network.mixed = mixed
        network.zero_grad()
        output = network.eval()(image, rows)
        (output * torch.linspace(0, 1, output.numel()).view(output.shape)).sum().backward()
        results[mixed] = [output, *[p.grad.clone() for p in network.parameters() if p.grad is not None]]
    torch.testing.assert_close(results["together"], results["apart"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["UNet-batch-2d", "UNet-instance-2d", "UNet-group-3d"])
def test_precision(name, dtype):
    network, references = pair(name)
    network, image = network.to(dtype), image_of(name).to(dtype)
    references = {modality: reference.to(dtype) for modality, reference in references.items()}
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    output = network(image, [0, 1, 1, 0])
    assert output.dtype == dtype
    torch.testing.assert_close(output, by_rows(references, image, [0, 1, 1, 0]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["UNet-batch-2d", "UNet-instance-2d", "UNet-group-3d", "SwinUNETR-2d"])
def test_mixed_precision(name):
    (network, references), image = pair(name), image_of(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(image, [0, 1, 1, 0])
        expected = by_rows(references, image, [0, 1, 1, 0])
    assert output.dtype == expected.dtype
    torch.testing.assert_close(output.float(), expected.float(), rtol=0.1, atol=0.1)
    output.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.modality_parameters("mr"))


@pytest.mark.parametrize("name", ["UNet-batch-2d", "UNet-instance-2d"])
def test_channels_last(name):
    (network, references), image = pair(name), image_of(name)
    network = network.to(memory_format=torch.channels_last)
    output = network(image.contiguous(memory_format=torch.channels_last), [2, 1, 1, 0])
    torch.testing.assert_close(output, by_rows(references, image, [2, 1, 1, 0]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_threads_do_not_disturb_each_other():
    (network, references), image = pair("UNet-batch-2d"), image_of("UNet-batch-2d")
    network.eval()
    wrong = []

    def serve(modality):
        expected = references[modality].eval()(image)
        wrong.extend(modality for _ in range(20) if not torch.equal(network(image, modality), expected))

    threads = [threading.Thread(target=serve, args=(modality,)) for modality in network.modalities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@torch.no_grad()
def test_windows_of_an_inferer():
    network, references = pair("UNet-batch-2d")
    infer = SlidingWindowInferer((16, 16), sw_batch_size=3)
    image = torch.randn(1, 1, 40, 24)
    assert torch.equal(infer(image, network.eval(), modality="mr"), infer(image, references["mr"].eval()))


def test_taps_see_the_rows_in_order():
    (network, references), image = pair("UNet-batch-2d"), image_of("UNet-batch-2d")
    seen = {}
    key = next(key for key, module in references["ct"].named_modules() if isinstance(module, nn.BatchNorm2d))
    network.network.get_submodule(key).register_forward_hook(lambda module, args, out: seen.update(out=out))
    reference = {}
    references["us"].get_submodule(key).register_forward_hook(lambda module, args, out: reference.update(out=out))
    network(image, [0, 2, 1, 2])
    references["us"](image[[1, 3]])
    torch.testing.assert_close(seen["out"][[1, 3]], reference["out"])


def test_what_a_network_reads_of_its_norms():
    layer = ModalityNorm({"ct": nn.LayerNorm(2, eps=1e-3), "mr": nn.LayerNorm(2, eps=1e-3)})
    network = ModalityNormNetwork(layer, ["ct", "mr"])
    with network.using("mr"):
        assert layer.weight is layer.norms["mr"].weight
        assert layer.eps == 1e-3
    with network.using([0, 1]), pytest.raises(AttributeError, match="weight"):
        _ = layer.weight
    with pytest.raises(AttributeError, match="weight"):
        _ = layer.weight


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "UNet-batch-2d",
        *[pytest.param(name, marks=pytest.mark.overlays) for name in ("UNet-instance-2d", "tokens-second-2d")],
    ],
)
def test_compiles(name):
    network, image = pair(name)[0], image_of(name)
    network.eval()
    torch.compiler.reset()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        for modality in ("ct", "mr", 2, [0, 0, 1, 2], [1, 0, 1, 0]):
            torch.testing.assert_close(compiled(image, modality), network(image, modality), rtol=1e-4, atol=1e-4)
    torch.compiler.reset()
    breaks = torch.compile(network, backend="eager")
    with torch.no_grad():
        for rows in ([0, 0, 1, 1], [2, 0, 0, 1]):
            rows = torch.tensor(rows)
            torch.testing.assert_close(breaks(image, rows), network(image, rows), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_compiled_within():
    """Compiling the network inside keeps the modalities apart too, and gradients with them."""
    (network, references), image = pair("UNet-batch-2d"), image_of("UNet-batch-2d")
    network.train()
    torch.compiler.reset()
    network.network.compile(backend="aot_eager")
    for modality in ("ct", "mr", "us", "ct"):
        torch.testing.assert_close(network(image, modality), references[modality].train()(image), rtol=1e-4, atol=1e-4)
    rows = [0, 2, 2, 0]
    output = network(image, rows)
    torch.testing.assert_close(output, by_rows(references, image, rows), rtol=1e-4, atol=1e-4)
    output.sum().backward()
    assert all(p.grad is None for p in network.modality_parameters("mr"))
    assert all(p.grad is not None for p in network.modality_parameters("us"))


def test_errors_of_the_constructor():
    layer = ModalityNorm({"ct": nn.LayerNorm(2)})
    with pytest.raises(ValueError, match="different names, got \\[\\]"):
        ModalityNormNetwork(layer, [])
    with pytest.raises(ValueError, match="mixed must be"):
        ModalityNormNetwork(layer, ["ct"], mixed="apart ")
