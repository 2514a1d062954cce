# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import torch
from monai.inferers import SlidingWindowInferer

from monai_mmseg.evaluation import label_scores
from monai_mmseg.report import score_subsets
from tests.networks.nets.test_fused_anatomy_net import fused_of


def test_every_subset():
    net = fused_of(volumetric=True)
    samples = [
        {"image": torch.rand(3, 64, 32, 4), "label": torch.randint(5, (1, 64, 32, 4)), "subject": f"s{n}"}
        for n in range(2)
    ]
    samples[1]["image"][0] = torch.nan
    names = {0: "background", 1: "necrosis", 2: "oedema", 3: "enhancing", 4: "other"}
    inferer = SlidingWindowInferer((64, 32, 4), sw_batch_size=1)
    table = score_subsets(net, inferer, samples, net.modalities, label_scores(names, spacing=(1, 1, 1)), method="ours")
    assert not net.training
    assert len(table) == 7 + 3
    assert all(0 <= row.measures["dice"] <= 1 for row in table)
