# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Files in, scores out: worked out by hand, and every way to compare the wrong things is refused."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from monai_mmseg.cli.main import main
from monai_mmseg.evaluation import ScoreTable, evaluate_predictions, find_prediction, score_volume
from monai_mmseg.metrics import PAPER_DICE

SPACING = (1.0, 2.0, 8.0)
LABELS = {0: "background", 1: "organ", 2: "tumour"}
# rotated by 30 degrees in plane, as scanners do
ANGLE = math.radians(30)
ROTATION = np.array([[math.cos(ANGLE), -math.sin(ANGLE), 0], [math.sin(ANGLE), math.cos(ANGLE), 0], [0, 0, 1]])
AFFINE = np.eye(4)
AFFINE[:3, :3] = ROTATION @ np.diag(SPACING)
AFFINE[:3, 3] = (-20, 5, 100)
FLIP = np.diag([-1.0, 1, 1, 1])  # of the first axis of ten voxels
FLIP[0, 3] = 9


def write(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)
    return str(path)


def box(columns, value=1, shape=(10, 10, 3), dtype=np.uint8):
    volume = np.zeros(shape, dtype=dtype)
    volume[2:6, columns, 1] = value
    return volume


@pytest.fixture
def data(tmp_path):
    items = []
    for subject in ("s1", "s2"):
        image = write(tmp_path / "images" / f"{subject}_lge.nii.gz", np.zeros((10, 10, 3), dtype=np.int16))
        label = write(tmp_path / "labels" / f"{subject}_lge.nii.gz", box(slice(2, 6)))
        items.append({"image": image, "label": label, "modality": "lge", "subject": subject})
    items.append({"image": items[0]["image"], "modality": "cine", "subject": "s1"})
    write(tmp_path / "out" / "s1_lge_seg.nii.gz", box(slice(3, 7)))
    write(tmp_path / "out" / "s2_lge_seg.nii.gz", np.zeros((10, 10, 3), dtype=np.uint8))
    return items, tmp_path


def test_predictions_outside_of_their_folder_are_not_found(data):
    items, root = data
    for subject in ("../out", str(root / "out")):
        (root / "empty").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="got none"):
            find_prediction(root / "empty", {**items[0], "subject": subject})


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii", ".hdr"])
def test_every_format_that_is_read_is_scored(data, ending):
    """Labels, predictions or both: the scores are those of the NIfTI files (see below)."""
    items, root = data

    def convert(path):
        new = path.replace(".nii.gz", ending)
        sitk.WriteImage(sitk.ReadImage(path), new)
        return new

    items = [{**one, "label": convert(one["label"])} for one in items[:2]]
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, method="net")
    assert [score.values["dice"] for score in table][:3] == [0.75, 1.0, 0.0]
    for subject in ("s1", "s2"):
        convert(str(root / "out" / f"{subject}_lge_seg.nii.gz"))
        with pytest.raises(ValueError, match=f"one file for subject '{subject}', got \\["):
            find_prediction(root / "out", items[int(subject[1]) - 1])
        (root / "out" / f"{subject}_lge_seg.nii.gz").unlink()
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, method="net")
    assert [score.values["dice"] for score in table][:3] == [0.75, 1.0, 0.0]


def test_scores_by_hand(data):
    items, root = data
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, method="net")
    organ, tumour, missed, _ = table
    # 4 x 4 voxels shifted by one of 2 mm: 2 * 12 / 32; border columns differ by one step
    assert (organ.subject, organ.case, organ.values["dice"]) == ("s1", {"modality": "lge", "class": "organ"}, 0.75)
    assert organ.values["hausdorff"] == pytest.approx(2.0)
    assert tumour.flag == "empty"
    assert (tumour.values["dice"], tumour.values["hausdorff95"]) == (1.0, 0.0)
    assert missed.flag == "missed"
    assert missed.values["dice"] == 0.0
    # the diagonal of the image: 10 x 1, 10 x 2, 3 x 8 mm
    assert missed.values["surface_distance"] == pytest.approx(math.sqrt(10**2 + 20**2 + 24**2))


