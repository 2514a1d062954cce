# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import shutil

import nibabel as nib
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist, merge_datalists
from tests.synthetic_volumes import write_study

GRID = ((8, 8, 4), (8, 8, 12))


@pytest.fixture
def lists(tmp_path):
    return [
        write_study(tmp_path / "one", {"ct": GRID}, subjects=("a", "b")),
        write_study(tmp_path / "two", {"mr": GRID}, subjects=("c",)),
    ]


def test_items_and_files_of_both(lists, tmp_path, capsys):
    out = tmp_path / "both" / "datalist.json"
    assert main(["data", "merge", "--lists", *map(str, lists), "--out", str(out)]) == 0
    assert f"2 datalists: {out}" in capsys.readouterr().out
    assert check_datalist(out).errors == []
    assert read_datalist(out).modalities == ["ct", "mr"]
    assert [(item["subject"], item["modality"]) for item in load_datalist(out)] == [
        ("a", "ct"),
        ("b", "ct"),
        ("c", "mr"),
    ]
    assert json.loads(out.read_text(encoding="utf-8"))["training"][0]["image"] == "../one/images/a_ct.nii.gz"


def test_a_name_that_no_bundle_looks_for_is_told(lists, tmp_path, caplog):
    merge_datalists(lists, tmp_path / "both" / "datalist.json")
    assert "look for a file called" not in caplog.text
    merge_datalists(lists, tmp_path / "both.json")
    assert "both.json: `mmseg plan` and bundles look for a file called datalist.json." in caplog.text


def test_refuses_what_does_not_fit(lists, tmp_path):
    out = tmp_path / "datalist.json"
    with pytest.raises(ValueError, match="two datalists or more"):
        merge_datalists(lists[:1], out)
    same = write_study(tmp_path / "three", {"ct": GRID}, subjects=("b",))
    with pytest.raises(ValueError, match=r"subject 'b' is in .*one.datalist.json and in .*three.datalist.json"):
        merge_datalists([*lists, same], out)
    assert not out.exists()


def test_what_the_lists_say_about_themselves(lists, tmp_path, caplog):
    about = [
        {"licence": "CC0", "reference": "x.org", "target": "ct", "meta": {"site": "A", "units": "HU"}},
        {"license": "CC BY", "reference": "x.org", "target": "mr", "meta": {"site": "B", "year": 2019}},
    ]
    for path, more in zip(lists, about, strict=True):
        path.write_text(json.dumps({**json.loads(path.read_text()), "name": path.parent.name, **more}))
    content = json.loads(merge_datalists(lists, tmp_path / "d.json").read_text())
    assert content["licence"] == "one: CC0; two: CC BY"
    assert content["reference"] == "x.org"
    assert content["meta"] == {"site": {"one": "A", "two": "B"}, "units": "HU", "year": 2019}
    assert "target" not in content
    assert "no target is kept, the lists have different ones" in caplog.text
    lists[1].write_text(lists[1].read_text().replace('"target": "mr", ', ""))
    content = json.loads(merge_datalists(lists, tmp_path / "e.json").read_text())
    assert content["target"] == "ct"


def test_one_list_twice(lists, tmp_path):
    (tmp_path / "link.json").symlink_to(lists[0])
    for other in (lists[0], lists[0].parent / ".." / "one" / "datalist.json", tmp_path / "link.json"):
        with pytest.raises(ValueError, match="lists must be different files, got .*one.datalist.json more than once"):
            merge_datalists([lists[0], other], tmp_path / "datalist.json")


def test_visits_that_get_the_name_of_another_subject(lists, tmp_path):
    """The list that was written could not be read."""
    for path, change in zip(lists, ({"subject": "p1", "visit": "2"}, {"subject": "p1_2"}), strict=True):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["training"] = [{**content["training"][0], **change}]
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="subject 'p1' visit '2' and subject 'p1_2' would both be called 'p1_2'"):
        merge_datalists(lists, tmp_path / "datalist.json")


def test_another_modality_of_one_person(lists, tmp_path, caplog):
    """The folds of a person must agree, as in any list."""
    other = write_study(tmp_path / "three", {"mr": GRID}, subjects=("b",))
    with pytest.raises(ValueError, match=r"broken item.*\n.*subject 'b' is in several folds: \['0', '1'\]"):
        merge_datalists([lists[0], other], tmp_path / "datalist.json")
    other = write_study(tmp_path / "three", {"mr": GRID}, subjects=("x", "b"))
    out = merge_datalists([lists[0], other], tmp_path / "datalist.json")
    assert f"subject 'b' is taken for one person: ct in {lists[0]} and mr in {other}" in caplog.text
    assert [item["modality"] for item in load_datalist(out) if item["subject"] == "b"] == ["ct", "mr"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"0": "background", "1": "core", "2": "shell"}, "they are in another order; map {1: 2, 2: 1} in the label "),
        (
            {"0": "background", "1": "shell", "2": "scar"},
            r"two.datalist.json lacks ['core'], .*one.datalist.json lacks",
        ),
        ({"0": "background", "1": "core"}, r"two.datalist.json lacks ['shell'], and one value means two classes"),
    ],
)
def test_labels_that_differ(lists, tmp_path, labels, said):
    content = json.loads(lists[1].read_text(encoding="utf-8"))
    lists[1].write_text(json.dumps({**content, "labels": labels}))
    wanted = re.escape(said).replace(r"\.\*", ".*").replace(r"two\.", "two.").replace(r"one\.", "one.")
    with pytest.raises(ValueError, match="labels must be the same in all lists, got .*" + wanted):
        merge_datalists(lists, tmp_path / "datalist.json")


def test_sets_of_other_organs(lists, tmp_path, caplog):
    """What a list does not declare is unknown in its images; a label that shows it all the same is an error."""
    content = json.loads(lists[1].read_text(encoding="utf-8"))
    lists[1].write_text(json.dumps({**content, "labels": {"0": "background", "1": "shell"}}))
    with pytest.raises(ValueError, match=r"c_mr.nii.gz: 'annotated' leaves out the classes of the values \[2\]"):
        merge_datalists(lists, tmp_path / "datalist.json")
    for item in content["training"]:
        path = lists[1].parent / item["label"]
        values = nib.load(path).get_fdata().clip(max=1)
        nib.save(nib.Nifti1Image(values.astype("uint8"), nib.load(path).affine), path)
    listed = read_datalist(merge_datalists(lists, tmp_path / "datalist.json"))
    assert listed.labels == {0: "background", 1: "shell", 2: "core"}
    unknown = {item["modality"]: item["unknown"] for item in listed.items("training")}
    assert unknown == {"ct": [False] * 3, "mr": [False, False, True]}
    assert "two/datalist.json does not declare core: in its images they are neither taught nor scored" in caplog.text


def test_what_is_broken_is_not_merged(lists, tmp_path, caplog):
    image = lists[1].parent / "images" / "c_mr.nii.gz"
    image.unlink()
    with pytest.raises(
        ValueError, match=r"1 broken item; .* lists all:\n  - training\[2\]: .*c_mr.nii.gz: no such file"
    ):
        merge_datalists(lists, tmp_path / "datalist.json")
    assert not (tmp_path / "datalist.json").exists()


def test_one_image_in_both(lists, tmp_path, caplog):
    shutil.copy(lists[0].parent / "images" / "a_ct.nii.gz", lists[1].parent / "images" / "c_mr.nii.gz")
    merge_datalists(lists, tmp_path / "datalist.json")
    assert "c_mr.nii.gz (c, mr) has the voxels of " in caplog.text
