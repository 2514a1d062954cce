# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.losses import gaussian_kl
from monai_mmseg.networks.nets import NVNet
from tests.networks.network_tester import NetworkTester, num_parameters

SIZE = (32, 16, 16)


class TestNVNet(NetworkTester):
    may_have_zero_gradient = ("vae_",)  # trained by `factors`
    dims = traced = (3,)
    test_exports = pytest.mark.slow(NetworkTester.test_exports)
    test_compiles_without_graph_breaks = pytest.mark.slow(NetworkTester.test_compiles_without_graph_breaks)

    def make(self, spatial_dims):
        torch.manual_seed(0)
        return NVNet(spatial_dims, 2, 3, spatial_size=SIZE[:spatial_dims], init_filters=8, latent=4)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 2, *SIZE[:spatial_dims], generator=torch.Generator().manual_seed(0)),)

    def test_every_parameter_gets_a_gradient(self, spatial_dims):
        network = self.make(spatial_dims).train()
        found = network.factors(*self.inputs(spatial_dims))
        sum(part.square().sum() for part in found).backward()
        assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []

    def test_one_output_in_both_modes(self, spatial_dims):
        network, (image,) = self.make(spatial_dims), self.inputs(spatial_dims)
        assert network.train()(image).shape == (2, 3, *SIZE[:spatial_dims])
        assert network.eval()(image).shape == (2, 3, *SIZE[:spatial_dims])
        torch.testing.assert_close(network.factors(image).logits, network(image))
        assert network(torch.cat([image, image], -1)).shape[-1] == 2 * image.shape[-1]


@pytest.mark.parametrize("dims", [2, 3])
def test_as_monai(dims):
    """The terms add up to MONAI's own loss of the autoencoder, with the same random numbers."""
    network = TestNVNet().make(dims).train()
    image = torch.rand(2, 2, *SIZE[:dims])
    network.dropout = torch.nn.Identity()  # its random numbers would come in another order
    torch.manual_seed(5)
    expected = network._get_vae_loss(image, network.encode(image)[0])
    torch.manual_seed(5)
    found = network.factors(image)
    kl = gaussian_kl(found.mean, found.log_variance).mean() / network.vae_nz
    torch.testing.assert_close(kl + (found.reconstruction - image).square().mean(), expected, rtol=1e-4, atol=1e-5)
    again = network.factors(image)
    assert not torch.equal(again.reconstruction, found.reconstruction)
    network.eval()
    assert torch.equal(network.factors(image).reconstruction, network.factors(image).reconstruction)


def test_counts():
    """MONAI's numbers at the size of the tumour task, of which these outside of the autoencoder."""
    with torch.device("meta"):
        network = NVNet(3, 12, 3, spatial_size=(160, 192, 64))
    assert num_parameters(network) == 10_670_255
    assert sum(p.numel() for n, p in network.named_parameters() if not n.startswith("vae_")) == 4_705_683


def test_channels_last():
    network = TestNVNet().make(2).to(memory_format=torch.channels_last)
    image = torch.rand(2, 2, *SIZE[:2]).to(memory_format=torch.channels_last)
    assert network.factors(image).reconstruction.shape == image.shape


def test_messages():
    with pytest.raises(ValueError, match=r"spatial_size must have 3 numbers, got \(32, 16\)"):
        NVNet(3, 1, 2, spatial_size=(32, 16))
    with pytest.raises(ValueError, match="spatial_size must be divisible by 16"):
        NVNet(2, 1, 2, spatial_size=(32, 24))
    network = TestNVNet().make(2)
    with pytest.raises(ValueError, match="x must be divisible by 8"):
        network(torch.zeros(1, 2, 20, 16))
    with pytest.raises(ValueError, match=r"x must have the spatial size \(32, 16\) that the autoencoder"):
        network.factors(torch.zeros(1, 2, 64, 16))
