# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Prediction of what people have: a file, files, a DICOM folder, a datalist."""

from __future__ import annotations

import json
import logging
import re

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from monai_mmseg.bundle.predict import find_model, predict
from monai_mmseg.bundle.predict_inputs import Asked, find_inputs
from monai_mmseg.cli.main import main
from monai_mmseg.files import write_nifti
from monai_mmseg.transforms import LoadImageItemd, LoadImageModalitiesd
from tests.bundle.small_bundle import DAFNET, UMMKD, image, small_bundle


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu():
    patch = pytest.MonkeyPatch()
    patch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """CT and MR, one image at a time."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "heart", "ummkd", UMMKD)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Cine and LGE of one subject together."""
    return small_bundle(tmp_path_factory.mktemp("bundle") / "pairs", "dafnet", DAFNET)


def written(folder):
    return sorted(path.name for path in folder.iterdir())


def by_hand(bundle, data, out):
    """The same, as MONAI runs it."""
    places = {"bundle_root": str(bundle), "dataset_dir": str(data), "output_dir": str(out)}
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "inference.json"), workflow_type="infer", logging_file=False, **places
    )
    workflow.initialize()
    workflow.run()


def listed(folder, items, modalities=("ct", "mr"), **more):
    content = {"modalities": list(modalities), "labels": {"0": "background"}, "test": items, **more}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder / "datalist.json"


def test_one_file_is_predicted_as_its_modality(heart, tmp_path, capsys):
    scan = image(tmp_path / "scan.nii.gz")
    words = ["predict", str(heart), str(scan), "--out", str(tmp_path / "out"), "--modality", "mr"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "out" / "scan_seg.nii.gz") in said
    assert "1 image, 1 file in " in said
    assert "classes: 0 background, 1 myocardium, 2 left_atrium, 3 LV, 4 ascending_aorta" in said
    listed(tmp_path / "data", [{"image": str(scan), "modality": "mr", "subject": "scan"}])
    by_hand(heart, tmp_path / "data", tmp_path / "same")
    found, wanted = (nib.load(tmp_path / name / "scan_seg.nii.gz") for name in ("out", "same"))
    assert found.shape == nib.load(scan).shape
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(wanted.dataobj))
    np.testing.assert_allclose(found.affine, nib.load(scan).affine)
    assert written(tmp_path / "out") == ["scan_seg.nii.gz"]


def test_names_say_subject_and_modality(pairs, tmp_path):
    for number, name in enumerate(("s1_cine", "s1_lge", "s2_cine")):
        image(tmp_path / "in" / f"{name}.nii.gz", seed=number)
    done = predict(pairs, tmp_path / "in", tmp_path / "out")
    assert done.images == 3
    assert written(tmp_path / "out") == ["s1_lge_seg.nii.gz", "s2_cine_seg.nii.gz"]
    asked = Asked(pattern="{modality}-of-{subject}.nii.gz")
    image(tmp_path / "other" / "lge-of-p.1.nii.gz")
    found = find_inputs(tmp_path / "other", ["cine", "lge"], asked, tmp_path)
    assert [(one["subject"], one["modality"]) for one in found.items] == [("p.1", "lge")]


