# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The one table of scores: means over subjects worked out by hand, files that come back unchanged."""

from __future__ import annotations

import csv
import json
import math

import pytest

from monai_mmseg.evaluation import OTHERS, MethodInfo, Score, ScoreTable, is_cross, mean_sd

NAN = math.nan


def organ(subject, name, dice, distance=2.0, method="dafnet", modality="lge", flag=""):
    values = {"dice": dice, "hausdorff": 2 * distance, "hausdorff95": 1.5 * distance, "surface_distance": distance}
    return Score(method, subject, {"modality": modality, "class": name}, values, flag)


@pytest.fixture
def table():
    scores = [
        organ("s1", "LV", 0.9),
        organ("s1", "myocardium", 0.7, 4.0),
        organ("s2", "LV", 0.7),
        organ("s2", "myocardium", 0.0, 100.0, flag="missed"),
        organ("s3", "LV", 1.0, 0.0, flag="empty"),
        organ("s3", "myocardium", 0.0, 100.0, flag="spurious"),
    ]
    return ScoreTable(scores, {"dafnet": MethodInfo(100.0, "no LGE labels")})


def test_means_are_over_subjects(table):
    lv, myocardium = table.means("modality", "class")
    (foreground,) = table.means("modality")
    assert (lv.case, myocardium.case["class"]) == ({"modality": "lge", "class": "LV"}, "myocardium")
    # LV: (0.9 + 0.7 + 1.0) / 3; deviations 0.0333, -0.1667, 0.1333; variance (0.00111 + 0.02778 + 0.01778) / 2
    assert lv.measures["dice"].mean == pytest.approx(2.6 / 3)
    assert lv.measures["dice"].sd == pytest.approx(math.sqrt(0.0233333333))
    # subject means of Dice: 0.8, 0.35, 0.5
    assert foreground.measures["dice"].mean == pytest.approx(0.55)
    assert foreground.measures["dice"].sd == pytest.approx(math.sqrt((0.25**2 + 0.2**2 + 0.05**2) / 2))
    # subject means of the distance: 3, 51, 50
    assert foreground.measures["surface_distance"].mean == pytest.approx(104 / 3)
    assert (foreground.subjects, foreground.left_out) == (3, 0)


def test_visits_of_a_person_are_averaged_first(tmp_path):
    dice = {("a", "a_1"): 0.2, ("a", "a_2"): 0.6, ("b", "b_1"): 0.9, ("", "c"): 0.5, ("", "d"): 0.1}
    scores = [Score("one", s, {"modality": "ct"}, {"dice": value}, person=p) for (p, s), value in dice.items()]
    scores += [one._replace(method="two", values={"dice": 0.0}) for one in scores]
    table = ScoreTable(scores)
    line = table.means("modality")[0]
    assert (line.subjects, line.left_out) == (4, 0)
    assert line.measures["dice"].mean == pytest.approx((0.4 + 0.9 + 0.5 + 0.1) / 4)
    (test,) = table.tests("dice", "method", "two")
    assert (test.subjects, test.difference) == (4, pytest.approx(1.9 / 4))
    assert test.p == pytest.approx(2 / 2**4)  # all four persons differ to one side
    assert table.per_person("dice", method="one")["a"] == pytest.approx(0.4)
    assert table.to_csv().splitlines()[1] == "one,ct,a_1,0.2,,a"
    (tmp_path / "t.json").write_text(table.to_json(), encoding="utf-8")
    assert ScoreTable.from_json(tmp_path / "t.json") == table


def test_what_is_not_there_is_counted(table):
    table.add(Score("dafnet", "s1", {"modality": "lge"}, {"paper_dice": 0.5}))  # of no class
    lv, myocardium = table.means("modality", "class")
    (foreground,) = table.means("modality")
    assert (lv.present, lv.missed, lv.empty, lv.spurious) == (2, 0, 1, 0)
    assert (myocardium.present, myocardium.missed, myocardium.empty, myocardium.spurious) == (2, 1, 0, 1)
    assert myocardium.miss_rate == 0.5
    assert (foreground.present, foreground.miss_rate) == (4, 0.25)


def test_miss_rate_without_any_organ_is_zero():
    (line,) = ScoreTable([organ("s1", "LV", 1.0, 0.0, flag="empty")]).means("class")
    assert (line.present, line.miss_rate) == (0, 0.0)


def test_one_subject_has_no_deviation():
    one = ScoreTable([organ("s1", "LV", 0.5)])
    line = one.means("modality")[0]
    assert math.isnan(line.measures["dice"].sd)
    assert line.text("dice") == "0.500"
    assert line.text("psnr") == "–"
    summary = json.loads(one.to_json())["summary"][0]
    assert summary["measures"]["dice"] == {"mean": 0.5, "sd": None, "infinite": 0}
    with pytest.raises(ValueError, match="at least one number"):
        mean_sd([])