def test_penalty_is_taken_and_stated(data):
    items, root = data
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, method="net", penalty=50.0)
    assert [score.values["hausdorff"] for score in table if score.flag == "missed"] == [50.0]
    assert table.methods["net"].penalty == 50.0


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        # slices of s1: both empty, 2 * 12 / 32, both empty; of s2: the middle one is missed
        ("dafnet", 2.75 / 3, 2 / 3),
        ("ummkd", 0.75, 0.0),  # of the organ: there is no tumour
        ("csa", 0.75, 0.0),
        # organ (24 + 1) / (32 + 1) or 1 / (16 + 1), tumour 1 / 1
        ("disentangle", (25 / 33 + 1) / 2, (1 / 17 + 1) / 2),
    ],
)
def test_dice_of_the_papers(data, rule, first, second):
    items, root = data
    ours = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, paper_dice=rule)
    assert table.per_subject("paper_dice") == pytest.approx({"s1": first, "s2": second}, rel=1e-6)
    assert list(table.select(lambda score: "paper_dice" not in score.values)) == list(ours)
    # the values of the classes do not matter
    names = {0: "background", 1: "organ", 600: "tumour"}
    again = evaluate_predictions(items, root / "out", modality="lge", labels=names, paper_dice=rule)
    assert again.per_subject("paper_dice") == table.per_subject("paper_dice")


def test_paper_dice_of_nothing(data):
    items, root = data
    for path in (root / "labels" / "s2_lge.nii.gz", root / "out" / "s2_lge_seg.nii.gz"):
        write(path, np.zeros((10, 10, 3), dtype=np.uint8))
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, paper_dice="ummkd")
    assert table.per_subject("paper_dice") == {"s1": 0.75}  # 0 / 0 has no score
    with pytest.raises(ValueError, match=r"rule must be one of \['dafnet', .*got 'unet'"):
        evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, paper_dice="unet")


def test_mapping_gives_the_same_as_a_folder(data):
    items, root = data
    files = {subject: root / "out" / f"{subject}_lge_seg.nii.gz" for subject in ("s1", "s2")}
    by_file = evaluate_predictions(items, files, modality="lge", labels=LABELS)
    assert by_file == evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)


def test_subjects_can_be_chosen(data):
    items, root = data
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, subjects=["s1"])
    assert table.subjects() == ["s1"]
    with pytest.raises(ValueError, match=r"got \['s9'\] too"):
        evaluate_predictions(items, root / "out", modality="lge", labels=LABELS, subjects=["s1", "s9"])


def test_failures_cannot_be_left_out(data):
    items, root = data
    (root / "out" / "s2_lge_seg.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"one file for subject 's2', got none; looked for s2_lge\[_seg\]\.nii\.gz"):
        evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)
    with pytest.raises(ValueError, match=r"got none for \['s2'\]"):
        evaluate_predictions(items, {"s1": root / "out" / "s1_lge_seg.nii.gz"}, modality="lge", labels=LABELS)


def test_255_is_a_class_where_it_is_declared():
    label = np.zeros((4, 4, 2), dtype=int)
    label[1:3, 1:3] = 255  # as many tools write masks
    half = label.copy()
    half[:, 2] = 0
    (score,) = score_volume(half, label, labels={0: "background", 255: "lesion"}, spacing=(1, 1, 1))
    assert score.values["dice"] == pytest.approx(2 / 3)
    assert not score.flag


