# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.handlers import IgniteMetricHandler

from monai_mmseg.metrics import NegativeCrossError
from tests.reference_cases import arrays_of, cases_of

RECON = cases_of("disentangle_recon_latent")


def reconstructions(arrays, count):
    """Reconstructions of all pairs, the original's lists of self and cross ones put together; NaN where absent."""
    images, own, cross = arrays["x"].float(), arrays["x_self"].float(), arrays["x_cross"].float()
    present = arrays["mask"] > 0
    recon = torch.full((len(images), count, count, *images.shape[2:]), torch.nan)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    for row in range(len(images)):
        for i in range(count):
            if present[row, i]:
                recon[row, i, i] = own[row, i]
        for n, (i, j) in enumerate(pairs):
            if present[row, i] and present[row, j]:
                recon[row, i, j] = cross[row, n]
    image = torch.where(present.reshape(*present.shape, *[1] * (images.ndim - 2)), images, torch.nan)
    return recon.flatten(1, 2), image


@pytest.mark.parametrize("case", RECON)
def test_what_the_original_monitors(case):
    """Subjects one by one, as in validation, or in one batch; channels of a slice belong to the image."""
    arrays, count = arrays_of("disentangle_recon_latent", case), RECON[case]["M"]
    recon, image = reconstructions(arrays, count)
    metric = NegativeCrossError(count)
    metric(recon, image)
    together = metric.aggregate()
    metric.reset()
    for row in range(len(image)):
        metric([recon[row]], [image[row]])
    expected = -arrays["cross_l1"].float()
    if not (arrays["mask"].sum(1) > 1).any():
        expected = -arrays["self_l1"].float()
    torch.testing.assert_close(together, expected.reshape(()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metric.aggregate(), together)


def test_the_middle_of_the_neighbours_counts():
    image = torch.rand(1, 6, 4, 4)
    recon = image[:, 1::3].repeat(1, 2, 1, 1)
    metric = NegativeCrossError(2, num_slices=3)
    metric(recon, image)
    assert metric.aggregate() == 0


def test_without_a_pair_drawings_of_themselves_count():
    image = torch.tensor([[1.0, torch.nan]]).reshape(1, 2, 1, 1)
    recon = torch.tensor([[1.5, torch.nan, torch.nan, torch.nan]]).reshape(1, 4, 1, 1)
    metric = NegativeCrossError(2)
    metric(recon, image)
    assert metric.aggregate() == -0.5


def test_as_a_handler():
    from ignite.engine import Engine

    image = torch.rand(2, 3, 3)
    output = [{"image": image, "pred": torch.cat([image[:1], image[1:] + 1, image[:1] + 2, image[1:]])}]
    engine = Engine(lambda *_: output)
    handler = IgniteMetricHandler(
        metric_fn=NegativeCrossError(2),
        output_transform=lambda out: ([o["pred"] for o in out], [o["image"] for o in out]),
    )
    handler.attach(engine, "score")
    engine.run([0, 1])
    assert engine.state.metrics["score"] == pytest.approx(-1.5)


def test_refuses():
    with pytest.raises(ValueError, match="y_pred must have 4 and y 6 channels, got 4 and 2"):
        NegativeCrossError(2, num_slices=3)(torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match="nothing to aggregate"):
        NegativeCrossError(2).aggregate()