def test_json_comes_back_equal(table, tmp_path):
    paths = table.save(tmp_path / "deep" / "er", "dafnet")
    again = ScoreTable.from_json(paths["json"])
    assert again == table
    assert again.methods["dafnet"] == MethodInfo(100.0, "no LGE labels")
    assert json.loads(paths["json"].read_text(encoding="utf-8"))["summary"][2]["miss_rate"] == 0.25
    assert sorted(path.name for path in paths["json"].parent.iterdir()) == ["dafnet.csv", "dafnet.json", "dafnet.md"]


def test_remarks_are_kept_and_joined(table, tmp_path):
    """What was scored is told below the numbers, of all tables of a method, and read as written."""
    one = ScoreTable([organ("s1", "LV", 0.5, method="a")], {"a": MethodInfo(100.0, remarks=("s1 is a guess.",))})
    two = ScoreTable([organ("s2", "LV", 0.5, method="a")], {"a": MethodInfo(100.0, "new", remarks=("s2 too.",))})
    both = one.join(two, ScoreTable([organ("s3", "LV", 0.5, method="a")], {"a": MethodInfo(100.0)}))
    assert both.notes()[-2:] == ["a: s1 is a guess.", "a: s2 too."]
    (tmp_path / "a.json").write_text(both.to_json(), encoding="utf-8")
    assert ScoreTable.from_json(tmp_path / "a.json") == both
    assert "remarks" not in table.to_json()


def test_csv_has_one_line_a_score(table):
    lines = list(csv.DictReader(table.to_csv().splitlines()))
    assert len(lines) == 6
    found = lines[3]["subject"], lines[3]["class"], float(lines[3]["dice"]), lines[3]["flag"]
    assert found == ("s2", "myocardium", 0.0, "missed")


def test_markdown_shows_methods_below_each_other(table):
    both = table.join(ScoreTable([organ("s1", "LV", 0.25, method="a|b")], {"a|b": MethodInfo(100.0)}))
    lines = both.to_markdown().splitlines()
    assert lines[0].startswith("| method | modality | subjects | Dice LV | Dice myocardium | Dice mean | HD95 [mm] |")
    assert lines[2].startswith("| dafnet | lge | 3 | 0.867 ± 0.153 | 0.233 ± 0.404 | 0.550 ± 0.229 |")
    assert lines[2].endswith("| 1 of 4 | 1 | 1 |")
    assert lines[3].startswith(r"| a\|b | lge | 1 | 0.250 | – | 0.250 |")
    assert "distance penalty of 100 mm" in both.to_markdown()
    assert "dafnet: no LGE labels" in both.to_markdown()
    assert len({line.count("|") - line.count(r"\|") for line in lines if line.startswith("|")}) == 1


def test_methods_with_other_penalties_are_both_stated(table):
    text = table.join(ScoreTable([organ("s1", "LV", 0.25, method="copy")])).to_markdown()
    assert "distance penalty of dafnet: 100 mm; copy: the image's diagonal." in text


def test_the_papers_dice_stands_beside_ours(table):
    assert "as in the paper" not in table.to_markdown()
    for subject, value in (("s1", 0.5), ("s2", 0.75), ("s3", 1.0)):
        table.add(Score("dafnet", subject, {"modality": "lge"}, {"paper_dice": value}))
    head, _, line, *_ = table.to_markdown().splitlines()
    assert "| Dice mean | Dice as in the paper | HD95 [mm] |" in head
    assert "| 0.550 ± 0.229 | 0.750 ± 0.250 |" in line


def test_a_score_stands_once(table):
    with pytest.raises(ValueError, match=r"second one of method 'dafnet', subject 's1', modality 'lge', class 'LV'"):
        table.add(organ("s1", "LV", 0.1))
    with pytest.raises(ValueError, match="give the two evaluations different method names"):
        table.join(table)


def test_one_penalty_a_method(table):
    other = ScoreTable([organ("s9", "LV", 0.5)])
    with pytest.raises(ValueError, match=r"one penalty, got 100 mm and the image's diagonal"):
        table.join(other)


def test_select_and_views(table):
    both = table.join(ScoreTable([organ("s7", "LV", 0.25, method="copy")]))
    assert list(both.methods) == ["dafnet", "copy"]
    assert both.select(method="copy").subjects() == ["s7"]
    assert both.subjects("dafnet") == ["s1", "s2", "s3"]
    assert len(both.select(modality="cine")) == 0
    assert both.cases("class") == ["LV", "myocardium"]
    assert both.keys == ["modality", "class"]
    assert table.per_subject("surface_distance") == {"s1": 3.0, "s2": 51.0, "s3": 50.0}
    with pytest.raises(ValueError, match="measure must be one of"):
        table.per_subject("iou")


