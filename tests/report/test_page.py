# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The page: complete on its own, honest about what is missing, and safe with any text."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.evaluation import MethodInfo, Score, ScoreTable
from monai_mmseg.report import html, write_report
from monai_mmseg.report.charts import strip_chart, swarm
from monai_mmseg.report.content import read_run
from monai_mmseg.report.curves import line_chart
from monai_mmseg.report.numbers import headline, methods_table, worst_scores
from monai_mmseg.runs import RunRecorder
from monai_mmseg.runs.setting_texts import flat_settings
from monai_mmseg.visualize import Thumbnail, contact_sheet

NASTY = "a <script>alert(\"1\")</script> & ö | $x$ 'q'"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and checks that elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


def score(method, subject, dice, *, hd95=10.0, modality="lge", name="LV"):
    values = {"dice": dice, "hausdorff95": hd95, "hausdorff": 20.0, "surface_distance": 2.0}
    return Score(method, subject, {"modality": modality, "class": name}, values)


def table(method, dice):
    return ScoreTable(score(method, f"s{at}", value) for at, value in enumerate(dice))


@pytest.fixture
def run(tmp_path):
    recorder = RunRecorder(
        tmp_path / "run",
        "a trial",
        what="What was done.",
        method="dafnet",
        modality="lge",
        settings={"lr": 0.001},
        seed=7,
    )
    with recorder:
        recorder.add_table(table("dafnet", [0.9, 0.8, 0.7, 0.85]), "dafnet")
        recorder.add_table(table("copy", [0.7, 0.7, 0.75, 0.6]), "copy")
        image = np.random.default_rng(0).random((16, 16))
        recorder.add_figure(contact_sheet([Thumbnail("b", image)], {}), "zz", "The first picture.")
        recorder.add_figure(contact_sheet([Thumbnail("a", image)], {}), "aa", "The second picture.")
        for epoch in (1, 2, 3):
            recorder.add_terms(epoch, {"generator/kl": 1 / epoch, "mask_discriminator/real": 0.2})
        recorder.add_disentanglement(
            {
                "distance_correlation": 0.55,
                "modality_classification": {
                    "accuracy": 0.99,
                    "per_dimension": [0.5, 1.0],
                    "chance": 0.5,
                    "train_subjects": ["a"],
                    "test_subjects": ["b", "c"],
                },
                "posterior_variance": [0.9, 0.25],
            }
        )
    return tmp_path / "run"


def read(path):
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_page_holds_everything(run):
    text, page = read(write_report(run))
    assert "What was done." in page.text
    assert "seed 7" in page.text
    # subject means 0.8125 and 0.6875; differences 0.2, 0.1, -0.05, 0.25
    assert "0.812" in page.text
    assert "+0.125 Dice against copy, the best other method: better in 3 of 4 subjects" in page.text
    assert "mean posterior variance" in page.text
    assert "99 % of the rows of 2 held-out subjects" in page.text
    assert "No pictures" not in page.text
    assert "No curves" not in page.text
    assert not re.search(r"\b(nan|None|undefined)\b", page.text)
    charts = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert charts == [
        "Dice on lge, mean of the classes of every subject",
        "generator/kl over epochs",
        "mask_discriminator/real over epochs",
    ]
    assert len([1 for tag, attributes in page.tags if tag == "circle" and "dot" in attributes["class"]]) == 8
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text


def test_page_is_self_contained(run):
    text, page = read(write_report(run))
    sources = [attributes["src"] for tag, attributes in page.tags if "src" in attributes]
    assert len(sources) == 2
    for source, name in zip(sources, ("zz.png", "aa.png"), strict=True):  # in the order of the captions
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == (run / "figures" / name).read_bytes()
    assert not [1 for tag, attributes in page.tags if tag in ("link", "script", "iframe") or "href" in attributes]
    assert "http" not in text.replace("data:image/png;base64", "").split("base64,")[0]
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[^\"]*", "", text))


