# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from monai_mmseg.data import group_by_subject, label_problem, load_datalist, read_datalist
from monai_mmseg.data.annotations import mask_labels
from monai_mmseg.data.datalist import Datalist, stored_item
from monai_mmseg.data.visits import person_of


def item(subject="s1", modality="a", **more):
    return {"image": f"{subject}/{modality}.nii.gz", "modality": modality, "subject": subject, **more}


def write(folder, items, **more):
    content = {"modalities": ["a", "b"], "labels": {"0": "background", "1": "x"}, "training": items, **more}
    path = folder / "datalist.json"
    path.write_text(json.dumps(content))
    return path


def test_paths_are_absolute_and_names_are_left_alone(tmp_path):
    (tmp_path / "s1").mkdir()  # a folder of the subject's name: MONAI's reader would turn the subject into its path
    loaded = load_datalist(write(tmp_path, [item(label="s1/label.nii.gz")]))
    assert loaded == [
        {
            "image": str(tmp_path / "s1/a.nii.gz"),
            "label": str(tmp_path / "s1/label.nii.gz"),
            "modality": "a",
            "subject": "s1",
        }
    ]


def test_names_of_labels_and_order_of_modalities(tmp_path):
    content = read_datalist(write(tmp_path, [item()], labels={"10": "z", "0": "background", "2": "y"}))
    assert content.labels == {0: "background", 2: "y", 10: "z"}
    assert content.modalities == ["a", "b"]


def test_folds_select(tmp_path):
    path = write(tmp_path, [item(f"s{n}", fold=n % 3) for n in range(6)])
    assert [one["subject"] for one in load_datalist(path, fold=1)] == ["s1", "s4"]
    assert [one["subject"] for one in load_datalist(path, exclude_fold=[0, 1])] == ["s2", "s5"]
    assert [one["subject"] for one in load_datalist(path, fold=[0, 2], exclude_fold=0)] == ["s2", "s5"]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"fold": 7}, ValueError, r"no item has fold \[7\], there are \[0, 1\]"),
        ({"fold": 0, "exclude_fold": 0}, ValueError, "no item of 'training' is left"),
        ({"section": "trianing"}, KeyError, "Did you mean 'training'"),
    ],
)
def test_wrong_selections(tmp_path, kwargs, error, message):
    path = write(tmp_path, [item("s1", fold=0), item("s2", fold=1)])
    with pytest.raises(error, match=message):
        load_datalist(path, **kwargs)


def test_folds_that_are_not_there_name_the_command(tmp_path):
    with pytest.raises(ValueError, match="mmseg data split"):
        load_datalist(write(tmp_path, [item()]), fold=0)


def test_every_problem_of_the_form_is_listed(tmp_path):
    path = write(
        tmp_path,
        [{"image": "a.nii", "modality": "c", "subjct": "s1", "label": "", "fold": "x"}, 3],
        modalites=["a"],
        labels={"one": "x"},
    )
    with pytest.raises(ValueError, match="datalist.json") as caught:
        read_datalist(path)
    for part in (
        "unknown key 'modalites' (did you mean 'modalities'?)",
        "training[0]: unknown key 'subjct' (did you mean 'subject'?)",
        "training[0]: key 'subject' must be a non-empty string, got None",
        "training[0]: 'label' must be a path or left out",
        "training[0]: 'fold' must be a number from 0, got 'x'",
        "modality 'c' is not declared",
        "training[1]: an item must be an object, got int",
        "'labels' must map numbers to names",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[]", "must be a JSON object, got list"),
        ('{"training": [{"subject": "a", "subject": "b"}]}', r"not a JSON file \(key 'subject' is given twice\)"),
        ('{"training": [], "training": [1]}', "key 'training' is given twice"),
        ('{"training": [{"fold": NaN}]}', r"not a JSON file \(JSON has no NaN\)"),
        ('{"meta": -Infinity}', "JSON has no -Infinity"),
        ('{"training": ' + "[" * 100000 + "]" * 100000 + "}", "nested too deeply"),
        ('{"meta": ' + "9" * 5000 + "}", "not a JSON file"),
        ('{"name": "\\ud800"}', "a text in it is broken"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_datalist(tmp_path / "list.json")
    assert str(caught.value).startswith(str(tmp_path / "list.json"))
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no such datalist"):
        read_datalist(tmp_path / "lost.json")


def test_encodings(tmp_path):
    text = write(tmp_path, [item()]).read_text()
    (tmp_path / "mark.json").write_text(text, encoding="utf-8-sig")
    assert read_datalist(tmp_path / "mark.json").modalities == ["a", "b"]
    (tmp_path / "wide.json").write_text(text, encoding="utf-16")
    with pytest.raises(ValueError, match=r"wide.json: not a JSON file in UTF-8"):
        read_datalist(tmp_path / "wide.json")


def test_images_may_lie_anywhere(tmp_path):
    (tmp_path / "lists").mkdir()
    items = [{**item("s1"), "image": "../images/a.nii.gz"}, {**item("s2"), "image": "/elsewhere/b.nii.gz"}]
    images = [one["image"] for one in load_datalist(write(tmp_path / "lists", items))]
    assert images == [f"{tmp_path}/lists/../images/a.nii.gz", "/elsewhere/b.nii.gz"]


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("../x", "it holds a slash; call it 'x'"),
        ("siteA/p1", "it holds a slash; call it 'siteA_p1'"),
        ("..", "it is a place, not a name"),
        ("a\0b", "it holds a control character"),
        ("x" * 300, "it is 300 bytes long"),
        (" s1", "it begins or ends with a space"),
    ],
)
def test_names_that_would_leave_their_folder(tmp_path, subject, why):
    with pytest.raises(ValueError, match=r"training\[0\]: subject '.*' names files, but it ") as caught:
        read_datalist(write(tmp_path, [{**item(), "subject": subject}]))
    assert why in str(caught.value)
    with pytest.raises(ValueError, match="'modalities': '.*' names files, but it ") as caught:
        read_datalist(write(tmp_path, [item()], modalities=["a", subject]))
    assert why in str(caught.value)


