# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A report shows one run: what another model scored is left out and named."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from monai_mmseg.report import html, write_report
from monai_mmseg.report.content import read_run
from monai_mmseg.report.facts import status_line
from monai_mmseg.runs import RunRecorder
from monai_mmseg.visualize import Thumbnail, contact_sheet
from tests.report.test_page import read, table

OURS, THEIRS = "a" * 64, "b" * 64
DATA = {"name": "Heart", "path": "/data/heart/datalist.json", "fingerprint": "c" * 64}


def folder(root, *, model=OURS, status="completed", entries=None, warnings=(), **about):
    """A run ``r1`` with tables of ``net``, ``other`` and ``copy`` and a picture."""
    recorder = RunRecorder(root, "net", method="net", modality="lge", settings={"fold": 3, "max_epochs": 5}, seed=1)
    recorder.start()
    for name, dice in (("net", 0.9), ("other", 0.1), ("copy", 0.5)):
        recorder.add_table(table(name, [dice, dice]), name)
    recorder.add_figure(contact_sheet([Thumbnail("a", np.eye(8))], {}), "overlay", "The picture.")
    for line in warnings:
        recorder.warn(line)
    recorder.finish(status)
    known = json.loads((root / "run.json").read_text(encoding="utf-8"))
    more = {"id": "r1", "bundle": "bundle_x", "datalist": DATA, **about}
    more |= {"model": {"file": "model.pt", "sha256": model}} if model else {}
    (root / "run.json").write_text(json.dumps({**known, **more}), encoding="utf-8")
    if entries is not None:
        (root / "evaluations.json").write_text(json.dumps(entries), encoding="utf-8")
    return root


def entry(model, time, run="r1"):
    return {"run": run, "model": model, "section": "test", "time": f"2026-01-01T{time:02}:00:00+00:00"}


def test_tables_of_another_model_are_left_out(tmp_path):
    entries = {"metrics/other.json": entry(THEIRS, 1), "metrics/net.json": entry(OURS, 2)}
    content = read_run(folder(tmp_path, entries=entries))
    assert content.problems == [f"metrics/other.json scored another model ({'b' * 12}…): left out."]
    assert list(content.table.methods) == ["copy", "net"]  # of the copied labels no model is known
    assert len(content.figures) == 1
    _, page = read(write_report(tmp_path))
    assert page.text.count("scored another model") == 1
    assert "+0.400 Dice against copy" in page.text


def test_without_the_runs_model_the_newest_evaluation_says_which(tmp_path):
    entries = {"metrics/other.json": entry(THEIRS, 1), "metrics/net.json": entry(OURS, 2)}
    content = read_run(folder(tmp_path, model=None, entries=entries))
    assert content.owner.model == OURS
    assert list(content.owner.foreign) == ["metrics/other.json"]


def test_pictures_of_another_model_are_left_out(tmp_path):
    """The newest evaluation drew them, over those of the older one."""
    entries = {"metrics/net.json": entry(OURS, 1), "metrics/other.json": entry(THEIRS, 2)}
    root = folder(tmp_path, entries=entries)
    content = read_run(root)
    assert content.figures == []
    assert content.problems[1:] == ["figures were made by an evaluation of another model: left out."]


@pytest.mark.parametrize("name", ["subsets.json", "reconstruction.json"])
def test_other_tables_have_a_model_too(tmp_path, name):
    root = folder(tmp_path, entries={name: entry(THEIRS, 1), "metrics/net.json": entry(OURS, 2)})
    table("net", [0.9]).save(root, name.removesuffix(".json"))
    content = read_run(root)
    assert (content.subsets, content.reconstruction) == (None, None)
    assert content.problems == [f"{name} scored another model ({'b' * 12}…): left out."]


def test_tables_of_another_run_without_a_model(tmp_path):
    entries = {"metrics/other.json": entry("", 1, run="r0"), "metrics/net.json": entry(OURS, 2)}
    content = read_run(folder(tmp_path, entries=entries))
    assert content.problems == ["metrics/other.json is of another run (r0): left out."]


