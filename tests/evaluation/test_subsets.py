# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from monai_mmseg.evaluation import (
    EvaluationTable,
    ScoreRow,
    SubsetRow,
    SubsetTable,
    evaluate_subsets,
    hide_modalities,
    image_scores,
    label_scores,
    measure_of,
    modality_subsets,
    score_rows,
)
from monai_mmseg.metrics import image_similarity

NAMES = ["t1", "t1gd", "t2", "flair"]
LABELS = {"0": "background", "1": "core", "2": "oedema"}
NAN = float("nan")


def test_all_subsets_once_and_large_ones_first():
    found = modality_subsets(NAMES)
    assert len(found) == len(set(found)) == 15
    assert found[0] == tuple(NAMES)
    assert [len(subset) for subset in found] == [4] + 4 * [3] + 6 * [2] + 4 * [1]
    with pytest.raises(ValueError, match="different names"):
        modality_subsets(["t1", "t1"])


def test_hiding_leaves_the_rest_as_it_is():
    image = torch.rand(8, 3, 3, 3)
    found = hide_modalities(image, NAMES, ["t2", "t1"])
    assert found[2:4].isnan().all()
    assert found[6:].isnan().all()
    torch.testing.assert_close(found[[0, 1, 4, 5]], image[[0, 1, 4, 5]])
    assert not image.isnan().any()
    with pytest.raises(ValueError, match=r"got \['pd'\]"):
        hide_modalities(image, NAMES, ["pd"])
    with pytest.raises(ValueError, match="multiple of 4 channels"):
        hide_modalities(image[:7], NAMES, ["t1"])


def sample(subject, absent=(), **more):
    image = torch.rand(4, 12, 12, 6)
    image[[NAMES.index(name) for name in absent]] = NAN
    label = torch.zeros(1, 12, 12, 6)
    label[:, 2:6, 2:6, 1:3], label[:, 7:10, 7:10, 2:5] = 1, 2
    return {"image": image, "label": label, "subject": subject, "labelled": torch.tensor([True]), **more}


def test_predictor_gets_each_subset_and_incomplete_subjects_are_counted():
    seen = []

    def predict(image):
        assert image.shape == (1, 4, 12, 12, 6)
        seen.append(tuple(n for n, channel in zip(NAMES, image[0], strict=True) if not channel.isnan().any()))
        return image.nan_to_num().sum(1, keepdim=True)

    samples = [sample("s01"), sample("s02", ["t2"]), sample("s03", labelled=torch.tensor([False]))]
    table = evaluate_subsets(predict, samples, NAMES, lambda found, _: {"dice": min(1.0, float(found.mean()) / 4)})
    assert seen[:15] == modality_subsets(NAMES)
    assert seen[15:] == [subset for subset in modality_subsets(NAMES) if "t2" not in subset]
    lines = {line.subset: line for line in table.summary()}
    assert (lines["t1", "flair"].subjects, lines["t1", "flair"].left_out) == (2, 0)
    assert (lines[tuple(NAMES)].subjects, lines[tuple(NAMES)].left_out) == (1, 1)
    assert all(math.isfinite(line.measures["dice"].mean) for line in lines.values())


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="at least one labelled subject"):
        evaluate_subsets(lambda x: x, [sample("s01", labelled=False)], NAMES, lambda *_: {"dice": 1.0})


@pytest.mark.parametrize("meta", [False, True])
def test_scores_of_labels_are_those_of_the_evaluator(meta):
    one = sample("s01")
    torch.manual_seed(0)
    logits = torch.nn.functional.one_hot(one["label"][0].long(), 3).permute(3, 0, 1, 2) + torch.randn(3, 12, 12, 6)
    spacing = (2.0, 2.0, 3.0)
    if meta:
        one["label"] = MetaTensor(one["label"], affine=torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64)))
    found = label_scores(LABELS, spacing=None if meta else spacing)(logits, one)
    rows = score_rows(
        logits.argmax(0).numpy(), one["label"][0].numpy().astype(int), labels={1: "core", 2: "oedema"},
        spacing=spacing, method="m", modality="x", subject="s01",
    )  # fmt: skip
    assert found["dice"] == pytest.approx((rows[0].dice + rows[1].dice) / 2)
    assert found["hausdorff95"] == pytest.approx((rows[0].hausdorff95 + rows[1].hausdorff95) / 2)
    assert found["dice/oedema"] == rows[1].dice
    with pytest.raises(ValueError, match="spacing must be given"):
        label_scores(LABELS)(logits, sample("s01"))


