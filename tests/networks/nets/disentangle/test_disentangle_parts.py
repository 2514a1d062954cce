# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Encoders and decoder of the representation disentanglement against the original's outputs and counts."""

import pytest
import torch
from torch import nn

from monai_mmseg.networks.nets import (
    DisentangleAnatomyEncoder,
    DisentangleAppearanceEncoder,
    DisentangleDecoder,
    DisentangleSpadeBlock,
)
from monai_mmseg.networks.nets.disentangle.encoders import anatomy_softmax
from monai_mmseg.networks.nets.disentangle.modulation import enlarge, modulate
from tests.networks.network_tester import num_parameters
from tests.reference_cases import arrays_of, cases_of


def close_to_largest(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def copy_conv(conv, arrays, name):
    """Weights of a convolution, plain or conditional."""
    inner = conv.conv if hasattr(conv, "conv") else conv
    with torch.no_grad():
        inner.weight.copy_(arrays[f"{name}.weight"])
        inner.bias.copy_(arrays[f"{name}.bias"])
        if f"{name}._routing_fn.fc.weight" in arrays:
            inner.route_weight.copy_(arrays[f"{name}._routing_fn.fc.weight"])
            inner.route_bias.copy_(arrays[f"{name}._routing_fn.fc.bias"])


def copy_norm(norm, arrays, name):
    with torch.no_grad():
        for key in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, key).copy_(arrays[f"{name}.{key}"])


def copy_block(block, arrays, name):
    for ours, theirs in {"shared": "si_layers", "gamma": "gamma", "beta": "beta", "out": "out"}.items():
        copy_conv(getattr(block, ours), arrays, f"{name}.{theirs}")


def index_of(arrays):
    return (arrays["modality"].reshape(-1) - 1).long().clamp(min=0)


@pytest.mark.parametrize("case", cases_of("disentangle_anatomy_unet"))
def test_original_anatomy_encoder(case):
    settings, arrays = cases_of("disentangle_anatomy_unet")[case], arrays_of("disentangle_anatomy_unet", case)
    first = settings["first"]
    net = DisentangleAnatomyEncoder(
        2,
        settings["C"],
        4,
        4,
        features=[first * k for k in (1, 2, 4, 8, 8)],
        conditional=settings["conditional"],
        activation="original",
        routing="scalar",
    )
    copy_conv(net.down_1, arrays, "enc.down_1")
    for number, level in enumerate(net.down, start=2):
        copy_conv(level.conv, arrays, f"enc.down_{number}.conv")
        copy_norm(level.norm, arrays, f"enc.down_{number}.bn")
    for number, level in zip((4, 3, 2, 1), net.up, strict=True):
        copy_conv(level.conv, arrays, f"dec.up_{number}.conv")
        copy_norm(level.norm, arrays, f"dec.up_{number}.bn")
    copy_conv(net.out, arrays, "dec.output.conv")
    net.train(settings["train_mode"])
    close_to_largest(net(arrays["x"], index_of(arrays)), arrays["logits"].float())


@pytest.mark.parametrize("case", cases_of("disentangle_modality_encoder"))
def test_original_appearance_encoder(case):
    arrays = arrays_of("disentangle_modality_encoder", case)
    net = DisentangleAppearanceEncoder(2, 3, (160, 192), 4, conditional=False, variational=True)
    for number, conv in enumerate(net.convs, start=1):
        copy_conv(conv, arrays, f"conv{number}")
    for ours, theirs in {"dense": "fcs.0", "mean": "mean", "log_variance": "log_var"}.items():
        copy_conv(getattr(net, ours), arrays, theirs)
    found = net(arrays["x"], 0)
    close_to_largest(found.code, arrays["mean"].float())
    close_to_largest(found.log_variance, arrays["log_var"].float())


