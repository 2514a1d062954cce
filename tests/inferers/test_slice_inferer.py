# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer

from monai_mmseg.inferers import ModalitySliceInferer


class Network(torch.nn.Module):
    """Weighs neighbours, and adds a number for each modality."""

    def forward(self, image, factor=1.0, modality=None):
        assert image.ndim == 4
        return image.sum(1, keepdim=True) * factor + {None: 0, "ct": 1, "mr": 2}[modality]


@pytest.mark.parametrize("spatial_dim", [0, 1, 2])
def test_every_slice_sees_the_modality(spatial_dim):
    image = torch.rand(2, 3, 6, 7, 5)
    roi = [size for axis, size in enumerate(image.shape[2:]) if axis != spatial_dim]
    infer = ModalitySliceInferer(roi_size=roi, sw_batch_size=4, spatial_dim=spatial_dim)
    for modality, offset in ((None, 0), ("ct", 1), ("mr", 2)):
        pred = infer(image, Network(), modality=modality)
        torch.testing.assert_close(pred, image.sum(1, keepdim=True) + offset)
    torch.testing.assert_close(infer(image, Network(), 2.0, modality="mr"), image.sum(1, keepdim=True) * 2 + 2)


def test_without_arguments_it_is_that_of_monai():
    image = torch.rand(1, 3, 9, 8, 4)
    kwargs = {"roi_size": (5, 5), "sw_batch_size": 3, "spatial_dim": 2, "overlap": 0.5, "mode": "gaussian"}
    torch.testing.assert_close(
        ModalitySliceInferer(**kwargs)(image, Network()), SliceInferer(**kwargs)(image, Network())
    )


def test_condition_is_cut_like_the_image():
    image = torch.rand(1, 1, 6, 6, 3)

    def network(x, condition, modality):
        return x + condition * {"mr": 2}[modality]

    pred = ModalitySliceInferer(roi_size=(6, 6), spatial_dim=2)(image, network, condition=image, modality="mr")
    torch.testing.assert_close(pred, image * 3)


def test_an_error_of_the_network_is_shown():
    with pytest.raises(KeyError, match="pet"):
        ModalitySliceInferer(roi_size=(6, 6), spatial_dim=2)(torch.rand(1, 1, 6, 6, 3), Network(), modality="pet")