def test_scores_of_images():
    target = torch.rand(1, 16, 14, 5)
    drawn = target + 0.1 * torch.rand(target.shape)
    found = image_scores(value_range=(0.0, 1.0))(drawn, {"target": target})
    assert found == image_similarity(drawn[0].movedim(-1, 0), target[0].movedim(-1, 0), (0.0, 1.0))._asdict()
    own = image_scores()(drawn[..., 0], {"target": MetaTensor(target[..., 0])})
    limits = (float(target[..., 0].min()), float(target[..., 0].max()))
    assert own == image_similarity(drawn[..., 0], target[..., 0], limits)._asdict()
    target[:, :8] = -10.0
    inside = image_scores(background=-10.0)(drawn, {"target": target})
    rest = target[:, 8:]
    truth, mask = target[0].movedim(-1, 0), target[0].movedim(-1, 0) != -10.0
    limits = (float(rest.min()), float(rest.max()))
    assert inside == image_similarity(drawn[0].movedim(-1, 0), truth, limits, mask)._asdict()
    with pytest.raises(ValueError, match="must have one shape"):
        image_scores()(drawn[:, :8], {"target": target})


def filled():
    table = SubsetTable(["t1", "t2"])
    for number in range(6):
        for subset, drop in ((("t1", "t2"), 0.0), (("t1",), 0.25), (("t2",), 0.0)):
            if (subset, number) != (("t2",), 5):
                value = 0.5 + number / 16 - drop
                table.add(SubsetRow("ours", subset, f"s{number}", {"dice": value, "dice/core": value / 2}))
    table.add_subject("ours", "s5")
    return table


def test_paired_tests_against_all_modalities():
    first, second = filled().tests("dice")
    assert (first.subset, first.subjects, first.difference) == (("t1",), 6, -0.25)
    assert (first.p, first.p_holm) == (pytest.approx(2 / 64), pytest.approx(4 / 64))  # two patterns of signs out of 64
    assert (second.subset, second.subjects, second.p, second.p_holm) == (("t2",), 5, 1.0, 1.0)


def test_summary_and_files(tmp_path):
    table = filled()
    lines = table.summary()
    assert [(line.subset, line.subjects, line.left_out) for line in lines] == [
        (("t1", "t2"), 6, 0), (("t1",), 6, 0), (("t2",), 5, 1),
    ]  # fmt: skip
    assert lines[0].measures["dice"].mean == pytest.approx(0.5 + 2.5 / 16)
    assert table.short() == lines
    paths = table.save(tmp_path)
    assert SubsetTable.from_json(paths["json"]) == table
    assert paths["csv"].read_text().splitlines()[:3] == [
        "method,t1,t2,subject,dice,dice/core", "ours,1,1,s0,0.5,0.25", "ours,1,0,s0,0.25,0.125",
    ]  # fmt: skip
    text = paths["md"].read_text(encoding="utf-8")
    assert "| method | measure | missing: none | missing: t1 | missing: t2 |" in text
    assert "| ours | Dice core | 0.328 ± 0.058 | 0.312 ± 0.049 | 0.203 ± 0.058 |" in text
    assert "| ours | ● | ○ | 0.406 ± 0.117 | 6 | 0 | -0.250 | 0.0625 |" in text


def test_from_tables_of_the_evaluator():
    def score(name, dice):
        return ScoreRow("net", "t1", "s01", 1 if name == "core" else 2, name, dice, 4.0, 2.0, 1.0)

    tables = {
        ("t2", "t1"): EvaluationTable([score("core", 0.5), score("oedema", 0.75)]),
        ("t1",): EvaluationTable([score("core", 0.25), score("oedema", 0.5)]),
    }
    table = SubsetTable.from_tables(["t1", "t2"], tables)
    assert table.values("net", ["t1", "t2"], "dice") == {"s01": 0.625}
    assert table.values("net", ["t1"], "dice/oedema") == {"s01": 0.5}


def test_infinite_psnr_goes_to_files_and_not_into_means(tmp_path):
    table = SubsetTable(["t1"], [SubsetRow("a", ("t1",), s, {"psnr": v}) for s, v in (("x", math.inf), ("y", 30.0))])
    assert table.summary()[0].measures["psnr"].mean == 30.0
    assert SubsetTable.from_json(table.save(tmp_path)["json"]) == table


def test_joined_methods():
    table = filled()
    other = SubsetTable(table.modalities, [row._replace(method="zero") for row in table])
    assert table.concatenate(other).methods == ["ours", "zero"]
    with pytest.raises(ValueError, match="got one of"):
        table.concatenate(SubsetTable(["t1"]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (SubsetRow("a", ("pd",), "s01", {"dice": 1.0}), r"of the modalities \['t1', 't2'\], got \('pd',\)"),
        (SubsetRow("a", (), "s01", {"dice": 1.0}), "subset must be of the modalities"),
        (SubsetRow("a", ("t1",), "s01", {}), "at least one, got none"),
        (SubsetRow("a", ("t1",), "s01", {"dice": NAN}), "dice must be a number, got NaN"),
        (SubsetRow("a", ("t1",), "s01", {"acc": 1.0}), "measure must be one of"),
        (SubsetRow("ours", ("t2", "t1"), "s0", {"dice": 1.0}), "a second one of"),
    ],
)
def test_rows_that_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        filled().add(row)


def test_measures_know_their_direction():
    assert [measure_of(name).higher for name in ("dice", "hausdorff95", "psnr", "ssim/pet")] == [
        True,
        False,
        True,
        True,
    ]
