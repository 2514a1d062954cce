# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from benchmarks import kept_scores
from benchmarks.differences import USAGE, main

HEAD = "setting,method,seed,modality,class,subject,dice\n"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Two trainings of "a" and one of "b" on two subjects with two classes each."""
    monkeypatch.setattr(kept_scores, "RESULTS", tmp_path)
    rows = [
        f"mr_4,{method},{seed},mr,{name},{subject},{dice + change}"
        for method, seed, dice in (("a", 0, 0.8), ("a", 1, 0.9), ("b", 0, 0.5))
        for subject, change in (("s1", 0.05), ("s2", -0.05))
        for name in ("LV", "RV")
    ]
    other = [row.replace(",mr,", ",ct,").replace("0.", "0.0") for row in rows]
    (tmp_path / "scores.csv").write_text(HEAD + "\n".join([*rows, *other]) + "\n")
    return tmp_path


def test_means_of_trainings_and_the_difference_with_its_interval(kept, capsys):
    main(["scores.csv", "mr", "a:b"])
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "mr_4 a: 0.850 ± 0.071 (trainings 0.800, 0.900; 2 subjects)"
    assert second == "mr_4 b: 0.500 (trainings 0.500; 2 subjects)"
    # subjects move both alike; the trainings of a alone are 0.1 apart; two signs give no p below one half
    assert third == "mr_4 a - b: +0.350 (0.300 to 0.400), p 0.500, Holm 0.500, ahead in 2 of 2"


def test_a_table_of_subsets_is_of_the_setting_in_its_name(kept, capsys):
    rows = [
        f"{name},0,{given},s{at},{dice}"
        for name, dice in (("a", 0.6), ("b", 0.4))
        for given in ("t1", "t1+t2")
        for at in (1, 2)
    ]
    (kept / "subsets_missing_50.csv").write_text("method,seed,sequences,subject,dice\n" + "\n".join(rows) + "\n")
    main(["subsets_*.csv", "brain", "a:b"])
    assert "missing_50 a - b: +0.200 (0.200 to 0.200)" in capsys.readouterr().out


def test_phantoms_of_their_own_are_one_setting_together(kept, capsys):
    text = (kept / "scores.csv").read_text()
    more = [row.replace("mr_4", "mr_5").replace(",s", ",t") for row in text.splitlines()[1:] if ",1,mr," not in row]
    (kept / "more.csv").write_text(HEAD + "\n".join(more) + "\n")
    main(["scores.csv,more.csv", "mr", "a:b", "--together"])
    last = capsys.readouterr().out.splitlines()[-1]
    # two subjects whose trainings are 0.3 and 0.4 ahead, two with a training of 0.3
    assert last.startswith("all a - b: +0.325 (")
    assert last.endswith("ahead in 4 of 4")


def test_of_distances_less_is_better(kept, capsys):
    rows = [f"mr_4,{method},0,LV,{one},0.5,{mm}" for method, mm in (("a", 1.5), ("b", 2.0)) for one in ("s1", "s2")]
    (kept / "far.csv").write_text("setting,method,seed,class,subject,dice,surface_distance\n" + "\n".join(rows) + "\n")
    main(["far.csv", "lge", "a:b", "--distance"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("mr_4 a - b: -0.500 (-0.500 to -0.500)")
    assert last.endswith("ahead in 2 of 2")


def test_only_what_a_pair_has_in_common_counts(kept, capsys):
    """A third training of "a" scored another subject alone: it is none of the pair. A single subject is no test."""
    rows = (kept / "scores.csv").read_text() + "mr_4,a,2,mr,LV,s3,0.1\nmr_4,c,0,mr,LV,s1,0.1\n"
    main(["scores.csv", "mr", "a:b"])
    without = capsys.readouterr().out.splitlines()[-1]
    (kept / "scores.csv").write_text(rows)
    main(["scores.csv", "mr", "a:b", "a:c"])
    assert capsys.readouterr().out.splitlines()[-1] == without


def test_visits_of_a_person_count_once_in_a_table_of_any_folder(kept, tmp_path_factory, capsys):
    rows = [
        f"all,{method},0,LV,{one},{one[:2]},{dice}"
        for method, dice in (("a", 0.6), ("b", 0.5))
        for one in ("p1_early", "p1_late", "p2_early")
    ]
    path = tmp_path_factory.mktemp("study") / "scores.csv"
    path.write_text("setting,method,seed,class,subject,person,dice\n" + "\n".join(rows) + "\n")
    main([str(path), "lge", "a:b"])
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.endswith("(trainings 0.600; 2 subjects)")
    assert last.endswith("ahead in 2 of 2")
    with pytest.raises(SystemExit, match="no such table of scores"):
        main([str(path.with_name("none.csv")), "lge", "a:b"])


@pytest.mark.parametrize("words", [[], ["scores.csv", "mr"], ["scores.csv", "mr", "a"]])
def test_what_is_no_pair_shows_the_usage(kept, words):
    with pytest.raises(SystemExit, match="METHOD:METHOD"):
        main(words)
    assert USAGE


@pytest.mark.parametrize(
    ("words", "message"),
    [(["none.csv", "mr"], "no such table of scores"), (["scores.csv", "t2"], "no scores of the modality 't2'")],
)
def test_a_file_or_modality_that_is_not_there_is_named(kept, words, message):
    with pytest.raises(SystemExit, match=message):
        main([*words, "a:b"])


def test_a_method_without_scores_is_named(kept):
    with pytest.raises(SystemExit, match=r"no scores of csa; it has a, b\."):
        main(["scores.csv", "mr", "a:csa"])