def test_a_stack_has_all_modalities(pairs, tmp_path, capsys):
    """Which are said: two phases of a cine would be taken for them, too."""
    image(tmp_path / "in" / "s1.nii.gz", (24, 20, 6, 2))
    assert main(["predict", str(pairs), str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert nib.load(tmp_path / "out" / "s1_seg.nii.gz").shape == (24, 20, 6)
    said = "the fourth axis of each image was taken as cine, lge, in this order"
    assert said in capsys.readouterr().out
    image(tmp_path / "single" / "s1_lge.nii.gz")
    assert main(["predict", str(pairs), str(tmp_path / "single"), "--out", str(tmp_path / "more")]) == 0
    assert "fourth axis" not in capsys.readouterr().out


def test_a_stack_in_large_letters_is_predicted_with_the_others(pairs, tmp_path):
    image(tmp_path / "in" / "a.nii.gz", (24, 20, 6, 2))
    image(tmp_path / "in" / "b.nii.gz", (24, 20, 6, 2)).rename(tmp_path / "in" / "B.NII.GZ")
    predict(pairs, tmp_path / "in", tmp_path / "out")
    assert written(tmp_path / "out") == ["B_seg.nii.gz", "a_seg.nii.gz"]


def test_images_in_two_files_are_told(tmp_path, caplog):
    for name in ("a_ct.nii.gz", "b_ct.hdr", "b_ct.img"):
        (tmp_path / name).touch()
    assert len(find_inputs(tmp_path, ["ct", "mr"], Asked(), tmp_path).items) == 1
    assert caplog.messages == [f"{tmp_path}: 1 image is not predicted: b_ct.hdr. A datalist takes them."]


def test_masks_among_the_images_are_told(heart, tmp_path, caplog):
    """By name beside an image, by a name that masks have, or by values; a scan in whole numbers is none."""
    scan = image(tmp_path / "in" / "a.nii.gz")
    volume = nib.load(scan)
    inside = np.asarray(volume.dataobj) > 100
    for name, values in (
        ("a_seg", np.zeros(inside.shape)),  # empty
        ("b_v1_seg", inside * 205),  # not the model's values
        ("b_v1_sge", inside * 2),
        ("b_v1", np.asarray(volume.dataobj).round() - 1000),
        ("c", inside * 300),
    ):
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", values.astype(np.int16), volume.affine)
    assert main(["predict", str(heart), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--modality", "mr"]) == 0
    (said,) = [message for message in caplog.messages if "look" in message]
    assert said.startswith("3 of 6 files to segment look like labels: a_seg.nii.gz, b_v1_seg.nii.gz, b_v1_sge.nii.gz. ")
    caplog.clear()
    assert main(["predict", str(heart), str(scan), "--out", str(tmp_path / "one"), "--modality", "mr"]) == 0
    assert not any("look" in message for message in caplog.messages)


def test_a_datalist_is_read_as_its_sections_say(heart, tmp_path):
    for name in ("a", "b"):
        image(tmp_path / "data" / f"{name}.nii.gz")
    items = [{"image": "a.nii.gz", "modality": "ct", "subject": "a", "label": "lost.nii.gz"}]
    more = [{"image": "b.nii.gz", "modality": "mr", "subject": "b"}]
    path = listed(tmp_path / "data", items, training=more)
    assert predict(heart, path, tmp_path / "one").images == 1
    assert written(tmp_path / "one") == ["a_seg.nii.gz"]
    predict(heart, tmp_path / "data", tmp_path / "two", section="training")
    assert written(tmp_path / "two") == ["b_seg.nii.gz"]
    assert main(["predict", str(heart), str(path), "--out", str(tmp_path / "three"), "--section", "tset"]) == 1
    with pytest.raises(ValueError, match="section 'test' has no image of mr, only of ct"):
        predict(heart, path, tmp_path / "three", modality="mr")
    (tmp_path / "data" / "a.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 images are not there, the first is .*a.nii.gz"):
        predict(heart, path, tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_training_images_of_a_list_without_a_test_section_are_told(tmp_path, caplog):
    image(tmp_path / "data" / "a.nii.gz")
    path = listed(tmp_path / "data", [], training=[{"image": "a.nii.gz", "modality": "ct", "subject": "a"}])
    said = f"{path} has no section 'test': its training images are predicted."
    find_inputs(path, ["ct"], Asked(), tmp_path)
    assert caplog.messages == [said]
    caplog.clear()
    find_inputs(path, ["ct"], Asked(section="training"), tmp_path)
    assert not caplog.messages


def test_classes_in_another_order_than_the_model(heart, tmp_path):
    """An evaluation with this list would score the chamber as the muscle."""
    image(tmp_path / "a.nii.gz")
    labels = {"0": "background", "1": "LV", "2": "left_atrium", "3": "myocardium"}
    path = listed(tmp_path, [{"image": "a.nii.gz", "modality": "ct", "subject": "a"}], labels=labels)
    for images in (path, tmp_path):
        with pytest.raises(ValueError, match=r"datalist.json: its labels .* myocardium, LV has another value"):
            predict(heart, images, tmp_path / "out")
    listed(
        tmp_path, [{"image": "a.nii.gz", "modality": "ct", "subject": "a"}], labels={"0": "background", "1": "liver"}
    )
    with pytest.raises(ValueError, match=r"datalist.json declares 1 liver; the model was trained for 1 myocardium, "):
        predict(heart, tmp_path, tmp_path / "out")


def test_other_formats_are_read(heart, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    pytest.importorskip("itk")
    scan = image(tmp_path / "scan.nii.gz", (12, 10, 4))
    (tmp_path / "in").mkdir()
    sitk.WriteImage(sitk.ReadImage(str(scan)), str(tmp_path / "in" / "scan.mha"))
    predict(heart, scan, tmp_path / "nifti", modality="ct")
    predict(heart, tmp_path / "in", tmp_path / "mha", modality="ct")
    first, second = (nib.load(tmp_path / name / "scan_seg.nii.gz") for name in ("nifti", "mha"))
    np.testing.assert_array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-5)


def test_what_is_not_said_is_asked_for(heart, tmp_path):
    scan = image(tmp_path / "in" / "scan.nii.gz")
    image(tmp_path / "mixed" / "p_ct.nii.gz")
    image(tmp_path / "mixed" / "q.nii.gz")
    listed(tmp_path / "data", [{"image": str(scan), "modality": "ct", "subject": "scan"}])
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    for images, asked, message in [
        (scan, {}, "the model knows ct, mr; say which scan.nii.gz is of with --modality"),
        (scan, {"modality": "us"}, "--modality must be one of ct, mr, got 'us'"),
        (scan, {"section": "test"}, "--section is for a datalist"),
        (scan, {"modality": "ct", "pattern": "{subject}_{modality}"}, "give one"),
        (scan, {"pattern": "{subject}"}, "--pattern must have {subject} and {modality} once each"),
        (scan, {"pattern": "{modality}_{subject}"}, "scan.nii.gz (1 of 1 images) is not named {modality}_{subject}"),
        (
            tmp_path / "mixed",
            {},
            "q.nii.gz (1 of 2 images) is not named {subject}_{modality} with a modality of ct, mr",
        ),
        (tmp_path / "data", {"pattern": "{subject}_{modality}"}, "--pattern is for files"),
        (tmp_path / "lost", {}, "lost: there is no such file or folder"),
        (tmp_path / "empty", {}, "holds no image that is read here"),
        (tmp_path / "notes.txt", {}, "notes.txt is no image that is read here: .nii.gz, .nii"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
            predict(heart, images, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_two_predictions_of_one_name_are_refused_before_anything_is_predicted(heart, tmp_path):
    first, second = image(tmp_path / "2_ct.nii.gz"), image(tmp_path / "b" / "ct.nii.gz")
    items = [
        {"image": str(first), "modality": "ct", "subject": "p1"},
        {"image": str(second), "modality": "ct", "subject": "p1_2"},
    ]
    message = f"two predictions would be named 'p1_2_ct': that of {first}, subject 'p1', and that of {second}"
    with pytest.raises(ValueError, match=re.escape(message)):
        predict(heart, listed(tmp_path / "data", items), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_refused(heart, tmp_path):
    scan = image(tmp_path / "scan.nii.gz")
    out = tmp_path / "out"
    out.mkdir()
    left = out / ".scan_seg.nii.gz.host@1-00.part.nii.gz"
    (out / "scan_seg.nii.gz").touch()
    left.touch()
    with pytest.raises(FileExistsError, match=r"--out must be empty, but .*out holds 1 files; .*--overwrite"):
        predict(heart, scan, out, modality="ct")
    done = predict(heart, scan, out, modality="ct", overwrite=True)
    assert done.files == [out / "scan_seg.nii.gz"]
    assert nib.load(done.files[0]).shape == (24, 20, 6)
    for images, place, message in (
        (out, out, "--out must not be the folder of the images"),
        (scan, tmp_path, "--out must not be the folder of the images"),
        (scan, scan, "--out must be a folder"),
    ):
        with pytest.raises(FileExistsError, match=message):
            predict(heart, images, place, modality="ct", overwrite=True)
    item = {"image": str(scan), "modality": "ct", "subject": "p1"}
    named = listed(tmp_path / "lists", [item]).rename(tmp_path / "lists" / "some.json")
    assert written(named.parent) == ["some.json"]
    assert predict(heart, named, named.parent, overwrite=True).files == [named.parent / "p1_scan_seg.nii.gz"]


def test_a_bundle_that_cannot_predict_says_why(heart, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no bundle: it has no configs/inference.json"):
        find_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="`mmseg bundle copy dafnet DIR` writes that bundle"):
        find_model(tmp_path / "dafnet")
    bare = small_bundle(tmp_path / "bare", "ummkd", UMMKD, weights=False)
    with pytest.raises(FileNotFoundError, match=r"bare has no weights: .*model.pt is missing. Train first:\n  python"):
        find_model(bare)
    settings = {"format": "monai_mmseg.settings/1", "knobs": {"labels": {"0": "background", "1": "aorta"}}}
    torch.save({}, bare / "models" / "model.pt")
    (bare / "models" / "settings.json").write_text(json.dumps(settings))
    assert find_model(bare).labels == {"0": "background", "1": "aorta"}
    assert find_model(heart).modalities == ["ct", "mr"]


def test_an_image_that_cannot_be_read_is_one_line(heart, tmp_path, capfd):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    words = ["predict", str(heart), str(broken), "--out", str(tmp_path / "out"), "--modality", "ct"]
    assert main(words) == 1
    said = capfd.readouterr().err
    assert re.fullmatch(r"mmseg predict: .*broken\.nii\.gz: cannot be read as an image .*\n", said), said


def test_an_error_names_the_file_that_was_given(heart, tmp_path):
    """Not its link in a folder that is gone: one network for CT and MR takes no files of both."""
    scan = image(tmp_path / "in" / "s1.nii.gz", (24, 20, 6, 2))
    with pytest.raises(ValueError, match=r"expected one 3D volume, got 2 volumes") as caught:
        predict(heart, tmp_path / "in", tmp_path / "out")
    assert str(caught.value).startswith(f"{scan}: ")


def test_a_warning_names_the_file_that_was_given(pairs, tmp_path, monkeypatch, caplog):
    scan = image(tmp_path / "in" / "s1.nii.gz", (64, 64, 6, 2))
    usual, load = logging.getLogRecordFactory(), LoadImageModalitiesd.__call__

    def warning(self, data):
        logging.getLogger("monai_mmseg.transforms").warning("%s: 100 %% odd.", data["image"])
        return load(self, data)

    monkeypatch.setattr(LoadImageModalitiesd, "__call__", warning)
    predict(pairs, tmp_path / "in", tmp_path / "out")
    assert f"{scan}: 100 % odd." in caplog.messages
    assert logging.getLogRecordFactory() is usual


def test_an_image_that_needs_too_much_memory_is_named(heart, tmp_path, monkeypatch, capfd):
    scans = [image(tmp_path / "in" / f"s{n}.nii.gz") for n in range(3)]
    read = LoadImageItemd.__call__

    def failing(self, data):
        if str(data["image"]) == str(scans[1]):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return read(self, data)

    monkeypatch.setattr(LoadImageItemd, "__call__", failing)
    words = ["predict", str(heart), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--modality", "ct"]
    assert main(words) == 1
    said = capfd.readouterr().err
    assert f"mmseg predict: {scans[1]}: RuntimeError: DefaultCPUAllocator: can't allocate memory" in said
    assert said.endswith("are its voxel sizes in mm?\n")
    assert written(tmp_path / "out") == ["s0_seg.nii.gz"]


def test_weights_that_do_not_fit_or_are_no_numbers_are_refused(tmp_path):
    bundle = small_bundle(tmp_path / "bundle", "ummkd", UMMKD)
    scan, model = image(tmp_path / "scan.nii.gz"), bundle / "models" / "model.pt"
    good = torch.load(model, weights_only=True)
    for content, message in [
        ({"x": torch.zeros(1)}, "model.pt does not fit the network: "),
        (
            {name: value * torch.nan if value.is_floating_point() else value for name, value in good.items()},
            "model.pt: .* holds NaN or infinite numbers",
        ),
    ]:
        torch.save({**content}, model)
        with pytest.raises(ValueError, match=message) as caught:
            predict(bundle, scan, tmp_path / "out", modality="ct")
        assert len(str(caught.value).splitlines()) <= 3
    assert not (tmp_path / "out").exists()


def test_probabilities_are_saved_where_asked(heart, tmp_path):
    """They lie beside the labels, on the image's grid, and the most likely class is the label."""
    scan = image(tmp_path / "scan.nii.gz")
    listed(tmp_path / "data", [{"image": str(scan), "modality": "mr", "subject": "scan"}])
    places = {"bundle_root": str(heart), "dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "out")}
    config = str(heart / "configs" / "inference.json")
    workflow = ConfigWorkflow(config, workflow_type="infer", logging_file=False, **places, save_probabilities=True)
    workflow.initialize()
    workflow.run()
    assert written(tmp_path / "out") == ["scan_probabilities.nii.gz", "scan_seg.nii.gz"]
    files = [tmp_path / "out" / name for name in written(tmp_path / "out")]
    probabilities, labels = (np.asarray(nib.load(file).dataobj) for file in files)
    assert probabilities.shape == (*nib.load(scan).shape, 5)
    np.testing.assert_array_equal(probabilities.argmax(-1), labels)


def test_a_place_that_cannot_be_written_is_refused_before_images_are_read(heart, tmp_path, monkeypatch):
    scan = image(tmp_path / "scan.nii.gz")
    with pytest.raises(FileExistsError, match=r"--out must be a folder, but .*scan\.nii\.gz is a file"):
        predict(heart, scan, scan / "deep" / "out", modality="mr")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # what root is never told
    with pytest.raises(PermissionError, match="--out must be a folder that can be written, but you may not write to"):
        predict(heart, scan, tmp_path / "new" / "out", modality="mr")
    assert not (tmp_path / "new").exists()