@pytest.mark.parametrize("case", cases_of("disentangle_spade_block"))
def test_original_block(case):
    settings, arrays = cases_of("disentangle_spade_block")[case], arrays_of("disentangle_spade_block", case)
    conditional = settings["conditional"]
    block = DisentangleSpadeBlock(
        2, settings["in_ch"], settings["out_ch"], settings["s_ch"], 4, conditional=conditional, routing="scalar"
    )
    copy_block(block, arrays, "w")
    modality = index_of(arrays)
    found = block(arrays["h"], block.maps(arrays["s"], arrays["h"].shape[2:], modality), modality)
    close_to_largest(found, arrays["out"].float())


@pytest.mark.parametrize("case", cases_of("disentangle_spade_decoder"))
def test_original_decoder(case):
    settings, arrays = cases_of("disentangle_spade_decoder")[case], arrays_of("disentangle_spade_decoder", case)
    activation = "none" if settings["act"] == "no" else settings["act"]
    net = DisentangleDecoder(
        2, settings["C"], settings["image_size"], features=(16, 16, 16, 16, 8, 4, 2), activation=activation
    )
    copy_conv(net.code, arrays, "w.zi_scaler")
    for number, block in enumerate(net.blocks, start=1):
        copy_block(block, arrays, f"w.sp{number}")
    copy_conv(net.out, arrays, "w.out")
    close_to_largest(net(arrays["s"], arrays["z"]), arrays["out"].float())
    # the maps of an anatomy serve every code
    maps = net.maps(arrays["s"])
    torch.testing.assert_close(net.reconstruct(maps, arrays["z"].flip(0)), net(arrays["s"], arrays["z"].flip(0)))


@pytest.mark.parametrize("case", cases_of("disentangle_anatomy_softmax"))
def test_original_softmax(case):
    settings, arrays = cases_of("disentangle_anatomy_softmax")[case], arrays_of("disentangle_anatomy_softmax", case)
    background = arrays["background"] > 0
    for m in range(arrays["logits"].shape[1]):
        found = anatomy_softmax(arrays["logits"][:, m].float(), ~background, fifth=settings["remove_background"])
        torch.testing.assert_close(found, arrays["s"][:, m].float(), rtol=1e-4, atol=1e-6)


def test_softmax():
    logits = torch.randn(2, 4, 8, 8)
    mask = torch.rand(2, 1, 8, 8) > 0.5
    maps = anatomy_softmax(logits, mask)
    torch.testing.assert_close(maps.sum(1, keepdim=True), mask.float())
    fifth = anatomy_softmax(logits, mask, fifth=True)
    total = logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(fifth.sum(1, keepdim=True), torch.where(mask, total / (1 + total), 0.0))
    torch.testing.assert_close(anatomy_softmax(logits), logits.softmax(1))
    with pytest.raises(ValueError, match="foreground must have shape"):
        anatomy_softmax(logits, mask[:1])


@pytest.mark.parametrize(("channels", "plain", "mixed"), [(3, 3_108_108, 9_317_192), (7, 3_110_156, 9_323_336)])
def test_counts_of_the_anatomy_encoder(channels, plain, mixed):
    """The original's counts hold an unused normalisation of eight numbers."""
    with torch.device("meta"):
        assert num_parameters(DisentangleAnatomyEncoder(2, channels, 4, 4, conditional=False)) == plain - 8
        assert num_parameters(DisentangleAnatomyEncoder(2, channels, 4, 4, routing="scalar")) == mixed - 8


@pytest.mark.parametrize(("channels", "plain", "mixed"), [(3, 368_992, 858_334), (7, 369_568, 860_062)])
def test_counts_of_the_appearance_encoder(channels, plain, mixed):
    with torch.device("meta"):
        own = {"in_channels": channels, "spatial_size": (160, 192), "num_modalities": 4}
        assert num_parameters(DisentangleAppearanceEncoder(2, **own, conditional=False, variational=True)) == plain
        assert num_parameters(DisentangleAppearanceEncoder(2, **own, variational=True, routing="scalar")) == mixed
        deterministic = DisentangleAppearanceEncoder(2, **own, routing="scalar")
        assert num_parameters(deterministic) == mixed - 528


