# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The handler's table is the evaluator's table: same volumes, same numbers."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import AsDiscreted, Compose, LoadImaged

from monai_mmseg.evaluation import EvaluationTable, evaluate_predictions
from monai_mmseg.handlers import SubjectTableHandler

LABELS = {"0": "background", "1": "organ", "2": "tumour"}
AFFINE = np.array([[0.0, -2.0, 0.0, 5.0], [1.5, 0.0, 0.0, 6.0], [0.0, 0.0, 8.0, 7.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def data(tmp_path):
    items = []
    generator = np.random.default_rng(0)
    for subject in ("s1", "s2"):
        label = np.zeros((8, 9, 3), dtype=np.uint8)
        label[2:6, 2:6] = 1
        pred = np.where(generator.random(label.shape) > 0.1, label, 0).astype(np.uint8)
        for name, values in (("label", label), ("pred", pred)):
            nib.save(nib.Nifti1Image(values, AFFINE), tmp_path / f"{subject}_{name}.nii.gz")
        files = {name: str(tmp_path / f"{subject}_{name}.nii.gz") for name in ("label", "pred")}
        items.append({"image": files["pred"], "label": files["label"], "file": files["label"], "subject": subject})
    return items, tmp_path


class OneHot(torch.nn.Module):
    """Logits that say what the image says."""

    def forward(self, x):
        return torch.nn.functional.one_hot(x[:, 0].long(), 3).movedim(-1, 1).float()


def run(items, handler, **keys):
    load = LoadImaged(["image", "label"], ensure_channel_first=True)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader([load(item) for item in items], batch_size=1),
        network=OneHot(),
        postprocessing=Compose([AsDiscreted("pred", argmax=True)]),
        val_handlers=[handler],
    )
    evaluator.run()


@pytest.mark.parametrize("label_key", ["label", "file"])
def test_same_numbers_as_from_files(data, label_key):
    items, root = data
    handler = SubjectTableHandler(root / "out", LABELS, "net", "lge", label_key=label_key, penalty=40.0)
    run(items, handler)
    listed = [{**item, "image": item["label"], "modality": "lge"} for item in items]
    files = {item["subject"]: item["image"] for item in items}
    expected = evaluate_predictions(
        listed, files, modality="lge", labels={int(k): v for k, v in LABELS.items()}, method="net", penalty=40.0
    )
    assert EvaluationTable.from_json(root / "out" / "evaluation.json") == expected == handler.table
    assert 0.8 < next(iter(expected)).dice < 1
    assert {path.name for path in (root / "out").iterdir()} == {"evaluation.json", "evaluation.csv", "evaluation.md"}


def test_second_run_starts_anew(data):
    items, root = data
    handler = SubjectTableHandler(root / "out", LABELS, "net", "lge")
    run(items, handler)
    run(items[:1], handler)
    assert handler.table.subjects() == ["s1"]


def state(handler, batch, output):
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.state.batch, engine.state.output = batch, output
    return engine


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"subject": None}, KeyError, r"needs the keys \['subject'\]"),
        ({"pred": torch.zeros(1, 4, 4, 2)}, TypeError, "pred of s1 must be a MetaTensor or a path"),
        (
            {"pred": MetaTensor(torch.zeros(3, 4, 4, 2))},
            ValueError,
            r"one class map \(1, X, Y, Z\), got \(3, 4, 4, 2\)",
        ),
        ({"pred": MetaTensor(torch.full((1, 4, 4, 2), 0.5))}, ValueError, r"declared classes \[0, 1, 2\], got \[0.5\]"),
        ({"pred": MetaTensor(torch.zeros(1, 4, 4, 3))}, ValueError, "must have one shape"),
        (
            {"pred": MetaTensor(torch.zeros(1, 4, 4, 2), affine=2 * torch.eye(4))},
            ValueError,
            "pred of s1 and label label of s1 must lie in one place",
        ),
    ],
)
def test_wrong_volumes_are_refused(tmp_path, change, error, message):
    volume = MetaTensor(torch.zeros(1, 4, 4, 2))
    data = {"pred": volume, "label": volume, "subject": "s1", **change}
    data = {key: value for key, value in data.items() if value is not None}
    handler = SubjectTableHandler(tmp_path, LABELS, "net", "lge")
    with pytest.raises(error, match=message):
        handler._score(state(handler, [{}], [data]))


def test_mapping_of_modalities(tmp_path):
    volume = MetaTensor(torch.ones(1, 4, 4, 2))
    handler = SubjectTableHandler(tmp_path, LABELS, "net", "lge")
    handler._score(state(handler, [{"label": {"lge": volume}, "subject": "s1"}], [{"pred": volume}]))
    assert [row.dice for row in handler._rows["s1"]] == [1.0, 1.0]


def test_no_data_and_no_decollation(tmp_path):
    handler = SubjectTableHandler(tmp_path, LABELS, "net", "lge")
    with pytest.raises(ValueError, match="saw no subject"):
        handler._write(Engine(lambda engine, batch: None))
    with pytest.raises(TypeError, match="needs decollated batch and output, got dict"):
        handler._score(state(handler, {}, {}))