@pytest.mark.parametrize(
    ("values", "flag", "message"),
    [
        ({"dice": NAN}, "", "dice must be finite and not negative, got nan"),
        ({"dice": 1.2}, "", "dice must be at most 1, got 1.2"),
        ({"hausdorff95": math.inf}, "", "hausdorff95 must be finite"),
        ({"surface_distance": -1.0}, "", "not negative, got -1.0"),
        ({"psnr": NAN}, "", r"psnr must be a number, got NaN \(method 'a', subject 's01', class 'LV'\)"),
        ({"acc": 1.0}, "", "measure must be one of"),
        ({}, "", "at least one measure, got none"),
        ({"dice": 0.0}, "missed, empty", "at most one of .*'missed'"),
    ],
)
def test_impossible_scores_are_refused(values, flag, message):
    with pytest.raises(ValueError, match=message):
        ScoreTable().add(Score("a", "s01", {"class": "LV"}, values, flag))


@pytest.mark.parametrize("kind", ["evaluation", "subsets", "reconstruction"])
def test_old_files_are_refused(kind, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"format": f"monai_mmseg.{kind}/1", "rows": []}))
    with pytest.raises(
        ValueError, match=rf"a\.json must be .* 'monai_mmseg.scores/2', got 'monai_mmseg.{kind}/1': evaluate again"
    ):
        ScoreTable.from_json(path)


