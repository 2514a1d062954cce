# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.networks.nets import DisentangleNet
from tests.networks.network_tester import num_parameters

NAN = float("nan")
SMALL = {
    "anatomy_features": (2, 4, 4, 4, 4),
    "appearance_features": (2, 4),
    "decoder_features": (4, 4, 4, 4, 4, 2, 2),
}
MODALITIES = ("t1", "t2", "flair")


def net_of(dims=2, channels=1, **settings):
    torch.manual_seed(0)
    size = (64, 32, 32)[:dims]
    arguments = {"modalities": MODALITIES, "target": "t2", "spatial_size": size, **SMALL, **settings}
    net = DisentangleNet(dims, channels, **arguments)
    torch.nn.init.normal_(net.mean_code)
    return net.eval()


def image_of(net, rows=2, seed=0):
    shape = (rows, net.num_modalities * net.in_channels, *net.spatial_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("encoders", ["conditional", "separate", "shared"])
@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 3), (3, 1)])
def test_any_subset_and_its_shapes(encoders, dims, channels):
    net = net_of(dims, channels, encoders=encoders, conditional_decoder=encoders == "conditional")
    image = image_of(net)
    present = torch.tensor([[True, False, True], [False, True, False]])
    factors = net.factors(image, present)
    assert factors.anatomy.shape == (2, 3, 4, *net.spatial_size)
    assert factors.code.shape == (2, 3, 16)
    assert not factors.anatomy[~present].any()
    assert not factors.code[~present].any()
    torch.testing.assert_close(factors.anatomy[present].sum(1), torch.ones(3, *net.spatial_size))
    assert net.fuse(factors).shape == (2, 12, *net.spatial_size)
    assert net(image, present).shape == (2, channels, *net.spatial_size)


@pytest.mark.parametrize("encoders", ["conditional", "separate"])
def test_what_is_absent_does_not_matter_and_nan_is_absent(encoders):
    net = net_of(encoders=encoders)
    image = image_of(net)
    present = torch.tensor([[True, False, True], [True, True, True]])
    expected = net(image, present)
    for filling in (NAN, 7.0, 0.0):
        other = image.clone()
        other[0, 1] = filling
        torch.testing.assert_close(net(other, present), expected)
    image[0, 1] = NAN
    torch.testing.assert_close(net(image), expected)
    image[0, 0, 3, 3] = NAN  # any NaN
    assert net.factors(image).present.tolist() == [[False, False, True], [True, True, True]]


def test_a_draw_is_the_mean_anatomy_with_the_mean_code():
    net = net_of()
    image = image_of(net)
    anatomy = net.factors(image).anatomy.mean(1)
    torch.testing.assert_close(net(image), net.decode(anatomy, net.mean_code[1].expand(2, -1)))
    other = net_of(target="flair")
    other.load_state_dict(net.state_dict())
    assert not torch.allclose(other(image), net(image))


def test_the_target_of_a_call():
    net = net_of()
    image = image_of(net)
    torch.testing.assert_close(net(image, target="flair"), net_of(target="flair")(image))
    torch.testing.assert_close(net(image, target="t2"), net(image))
    with pytest.raises(ValueError, match="target must be one of modalities .* got 'pet'"):
        net(image, target="pet")


@pytest.mark.parametrize("encoders", ["conditional", "separate"])
def test_anatomy_gain_sharpens_anatomies_and_nothing_else(encoders):
    plain, sharp = net_of(encoders=encoders), net_of(encoders=encoders, anatomy_gain=10.0)
    for (name, a), (_, b) in zip(plain.state_dict().items(), sharp.state_dict().items(), strict=True):
        torch.testing.assert_close(b, a * (10 if ".out.conv.weight" in name and "anatomy" in name else 1))
    spread = [net.factors(image_of(net)).anatomy.std((3, 4)).mean() for net in (plain, sharp)]
    assert spread[1] > 5 * spread[0]
    with pytest.raises(ValueError, match="anatomy_gain must be positive, got 0"):
        net_of(anatomy_gain=0)


def test_background_has_no_anatomy():
    net = net_of(background=0.0)
    image = image_of(net) + 0.1
    image[0, :, :20] = 0
    image[0, 1, 18:20] = 5.0  # seen by one modality
    factors = net.factors(image)
    assert not factors.anatomy[0, :, :, :18].any()
    torch.testing.assert_close(factors.anatomy[0, :, :, 18:].sum(1), torch.ones(3, 46, 32))
    without = net.factors(image, torch.tensor([[True, False, True], [True] * 3]))
    assert not without.anatomy[0, :, :, :20].any()
    fifth = net_of(background=0.0, fifth=True).factors(image).anatomy
    assert (fifth[0, :, :, 18:].sum(1) < 1).all()


def test_samples_do_not_depend_on_each_other():
    net = net_of()
    image = image_of(net, 3)
    found = net.factors(image)
    for row in range(3):
        alone = net.factors(image[row : row + 1])
        torch.testing.assert_close(alone.anatomy, found.anatomy[row : row + 1])
        torch.testing.assert_close(alone.code, found.code[row : row + 1], rtol=1e-4, atol=1e-6)


def count(**settings):
    with torch.device("meta"):
        net = DisentangleNet(2, modalities=("t1", "t1c", "t2", "flair"), target="t1", routing="scalar", **settings)
    return num_parameters(net)


def test_counts():
    """Of the paper's reading, less the idle normalisation of eight numbers."""
    assert count(in_channels=3) == 12_075_481 - 8
    assert count(in_channels=7) == 12_083_421 - 8
    # shared plain encoders: those of the tables, without the idle normalisation, dead layers and variance
    assert count(in_channels=3, encoders="shared") == 3_108_108 - 8 + 368_992 - 528 + 1_900_483


def test_export():
    net = net_of()
    image = image_of(net, 1)
    program = torch.export.export(net, (image,))
    torch.testing.assert_close(program.module()(image), net(image))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modalities": ()}, "modalities must be one or more different names"),
        ({"modalities": ("t2", "t2")}, "modalities must be one or more different names"),
        ({"target": "t11"}, "target must be one of .* Did you mean 't1'"),
        ({"encoders": "own"}, "encoders must be"),
    ],
)
def test_messages_of_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        net_of(**settings)


def test_messages_of_images():
    net = net_of()
    with pytest.raises(ValueError, match=r"image must have the shape \(B, 3, 64, 32\)"):
        net(torch.zeros(1, 2, 64, 32))
    with pytest.raises(ValueError, match=r"present must have the shape \(1, 3\), got \(1, 2\)"):
        net(torch.zeros(1, 3, 64, 32), torch.ones(1, 2) > 0)
