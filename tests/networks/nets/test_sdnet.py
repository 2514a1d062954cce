# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_mmseg.networks.nets import AdversarialDiscriminator, SDNet, SDNetDecoder
from tests.networks.network_tester import num_parameters

PARTS = {  # fact sheet, section 2, at 192 x 192 with four organs
    "anatomy_encoder": 34_526_344,
    "modality_encoder": 70_976,
    "segmentor": 42_181,
    "decoder": 6_409,
}


def small(**settings):
    return SDNet(2, 1, 3, spatial_size=(32, 48), features=(4, 4, 8), segmentor_features=4, **settings)


@pytest.fixture
def seed():
    torch.manual_seed(0)


def test_parameter_count_of_each_part():
    with torch.device("meta"):
        network = SDNet(2, 1, 5)
        discriminator = AdversarialDiscriminator(
            4, (192, 192), spectral="penalty", padding="same", strides=(2, 2, 2, 2, 1)
        )
    assert {name: num_parameters(getattr(network, name)) for name in PARTS} == PARTS
    assert num_parameters(network) == 34_645_910
    assert num_parameters(discriminator) == 11_294_657


def test_slopes_and_normalisation():
    network = small()
    assert {m.negative_slope for m in network.segmentor.modules() if hasattr(m, "negative_slope")} == {0.3}
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
    assert [type(layer).__name__ for layer in network.modality_encoder.dense][1:3] == ["Linear", "_RowNorm"]


def test_anatomy_is_binary_and_passes_gradients(seed):
    network = small()
    image = torch.rand(2, 1, 32, 48)
    anatomy = network.anatomy(image)
    assert set(anatomy.unique().tolist()) <= {0.0, 1.0}
    assert set(anatomy.sum(1).unique().tolist()) <= {0.0, 1.0}
    network.segment(anatomy).sum().backward()
    assert all(p.grad is not None for p in network.anatomy_encoder.parameters())
    exact = small(binarise="argmax").anatomy(image)
    assert set(exact.sum(1).unique().tolist()) == {1.0}


def test_modulation_is_free(seed):
    """Scale 1 and shift 0 leave the features as they are, and a negative scale is not damped."""
    block = SDNetDecoder(2, 3, num_blocks=1).blocks[0]
    features, last = torch.rand(1, 2, 4, 4), block.film.dense[-1]
    torch.nn.init.zeros_(last.weight)
    for scale in (1.0, -1.0):
        last.bias.data = torch.tensor([scale, scale, 0, 0])
        torch.testing.assert_close(block.film(features, torch.randn(1, 3)), scale * features)


def test_images_lie_between_minus_one_and_one(seed):
    network = small().eval()
    anatomy = network.anatomy(torch.rand(2, 1, 32, 48))
    image = network.decode(anatomy, 100 * torch.randn(3, 8))  # the third renders the first anatomy again
    assert image.shape == (3, 1, 32, 48)
    assert image.abs().max() <= 1


def test_a_batch_of_one_row_trains(seed):
    network = small().train()
    image = torch.rand(1, 1, 32, 48)
    style = network.style(network.anatomy(image), image)
    assert style.mu.isfinite().all()


def test_scripts_and_exports():
    network, image = small().eval(), torch.rand(2, 1, 32, 48)
    torch.testing.assert_close(torch.jit.script(network)(image), network(image))
    torch.testing.assert_close(torch.export.export(network, (image,)).module()(image), network(image))


def test_wrong_size():
    with pytest.raises(ValueError, match=r"spatial_size must be 2 numbers, got \(192,\)"):
        SDNet(2, 1, 3, spatial_size=(192,))
