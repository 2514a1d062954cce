# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Several slices of each other modality, weighted by their overlap with the reference."""

from __future__ import annotations

import torch

from monai_mmseg.networks.layers import anatomy_overlap
from tests.networks.nets.dafnet.small_dafnet import images, make_dafnet


def test_candidates_by_hand():
    """Section III-F: sum_l w_l h(max(s, deformed s^l)), w from the overlaps."""
    network = make_dafnet(2, target="t1", num_candidates=3)
    image = images(1, network)
    own = network.anatomy(image[:, :1], 0)
    moved = [network.deform(network.anatomy(image[:, c : c + 1], 1), own)[0] for c in (3, 4, 5)]
    weights = network.balancer(torch.stack([anatomy_overlap(own, m) for m in moved], dim=1))[0]
    masks = [network.segment(torch.maximum(own, m)).softmax(1) for m in moved]
    torch.testing.assert_close(network(image).softmax(1), sum(w * m for w, m in zip(weights, masks, strict=True)))

    image[:, 4] = float("nan")  # the middle candidate is missing
    overlaps = torch.stack([anatomy_overlap(own, moved[0]), torch.zeros(1), anatomy_overlap(own, moved[2])], dim=1)
    weights = network.balancer(overlaps)[0, [0, 2]]
    weights = weights / weights.sum()
    expected = weights[0] * masks[0] + weights[1] * masks[2]
    torch.testing.assert_close(network(image).softmax(1), expected)


def test_candidates_of_several_modalities_share_averaged_weights():
    network = make_dafnet(3, target="t1", num_candidates=2)
    image = images(1, network)
    own = network.anatomy(image[:, :1], 0)
    moved = {
        (m, c): network.deform(network.anatomy(image[:, 2 * m + c][:, None], m), own)[0] for m in (1, 2) for c in (0, 1)
    }
    overlaps = [torch.stack([anatomy_overlap(own, moved[m, c]) for c in (0, 1)], dim=1) for m in (1, 2)]
    weights = (network.balancer(overlaps[0]) + network.balancer(overlaps[1]))[0] / 2
    masks = [network.segment(torch.maximum(own, torch.maximum(moved[1, c], moved[2, c]))).softmax(1) for c in (0, 1)]
    torch.testing.assert_close(network(image).softmax(1), weights[0] * masks[0] + weights[1] * masks[1])


def test_candidates_missing_or_alone():
    network = make_dafnet(2, target="t1", num_candidates=3)
    image = images(1, network)
    own = network.anatomy(image[:, :1], 0)
    moved, _ = network.deform(network.anatomy(image[:, 3:4], 1), own)
    image[:, [1, 2, 4, 5]] = float("nan")  # only the paired slices
    torch.testing.assert_close(network(image).softmax(1), network.segment(torch.maximum(own, moved)).softmax(1))
    image[:, 3] = float("nan")  # no paired slice: the modality is absent
    torch.testing.assert_close(network(image).softmax(1), network.segment(own).softmax(1))
    image[:, 0] = float("nan")
    assert network(image).isfinite().all()


def test_candidates_of_the_reference_beyond_the_first_are_not_read():
    network = make_dafnet(2, target="t1", num_candidates=2)
    image = images(1, network)
    expected = network(image)
    image[:, 1] = float("nan")
    torch.testing.assert_close(network(image), expected)
