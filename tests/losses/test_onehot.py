# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.utils import one_hot

from monai_mmseg.losses import onehot_labels


@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)], ids=["2d", "3d"])
def test_monai_where_every_pixel_has_a_label(size):
    labels = torch.randint(4, (2, 1, *size))
    torch.testing.assert_close(onehot_labels(labels, 4), one_hot(labels, 4))
    torch.testing.assert_close(onehot_labels(MetaTensor(labels.float()), 4, torch.float64), one_hot(labels, 4).double())


def test_no_class_is_all_zero():
    labels = torch.tensor([[[0.0, 3.0, -1.0, 255.0, float("nan"), 2.0]]])
    assert onehot_labels(labels, 3).sum(1).tolist() == [[1, 0, 0, 0, 0, 1]]


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4)])
def test_message(shape):
    with pytest.raises(ValueError) as error:
        onehot_labels(torch.zeros(shape), 3)
    assert str(error.value) == f"labels must hold class indices of shape (N, 1, *spatial), got shape {shape}."