@pytest.mark.parametrize(("channels", "plain", "mixed"), [(3, 1_900_483, 5_566_393), (7, 1_900_551, 5_566_589)])
def test_counts_of_the_decoder(channels, plain, mixed):
    with torch.device("meta"):
        own = {"out_channels": channels, "spatial_size": (160, 192)}
        assert num_parameters(DisentangleDecoder(2, **own)) == plain
        assert (
            num_parameters(DisentangleDecoder(2, **own, num_modalities=4, conditional=True, routing="scalar")) == mixed
        )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("conditional", [True, False])
def test_rows_do_not_depend_on_each_other(dims, conditional):
    torch.manual_seed(0)
    size = (32, 64, 32)[:dims]
    anatomy = DisentangleAnatomyEncoder(dims, 2, 4, 3, features=(2, 4, 4, 4, 4), conditional=conditional).eval()
    appearance = DisentangleAppearanceEncoder(dims, 2, size, 3, features=(2, 4), conditional=conditional)
    decoder = DisentangleDecoder(
        dims, 2, size, features=(4, 4, 4, 4, 4, 2, 2), num_modalities=3, conditional=conditional
    )
    image, modality = torch.rand(3, 2, *size), [2, 0, 1]
    maps = anatomy_softmax(anatomy(image, modality))
    codes = appearance(image, modality).code
    drawn = decoder(maps, codes, modality)
    assert drawn.shape == image.shape
    for row in range(3):
        own = image[row : row + 1]
        torch.testing.assert_close(anatomy_softmax(anatomy(own, modality[row])), maps[row : row + 1])
        torch.testing.assert_close(appearance(own, modality[row]).code, codes[row : row + 1])
        alone = decoder(maps[row : row + 1], codes[row : row + 1], modality[row])
        torch.testing.assert_close(alone, drawn[row : row + 1], rtol=1e-4, atol=1e-5)


def test_activations():
    torch.manual_seed(0)
    image = torch.randn(2, 1, 32, 32)
    paper, released = (
        DisentangleAnatomyEncoder(2, 1, 4, 1, features=(2, 4, 4), conditional=False, activation=name).eval()
        for name in ("relu", "original")
    )
    released.load_state_dict(paper.state_dict())
    assert not torch.allclose(paper(image, 0), released(image, 0))


def test_block_without_modulation_and_scale_of_its_input():
    block = DisentangleSpadeBlock(2, 4, 3, 4)
    features, anatomy = torch.randn(2, 4, 8, 8), torch.rand(2, 4, 32, 32)
    maps = block.maps(anatomy, (8, 8))
    torch.testing.assert_close(block(3 * features + 7, maps), block(features, maps), rtol=1e-3, atol=1e-4)
    for conv in (block.gamma, block.beta):
        nn.init.zeros_(conv.conv.weight)
        nn.init.zeros_(conv.conv.bias)
    plain = block.out.conv(nn.functional.instance_norm(features))
    torch.testing.assert_close(block(features, block.maps(anatomy, (8, 8))), plain, rtol=1e-4, atol=1e-5)


def direct_maps(block, anatomy, size):
    """By the two convolutions of each map, one after the other."""
    hidden = block.shared.conv(enlarge(anatomy, size))
    return block.gamma.conv(hidden), block.beta.conv(hidden)


