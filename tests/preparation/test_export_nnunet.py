# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.cli.main import main
from monai_mmseg.data import read_datalist
from monai_mmseg.preparation.export_nnunet import export_nnunet
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.nnunet import read_nnunet
from tests.preparation.layouts.other_tools import image_of, label_of, put, put_json
from tests.preparation.layouts.public_sets import AFFINE
from tests.synthetic_volumes import write

LABELS = {"0": "background", "1": "liver", "2": "spleen"}


def datalist(folder, *entries, **more):
    """Entries are (section, subject, modality, extra keys); the k-th image has the seed k, a subject one label."""
    sections = {}
    for seed, (section, subject, modality, extra) in enumerate(entries):
        item = {"image": f"{subject}_{modality}.nii.gz", "modality": modality, "subject": subject, **extra}
        if "visit" in item:
            item["image"] = f"{item['visit']}_{item['image']}"
        put(folder / item["image"], image_of(seed))
        if item.get("label", "") is None:
            del item["label"]
        else:
            item["label"] = f"{subject}_label.nii.gz"
            put(folder / item["label"], label_of([1, 2], int(subject[1:])))
        sections.setdefault(section, []).append(item)
    names = list(dict.fromkeys(entry[2] for entry in entries))
    content = {"name": "My liver 1", "modalities": names, "labels": LABELS, "reference": "nowhere", **more, **sections}
    return put_json(folder / "datalist.json", content)


def paired(folder, **more):
    """Two subjects with folds and one for testing, two modalities each."""
    entries = [
        (section, subject, modality, {} if section == "test" else {"fold": fold})
        for fold, (section, subject) in enumerate([("training", "p1"), ("training", "p2"), ("test", "p3")])
        for modality in ("ct", "t2")
    ]
    return datalist(folder, *entries, **more)


def summary(path, *keys):
    """Items of a datalist with their voxels, in one order."""
    content = read_datalist(path)
    found = []
    for section, items in content.sections.items():
        for item in items:
            label = np.asarray(nib.load(item["label"]).dataobj).tolist() if "label" in item else None
            image = np.asarray(nib.load(item["image"]).dataobj)
            found.append((section, *(item.get(key) for key in keys), image.astype(int).tolist(), label))
    return content.labels, content.modalities, sorted(found, key=lambda row: [str(cell) for cell in row[:4]])