def test_what_nobody_annotated_does_not_count(data):
    items, root = data
    truth = nib.load(items[0]["label"])
    label = np.asarray(truth.dataobj).astype(np.uint8)
    guess = label.copy()
    label[:2], guess[:2] = 255, 1  # unknown, and said to be an organ
    nib.save(nib.Nifti1Image(label, truth.affine), items[0]["label"])
    nib.save(nib.Nifti1Image(guess, truth.affine), root / "out" / "s1_lge_seg.nii.gz")
    with pytest.raises(ValueError, match=r"must hold declared labels only .*, got also \[255\]"):
        evaluate_predictions(items[:1], root / "out", modality="lge", labels=LABELS)
    for name in PAPER_DICE:
        scored = evaluate_predictions(
            [{**items[0], "ignore": 255}], root / "out", modality="lge", labels=LABELS, paper_dice=name
        )
        assert all(score.dice == 1 for score in scored if "class" in score.case)
        assert all(score.values.get("paper_dice", 1) == pytest.approx(1) for score in scored)


def test_classes_that_nobody_drew_have_no_score(data):
    items, root = data
    truth = nib.load(items[0]["label"])
    label = np.asarray(truth.dataobj).astype(np.uint8)
    label[label == 2] = 0
    nib.save(nib.Nifti1Image(label, truth.affine), items[0]["label"])
    guess = label.copy()
    guess[label == 0] = 2  # an organ that the label does not show, wherever it may be
    nib.save(nib.Nifti1Image(guess, truth.affine), root / "out" / "s1_lge_seg.nii.gz")
    partly = {**items[0], "unknown": [value == 2 for value in range(max(LABELS) + 1)]}
    for name in PAPER_DICE:
        scored = evaluate_predictions([partly], root / "out", modality="lge", labels=LABELS, paper_dice=name)
        classes = [score.case["class"] for score in scored if "class" in score.case]
        assert classes == [name for value, name in LABELS.items() if value not in (0, 2)]
        assert all(score.dice == 1 for score in scored if "class" in score.case)
        assert all(score.values.get("paper_dice", 1) == pytest.approx(1) for score in scored)
    label[0, 0, 0] = 2
    nib.save(nib.Nifti1Image(label, truth.affine), items[0]["label"])
    with pytest.raises(ValueError, match=r"got also \[2\]"):
        evaluate_predictions([partly], root / "out", modality="lge", labels=LABELS)


def test_visits_of_one_person_count_once(data):
    items, root = data
    visits = [{**item, "person": "p"} for item in items[:2]]
    table = evaluate_predictions(visits, root / "out", modality="lge", labels=LABELS)
    (line,), each = table.means("modality"), list(table.per_subject("dice").values())
    assert (line.subjects, line.left_out, len(each)) == (1, 0, 2)
    assert line.measures["dice"].mean == pytest.approx(sum(each) / 2)
    assert "2 visits of 1 persons: a person counts once" in table.to_markdown()


def test_a_subject_without_the_modality_is_scored_where_it_was_predicted(data, caplog):
    """One label for all images of a subject: that of its first other image, however poor the prediction there."""
    items, root = data
    lost = [
        {**items[0], "subject": "s3", "modality": name, "image": str(root / f"{name}.nii.gz")} for name in ("t2", "t1")
    ]
    write(root / "out" / "s3_t1_seg.nii.gz", np.zeros((10, 10, 3), dtype=np.uint8))
    about = {"modality": "lge", "labels": LABELS}
    about_all = {**about, "stand_ins": ["cine", "lge", "t1", "t2"], "remarks": ["s3 is a guess."]}
    table = evaluate_predictions([*items, *lost], root / "out", **about_all)
    assert {score.subject: score.case["modality"] for score in table} == dict.fromkeys(("s1", "s2", "s3"), "lge")
    assert table.per_subject("dice")["s3"] == 0.5  # one class of two was drawn, and missed
    told = "Without an image of lge, scored on the grid of another: s3 on t1."
    assert told in caplog.text
    assert table.notes()[-2:] == ["prediction: s3 is a guess.", f"prediction: {told}"]
    without = evaluate_predictions([*items, *lost], root / "out", subjects=["s1", "s2"], **{**about_all, "remarks": ()})
    assert without.methods["prediction"].remarks == ()
    assert evaluate_predictions([*items, *lost], root / "out", **about).subjects() == ["s1", "s2"]