def test_a_table_that_was_replaced_is_left_out(tmp_path):
    """Another tool's numbers under the name of the run's table are not the model's; the pictures still are."""
    root = folder(tmp_path)
    own = hashlib.sha256((root / "metrics" / "net.json").read_bytes()).hexdigest()
    entries = {"metrics/net.json": {**entry(OURS, 2), "sha256": own}, "metrics/other.json": entry(OURS, 1)}
    (root / "evaluations.json").write_text(json.dumps(entries), encoding="utf-8")
    assert read_run(root).problems == []
    table("net", [0.3, 0.3]).save(root / "metrics", "net")
    content = read_run(root)
    assert content.problems == [
        "metrics/net.json is not the table that was evaluated, it was replaced since: left out."
    ]
    assert (list(content.table.methods), len(content.figures)) == (["copy", "other"], 1)
    assert content.owner.newest["time"].startswith("2026-01-01T02")


def test_folders_without_evaluations_are_shown_and_it_is_said_once(tmp_path):
    _, page = read(write_report(folder(tmp_path)))
    assert page.text.count("There is no evaluations.json") == 1
    assert "Read this first" not in page.text
    assert "0.900" in page.text
    assert "0.100" in page.text


def test_broken_evaluations_are_named(tmp_path):
    root = folder(tmp_path)
    (root / "evaluations.json").write_text("[", encoding="utf-8")
    _, page = read(write_report(root))
    assert "evaluations.json is left out:" in page.text
    (root / "evaluations.json").write_text('{"metrics/net.json": 3, "metrics/gone.json": {}}', encoding="utf-8")
    assert read_run(root).problems == []


def test_the_head_says_what_was_run(tmp_path):
    _, page = read(write_report(folder(tmp_path, entries={"metrics/net.json": entry(OURS, 2)})))
    head = page.text[: page.text.index("net on lge")]
    for text in (
        *("r1", "Heart, /data/heart/datalist.json, fingerprint cccccccccccc…", "model.pt, sha256 aaaaaaaaaaaa…"),
        *("net (bundle bundle_x)", "fold 3", "seed 1", "max_epochs 5", "section test, 2026-01-01T02:00:00+00:00"),
        "monai_mmseg ",
    ):
        assert text in head


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({}, "took 1 min 15 s"),
        ({"resumed": ["x", "y"], "untimed": 0}, "took 1 min 15 s in 3 parts"),
        ({"resumed": ["x"], "untimed": 1}, "took 1 min 15 s in 2 parts, 1 of them cut off and not counted"),
        ({"resumed": ["x"]}, "last part took 1 min 15 s"),  # an older record
    ],
)
def test_the_time_is_that_of_all_parts(tmp_path, about, told):
    assert told in status_line(read_run(folder(tmp_path, duration_s=75.0, **about)))


@pytest.mark.parametrize("status", ["completed", "stopped early"])
def test_warnings_of_a_finished_run_stand_at_the_end(tmp_path, status):
    """They may be of an attempt that failed before."""
    line = "The run ended in epoch 2: RuntimeError: out of memory"
    _, page = read(write_report(folder(tmp_path, status=status, warnings=[line])))
    assert "Read this first" not in page.text
    assert page.text.index(line) > page.text.index("Settings and versions")


def test_warnings_of_a_failed_run_come_first(tmp_path):
    line = "The run ended in epoch 2: RuntimeError: out of memory"
    _, page = read(write_report(folder(tmp_path, status="failed", warnings=[line])))
    assert page.text.count(line) == 1
    assert page.text.index("Read this first") < page.text.index(line) < page.text.index("net on lge")


def test_markdown_has_the_same_head(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "_has_jinja2", False)
    text = write_report(folder(tmp_path)).read_text(encoding="utf-8")
    assert "- data set: Heart, /data/heart/datalist.json, fingerprint cccccccccccc…" in text
    assert "## net on lge" in text
    assert "- There is no evaluations.json" in text


def test_broken_heads_make_a_page(tmp_path):
    _, page = read(write_report(folder(tmp_path, model=None, datalist="x", settings=None, versions=[], bundle=3)))
    assert "No settings recorded" in page.text