def test_channels_there_and_back(tmp_path):
    source = paired(tmp_path / "data")
    (one,) = export_nnunet(source, tmp_path / "raw", number=7)
    assert one.folder == tmp_path / "raw" / "Dataset007_My_liver_1"
    assert (one.channels, one.training, one.test, one.folds, one.left_out) == (("CT", "t2"), 2, 1, 2, ())
    assert sorted(path.relative_to(one.folder).as_posix() for path in one.folder.rglob("*.*")) == [
        "cases.csv",
        "dataset.json",
        *(f"imagesTr/p{n}_000{c}.nii.gz" for n in (1, 2) for c in (0, 1)),
        *(f"imagesTs/p3_000{c}.nii.gz" for c in (0, 1)),
        "labelsTr/p1.nii.gz",
        "labelsTr/p2.nii.gz",
        "labelsTs/p3.nii.gz",
        "splits_final.json",
    ]
    assert json.loads((one.folder / "dataset.json").read_text()) == {
        "name": "My liver 1",
        "reference": "nowhere",
        "channel_names": {"0": "CT", "1": "t2"},
        "labels": {"background": 0, "liver": 1, "spleen": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    splits = json.loads((one.folder / "splits_final.json").read_text())
    assert splits == [{"train": ["p2"], "val": ["p1"]}, {"train": ["p1"], "val": ["p2"]}]
    back = import_layout(read_nnunet(one.folder), tmp_path / "back")
    keys = ("subject", "modality", "fold")
    assert summary(back, *keys) == summary(source, *keys)


def test_mixed_there_and_back(tmp_path):
    entries = [("training", f"p{one}", "ct", {"fold": one % 2}) for one in (1, 2)]
    entries += [("training", "p3", "t2", {"visit": visit, "fold": 1}) for visit in ("a", "b")]
    entries += [("test", "p4", "t2", {"label": None})]
    source = datalist(tmp_path / "data", *entries)
    (one,) = export_nnunet(source, tmp_path / "raw", number=1, form="mixed", name="all")
    assert (one.folder.name, one.channels, one.training, one.test) == ("Dataset001_all", ("mixed",), 4, 1)
    assert (one.folder / "cases.csv").read_text().splitlines() == [
        "case,subject,visit,modality",
        *("p1_ct,p1,,ct", "p2_ct,p2,,ct", "p3_a_t2,p3,a,t2", "p3_b_t2,p3,b,t2", "p4_t2,p4,,t2"),
    ]
    assert json.loads((one.folder / "dataset.json").read_text())["channel_names"] == {"0": "mixed"}
    back = import_layout(read_nnunet(one.folder, modality_from="cases.csv"), tmp_path / "back")
    keys = ("subject", "modality", "fold", "visit", "person")
    assert summary(back, *keys) == summary(source, *keys)


def test_a_data_set_for_each_modality(tmp_path, capsys):
    source = datalist(tmp_path, ("training", "p1", "ct", {}), ("training", "p2", "t2/w".replace("/", "-"), {}))
    words = ["--out", str(tmp_path / "raw"), "--number", "20", "--form", "each"]
    assert main(["data", "export", "nnunet", str(source), *words]) == 0
    assert "nnUNetv2_plan_and_preprocess -d 20 21 --verify_dataset_integrity" in capsys.readouterr().out
    for name, channel, case in (("Dataset020_My_liver_1_ct", "CT", "p1"), ("Dataset021_My_liver_1_t2-w", "t2-w", "p2")):
        folder = tmp_path / "raw" / name
        assert json.loads((folder / "dataset.json").read_text())["channel_names"] == {"0": channel}
        assert [path.name for path in (folder / "imagesTr").iterdir()] == [f"{case}_0000.nii.gz"]
        assert not (folder / "splits_final.json").exists()


def test_splits_are_the_folds_of_the_list_whatever_was_left_out(tmp_path, caplog):
    entries = [
        ("training", f"p{one}", modality, {"fold": one - 1} | ({"label": None} if modality == "t2" and one > 1 else {}))
        for one in (1, 2, 3)
        for modality in ("ct", "t2")
    ]
    each = export_nnunet(datalist(tmp_path, *entries), tmp_path / "raw", number=1, form="each", skip_unfit=True)
    first, second = (json.loads((one.folder / "splits_final.json").read_text()) for one in each)
    assert [split["val"] for split in first] == [["p1"], ["p2"], ["p3"]]
    # of t2 p1 alone has a label: it watches itself rather than an empty side
    assert second == [{"train": ["p1"], "val": ["p1"]}] * 3
    told = [f"split {at} has no case to {what}" for at, what in enumerate(("train", "watch", "watch"))]
    assert all(f"Dataset002_My_liver_1_t2: {text}, and takes those" in caplog.text for text in told)
    assert "Dataset001" not in caplog.text


def test_what_nnunet_cannot_take(tmp_path, capsys):
    entries = [("training", f"p{one}", modality, {}) for one in range(1, 6) for modality in ("t1", "t2")]
    entries[3] = (*entries[3][:3], {"label": None})  # a label of p2 is enough
    entries[4:6] = [(*entry[:3], {"label": None}) for entry in entries[4:6]]
    source = datalist(tmp_path, *entries[:7], *entries[8:])
    moved = AFFINE.copy()
    moved[0, 3] += 1
    write(tmp_path / "p5_t2.nii.gz", image_of(9), moved)
    words = ["data", "export", "nnunet", str(source), "--out", str(tmp_path / "raw"), "--number", "5"]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "nnU-Net cannot take 3 cases:\n  - p3: has no label\n  - p4: has no t2\n" in said
    assert "  - p5: t2 lies on another grid than t1 (their corners lie 1 mm apart" in said
    assert "--skip-unfit" in said
    assert "--form mixed or each" in said
    assert not (tmp_path / "raw").exists()
    assert main([*words, "--skip-unfit"]) == 0
    assert "left out:\n  - p3: has no label" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "raw").glob("*/labelsTr/*")) == ["p1.nii.gz", "p2.nii.gz"]
    (one,) = export_nnunet(source, tmp_path / "other", number=5, form="mixed", skip_unfit=True)
    assert one.left_out[:3] == ("p2_t2: has no label", "p3_t1: has no label", "p3_t2: has no label")
    assert "p5_t2: " in one.left_out[3]  # its label is that of t1's grid
    assert len(one.left_out) == 4
    write(tmp_path / "p1_label.nii.gz", label_of([1, 7]).astype(np.uint8), AFFINE)
    with pytest.raises(ValueError, match=r"p1: .*p1_label.* label values must be one of .*, found \[7\]"):
        export_nnunet(source, tmp_path / "x", number=5)
    only = datalist(tmp_path / "only", ("training", "p1", "t1", {"label": None}))
    with pytest.raises(ValueError, match="no case for training is left for Dataset005_My_liver_1"):
        export_nnunet(only, tmp_path / "x", number=5, skip_unfit=True)


