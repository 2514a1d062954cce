# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import io
from collections import OrderedDict

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_mmseg.networks.layers import convert_modality_norm
from monai_mmseg.networks.layers.modality_norm import ModalityNorm
from monai_mmseg.networks.nets import AnisotropicUNet, DilatedResidualNet, ModalityStreams
from tests.networks.network_tester import num_parameters, perturb
from tests.networks.ummkd_weights import case_of, fill_kernels, fill_norms, image_in, layers_in, load_modality

NAMES = ("ct", "mr", "us")
ENDS_2D = tuple(f"group_{number}" for number in (1, 2, 3, 4))
ENDS_3D = ("encoder_1", "encoder_2", "encoder_3")
SHAPES = {  # stages that are separate
    "joint": {2: (), 3: ()},
    "y": {2: ENDS_2D, 3: ENDS_3D},
    "x": {
        2: (*ENDS_2D, "group_8", "group_9", "group_10", "output"),
        3: (*ENDS_3D, "decoder_3", "decoder_2", "decoder_1", "output"),
    },
    "individual": {
        2: (*(f"group_{number}" for number in range(1, 11)), "output"),
        3: (*ENDS_3D, "encoder_4", "decoder_3", "decoder_2", "decoder_1", "output"),
    },
}
COUNTS = {  # exact numbers of trainable weights of the original graphs (3D: as released)
    "joint": {2: 39_322_648, 3: 2_201_589},
    "individual": {2: 78_645_296, 3: 4_403_178},
    "y": {2: 39_988_136, 3: 2_410_053},
    "x": {2: 65_956_656, 3: 3_960_042},
    "chilopod": {2: 39_342_840, 3: 2_204_565},
}