@pytest.mark.parametrize("key", ["²", "01", "-1", "1.0", "", "9" * 30])
def test_label_values_are_whole_numbers(tmp_path, key):
    with pytest.raises(ValueError, match="'labels' must map numbers to names"):
        read_datalist(write(tmp_path, [item()], labels={"0": "background", key: "x"}))


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({}, None),
        ({0: "background"}, None),
        ({2: "b", 0: "background", 1: "a"}, None),
        (
            {0: "background", 1: "NCR", 2: "ED", 4: "ET"},
            "labels must be 0 to 3, got 0, 1, 2, 4: map {4: 3} in the label files and in 'labels'",
        ),
        (
            {0: "b", 205: "m", 420: "l"},
            "labels must be 0 to 2, got 0, 205, 420: map {205: 1, 420: 2} in the label files and in 'labels'",
        ),
        ({1: "a", 2: "b"}, "labels must declare 0, the background, got 1, 2"),
        ({0: "b", 1: "x", 2: "x"}, "labels must have distinct names, got ['x'] more than once"),
    ],
)
def test_labels_are_classes(labels, problem):
    assert label_problem(labels) == problem


@pytest.mark.parametrize("name", ["", " ", None, 3])
def test_every_class_has_a_name(tmp_path, name):
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"labels": {"0": "background", "1": name}, "training": []}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"'labels' must name each value, got {name!r} for 1"):
        read_datalist(path)


def test_groups():
    items = [item("s2", "b", label="l", pairs={"a": {"0": 1}}), item("s1", "a"), item("s2", "a"), item("s3", "c")]
    groups = group_by_subject(items, ["a", "b"])
    assert [group["subject"] for group in groups] == ["s2", "s1"]
    assert list(groups[0]["image"]) == ["a", "b"]
    assert groups[0]["label"] == {"b": "l"}
    assert groups[0]["pairs"] == {"b": {"a": {"0": 1}}}
    with pytest.raises(ValueError, match="subject 's1' has two images of modality 'a'"):
        group_by_subject([item(), item()])


def visits(tmp_path, items):
    path = tmp_path / "datalist.json"
    path.write_text(
        json.dumps({"training": [{"image": f"{n}.nii", "modality": "ct", **one} for n, one in enumerate(items)]})
    )
    return path


