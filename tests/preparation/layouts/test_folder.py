# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.data import load_datalist
from monai_mmseg.preparation import merge_datalists
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.folder import read_folder
from tests.preparation.layouts.other_tools import image_of, label_of, put, rows

FIELDS = ("subject", "modality", "image", "label")


def touch(root, *paths):
    """Files alone: this door looks at names."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def test_modality_in_the_path(tmp_path):
    touch(tmp_path, "CT/p1.nii.gz", "CT/p10.NII.GZ", "CT/p2.nii.gz", "mr/p1.nii.gz", "mr/._p2.nii.gz", "mr/p2.txt")
    touch(tmp_path, "labels/ct/p1.nii.gz", "labels/mr/p1.nii.gz", "notes/old/p1.mha")
    found = read_folder(
        tmp_path,
        image=["{modality}/{subject}.nii.gz"],
        label=["labels/{modality}/{subject}.nii.gz"],
        labels="liver=3, spleen=5",
        test=["p2"],
    )
    assert (found.name, found.modalities) == (tmp_path.name, ["ct", "mr"])
    assert (found.labels, found.values) == ({0: "background", 1: "liver", 2: "spleen"}, {0: 0, 3: 1, 5: 2})
    assert rows(found.cases, "subject", "modality", "section") == [
        ("p1", "ct", "training"),
        ("p1", "mr", "training"),
        ("p2", "ct", "test"),
        ("p10", "ct", "training"),
    ]
    shown = [case.label and case.label.relative_to(tmp_path).as_posix() for case in found.cases]
    assert shown == ["labels/ct/p1.nii.gz", "labels/mr/p1.nii.gz", None, None]
    assert found.notes == ["1 of 7 images fit no pattern: notes/old/p1.mha"]
    assert found.broken == {}


def test_a_label_of_all_modalities_or_of_one(tmp_path):
    touch(tmp_path, *(f"s{one}/s{one}_{name}.nii.gz" for one in (1, 2) for name in ("t1", "t1_gd", "seg")))
    words = {"image": ["{subject}/{subject}_{modality}.nii.gz"], "labels": "lesion=1"}
    found = read_folder(tmp_path, label=["{subject}/*_seg.nii.gz"], modalities=["t1_gd", "t1"], **words)
    assert found.modalities == ["t1_gd", "t1"]
    assert rows(found.cases[:2], *FIELDS) == [
        ("s1", "t1_gd", "s1_t1_gd.nii.gz", "s1_seg.nii.gz"),
        ("s1", "t1", "s1_t1.nii.gz", "s1_seg.nii.gz"),
    ]
    found = read_folder(tmp_path, label=["t1_gd={subject}/*_seg.nii.gz"], modalities=["t1", "t1_gd"], **words)
    assert rows(found.cases[:2], "modality", "label") == [("t1", None), ("t1_gd", "s1_seg.nii.gz")]


def test_names_in_front_of_patterns(tmp_path):
    touch(tmp_path, "scans/a.mha", "mri/a-t2.nrrd", "mri/b-t2.nrrd")
    found = read_folder(tmp_path, image=["ct=scans/{subject}.mha", "T2=mri/{subject}-t2.nrrd"])
    assert rows(found.cases, *FIELDS) == [
        ("a", "ct", "a.mha", None),
        ("a", "t2", "a-t2.nrrd", None),
        ("b", "t2", "b-t2.nrrd", None),
    ]
    assert (found.labels, found.values) == ({}, {0: 0})
    found = read_folder(tmp_path, image=["ct=scans/{subject}.mha", "T2=mri/{subject}-t2.nrrd"], modalities=["T2"])
    assert found.modalities == ["T2", "ct"]


def test_visits(tmp_path):
    touch(tmp_path, *(f"p1/{visit}/{name}.nii.gz" for visit in ("base", "week4") for name in ("flair", "mask")))
    words = {"image": ["{subject}/{visit}/{modality}.nii.gz"], "labels": "lesion=1"}
    found = read_folder(tmp_path, label=["{subject}/{visit}/mask.nii.gz"], **words)
    assert rows(found.cases, "subject", "visit", "modality") == [("p1", "base", "flair"), ("p1", "week4", "flair")]
    assert [case.label.parent.name for case in found.cases] == ["base", "week4"]
    with pytest.raises(ValueError, match=r"must both have \{visit\}, or neither"):
        read_folder(tmp_path, label=["{subject}/week4/mask.nii.gz"], **words)
    with pytest.raises(ValueError, match=r"image patterns must all have \{visit\} or none"):
        read_folder(tmp_path, image=["{subject}/{visit}/{modality}.nii.gz", "m={subject}/week4/mask.nii.gz"])


def test_labels_without_an_image(tmp_path):
    touch(tmp_path, "ct/a.nii.gz", "seg/a.nii.gz", "seg/b.nii.gz")
    found = read_folder(tmp_path, image=["ct=ct/{subject}.nii.gz"], label=["seg/{subject}.nii.gz"], labels="liver=1")
    assert found.broken == {"b": "seg/b.nii.gz: a label without an image"}


def test_a_label_without_an_image_is_of_one_visit(tmp_path):
    touch(tmp_path, "img/a_1.nii.gz", "seg/a_1.nii.gz", "seg/a_2.nii.gz")
    words = {"image": ["ct=img/{subject}_{visit}.nii.gz"], "label": ["seg/{subject}_{visit}.nii.gz"]}
    found = read_folder(tmp_path, labels="liver=1", **words)
    assert found.broken == {"a_2": "seg/a_2.nii.gz: a label without an image"}
    assert len(found.cases) == 1


def test_what_cannot_be_meant(tmp_path):
    touch(tmp_path, "ct/a.nii.gz", "ct/b.nii.gz", "ct/c.nii.gz", "CT2/a.nii", "seg/a.nii.gz", "seg/a.nii")
    ct = ["ct=ct/{subject}.nii.gz"]
    for words, error, message in (
        (
            {"image": ["mr/{subject}.nii"]},
            FileNotFoundError,
            "'mr/{subject}.nii' fits none of 6 files; there are CT2/a.nii, ct/a",
        ),
        ({"image": ["ct/{subject}.nii.gz"]}, ValueError, "must have {modality} or a name in front, as in ct=ct/{subj"),
        (
            {"image": ["ct={modality}/{subject}.nii"]},
            ValueError,
            "names its modality twice, in front and as {modality}",
        ),
        (
            {"image": [*ct, "ct=CT2/{subject}.nii"]},
            ValueError,
            "two images of subject 'a', modality 'ct': ct/a.nii.gz and CT2/a.nii",
        ),
        (
            {"image": ct, "label": ["seg/{subject}.nii*"], "labels": "liver=1"},
            ValueError,
            "two labels of subject 'a': seg/a.nii and seg/a.nii.gz",
        ),
        (
            {"image": ct, "label": ["ct=seg/{subject}.nii", "seg/{subject}.nii.gz"], "labels": "liver=1"},
            ValueError,
            "two labels of ct/a.nii.gz: seg/a.nii and seg/a.nii.gz",
        ),
        ({"image": ct, "label": ["seg/{subject}.nii"]}, ValueError, "labels must say what the values are"),
        ({"image": ct, "label": ["ct/{subject}.nii.gz"], "labels": "a=1"}, FileNotFoundError, "fits none of 3 files"),
        (
            {"image": ct, "label": ["*/{subject}.x"], "labels": "a=1"},
            FileNotFoundError,
            "label pattern '*/{subj",
        ),
        ({"image": ct, "test": ["x*"]}, ValueError, "test: no subject fits 'x*'; there are a, b, c."),
        ({"image": ct, "modalities": ["mr"]}, ValueError, "modalities: no image is of mr; there are ['ct']"),
    ):
        with pytest.raises(error) as caught:
            read_folder(tmp_path, **words)
        assert message in str(caught.value)
    everything = touch(tmp_path / "all", "a/b.nii")
    with pytest.raises(FileNotFoundError, match="fits none of 0 files; those that there are have a label's name"):
        read_folder(everything, image=ct, label=["{subject}/*"], labels="a=1")
    with pytest.raises(FileNotFoundError, match="folder must be where the data set is"):
        read_folder(tmp_path / "none", image=ct)


def test_links_are_followed_and_dead_ones_are_named(tmp_path):
    """A modality behind a link to a folder, or an image behind a dead link, was missing without a word."""
    put(tmp_path / "far" / "p1.nii.gz", image_of(1))
    put(tmp_path / "data" / "ct" / "p1.nii.gz", image_of(2))
    (tmp_path / "data" / "mr").symlink_to(tmp_path / "far")
    (tmp_path / "data" / "ct" / "p2.nii.gz").symlink_to(tmp_path / "gone.nii.gz")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "data")
    found = read_folder(tmp_path / "data", image=["{modality}/{subject}.nii.gz"])
    assert [(case.subject, case.modality) for case in found.cases] == [("p1", "ct"), ("p1", "mr"), ("p2", "ct")]
    with pytest.raises(ValueError, match=r"p2: .*p2.nii.gz: a link that leads nowhere"):
        import_layout(found, tmp_path / "out")


def test_what_an_import_wrote_is_no_image(tmp_path):
    put(tmp_path / "ct" / "p1.nii.gz", image_of(1))
    put(tmp_path / "labels" / "ct" / "p1.nii.gz", image_of(0) % 2)
    given = {"image": ["**/{modality}/{subject}.nii.gz"], "label": ["labels/{modality}/{subject}.nii.gz"]}
    import_layout(read_folder(tmp_path, **given, labels="liver=1"), tmp_path / "a" / "data")
    assert [case.modality for case in read_folder(tmp_path, **given, labels="liver=1").cases] == ["ct"]


def test_originals_are_not_replaced(tmp_path):
    """Labels that were drawn by hand would be lost, and a second import would read classes for values."""
    put(tmp_path / "ct" / "p1.nii.gz", image_of(1))
    put(tmp_path / "labels" / "p1_ct.nii.gz", image_of(0) % 2 * 5)
    found = read_folder(
        tmp_path, image=["ct=ct/{subject}.nii.gz"], label=["ct=labels/{subject}_ct.nii.gz"], labels="liver=5"
    )
    before = (tmp_path / "labels" / "p1_ct.nii.gz").read_bytes()
    with pytest.raises(ValueError, match="p1_ct.nii.gz is read, or .* would be replaced; write elsewhere"):
        import_layout(found, tmp_path, overwrite=True)
    assert (tmp_path / "labels" / "p1_ct.nii.gz").read_bytes() == before
    (tmp_path / "dataset.json").touch()
    with pytest.raises(ValueError, match="dataset.json is read"):
        import_layout(found, tmp_path / "dataset.json", overwrite=True, made_by={"source": str(tmp_path)})
    (tmp_path / "mine.json").touch()
    with pytest.raises(ValueError, match="mine.json is read"):
        import_layout(found, tmp_path / "mine.json", overwrite=True, made_by={"source": str(tmp_path / "mine.json")})


def test_named_labels_without_a_place_are_no_images(tmp_path):
    """Label files would have become a modality."""
    touch(tmp_path, "p1/t1.nii.gz", "p1/seg.nii.gz")
    with pytest.raises(ValueError, match="label must say where the label files are"):
        read_folder(tmp_path, image=["{subject}/{modality}.nii.gz"], labels="liver=1")


def test_the_picture_of_an_older_list_does_not_stay(tmp_path):
    put(tmp_path / "ct" / "p1.nii.gz", image_of(1))
    found = read_folder(tmp_path, image=["ct=ct/{subject}.nii.gz"])
    import_layout(found, tmp_path / "out")
    (tmp_path / "out" / "datalist_sheet.png").touch()
    import_layout(found, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "datalist_sheet.png").exists()


def test_a_class_that_nobody_looked_for_is_said_of_each_label(tmp_path):
    """Two sets with other organs, imported with one order of classes, become one list."""
    for name, value in (("one", 3), ("two", 5)):
        put(tmp_path / name / f"{name}.nii.gz", image_of(value))
        put(tmp_path / name / "labels" / f"{name}.nii.gz", label_of([value], 1))
        words = {"image": ["ct={subject}.nii.gz"], "label": ["labels/{subject}.nii.gz"]}
        labels = "liver=3, spleen=none" if name == "one" else "liver=none, spleen=5"
        import_layout(read_folder(tmp_path / name, labels=labels, **words), tmp_path / f"{name}_in")
    lists = [tmp_path / f"{name}_in" / "datalist.json" for name in ("one", "two")]
    items = load_datalist(merge_datalists(lists, tmp_path / "both.json"))
    assert [item["annotated"] for item in items] == [["liver"], ["spleen"]]
    assert [item["unknown"] for item in items] == [[False, False, True], [False, True, False]]