def test_unlabelled_items_are_left_out_and_said(data, caplog):
    items, root = data
    del items[1]["label"]
    table = evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)
    assert table.subjects() == ["s1"]
    assert "1 of 2 lge images have no label" in caplog.text
    with pytest.raises(ValueError, match="at least one labelled 'cine' image"):
        evaluate_predictions(items, root / "out", modality="cine", labels=LABELS)


@pytest.mark.parametrize(
    ("values", "affine", "message"),
    [
        (box(slice(3, 7), shape=(10, 10, 4)), AFFINE, r"one shape, got \(10, 10, 4\) and \(10, 10, 3\)"),
        (box(slice(3, 7)), AFFINE + np.diag([0.2, 0, 0, 0]), "in one place"),
        (
            box(slice(3, 7)),
            AFFINE @ FLIP,
            r"lie in one place, but their axes are turned: LAS and RAS; write predictions",
        ),
        (box(slice(3, 7), value=7), AFFINE, r"declared labels only \(0 background.*got also \[7\]"),
        (box(slice(3, 7), value=0.5, dtype=np.float32), AFFINE, r"whole numbers, one class a voxel, got \[0\.5\]"),
        (box(slice(3, 7), value=np.nan, dtype=np.float32), AFFINE, r"whole numbers"),
        (np.zeros((10, 10, 3, 2), dtype=np.uint8), AFFINE, r"3 axes, got shape \(10, 10, 3, 2\)"),
    ],
)
def test_wrong_predictions_are_refused_with_their_path(data, values, affine, message):
    items, root = data
    write(root / "out" / "s1_lge_seg.nii.gz", values, affine)
    with pytest.raises(ValueError, match=message) as caught:
        evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)
    assert "s1_lge_seg.nii.gz" in str(caught.value)


def test_rounding_of_a_header_is_no_other_place(data):
    items, root = data
    write(root / "out" / "s1_lge_seg.nii.gz", box(slice(3, 7)), AFFINE + 1e-5)
    assert len(evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)) == 4


def test_unreadable_file(data):
    items, root = data
    (root / "out" / "s1_lge_seg.nii.gz").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"s1_lge_seg\.nii\.gz cannot be read as an image"):
        evaluate_predictions(items, root / "out", modality="lge", labels=LABELS)


def test_wrong_use(data):
    items, root = data
    with pytest.raises(ValueError, match=r"modality must be one of \['cine', 'lge'\], got 'bold'"):
        evaluate_predictions(items, root / "out", modality="bold", labels=LABELS)
    with pytest.raises(ValueError, match="labels must be given with a list of items"):
        evaluate_predictions(items, root / "out", modality="lge")
    with pytest.raises(ValueError, match="at least one foreground class"):
        score_volume(box(0), box(0), labels={0: "b"}, spacing=SPACING)
    with pytest.raises(ValueError, match="one image of a modality per subject"):
        evaluate_predictions([*items, items[0]], root / "out", modality="lge", labels=LABELS)
    same = root / "out" / "s1_lge_seg.nii.gz"
    with pytest.raises(ValueError, match="for both 's1' and 's2'"):
        evaluate_predictions(items, {"s1": same, "s2": same}, modality="lge", labels=LABELS)
    with pytest.raises(ValueError, match="must be a folder or a mapping"):
        evaluate_predictions(items, root / "nowhere", modality="lge", labels=LABELS)


@pytest.mark.parametrize(
    "place",
    [
        "lge_seg.nii.gz",
        "lge.nii.gz",
        "s1_lge_seg.nii",
        "s1/lge_seg.nii.gz",
        "lge/lge_seg.nii.gz",
        "s1/lge/lge_trans.nii.gz",
    ],
)
def test_places_of_predictions(tmp_path, place):
    item = {"image": str(tmp_path / "data" / "s1" / "lge.nii.gz"), "subject": "s1"}
    path = tmp_path / "out" / place
    path.parent.mkdir(parents=True)
    path.touch()
    assert find_prediction(tmp_path / "out", item) == path