def test_any_text_is_escaped(tmp_path):
    with RunRecorder(tmp_path, NASTY, what=NASTY, method=NASTY, settings={NASTY: NASTY}) as recorder:
        recorder.warn(NASTY)
        scores = [score(NASTY, NASTY, 0.5, modality=NASTY, name=NASTY)]
        recorder.add_table(ScoreTable(scores, {NASTY: MethodInfo(None, NASTY)}))
        recorder.add_terms(1, {NASTY: 0.5})
        recorder.add_figure(contact_sheet([Thumbnail(NASTY, np.eye(8))], {1: NASTY}, title=NASTY), "a", NASTY)
    text, page = read(write_report(tmp_path))
    assert "<script" not in text
    assert page.text.count(NASTY) >= 8
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == [NASTY]


def test_missing_parts_are_said(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    _, page = read(write_report(tmp_path))
    for sentence in ("No run.json", "No evaluation", "No pictures", "No curves", "No settings"):
        assert sentence in page.text
    assert "Disentanglement" not in page.text  # few methods have it
    assert page.text.count(tmp_path.name) >= 1  # the folder's name stands in for a title


@pytest.mark.parametrize("part", ["metrics", "figures", "terms.csv", "disentanglement.json", "run.json"])
def test_each_part_alone_makes_a_page(run, tmp_path, part):
    alone = tmp_path / "alone"
    alone.mkdir()
    (run / part).rename(alone / part)
    read(write_report(alone))


def test_broken_parts_are_named(run):
    (run / "metrics" / "copy.json").write_text("{")
    (run / "metrics" / "double.json").write_text((run / "metrics" / "dafnet.json").read_text(encoding="utf-8"))
    (run / "terms.csv").write_text("time,a\n1,2\n")
    (run / "figures" / "aa.png").write_bytes(b"no picture")
    (run / "figures" / "zz.png").unlink()
    (run / "disentanglement.json").write_text('{"distance_correlation": 1}')
    _, page = read(write_report(run))
    for sentence in (
        "copy.json: not a JSON file",
        "metrics/double.json is left out: score must be new",
        "terms.csv is left out: terms.csv must start with the column 'epoch'",
        "figures/aa.png is left out: it is no PNG file",
        "figures/zz.png has a caption but is not there",
        "disentanglement.json is left out: KeyError",
        "No other method was scored",
    ):
        assert sentence in page.text


def test_best_is_marked_only_where_it_is_the_best():
    def marks(*tables):
        found = methods_table(ScoreTable().join(*tables), "lge")
        return {row["method"]: [cell["best"] for cell in row["cells"]] for row in found["rows"]}

    # columns: LV, mean, HD95, ASSD; distances are equal, so nobody is best there
    assert marks(table("a", [0.9]), table("b", [0.8])) == {"a": [True, True, False, False], "b": [False] * 4}
    assert marks(table("a", [0.9])) == {"a": [False] * 4}  # the only one is not the best
    assert marks(table("a", [0.9001]), table("b", [0.9004])) == {"a": [False] * 4, "b": [False] * 4}  # same digits
    other = methods_table(table("a", [0.9, 0.1]).join(table("b", [0.8])), "lge")
    assert not other["comparable"]
    assert not any(cell["best"] for row in other["rows"] for cell in row["cells"])


def test_shorter_distances_are_better():
    near, far = (ScoreTable([score(name, "s", 0.5, hd95=hd95)]) for name, hd95 in (("near", 1.0), ("far", 2.0)))
    found = {row["method"]: row["cells"][2] for row in methods_table(near.join(far), "lge")["rows"]}
    assert (found["near"]["best"], found["far"]["best"]) == (True, False)


def test_headline_says_when_the_method_loses(run):
    (run / "metrics" / "dafnet.json").unlink()
    table("dafnet", [0.6, 0.4, 0.5, 0.49]).save(run / "metrics", "dafnet")
    (comparison,) = headline(read_run(run)).comparisons
    assert comparison.startswith("-0.190 Dice against copy")
    assert "better in 0 of 4 subjects" in comparison


def test_headline_of_an_unknown_method(run):
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**about, "method": "ghost", "modality": "t2"}))
    _, page = read(write_report(run))
    assert "run.json names the method 'ghost', which no evaluation has: ['copy', 'dafnet']." in page.text


def test_worst_scores_come_first():
    found = table("a", [0.9, 0.0, 0.5])
    found.add(Score("a", "s0", {"modality": "lge"}, {"paper_dice": 0.0}))  # of no class
    assert [one.subject for one in worst_scores(found, "a")] == ["s1", "s2", "s0"]