def test_labels_of_one_grid_that_differ(tmp_path):
    source = paired(tmp_path)
    content = json.loads(source.read_text())
    content["training"][1]["label"] = "other.nii.gz"
    put_json(source, content)
    put(tmp_path / "other.nii.gz", label_of([1, 2], 1))
    assert export_nnunet(source, tmp_path / "raw", number=1)[0].training == 2  # another file, the same label
    put(tmp_path / "other.nii.gz", label_of([1, 2], 9))
    with pytest.raises(ValueError, match="p1: labels of ct and t2 differ; keep one of them in the datalist"):
        export_nnunet(source, tmp_path / "raw", number=2)


def test_images_are_linked_or_converted(tmp_path):
    source = datalist(tmp_path, ("training", "p1", "ct", {}), ("training", "p2", "ct", {}))
    content = json.loads(source.read_text())
    content["training"][1]["image"] = "p2_ct.nii"
    put(tmp_path / "p2_ct.nii", image_of(1))
    put_json(source, content)
    export_nnunet(source, tmp_path / "raw", number=1, link=True)
    first, second = sorted((tmp_path / "raw").glob("*/imagesTr/*"))
    assert first.resolve() == (tmp_path / "p1_ct.nii.gz").resolve()
    assert not second.is_symlink()
    for seed, path in enumerate((first, second)):
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), image_of(seed))
        np.testing.assert_allclose(nib.load(path).affine, AFFINE, atol=1e-5)


def test_what_is_there_already(tmp_path):
    source = paired(tmp_path)
    (one,) = export_nnunet(source, tmp_path / "raw", number=1)
    with pytest.raises(FileExistsError, match="Dataset001_My_liver_1 is there already; name another one, or overwrite"):
        export_nnunet(source, tmp_path / "raw", number=1)
    with pytest.raises(FileExistsError, match=r"Dataset001_My_liver_1 has this number already; .*--number"):
        export_nnunet(source, tmp_path / "raw", number=1, name="other", overwrite=True)
    content = json.loads(source.read_text())
    content["training"] = [{k: v for k, v in item.items() if k != "fold"} for item in content["training"][:2]]
    put_json(source, content)
    export_nnunet(source, tmp_path / "raw", number=1, overwrite=True)
    assert [path.name for path in (one.folder / "labelsTr").iterdir()] == ["p1.nii.gz"]
    assert not (one.folder / "splits_final.json").exists()


