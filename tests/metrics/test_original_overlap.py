# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from monai_mmseg.metrics import original_dice
from tests.reference_cases import arrays_of, cases_of


@pytest.mark.parametrize("case", cases_of("disentangle_targets_metrics"))
def test_original(case):
    arrays = arrays_of("disentangle_targets_metrics", case)
    given = (arrays["dice_prob"][None], arrays["dice_labels"][None, None])
    torch.testing.assert_close(original_dice(*given)[0], arrays["dice"].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (4, 3), (4, 3, 2)])
def test_rows_and_empty_classes(shape):
    probs = torch.rand(3, 2, *shape)
    labels = torch.randint(3, (3, 1, *shape))
    labels[0], probs[0] = 0, 0.5  # not above the threshold
    found = original_dice(probs, labels)
    assert found.shape == (3,)
    assert found[0] == 1
    torch.testing.assert_close(found[1:2], original_dice(probs[1:2], labels[1:2]))


def test_messages():
    with pytest.raises(ValueError, match="probs and labels must have shapes"):
        original_dice(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 5))
