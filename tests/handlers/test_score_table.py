# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The handler's table is the evaluator's table: same volumes, same numbers."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted, Compose, LoadImaged

from monai_mmseg.evaluation import (
    MethodInfo,
    ScoreTable,
    evaluate_predictions,
    image_scores,
    is_cross,
    label_scores,
)
from monai_mmseg.handlers import ScoreTableHandler
from monai_mmseg.metrics import image_similarity

LABELS = {"0": "background", "1": "organ", "2": "tumour"}
AFFINE = np.array([[0.0, -2.0, 0.0, 5.0], [1.5, 0.0, 0.0, 6.0], [0.0, 0.0, 8.0, 7.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def volumes(tmp_path):
    items = []
    generator = np.random.default_rng(0)
    for subject in ("s1", "s2"):
        label = np.zeros((8, 9, 3), dtype=np.uint8)
        label[2:6, 2:6] = 1
        pred = np.where(generator.random(label.shape) > 0.1, label, 0).astype(np.uint8)
        for name, values in (("label", label), ("pred", pred)):
            nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / f"{subject}_{name}.nii.gz")
        files = {name: str(tmp_path / f"{subject}_{name}.nii.gz") for name in ("label", "pred")}
        items.append({"image": files["pred"], "label": files["label"], "subject": subject})
    return items, tmp_path


class OneHot(torch.nn.Module):
    """Logits that say what the image says."""

    def forward(self, x):
        return torch.nn.functional.one_hot(x[:, 0].long(), 3).movedim(-1, 1).float()


def run_labels(items, handler):
    load = LoadImaged(["image", "label"], ensure_channel_first=True)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader([load(item) for item in items], batch_size=1),
        network=OneHot(),
        postprocessing=Compose([AsDiscreted("pred", argmax=True)]),
        val_handlers=[handler],
    )
    evaluator.run()
    return evaluator


def test_same_numbers_as_from_files(volumes):
    items, root = volumes
    info = MethodInfo(40.0)
    handler = ScoreTableHandler(root / "out", "net", label_scores(LABELS, modality="lge", penalty=40.0), info=info)
    evaluator = run_labels(items, handler)
    listed = [{**item, "image": item["label"], "modality": "lge"} for item in items]
    files = {item["subject"]: item["image"] for item in items}
    names = {int(k): v for k, v in LABELS.items()}
    expected = evaluate_predictions(listed, files, modality="lge", labels=names, method="net", penalty=40.0)
    assert ScoreTable.from_json(root / "out" / "evaluation.json") == expected == handler.table
    assert 0.8 < next(iter(expected)).values["dice"] < 1
    assert evaluator.state.metrics["dice"] == expected.means()[0].measures["dice"].mean
    assert {path.name for path in (root / "out").iterdir()} == {"evaluation.json", "evaluation.csv", "evaluation.md"}


def test_second_run_starts_anew(volumes):
    items, root = volumes
    handler = ScoreTableHandler(root / "out", "net", label_scores(LABELS))
    run_labels(items, handler)
    run_labels(items[:1], handler)
    assert handler.table.subjects() == ["s1"]


def test_no_data_no_decollation_and_lacking_keys(tmp_path):
    handler = ScoreTableHandler(tmp_path, "net", label_scores(LABELS))
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match="saw no subject"):
        handler._write(engine)
    engine.state.batch, engine.state.output = {}, {}
    with pytest.raises(TypeError, match="needs decollated batch and output, got dict"):
        handler._score(engine)
    engine.state.batch, engine.state.output = [{}], [{"pred": torch.zeros(1, 4, 4, 2)}]
    with pytest.raises(KeyError, match=r"needs the keys \['subject'\]"):
        handler._score(engine)


# ---- images


def sample(subject, seed, absent=False):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(1, 16, 14, 5, generator=generator)
    target[:, :3] = -10.0  # background
    image = torch.rand(2, 16, 14, 5, generator=generator)
    return {"image": image, "target": target * math.nan if absent else target, "subject": subject}


def run_images(handler, samples):
    class Mean(torch.nn.Module):
        def forward(self, image):
            return image.mean(1, keepdim=True)

    loader = torch.utils.data.DataLoader(samples, batch_size=1)

    def prepare(batch, device, non_blocking, **kwargs):
        return batch["image"], batch["target"]

    evaluator = SupervisedEvaluator("cpu", loader, Mean(), prepare_batch=prepare, val_handlers=[handler])
    evaluator.run()
    return evaluator


def test_table_of_what_is_made(tmp_path):
    samples = [sample("s01", 1), sample("s02", 2), sample("s03", 3, absent=True)]
    score = image_scores(background=-10.0, case={"source": "mr", "target": "pet"}, original=True)
    handler = ScoreTableHandler(tmp_path, "unet", score, stem="reconstruction")
    evaluator = run_images(handler, samples)
    assert ScoreTable.from_json(tmp_path / "reconstruction.json") == handler.table
    (line,) = handler.table.means("target", where=is_cross)
    assert (line.case["target"], line.subjects, line.left_out) == ("pet", 2, 1)
    assert evaluator.state.metrics["psnr"] == line.measures["psnr"].mean
    target = samples[0]["target"][0].movedim(-1, 0)
    made = samples[0]["image"].mean(0).movedim(-1, 0)
    mask = target != -10.0
    limits = (float(target[mask].min()), float(target[mask].max()))
    found = next(iter(handler.table)).values
    assert found["psnr"] == pytest.approx(image_similarity(made, target, limits, mask).psnr)
    assert {"original_psnr", "original_ssim"} <= found.keys()


def test_given_range_and_plain_metric(tmp_path):
    samples = [sample("s01", 1)]
    handler = ScoreTableHandler(tmp_path, "unet", image_scores(value_range=(-10, 1)))
    run_images(handler, samples)
    found = next(iter(handler.table)).values
    target, made = samples[0]["target"][0].movedim(-1, 0), samples[0]["image"].mean(0).movedim(-1, 0)
    assert found["psnr"] == pytest.approx(image_similarity(made, target, (-10.0, 1.0)).psnr)
    assert "original_psnr" not in found


def test_images_of_another_shape(tmp_path):
    handler = ScoreTableHandler(tmp_path, "unet", image_scores(target_key="image"))
    with pytest.raises(ValueError, match=r"one shape \(1, H, W\[, D\]\), got \(1, 16, 14, 5\) and \(2, 16, 14, 5\)"):
        run_images(handler, [sample("s01", 1)])
