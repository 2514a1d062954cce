# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A small network, and images for it."""

from __future__ import annotations

import torch

from monai_mmseg.networks.nets import DAFNet
from tests.networks.network_tester import perturb

NAMES = ("t1", "t2", "flair", "t1ce")
SIZE = (32, 32)


def make_dafnet(num_modalities=2, target=None, spatial_size=SIZE, **settings):
    """A small network whose anatomies are not empty and whose transformer moves something."""
    names = NAMES[:num_modalities]
    network = DAFNet(
        2,
        1,
        3,
        modalities=names,
        target=target or names[-1],
        spatial_size=spatial_size,
        anatomy_channels=4,
        features=(4, 6, 8),
        segmentor_features=6,
        **settings,
    )
    perturb(network, 0.05)
    with torch.no_grad():
        network.anatomy_encoders.expanding.out.conv.weight.mul_(30)
    return network.eval()


def images(batch, network):
    return torch.rand(batch, network.num_modalities * network.num_candidates, *network.spatial_size) * 2 - 1
