# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from monai.engines import SupervisedEvaluator

from monai_mmseg.evaluation import ReconstructionTable
from monai_mmseg.handlers import ImageTableHandler
from monai_mmseg.metrics import image_similarity


def sample(subject, seed, absent=False):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(1, 16, 14, 5, generator=generator)
    target[:, :3] = -10.0  # background
    image = torch.rand(2, 16, 14, 5, generator=generator)
    return {"image": image, "target": target * math.nan if absent else target, "subject": subject}


def run(handler, samples):
    class Mean(torch.nn.Module):
        def forward(self, image):
            return image.mean(1, keepdim=True)

    loader = torch.utils.data.DataLoader(samples, batch_size=1)

    def prepare(batch, device, non_blocking, **kwargs):
        return batch["image"], batch["target"]

    evaluator = SupervisedEvaluator("cpu", loader, Mean(), prepare_batch=prepare, val_handlers=[handler])
    evaluator.run()
    return evaluator


def test_table_of_what_is_drawn(tmp_path):
    samples = [sample("s01", 1), sample("s02", 2), sample("s03", 3, absent=True)]
    handler = ImageTableHandler(tmp_path, "unet", "pet", source="mr", background=-10.0)
    evaluator = run(handler, samples)
    assert ReconstructionTable.from_json(tmp_path / "reconstruction.json") == handler.table
    (line,) = handler.table.by_target()
    assert (line.target, line.subjects, line.left_out) == ("pet", 2, 1)
    assert evaluator.state.metrics["psnr"] == line.measures["psnr"].mean
    target = samples[0]["target"][0].movedim(-1, 0)
    drawn = samples[0]["image"].mean(0).movedim(-1, 0)
    mask = target != -10.0
    limits = (float(target[mask].min()), float(target[mask].max()))
    assert next(iter(handler.table)).psnr == pytest.approx(image_similarity(drawn, target, limits, mask).psnr)


def test_given_range_and_plain_metric(tmp_path):
    samples = [sample("s01", 1)]
    handler = ImageTableHandler(tmp_path, "unet", "pet", value_range=(-10, 1), original=False)
    run(handler, samples)
    found = next(iter(handler.table))
    target, drawn = samples[0]["target"][0].movedim(-1, 0), samples[0]["image"].mean(0).movedim(-1, 0)
    assert found.psnr == pytest.approx(image_similarity(drawn, target, (-10.0, 1.0)).psnr)
    assert found.original_psnr is None


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="different names, got 'pet' for both"):
        ImageTableHandler(tmp_path, "unet", "pet", source="pet")
    with pytest.raises(KeyError, match="needs the keys \\['pet'\\]"):
        run(ImageTableHandler(tmp_path, "unet", "pet", target_key="pet"), [sample("s01", 1)])
    with pytest.raises(ValueError, match=r"image of s01 must be one image \(1, H, W\[, D\]\), got \(2, 16, 14, 5\)"):
        run(ImageTableHandler(tmp_path, "unet", "pet", target_key="image"), [sample("s01", 1)])