def test_several_predictions_are_one_too_many(tmp_path):
    item = {"image": "data/s1/lge.nii.gz", "subject": "s1"}
    for name in ("lge.nii.gz", "lge_seg.nii.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"one file for subject 's1', got \["):
        find_prediction(tmp_path, item)


def test_the_image_is_not_its_own_prediction(tmp_path):
    image = tmp_path / "lge.nii.gz"
    image.touch()
    with pytest.raises(ValueError, match="got none"):
        find_prediction(tmp_path, {"image": str(image), "subject": "s1"})


def test_command(data, capsys):
    items, root = data
    relative = [
        {key: value.replace(f"{root}/", "") if key in ("image", "label") else value for key, value in item.items()}
        for item in items
    ]
    listing = {"name": "x", "labels": {str(k): v for k, v in LABELS.items()}, "test": relative}
    (root / "datalist.json").write_text(json.dumps(listing))
    words = ["evaluate", str(root / "datalist.json"), str(root / "out"), "--modality", "lge"]
    assert main([*words, "--out", str(root / "scores"), "--method", "my net", "--penalty", "30"]) == 0
    assert "0.375 ± 0.530" in capsys.readouterr().out  # 0.75 and 0
    table = ScoreTable.from_json(root / "scores" / "my_net.json")
    assert table.methods["my net"].penalty == 30
    assert main([*words, "--out", str(root / "scores"), "--sektion", "test"]) == 2
    assert "--section" in capsys.readouterr().err


def test_the_command_names_whom_it_leaves_out(data, capsys):
    """A subject without the image that is scored, but with a prediction of another; not one that nobody predicted."""
    items, root = data
    lost = [
        {**items[0], "subject": name, "modality": "t1", "image": str(root / f"{name}_t1.nii.gz")}
        for name in ("s3", "s4")
    ]
    write(root / "out" / "s3_t1_seg.nii.gz", np.zeros((10, 10, 3), dtype=np.uint8))
    listing = {"name": "x", "labels": {str(k): v for k, v in LABELS.items()}, "test": [*items, *lost]}
    (root / "datalist.json").write_text(json.dumps(listing))
    words = ["evaluate", str(root / "datalist.json"), str(root / "out"), "--modality", "lge", "--out", str(root / "s")]
    assert main(words) == 0
    assert (
        "left out, as they have no image of lge, though they were predicted on another: s3. " in capsys.readouterr().err
    )


def test_the_volume_of_a_tilted_stack(tmp_path):
    """Its slices are 8 mm apart, whatever they are shifted by."""
    affine = np.diag([2.0, 2.0, 8.0, 1.0])
    affine[1, 2] = 3
    values = np.zeros((6, 5, 4), np.uint8)
    values[1:4, 1:3, 1:3] = 1
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "label.nii")
    item = {"image": "a.nii", "label": str(tmp_path / "label.nii"), "modality": "ct", "subject": "p"}
    (score,) = evaluate_predictions([item], {"p": tmp_path / "label.nii"}, modality="ct", labels={1: "x"})
    assert score.values["true_volume"] == pytest.approx(12 * 2 * 2 * 8 / 1000)


def test_classes_in_another_order_than_the_datalist(tmp_path):
    content = {"labels": {"0": "background", "1": "RV", "2": "LV"}, "test": []}
    (tmp_path / "d.json").write_text(json.dumps(content))
    said = r"d.json: its labels .* LV, RV has another value.* which is right.\nIf the list is, map {1: 2, 2: 1} in "
    with pytest.raises(ValueError, match=said):
        evaluate_predictions(tmp_path / "d.json", tmp_path, modality="ct", labels={1: "LV", 2: "RV"})
