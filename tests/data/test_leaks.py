# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest

from monai_mmseg.data import find_leaks


def item(image, subject, modality="ct", **more):
    return {"image": str(image), "modality": modality, "subject": subject, **more}


def test_nothing_leaks():
    training = [item("/n/a.nii", "s1", fold=0), item("/n/b.nii", "s1", "mr", fold=0), item("/n/c.nii", "s2", fold=1)]
    assert find_leaks({"training": training, "test": [item("/n/d.nii", "s3")]}) == []
    assert find_leaks({}) == find_leaks({"training": []}) == []


def test_subjects():
    training = [item("/n/a.nii", "s1", fold=0), item("/n/b.nii", "s1", "mr", fold=1)]
    assert find_leaks({"training": training}) == ["subject 's1' is in several folds: ['0', '1']"]
    mixed = [item("/n/a.nii", "s1", fold=0), item("/n/b.nii", "s1", "mr")]
    assert find_leaks({"training": mixed}) == ["subject 's1' is in several folds: ['0', 'None']"]
    both = {"training": [item("/n/a.nii", "s1")], "test": [item("/n/b.nii", "s1", "mr")]}
    assert find_leaks(both) == ["subject 's1' is in several sections: ['test', 'training']"]


@pytest.mark.parametrize("how", ["same", "dots", "link", "linked folder", "hard link"])
def test_one_file_under_two_names(tmp_path, how):
    image = tmp_path / "images" / "a.nii"
    image.parent.mkdir()
    image.write_bytes(b"x")
    other = {
        "same": image,
        "dots": tmp_path / "images" / ".." / "images" / "a.nii",
        "link": tmp_path / "b.nii",
        "linked folder": tmp_path / "linked" / "a.nii",
        "hard link": tmp_path / "c.nii",
    }[how]
    (tmp_path / "b.nii").symlink_to(image)
    (tmp_path / "linked").symlink_to(image.parent)
    os.link(image, tmp_path / "c.nii")
    found = find_leaks({"training": [item(image, "s1")], "test": [item(other, "s2")]})
    also = "" if how == "same" else f" (also as {other})"
    assert found == [f"{image} is named 2 times{also}"]


def test_both_halves_of_one_image():
    found = find_leaks({"training": [item("/n/a.hdr", "s1"), item("/n/a.img", "s2")]})
    assert found == ["/n/a.hdr is named 2 times (also as /n/a.img)"]


def test_labels():
    shared = [item("/n/a.nii", "s1", label="/n/l.nii"), item("/n/b.nii", "s1", "mr", label="/n/x/../l.nii")]
    assert find_leaks({"training": shared}) == []
    shared[1]["subject"] = "s2"
    assert find_leaks({"training": shared}) == ["/n/l.nii is named 2 times (also as /n/x/../l.nii)"]
    assert find_leaks({"training": [item("/n/a.nii", "s1", label="/n/a.nii")]}) == ["/n/a.nii is named 2 times"]


def test_links_in_a_circle_and_odd_paths(tmp_path):
    (tmp_path / "a.nii").symlink_to(tmp_path / "b.nii")
    (tmp_path / "b.nii").symlink_to(tmp_path / "a.nii")
    assert find_leaks({"training": [item(tmp_path / "a.nii", "s1"), item("a\0b.nii", "s2")]}) == []