def test_broken_files_are_named(table, tmp_path):
    path = tmp_path / "a.json"
    for text, message in (
        ("{", ": not a JSON file"),
        ("[]", " must be a table of .* got 'list'"),
        ("{}", " must be a table of .* got None"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"a\.json{message}"):
            ScoreTable.from_json(path)
    content = json.loads(table.to_json())
    for change in ({"scores": [{"method": "a"}]}, {"methods": None}, {"scores": [{**content["scores"][0], "iou": 1}]}):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(ValueError, match=r"a\.json is a broken table"):
            ScoreTable.from_json(path)
    with pytest.raises(ValueError, match="methods must name methods that have scores, got \\['ghost'\\]"):
        ScoreTable([], {"ghost": MethodInfo()})


# ---- images


def image(subject, source, target, psnr, ssim=0.5, method="ours"):
    values = {"slices": 3.0, "psnr": psnr, "ssim": ssim}
    return Score(method, subject, {"source": source, "target": target}, values)


IMAGES = [
    image("s01", "t1", "t2", 20.0),
    image("s01", "flair", "t2", 24.0),
    image("s01", "t2", "t2", 40.0),  # a self-reconstruction
    image("s01", OTHERS, "t2", 30.0),
    image("s02", "t1", "t2", 26.0),
    image("s02", "t1", "flair", math.inf, 1.0),
]


def images():
    return ScoreTable(IMAGES, subjects={"ours": ["s01", "s02", "s03"]})


def test_means_by_target_are_first_over_the_sources_of_a_subject():
    found = {line.case["target"]: line for line in images().means("target", where=is_cross)}
    t2 = found["t2"]
    assert (t2.subjects, t2.left_out, t2.measures["psnr"].infinite) == (2, 1, 0)
    assert t2.measures["psnr"].mean == pytest.approx((22 + 26) / 2)
    assert t2.measures["psnr"].sd == pytest.approx(8**0.5)
    assert "original_psnr" not in t2.measures
    assert images().per_subject("psnr", is_cross, target="t2") == {"s01": 22.0, "s02": 26.0}
    flair = found["flair"]
    psnr = flair.measures["psnr"]
    assert (flair.subjects, flair.left_out, psnr.infinite, psnr.mean) == (1, 2, 1, math.inf)


def test_means_of_pairs_leave_equal_images_out_and_count_them():
    more = images()
    more.add(image("s03", "t1", "flair", 33.0))
    found = {(line.case["source"], line.case["target"]): line for line in more.means("source", "target")}
    line = found["t1", "flair"]
    psnr = line.measures["psnr"]
    assert (psnr.mean, psnr.infinite, line.subjects, line.left_out) == (33.0, 1, 2, 1)
    assert found["flair", "t2"].left_out == 2
    assert "1 images equal their reconstruction" in more.to_markdown()


def test_files_of_images_and_their_return(tmp_path):
    paths = images().save(tmp_path / "new", "reconstruction")
    assert ScoreTable.from_json(paths["json"]) == images()
    lines = paths["csv"].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "method,source,target,subject,psnr,ssim,slices,flag"
    assert lines[-1] == "ours,t1,flair,s02,inf,1.0,3.0,"
    text = paths["md"].read_text(encoding="utf-8")
    assert "| ours | t2 | 24.00 ± 2.83 | 0.500 ± 0.000 | 2 | 1 |" in text
    assert f"| ours | {OTHERS} | t2 | 30.00 | 0.500 | 1 | 2 |" in text
    assert "riginal code" not in text


def test_tables_join():
    joined = images().join(ScoreTable([image("s01", "t1", "t2", 18.0, method="mean image")]))
    assert list(joined.methods) == ["ours", "mean image"]
    assert len(joined) == 7
    assert joined.subjects("ours") == ["s01", "s02", "s03"]


# ---- subsets and tests


def subsets(method="ours"):
    """Six subjects; T1 alone is worse by 0.25 in all, and the last one has no T2 alone."""
    scores = []
    for number in range(6):
        for subset, drop in (("t1 + t2", 0.0), ("t1", 0.25), ("t2", 0.0)):
            if (subset, number) != ("t2", 5):
                value = 0.5 + number / 16 - drop
                for name, shift in (("core", 0.125), ("oedema", -0.125)):
                    scores.append(
                        Score(method, f"s{number}", {"subset": subset, "class": name}, {"dice": value + shift})
                    )
    return ScoreTable(scores, {method: MethodInfo(modalities=("t1", "t2"))})


def test_paired_tests_against_all_modalities():
    first, second = subsets().tests("dice", "subset", "t1 + t2")
    assert (first.method, first.value, first.subjects, first.difference) == ("ours", "t1", 6, -0.25)
    assert (first.p, first.p_holm) == (pytest.approx(2 / 64), pytest.approx(4 / 64))  # two patterns of signs out of 64
    assert (second.value, second.subjects, second.p, second.p_holm) == ("t2", 5, 1.0, 1.0)


def test_paired_tests_of_methods():
    better = [score._replace(method="new", values={"dice": score.values["dice"] + 0.0625}) for score in subsets()]
    same = [score._replace(method="same") for score in subsets()]
    both = subsets().join(ScoreTable(better), ScoreTable(same)).select(subset="t1 + t2")
    first, second = both.tests("dice", "method", "ours")
    assert (first.method, first.value, first.difference) == ("new", "new", 0.0625)
    assert (first.p, first.p_holm) == (pytest.approx(2 / 64), pytest.approx(4 / 64))
    assert (second.value, second.p) == ("same", 1.0)


def test_tests_leave_out_what_does_not_pair():
    table = ScoreTable([image("s1", "t1", "t2", p, method=m) for m, p in (("a", 1.0), ("b", math.inf), ("c", 2.0))])
    assert table.tests("psnr", "method", "a") == []  # one subject
    for arguments, message in (
        (("psnr", "method", "nobody"), "baseline must be one of the methods"),
        (("psrn", "method", "a"), "measure must be one of"),
        (("psnr", "modalty", "a"), "keys of cases must be among"),
    ):
        with pytest.raises(ValueError, match=message):
            table.tests(*arguments)
    with pytest.raises(ValueError, match="keys of cases must be among"):
        table.select(methodx="a")
    with pytest.raises(ValueError, match="keys of cases must be among"):
        table.means("clas")


def test_sheets_of_subsets():
    text = subsets().to_markdown()
    assert "| method | missing | Dice core | Dice oedema | Dice mean | subjects | left out |" in text
    assert "| ours | t2 | 0.531 ± 0.117 | 0.281 ± 0.117 | 0.406 ± 0.117 | 6 | 0 | -0.250 | 0.0625 |" in text
    assert "| ours | ● | ○ | 0.531 ± 0.117 | 0.281 ± 0.117 | 0.406 ± 0.117 | 6 | 0 | -0.250 | 0.0625 |" in text
    assert "| ours | none | 0.781 ± 0.117 | 0.531 ± 0.117 | 0.656 ± 0.117 | 6 | 0 |  |  |" in text
    assert "| ours | ○ | ● | 0.750 ± 0.099 | 0.500 ± 0.099 | 0.625 ± 0.099 | 5 | 1 | +0.000 | 1.0000 |" in text


def test_methods_of_other_modalities_do_not_go_on():
    other = ScoreTable([Score("ours", "s9", {"subset": "t1"}, {"dice": 0.5})], {"ours": MethodInfo(modalities=("t1",))})
    with pytest.raises(ValueError, match=r"same modalities, got \['t1', 't2'\] and \['t1'\]"):
        subsets().join(other)
