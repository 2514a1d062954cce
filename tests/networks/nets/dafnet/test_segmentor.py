# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch

from monai_mmseg.networks.nets.dafnet.segmentor import AnatomySegmentor
from tests.networks.network_tester import NetworkTester
from tests.reference_loading import classes_of, image_of, listed_layers_of, load_segmentor, read_vectors


class TestAnatomySegmentor(NetworkTester):
    may_have_zero_gradient = ("conv.bias",)

    def make(self, spatial_dims):
        return AnatomySegmentor(4, 3, features=6, spatial_dims=spatial_dims)

    def inputs(self, spatial_dims):
        return (torch.rand(2, 4, *[8] * spatial_dims),)


def test_original_output():
    vectors = read_vectors("dafnet_segmentor")
    segmentor = AnatomySegmentor(8, 5).eval()
    load_segmentor(segmentor, listed_layers_of(vectors, "seg"))
    probs = segmentor(image_of(vectors["s"])).softmax(1)
    torch.testing.assert_close(probs, classes_of(vectors["seg_out"]), atol=1e-4, rtol=0)


def test_parameter_count():
    segmentor = AnatomySegmentor(8, 5)
    trainable = sum(p.numel() for p in segmentor.parameters())
    running = sum(b.numel() for name, b in segmentor.named_buffers() if "running" in name)
    assert (trainable, trainable + running) == (42_181, 42_437)


def test_dropout_acts_in_training_only_and_adds_no_weights():
    segmentor = AnatomySegmentor(8, 5, features=16, dropout=0.5)
    assert segmentor.state_dict().keys() == AnatomySegmentor(8, 5, features=16).state_dict().keys()
    anatomy = torch.rand(1, 8, 8, 8)
    assert not torch.equal(segmentor(anatomy), segmentor(anatomy))
    segmentor.eval()
    assert torch.equal(segmentor(anatomy), segmentor(anatomy))