@pytest.mark.parametrize("size", [(16, 24), (20, 16, 16), (12, 40)])
@pytest.mark.parametrize("anatomy_size", ["same", "other"])
def test_folded_maps_are_those_of_both_convolutions(size, anatomy_size):
    torch.manual_seed(0)
    block = DisentangleSpadeBlock(len(size), 6, 3, 4).double()
    shape = size if anatomy_size == "same" else [2 * edge for edge in size]
    anatomy = torch.rand(2, 4, *shape, dtype=torch.float64, requires_grad=True)
    variables = [anatomy, *(p for name, p in block.named_parameters() if not name.startswith("out"))]
    found, expected = block.maps(anatomy, size), direct_maps(block, anatomy, size)
    noise = torch.rand(2, *expected[0].shape, dtype=torch.float64)
    for maps in (found, expected):
        assert maps[0].shape == (2, 6, *size)
    torch.testing.assert_close(tuple(found), expected)
    gradients = [
        torch.autograd.grad((noise[0] * maps[0] + noise[1] * maps[1].square()).sum(), variables, retain_graph=True)
        for maps in (found, expected)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


def plain_modulation(features, gamma, beta, rows):
    large = nn.functional.interpolate(features, gamma.shape[2:], mode="bilinear" if gamma.ndim == 4 else "trilinear")
    return nn.functional.instance_norm(large) * (1 + gamma[rows]) + beta[rows]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("factor", [1, 2])
def test_modulation(dims, last, factor):
    torch.manual_seed(0)
    form = {2: torch.channels_last, 3: torch.channels_last_3d}[dims] if last else torch.contiguous_format
    rows = torch.tensor([3, 0, 0, 1, 3])  # none has the third
    features = torch.rand(5, 3, *[4] * dims, dtype=torch.float64).contiguous(memory_format=form)
    maps = torch.rand(2, 4, 3, *[4 * factor] * dims, dtype=torch.float64)
    inputs = [x.contiguous(memory_format=form).requires_grad_() for x in (features, *maps)]
    found = modulate(*inputs, rows)
    torch.testing.assert_close(found, plain_modulation(*inputs, rows))
    assert found.is_contiguous(memory_format=form)
    assert torch.autograd.gradcheck(lambda *x: modulate(*x, rows), inputs, fast_mode=True)


def test_modulation_in_half_precision_has_statistics_of_single():
    features, maps = 1000 + torch.randn(2, 3, 16, 16), torch.rand(2, 2, 3, 32, 32)
    inputs = [x.bfloat16().requires_grad_() for x in (features, *maps)]
    found = modulate(*inputs)
    expected = plain_modulation(*(x.detach().float() for x in inputs), torch.arange(2))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
    found.sum().backward()
    assert all(x.grad.dtype == torch.bfloat16 for x in inputs)


def test_compiled_program_has_the_plain_form():
    block = DisentangleSpadeBlock(2, 4, 3, 4)
    features, anatomy = torch.rand(2, 4, 8, 8), torch.rand(2, 4, 16, 16)

    class Program(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, features, anatomy):
            return self.block(features, self.block.maps(anatomy, (16, 16)))

    program = torch.export.export(Program(), (features, anatomy)).module()
    expected = block(features, block.maps(anatomy, (16, 16)))
    torch.testing.assert_close(program(features, anatomy), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DisentangleAnatomyEncoder(2, 1, activation="tanh"), "activation must be one of"),
        (lambda: DisentangleAnatomyEncoder(2, 1, features=(4,)), "at least two levels"),
        (lambda: DisentangleAnatomyEncoder(2, 1)(torch.zeros(1, 1, 48, 32), 0), "image must be divisible by 32"),
        (lambda: DisentangleAppearanceEncoder(2, 1, (32,)), "spatial_size must have 2 numbers"),
        (
            lambda: DisentangleAppearanceEncoder(2, 1, (32, 32))(torch.zeros(1, 1, 32, 64), 0),
            r"image must have spatial size \(32, 32\)",
        ),
        (lambda: DisentangleDecoder(2, 1, (32, 32)), "must leave more than one pixel"),
        (lambda: DisentangleDecoder(2, 1, (48, 32)), "spatial_size must be divisible by 32"),
        (lambda: DisentangleDecoder(3, 1, (32, 64)), "spatial_size must have 3 numbers"),
        (lambda: DisentangleDecoder(2, 1, (32, 64), activation="relu"), "activation must be 'none' or 'softplus'"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
