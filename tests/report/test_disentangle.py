# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
import torch

from monai_mmseg.evaluation import (
    OTHERS,
    MethodInfo,
    Score,
    ScoreTable,
    is_cross,
    modality_subsets,
    reconstruction_scores,
    subset_text,
)
from monai_mmseg.networks.nets import DisentangleNet
from monai_mmseg.report import describe_disentangle, describe_subsets, disentangle, write_report
from monai_mmseg.report import html as page_module
from monai_mmseg.runs import RunRecorder

MODALITIES = ("t1", "t2", "flair")


def network(**settings):
    torch.manual_seed(0)
    arguments = {
        "modalities": MODALITIES, "target": "t2", "spatial_size": (32, 64), "background": 0.0,
        "anatomy_features": (2, 4, 4, 4, 4), "appearance_features": (2, 4),
        "decoder_features": (4, 4, 4, 4, 4, 2, 2),
    }  # fmt: skip
    net = DisentangleNet(2, 3, **{**arguments, **settings})
    torch.nn.init.normal_(net.mean_code)
    return net.train()


def sample(subject, seed, absent=()):
    image = torch.rand(9, 32, 64, 6, generator=torch.Generator().manual_seed(seed)) + 0.5
    image[:, :, :10] = 0.0
    image[..., 0] = 0.0
    for name in absent:
        image[3 * MODALITIES.index(name) :][:3] = float("nan")
    return {"image": image, "subject": subject}


SAMPLES = [sample("s01", 1), sample("s02", 2, ["t2"]), sample("s03", 3)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, net = tmp_path_factory.mktemp("run"), network()
    with RunRecorder(folder, "trial") as recorder:
        table = describe_disentangle(recorder, net, SAMPLES, method="ours", per_subject=2)
    assert net.training
    return folder, net.eval(), table


def test_scores_are_those_of_the_network(run):
    folder, net, table = run
    assert ScoreTable.from_json(folder / "reconstruction.json") == table
    pairs = {(score.subject, score.case["source"], score.case["target"]) for score in table}
    assert len(pairs) == 2 * (9 + 3) + 4 + 2
    assert not {("s02", a, b) for _, a, b in pairs if "t2" in (a, b)} & pairs
    stack = SAMPLES[0]["image"].movedim(-1, 0)
    factors = net.factors(stack)
    with torch.no_grad():
        crossed = net.decode(factors.anatomy[:, 0], factors.code[:, 2])
        alone = stack.clone()
        alone[:, 6:] = float("nan")
        reconstructed = net(alone, target="flair")
    images = {name: stack[:, 3 * m : 3 * m + 3] for m, name in enumerate(MODALITIES)}
    mask = (stack[:, 1::3] != 0).any(1)
    made = {("t1", "flair"): crossed, (OTHERS, "flair"): reconstructed}
    for expected in reconstruction_scores(images, made, subject="s01", method="ours", mask=mask):
        found = next(score for score in table if score.key == expected.key)
        for measure in ("psnr", "ssim"):
            assert found.values[measure] == pytest.approx(expected.values[measure], rel=1e-4)
        assert found.values["slices"] == 6


def test_incomplete_subjects_are_counted(run):
    _, _, table = run
    lines = {line.case["target"]: line for line in table.means("target", where=is_cross)}
    assert (lines["t2"].subjects, lines["t2"].left_out) == (2, 1)
    assert (lines["t1"].subjects, lines["t1"].left_out) == (3, 0)


def test_silhouettes_and_pictures(run):
    folder, _, _ = run
    found = json.loads((folder / "disentanglement.json").read_text())["silhouettes"]
    assert (found["rows"], found["subjects"]) == (2 * (3 + 2 + 3), 3)
    assert all(-1 <= found[key] <= 1 for key in ("code_by_modality", "anatomy_by_modality", "anatomy_by_subject"))
    names = {path.name for path in (folder / "figures").glob("*.png")}
    assert names == {"cross_reconstruction.png", "anatomy.png", "latent_spaces.png"}


def test_pictures_show_different_slices(tmp_path, monkeypatch):
    one = sample("s01", 1)
    one["image"][:, :20, :, 4] = 0.0  # smaller than the others; the first one is empty
    one["image"] = one["image"][..., [0, 4, 1, 2]]
    titles = {}
    monkeypatch.setattr(RunRecorder, "add_figure", lambda self, figure, name, caption: None)
    for name in ("cross_reconstruction_figure", "anatomy_figure"):
        monkeypatch.setattr(
            disentangle, name, lambda images, *_, title, name=name, **__: titles.update({name: (title, images["t1"])})
        )
    describe_disentangle(RunRecorder(tmp_path, "trial"), network(), [one], method="ours")
    (first, shown), (second, anatomy) = titles.values()
    assert (first, second) == ("Reconstructed images, s01, slice 3 (PSNR / SSIM)", "Anatomies, s01, slice 4")
    inside = one["image"][1] > 0  # of three neighbouring slices the middle one is shown
    for found, at in ((shown, 2), (anatomy, 3)):
        torch.testing.assert_close(found.nan_to_num(), one["image"][1, ..., at] * inside[..., at])


@pytest.mark.parametrize("jinja", [True, False])
def test_page_shows_tables_and_silhouettes(run, monkeypatch, tmp_path, jinja):
    folder, _, table = run
    monkeypatch.setattr(page_module, "_has_jinja2", jinja)
    cases = [{"subset": subset_text(subset, MODALITIES)} for subset in modality_subsets(MODALITIES)]
    scores = [Score("ours", "s01", case, {"psnr": 20.0, "ssim": 0.5}) for case in cases]
    with RunRecorder(folder, "trial") as recorder:
        describe_subsets(recorder, ScoreTable(scores, {"ours": MethodInfo(modalities=MODALITIES)}))
    text = write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Reconstructed images" in text
    assert "Missing modalities" in text
    assert "codes z, by modality" in text
    assert "No evaluation" not in text
    assert "Not measured" not in text
    assert table.means("target", where=is_cross)[0].text("psnr") in text


def test_broken_tables_are_named(tmp_path):
    with RunRecorder(tmp_path, "trial"):
        (tmp_path / "reconstruction.json").write_text("{}")
        (tmp_path / "subsets.json").write_text("nonsense")
        (tmp_path / "disentanglement.json").write_text('{"silhouettes": {"rows": 1}}')
    text = write_report(tmp_path).read_text(encoding="utf-8")
    for part in ("reconstruction.json is left out", "subsets.json is left out", "silhouettes are left out"):
        assert part in text


def test_one_modality_alone_and_no_background(tmp_path):
    net = network(modalities=("t1",), target="t1", background=None, encoders="shared")
    with RunRecorder(tmp_path, "trial") as recorder:
        one = {"image": SAMPLES[0]["image"][:3], "subject": "s01"}
        table = describe_disentangle(recorder, net, [one], per_subject=2)
    assert {(score.case["source"], score.case["target"]) for score in table} == {("t1", "t1")}
    assert table.means("target", where=is_cross) == []
    assert (tmp_path / "reconstruction.md").is_file()
    assert "Reconstructed images" in write_report(tmp_path).read_text(encoding="utf-8")


def test_errors(tmp_path):
    with RunRecorder(tmp_path, "trial") as recorder:
        with pytest.raises(ValueError, match="must be a DisentangleNet for slices, got Linear"):
            describe_disentangle(recorder, torch.nn.Linear(1, 1), SAMPLES)
        with pytest.raises(ValueError, match="at least one subject, got none"):
            describe_disentangle(recorder, network(), [])