@pytest.mark.parametrize("link", [False, True])
def test_the_data_set_that_a_list_names_is_not_replaced(tmp_path, link):
    """Images would be gone, or links to themselves."""
    (one,) = export_nnunet(paired(tmp_path), tmp_path / "raw", number=1)
    folder = one.folder
    items = [
        {"image": f"raw/{folder.name}/imagesTr/p1_0000.nii.gz", "label": f"raw/{folder.name}/labelsTr/p1.nii.gz"},
    ]
    item = {**items[0], "modality": "ct", "subject": "p1"}
    head = {"name": "My liver 1", "modalities": ["ct"], "labels": {"0": "background", "1": "liver", "2": "spleen"}}
    again = put_json(tmp_path / "again.json", {**head, "training": [item]})
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.nii.gz")}
    with pytest.raises(ValueError, match=f"{folder.name} is read, or holds what is read, and would be replaced"):
        export_nnunet(again, tmp_path / "raw", number=1, overwrite=True, link=link)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.nii.gz")} == before


def test_validation_is_the_only_split(tmp_path):
    source = datalist(tmp_path, ("training", "p1", "ct", {}), ("validation", "p2", "ct", {}))
    (one,) = export_nnunet(source, tmp_path / "raw", number=1)
    assert (one.training, one.folds) == (2, 1)
    assert json.loads((one.folder / "splits_final.json").read_text()) == [{"train": ["p1"], "val": ["p2"]}]


def test_wrong_use(tmp_path):
    source = paired(tmp_path)
    for words, message in (
        ({"form": "stack"}, "form must be one of"),
        ({"number": 0}, "number must be from 1 to 999"),
        ({"number": 999, "form": "each"}, "number must be from 1 to 999 for each data set, got 999"),
        ({"modalities": ["mr"]}, r"modalities must be among \['ct', 't2'\], got \['mr'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            export_nnunet(source, tmp_path / "raw", **{"number": 1, **words})
    content = json.loads(source.read_text())
    for change, message in (
        ({"labels": {"0": "background", "2": "liver"}}, "labels must be 0 to 1, got 0, 2"),
        ({"labels": {}}, "labels must be declared"),
        ({"labels": {"0": "background", "1": "a", "2": "ignore"}}, "cannot be called 'ignore'"),
        ({"validation": content["test"], "test": []}, "has folds and a section 'validation'"),
        (
            {"training": [content["training"][0], {**content["training"][2], "fold": 1}, *content["training"][1:2]]},
            "p2: has no t2",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            export_nnunet(put_json(source, {**content, **change}), tmp_path / "raw", number=1)
    del content["training"][0]["fold"], content["training"][1]["fold"]
    with pytest.raises(ValueError, match="1 of 2 training cases have no fold"):
        export_nnunet(put_json(source, content), tmp_path / "raw", number=1)


def test_classes_that_nobody_drew_are_not_annotated_for_nnunet(tmp_path):
    source = datalist(
        tmp_path, ("training", "p1", "ct", {"annotated": ["liver", "spleen"]}), ("training", "p2", "ct", {})
    )
    content = json.loads(source.read_text())
    labels = {**LABELS, "3": "kidney"}
    (done,) = export_nnunet(put_json(source, {**content, "labels": labels}), tmp_path / "raw", number=1)
    assert json.loads((done.folder / "dataset.json").read_text())["labels"]["ignore"] == 4
    truth = [np.asarray(nib.load(tmp_path / f"{name}_label.nii.gz").dataobj) for name in ("p1", "p2")]
    written = [np.asarray(nib.load(path).dataobj) for path in sorted((done.folder / "labelsTr").iterdir())]
    np.testing.assert_array_equal(written[0], np.where(truth[0] == 0, 4, truth[0]))
    np.testing.assert_array_equal(written[1], truth[1])