class Plain(nn.Sequential):
    """Four linear stages with batch normalisation, one skip, for small exact checks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 2, 1)
        self.second = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.third = _Joining()
        self.last = nn.Conv2d(2, 3, 1)
        self.stages, self.skips = ("first", "second", "third", "last"), {"third": "first"}

    def forward(self, image):
        skip = self.first(image)
        return self.last(self.third(self.second(skip), skip))


class _Joining(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2), nn.ReLU())

    def forward(self, image, skip):
        return super().forward(torch.cat([image, skip], 1))


def small(spatial_dims: int, **settings) -> nn.Module:
    if spatial_dims == 2:
        narrow = {"features": [2] * 4 + [3] * 4, "num_blocks": [1] * 8, "dilations": [1] * 7 + [2], "dropout": 0.0}
        return DilatedResidualNet(2, 1, 2, **{**narrow, **settings})
    return AnisotropicUNet(3, 1, 2, features=(2, 2, 4, 4), **settings)


def image_for(spatial_dims: int, rows: int = 4) -> torch.Tensor:
    return torch.rand(rows, 1, *[16] * spatial_dims)


def streams(shape: str, spatial_dims: int, **settings) -> ModalityStreams:
    """Streams whose stages differ, as after training."""
    return perturb(ModalityStreams(small(spatial_dims), NAMES, separate=SHAPES[shape][spatial_dims], **settings), 0.1)


each_shape = pytest.mark.parametrize("shape", SHAPES)
each_dims = pytest.mark.parametrize("spatial_dims", [2, 3])


@pytest.mark.parametrize("norm", ["batch", "instance", "layer", "group"])
@pytest.mark.parametrize("shape", COUNTS)
@each_dims
def test_parameter_counts(shape, spatial_dims, norm):
    with torch.device("meta"):  # shapes without values
        plain = DilatedResidualNet(2, 3, 5, norm=norm) if spatial_dims == 2 else AnisotropicUNet(3, 1, 5, norm=norm)
        if shape == "chilopod":
            network = convert_modality_norm(plain, ["ct", "mr"])
        else:
            network = ModalityStreams(plain, ["ct", "mr"], separate=SHAPES[shape][spatial_dims])
    assert num_parameters(network) == COUNTS[shape][spatial_dims]
    assert COUNTS["chilopod"][spatial_dims] - COUNTS["joint"][spatial_dims] == {2: 20_192, 3: 2_976}[spatial_dims]


@each_dims
def test_individual_stages_are_all_stages(spatial_dims):
    assert SHAPES["individual"][spatial_dims] == small(spatial_dims).stages


@each_shape
@each_dims
def test_rows_meet_their_own_stages(shape, spatial_dims):
    network, image = streams(shape, spatial_dims).eval(), image_for(spatial_dims)
    modality = torch.tensor([2, 0, 2, 1])
    with torch.no_grad():
        together = network(image, modality)
        for row, index in enumerate(modality.tolist()):
            alone = network(image[row : row + 1], NAMES[index])
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-4)
            plain = network.specialize(index)(image[row : row + 1])
            assert torch.equal(plain, alone)
    assert type(network.specialize("us")) is type(small(spatial_dims))


@each_dims
def test_streams_start_from_the_weights_of_the_network(spatial_dims):
    plain, image = perturb(small(spatial_dims), 0.1).eval(), image_for(spatial_dims)
    kept = {name: value.clone() for name, value in plain.state_dict().items()}
    network = ModalityStreams(plain, NAMES, separate=SHAPES["y"][spatial_dims])
    assert not network.training
    torch.testing.assert_close(network(image, [0, 1, 2, 1]), plain(image), atol=1e-5, rtol=1e-4)
    perturb(network)
    assert all(torch.equal(kept[name], value) for name, value in plain.state_dict().items()), "the network is copied"


def test_skips_come_from_the_own_encoder():
    network = ModalityStreams(Plain(), ["ct", "mr"], separate=["first"]).eval()
    with torch.no_grad():
        network.streams["first"]["mr"].weight.fill_(7.0)
        image = torch.rand(2, 1, 4, 4)
        mixed = network(image, [1, 0])
    for row, name in enumerate(["mr", "ct"]):
        plain = Plain().eval()
        plain.first.load_state_dict(network.streams["first"][name].state_dict())
        torch.testing.assert_close(mixed[row : row + 1], plain(image[row : row + 1]))


@each_shape
def test_one_modality_leaves_the_separate_stages_of_others_alone(shape):
    network = streams(shape, 3).train()
    before = copy.deepcopy(network.state_dict())
    network(image_for(3, 2), "mr").sum().backward()
    for name, parameter in network.named_parameters():
        foreign = name.startswith("streams.") and name.split(".")[2] != "mr"
        assert (parameter.grad is None) == foreign, name
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith("streams.") and name.split(".")[2] != "mr"]


def test_shared_kernels_get_the_sum_of_both_gradients():
    network = ModalityStreams(Plain().double(), ["ct", "mr"], separate=["first"]).eval()
    image, weight = torch.rand(2, 3, 1, 4, 4).double(), network.shared.second[0].weight
    gradients = []
    for index in range(2):
        network(image[index], index).square().sum().backward()
        gradients.append(weight.grad.clone())
        weight.grad = None
    rows = torch.tensor([0, 1, 1, 0, 1, 0])
    mixed = torch.empty(6, 1, 4, 4, dtype=torch.float64)
    mixed[rows == 0], mixed[rows == 1] = image[0], image[1]
    network(mixed, rows).square().sum().backward()
    torch.testing.assert_close(weight.grad, gradients[0] + gradients[1])


def test_joint_statistics():
    """Of all rows at once, or of each modality in turn."""
    image = torch.cat([torch.rand(2, 1, 4, 4), 5 + torch.rand(3, 1, 4, 4)])
    modality = torch.tensor([0, 0, 1, 1, 1])
    order = torch.tensor([3, 0, 2, 4, 1])
    together = ModalityStreams(Plain(), ["ct", "mr"]).train()
    plain = Plain().train()
    expected = plain(image)
    torch.testing.assert_close(together(image[order], modality[order]), expected[order])
    torch.testing.assert_close(together.shared.second[1].running_mean, plain.second[1].running_mean)

    apart = ModalityStreams(Plain(), ["ct", "mr"], joint_stats="per_stream").train()
    plain = Plain().train()
    expected = torch.cat([plain(image[:2]), plain(image[2:])])
    torch.testing.assert_close(apart(image[order], modality[order]), expected[order])
    torch.testing.assert_close(apart.shared.second[1].running_mean, plain.second[1].running_mean)
    assert apart.shared.second[1].num_batches_tracked == 2
    apart.eval(), plain.eval()
    torch.testing.assert_close(apart(image, modality), plain(image))


@pytest.mark.parametrize(("joint_stats", "calls"), [("concatenated", 1), ("per_stream", 3)])
def test_shared_stages_run_once(joint_stats, calls):
    network = ModalityStreams(Plain(), NAMES, separate=["first"], joint_stats=joint_stats).train()
    seen: dict[str, int] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *_, name=name: seen.update({name: seen.get(name, 0) + 1}))
    network(torch.rand(7, 1, 4, 4), [0, 2, 1, 0, 2, 1, 1])
    assert {name: seen[f"streams.first.{name}"] for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert {seen[f"shared.{name}"] for name in ("second", "third", "last")} == {calls}


def test_what_a_modality_may_be():
    network = ModalityStreams(Plain(), NAMES, separate=["first"], default_modality="mr").eval()
    perturb(network, 0.2)
    image = torch.rand(2, 1, 4, 4)
    expected = network(image, "mr")
    for modality in (None, 1, torch.tensor(1), torch.tensor([1, 1], dtype=torch.int32), [1, 1], ["mr", "mr"]):
        assert torch.equal(network(image, modality), expected)
    assert not torch.allclose(network(image, "us"), expected)
    torch.testing.assert_close(network(MetaTensor(image), [1, 1]).as_tensor(), expected)
    mixed = network(MetaTensor(image), [1, 0])
    torch.testing.assert_close(torch.as_tensor(mixed)[:1], expected[:1])


def test_a_sequential_with_stages_will_do():
    plain = nn.Sequential(OrderedDict(a=nn.Conv3d(1, 2, 1), b=nn.Conv3d(2, 2, 1)))
    plain.stages = ["a", "b"]
    network = ModalityStreams(plain, ["ct", "mr"], separate=["b"])
    assert network(torch.rand(2, 1, 2, 2, 2), [1, 0]).shape == (2, 2, 2, 2, 2)


@each_shape
def test_every_parameter_gets_a_gradient_from_a_mixed_batch(shape):
    network = streams(shape, 3).train()
    out = network(image_for(3), [2, 0, 1, 1])
    (out * torch.randn_like(out)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@each_dims
def test_mixed_precision_and_channels_last(spatial_dims):
    memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}[spatial_dims]
    network = streams("y", spatial_dims).to(memory_format=memory_format).train()
    # 32 long: oneDNN's bfloat16 gradient of a 3D kernel reads memory that nobody wrote where 3 samples meet 2.
    image = torch.rand(4, 1, 32, *[16] * (spatial_dims - 1)).to(memory_format=memory_format)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = network(image, [1, 0, 2, 1])
    out.float().square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@each_dims
def test_state_dict_round_trip_and_specialised_export(spatial_dims):
    network, image = streams("x", spatial_dims).eval(), image_for(spatial_dims, 2)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = ModalityStreams(small(spatial_dims), NAMES, separate=SHAPES["x"][spatial_dims]).eval()
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    expected = network(image, [2, 1])
    assert torch.equal(other(image, [2, 1]), expected)
    plain = other.specialize("us").eval()
    plain.load_state_dict(small(spatial_dims).state_dict() | plain.state_dict(), strict=True)
    torch.testing.assert_close(torch.jit.script(plain)(image), plain(image), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        perturb(plain)
    assert torch.equal(other(image, [2, 1]), expected), "a specialised network shares nothing"


@pytest.mark.parametrize(("name", "keys"), [("net2d_b2", ("train_s", "train_t")), ("net3d_b2", ("train_s", "train_t"))])
def test_original_output_of_both_modalities_in_one_mixed_batch(name, keys):
    """All kernels shared, normalisation per modality; and all stages separate."""
    case, flat = case_of(name), name == "net2d_b2"
    plain = (
        DilatedResidualNet(2, 3, 5, features=(4, 8, 16, 32, 64, 64, 128, 128), dropout=0.0)
        if flat
        else AnisotropicUNet(3, 1, 5, features=(8, 16, 32, 64))
    )
    shared = convert_modality_norm(plain, ["source", "target"]).train()
    fill_kernels(layers_in(shared)[0], case, transposed_cell=flat)
    apart = ModalityStreams(plain, ["source", "target"], separate=plain.stages).train()
    for index, modality in enumerate(shared.modalities):
        norms = [module.norms[modality] for module in shared.modules() if isinstance(module, ModalityNorm)]
        fill_norms(norms, case, index, transposed_cell=flat)
        stages = nn.ModuleList(apart.streams[stage][modality] for stage in apart.stages)
        load_modality(stages, case, index, transposed_cell=flat)
    order = torch.tensor([2, 0, 3, 1])
    image = torch.cat([image_in(case, "x_s"), image_in(case, "x_t")])[order]
    modality = torch.tensor([0, 0, 1, 1])[order]
    expected = torch.cat([image_in(case, key) for key in keys])[order]
    with torch.no_grad():
        for network in (shared, apart):
            torch.testing.assert_close(network(image, modality), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modalities": []}, r"modalities must be a list of different names, got \[\]"),
        ({"modalities": ["ct", "ct"]}, r"modalities must be a list of different names, got \['ct', 'ct'\]"),
        ({"modalities": ["t1.w"], "separate": ["first"]}, r"modality 't1.w' cannot be the name of a module"),
        ({"default_modality": "pet"}, r"default_modality must be one of \['ct', 'mr', 'us'\], got 'pet'"),
        ({"separate": ["fourth"]}, r"separate must list stages of \['first', 'second', 'third', 'last'\], got"),
        ({"separate": "first"}, r"separate must list stages of .*, got 'first'"),
        ({"joint_stats": "sum"}, r"joint_stats must be 'concatenated' or 'per_stream', got 'sum'"),
        ({"network": nn.Sequential(nn.Conv2d(1, 1, 1))}, r"children of this Sequential are \['0'\], its stages None"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ModalityStreams(**{"network": Plain(), "modalities": list(NAMES), **settings})


@pytest.mark.parametrize("skips", [{"first": "third"}, {"third": "zeroth"}, ["first"]])
def test_wrong_skips_are_refused(skips):
    plain = Plain()
    plain.skips = skips
    with pytest.raises(ValueError, match=r"skips of network must lead from a stage to an earlier one of \('first'"):
        ModalityStreams(plain, NAMES)


def test_wrong_input_is_refused():
    network = ModalityStreams(small(2), NAMES)
    with pytest.raises(ValueError, match=r"unknown modality 'pet'; known are 'ct' \(0\), 'mr' \(1\), 'us' \(2\)"):
        network(torch.zeros(1, 1, 16, 16), "pet")
    with pytest.raises(ValueError, match=r"size of image must be divisible by 8 along every axis, got \(16, 20\)"):
        network(torch.zeros(1, 1, 16, 20), "ct")
    with pytest.raises(ValueError, match=r"unknown modality 'pet'"):
        network.specialize("pet")


def test_scripts_beside_the_other_network():
    """TorchScript shares the code of what it takes for the same type, also between networks."""
    for network in (small(2, norm="batch"), AnisotropicUNet(2, 1, 2, features=(2, 2, 4, 4))):
        perturb(network, 0.1).eval()
        with torch.no_grad():
            image = image_for(2)
            torch.testing.assert_close(torch.jit.script(network)(image), network(image))