def test_a_visit_is_a_subject_of_its_own_and_tells_its_person(tmp_path):
    path = visits(tmp_path, [{"subject": "p1", "visit": "ed"}, {"subject": "p1", "visit": "es"}, {"subject": "p2"}])
    items = load_datalist(path)
    assert [(one["subject"], one.get("person"), one.get("visit")) for one in items] == [
        ("p1_ed", "p1", "ed"),
        ("p1_es", "p1", "es"),
        ("p2", None, None),
    ]
    assert [one["subject"] for one in group_by_subject(items)] == ["p1_ed", "p1_es", "p2"]
    stored = [stored_item(one, tmp_path) for one in items]
    assert stored == json.loads(path.read_text(encoding="utf-8"))["training"]
    kept = mask_labels([{**one, "label": "l.nii"} for one in items], "ct", 0.5, seed=0)
    assert {person_of(one) for one in kept if "label" in one} & {
        person_of(one) for one in kept if "label" not in one
    } == set()


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"subject": "p1", "visit": 2}], "'visit' must be a non-empty string or left out, got 2"),
        ([{"subject": "p1", "visit": ""}], "'visit' must be a non-empty string or left out, got ''"),
        ([{"subject": "p1", "visit": "a/b"}], "visit 'a/b' names files, but it holds a slash"),
        ([{"subject": "p" * 100, "visit": "v" * 40}], "name files, but that is 141 bytes long"),
        (
            [{"subject": "a", "visit": "b_c"}, {"subject": "a_b", "visit": "c"}],
            "subject 'a' visit 'b_c' and subject 'a_b' visit 'c' would both be called 'a_b_c'",
        ),
        ([{"subject": "p1", "person": "p"}], "unknown key 'person'"),
    ],
)
def test_visits_that_cannot_be(tmp_path, items, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_datalist(visits(tmp_path, items))


def test_what_is_ignored_goes_with_each_label(tmp_path):
    items = [{"image": "a.nii", "label": "l.nii", "modality": "ct", "subject": "a"}]
    items.append({"image": "b.nii", "modality": "ct", "subject": "b"})
    head = {"modalities": ["ct"], "labels": {"0": "background", "1": "liver"}, "training": items}
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({**head, "ignore": 255}))
    listed = read_datalist(path)
    assert (listed.ignore, [item.get("ignore") for item in listed.items("training")]) == (255, [255, None])
    assert [group.get("ignore") for group in group_by_subject(listed.items("training"))] == [255, None]
    path.write_text(json.dumps({**head, "ignore": 3}))
    with pytest.raises(ValueError, match="'ignore' must be 255, the value of voxels .* not annotated, got 3: map"):
        read_datalist(path)
    path.write_text(json.dumps({**head, "ignore": 255, "labels": {"0": "background", "255": "lesion"}}))
    with pytest.raises(ValueError, match="'ignore' and 'labels' both have 255"):
        read_datalist(path)


@pytest.mark.parametrize(
    ("annotated", "said"),
    [
        ("liver", "must list the classes that the label shows, each once, .* got 'liver'"),
        ([], "must list the classes"),
        (["liver", "liver"], "each once"),
        (["livr"], "names 'livr', which 'labels' does not declare: did you mean 'liver'"),
        (["background"], r"'labels' does not declare: there are \['liver', 'spleen'\]"),
    ],
)
def test_classes_that_a_label_shows(tmp_path, annotated, said):
    item = {"image": "a.nii", "label": "b.nii", "modality": "ct", "subject": "s"}
    other = {**item, "image": "c.nii", "subject": "t", "annotated": ["spleen"]}
    head = {"labels": {"0": "background", "1": "liver", "2": "spleen"}}
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({**head, "training": [item, other]}))
    items = read_datalist(path).items("training")
    assert [one["unknown"] for one in items] == [[False] * 3, [False, True, False]]  # for all: a batch is one
    assert "unknown" not in stored_item(items[1], tmp_path)
    assert group_by_subject(items)[1]["unknown"] == {"ct": [False, True, False]}
    path.write_text(json.dumps({**head, "training": [{**item, "annotated": annotated}]}))
    with pytest.raises(ValueError, match=said):
        read_datalist(path)


def test_annotated_without_a_label(tmp_path):
    item = {"image": "a.nii", "modality": "ct", "subject": "s", "annotated": ["liver"]}
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"labels": {"0": "background", "1": "liver"}, "training": [item]}))
    with pytest.raises(ValueError, match="'annotated' tells of a label, and there is none"):
        read_datalist(path)
    whole = {**item, "label": "b.nii"}
    path.write_text(json.dumps({"labels": {"0": "background", "1": "liver"}, "training": [whole]}))
    assert "unknown" not in read_datalist(path).items("training")[0]


def test_a_list_without_a_test_section_says_how_to_make_one():
    listed = Datalist(Path("a.json"), "a", ["ct"], {0: "background"}, {"training": [{}]})
    with pytest.raises(KeyError, match="no section 'test', there are .*`mmseg data split --test 5` makes"):
        listed.items("test")
    with pytest.raises(KeyError, match="no section 'trainign', .* Did you mean 'training'"):
        listed.items("trainign")