def test_the_papers_dice_has_a_column():
    found = table("a", [0.9])
    found.add(Score("a", "s0", {"modality": "lge"}, {"paper_dice": 0.25}))
    shown = methods_table(found, "lge")
    assert (shown["head"], shown["dice_columns"]) == (["LV", "mean", "as in the paper", "HD95", "ASSD"], 3)
    assert shown["rows"][0]["cells"][2]["mean"] == "0.250"


def test_tables_of_another_kind_are_named(run):
    ScoreTable([Score("a", "s0", {"subset": "t1"}, {"dice": 0.5})]).save(run / "metrics", "subsets")
    _, page = read(write_report(run))
    assert "metrics/subsets.json is left out: its scores are of no modality" in page.text


def test_old_tables_are_named(run):
    (run / "metrics" / "copy.json").write_text('{"format": "monai_mmseg.evaluation/1", "rows": []}')
    _, page = read(write_report(run))
    assert "copy.json must be a table of format 'monai_mmseg.scores/2', got 'monai_mmseg.evaluation/1'" in page.text


def test_without_jinja2_there_is_markdown(run, monkeypatch, caplog):
    monkeypatch.setattr(html, "_has_jinja2", False)
    path = write_report(run)
    assert path.name == "report.md"
    text = path.read_text(encoding="utf-8")
    assert "| dafnet | lge | 4 |" in text
    assert "![The first picture.](figures/zz.png)" in text
    assert "pip install 'monai-mmseg[report]'" in caplog.text
    assert [write_report(run, run / name).name for name in ("s01.a", "s01.b", "x.html")] == [
        *("s01.a.md", "s01.b.md", "x.md"),
    ]


def test_wrong_folders(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="must be a folder, but .*nowhere is not there"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"at least one of \['run.json', 'metrics'"):
        write_report(tmp_path)
    assert main(["report", str(tmp_path)]) == 1
    assert "run_dir must hold" in capsys.readouterr().err


def test_command(run, tmp_path, capsys):
    assert main(["report", str(run), "--out", str(tmp_path / "deep" / "page.html")]) == 0
    assert (tmp_path / "deep" / "page.html").is_file()
    assert "page.html" in capsys.readouterr().out


def test_charts_of_odd_values():
    assert "no finite value" in line_chart([1, 2], [None, float("nan")], name="a")
    assert line_chart([1, 2, 3], [1.0, None, 2.0], name="a").count("<polyline") == 1  # validated every other epoch
    gap = line_chart([1, 2, 3, 4], [1.0, float("nan"), 2.0, 3.0], name="a")
    assert gap.count("<polyline") == 1
    assert gap.count("<circle") == 1  # the lonely point before the gap
    assert "nan" not in line_chart([5], [0.0], name="constant")
    with pytest.raises(ValueError, match="at least one score"):
        strip_chart({"a": {}})
    assert strip_chart({"a": {"s": 1.0}, "b": {}}).count("<circle") == 1
    named = strip_chart({"labels copied after a registration, second try": {"s": 1.0}})
    for line in ("</title>labels copied after a</text>", "</title>registration, second</text>", "</title>try</text>"):
        assert line in named  # nothing is cut
    # the middle half of 0, 1/3, 2/3, 1 reaches from 0.25 to 0.75 of the 520 pixels
    box = strip_chart({"a": {str(at): at / 3 for at in range(4)}})
    assert 'class="box" x="310.0"' in box
    assert 'width="260.0"' in box
    assert all(abs(offset) <= 12 for offset in swarm([0.0] * 20))


def test_a_term_that_is_switched_off_is_named_and_not_drawn(tmp_path):
    recorder = RunRecorder(tmp_path, name="a")
    for epoch in (1, 2):
        recorder.add_terms(epoch, {"generator/kl": 0.0, "generator/latent": 0.5})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "not drawn: generator/kl." in page
    assert "generator/latent over epochs" in page
    assert "generator/kl over epochs" not in page
    only = RunRecorder(tmp_path / "only", name="b")
    only.add_terms(1, {"generator/kl": 0.0})
    page = write_report(tmp_path / "only").read_text(encoding="utf-8")
    assert "not drawn: generator/kl." in page
    assert "No curves" not in page


def test_settings_read_like_overrides():
    assert flat_settings({"a": {"b": {"c": None}}, "d": [], "e": {}}) == {"a#b#c": "null", "d": "[]", "e": "{}"}
