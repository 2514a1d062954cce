# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong without a word where nobody looks: the second run in a folder, the forgotten flag, the odd list."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace

import pytest
import torch

from monai_mmseg.bundle import pack_bundle
from monai_mmseg.runs import read_settings
from monai_mmseg.runs.identity import file_sha256
from tests.bundles.runs import BUNDLES, CSA, DAFNET, SHORT, Bundle, causes, flags, read, run, shell, write
from tests.processes import start_module

WITHOUT_FIGURES = {"description": None, "affinities": None}
ORDER = {"0": "background", "1": "RV", "2": "myocardium", "3": "LV"}  # the bundle's own says 1 LV, 3 RV


@pytest.fixture
def data(unpaired):
    return unpaired(CSA)


def command(bundle, out, data, *names, run_id="training", **own):
    """Words of a command as users type it; training is as small as it goes."""
    small = {**SHORT, **bundle.small("train")} if "train" in names and "evaluate" not in names else {}
    files = [os.path.relpath(path, BUNDLES.parent) for path in bundle.files(*names)]
    places = {"dataset_dir": data, "ckpt_dir": out / "models", "output_dir": out / "eval"}
    places = {key: str(value) for key, value in places.items() if value is not None and key not in own}
    return ["-m", "monai.bundle", "run", run_id, "--config_file", str(files), *flags({**places, **small, **own})]


def typed(*words):
    return shell(*words, cwd=BUNDLES.parent)


def volumes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))}


def states(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.pt")}


def test_a_run_knows_itself(data, tmp_path):
    """Trained with overlays; evaluated, resumed and used without them; a second training is refused."""
    out = tmp_path / "run"
    other = replace(CSA, network={key: value for key, value in CSA.network.items() if key != "features"})
    names = ("train", "demo", "dynunet")
    code, text = typed(*command(other, out, data, *names, **{"backbone#filters": "[4,8,8,8,8]"}))
    assert code == 0, text
    settings = read_settings(out / "models")
    assert (settings["bundle"], settings["state"], settings["overlays"]) == (
        "csa",
        "trained",
        ["demo", "settings/dynunet"],
    )
    assert settings["definitions"]["network_def"]["network"]["filters"] == [4, 8, 8, 8, 8]
    about = json.loads((out / "eval" / "run.json").read_text(encoding="utf-8"))
    assert (about["id"], about["status"]) == (settings["run"], "completed")

    before = states(out / "models")
    code, text = typed(*command(other, out, data, *names, **{"backbone#filters": "[4,8,8,8,8]"}))
    assert code == 1
    assert "holds a finished run (csa, begun" in text
    assert len([line for line in text.splitlines() if "parsing config" not in line and line.strip()]) <= 4, text
    assert states(out / "models") == before

    places = {"ckpt_dir": str(out / "models")}
    run(other.load(("train", "evaluate"), out, data, **places, **WITHOUT_FIGURES))
    scored = json.loads((out / "eval" / "evaluations.json").read_text(encoding="utf-8"))["metrics/csa.json"]
    assert (scored["run"], scored["model"]) == (about["id"], about["model"]["sha256"])
    assert scored["sha256"] == file_sha256(out / "eval" / "metrics" / "csa.json")
    other.infer(tmp_path / "masks", data, **places)
    assert volumes(tmp_path / "masks" / "eval") == volumes(out / "eval" / "predictions")

    code, text = typed(*command(other, out, data, "inference", run_id="run"), "--pixdim", "[3.0,3.0]")
    assert code == 1
    assert "pixdim is [3.0, 3.0], trained with [5.0, 5.0]" in text
    shown = [line for line in text.splitlines() if line.strip() and "parsing config" not in line]
    assert len(shown) <= 3, text


def test_labels_that_were_forgotten_come_from_the_datalist(data, tmp_path):
    content = read(data / "datalist.json")
    content["labels"] = {"0": "background", "1": "liver", "2": "spleen", "3": "stomach"}
    workflow = CSA.train(tmp_path, write(tmp_path / "data", content, data))
    assert workflow.parser.get_parsed_content("labels") == content["labels"]
    assert read_settings(tmp_path / "models")["knobs"]["labels"] == content["labels"]
    table = CSA.evaluate(tmp_path, tmp_path / "data", **WITHOUT_FIGURES) / "metrics" / "csa.csv"
    assert {line.split(",")[2] for line in table.read_text(encoding="utf-8").splitlines()[1:]} >= {
        "liver",
        "spleen",
        "stomach",
    }


def test_a_knob_that_contradicts_the_datalist_is_refused(data, tmp_path):
    content = read(data / "datalist.json")
    content["labels"] = ORDER
    folder = write(tmp_path / "data", content, data)
    for own in ({}, {"labels": {"0": "background", "1": "aorta"}}):
        with pytest.raises(RuntimeError) as error:
            CSA.train(tmp_path, folder, **own)
        said = "1 LV, 2 myocardium, 3 RV" if not own else "1 aorta"
        assert f"labels of the config are {said}; {folder / 'datalist.json'} has 1 RV, 2 myocardium, 3 LV" in causes(
            error.value
        )
    assert not (tmp_path / "models").exists()
    workflow = CSA.train(tmp_path, folder, labels=ORDER)
    assert workflow.parser.get_parsed_content("labels") == ORDER


def test_labels_with_a_gap_are_refused_with_the_map_that_mends_them(data, tmp_path):
    content = read(data / "datalist.json")
    content["labels"] = {"0": "background", "1": "LV", "2": "myocardium", "4": "RV"}
    with pytest.raises(RuntimeError) as error:
        CSA.train(tmp_path, write(tmp_path / "data", content, data))
    assert "4" in causes(error.value)
    assert "map {4: 3}" in causes(error.value)


def test_modalities_come_from_the_datalist(data, tmp_path):
    content = read(data / "datalist.json")
    for item in content["training"] + content["test"]:
        item["modality"] = {"lge": "t2", "bssfp": "t1"}[item["modality"]]
    content["modalities"] = ["t1", "t2"]
    workflow = CSA.train(tmp_path, write(tmp_path / "data", content, data))
    assert workflow.network_def.modalities == ("t1", "t2")


@pytest.mark.parametrize("leak", ["folds", "sections", "images"])
def test_a_subject_on_both_sides_is_refused(leak, data, tmp_path):
    content = read(data / "datalist.json")
    first, test = content["training"][0], content["test"][0]
    if leak == "folds":
        content["training"].append({**first, "image": test["image"], "fold": 1 - first["fold"], "modality": "bssfp"})
        content["test"] = content["test"][1:]
        message = "is in several folds"
    elif leak == "sections":
        test["subject"] = first["subject"]
        message = "is in several sections"
    else:
        test["image"] = first["image"]
        message = "is named 2 times"
    with pytest.raises(RuntimeError) as error:
        CSA.train(tmp_path, write(tmp_path / "data", content, data))
    assert message in causes(error.value)


def test_two_predictions_of_one_name_are_refused_before_anything_is_predicted(trained, data, tmp_path):
    out, _ = trained(CSA, data)
    content = read(data / "datalist.json")
    pair = next(item for item in content["test"] if item["modality"] == "lge")
    image = data / pair["image"]
    made = tmp_path / "data"
    made.mkdir()
    items = []
    for folder, name, subject in (("a", "2_lge.nii.gz", "p1"), ("b", "lge.nii.gz", "p1_2")):
        (made / folder).mkdir()
        (made / folder / name).write_bytes(image.read_bytes())
        items.append({"image": f"{folder}/{name}", "modality": "lge", "subject": subject})
    folder = write(made, {"modalities": ["lge", "bssfp"], "test": items})
    with pytest.raises((RuntimeError, ValueError)) as error:
        CSA.infer(tmp_path / "out", folder, ckpt_dir=str(out / "models"))
    assert "two predictions would be named 'p1_2_lge'" in causes(error.value)
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_another_fold_does_not_go_on(data, tmp_path):
    """Its validation cases would be those of the training."""
    CSA.train(tmp_path, data, max_epochs=1)
    with pytest.raises(RuntimeError) as error:
        CSA.train(tmp_path, data, max_epochs=2, resume=True, fold=1)
    assert "fold 1 (it was 0)" in causes(error.value)


def test_a_second_run_with_other_modalities(data, tmp_path):
    """Programs replace the run; nothing of the old one is mixed with the new one."""
    CSA.train(tmp_path, data)
    first = json.loads((tmp_path / "eval" / "run.json").read_text(encoding="utf-8"))["id"]
    CSA.train(tmp_path, data, "single_lge")
    about = json.loads((tmp_path / "eval" / "run.json").read_text(encoding="utf-8"))
    assert about["id"] != first
    assert about["settings"]["modalities"] == ["lge"]
    (moved,) = (tmp_path / "eval" / "previous").iterdir()
    assert json.loads((moved / "run.json").read_text(encoding="utf-8"))["id"] == first
    assert not [path for path in (tmp_path / "eval" / "warnings.txt",) if path.exists()]


def test_weights_that_are_no_numbers_predict_nothing(trained, data, tmp_path):
    out, _ = trained(CSA, data)
    state = torch.load(out / "models" / "model.pt", weights_only=True)
    next(iter(state.values())).fill_(float("nan"))
    (tmp_path / "models").mkdir()
    torch.save(state, tmp_path / "models" / "model.pt")
    (tmp_path / "models" / "settings.json").write_bytes((out / "models" / "settings.json").read_bytes())
    with pytest.raises(RuntimeError) as error:
        CSA.infer(tmp_path, data)
    assert "holds NaN or infinite numbers" in causes(error.value)
    assert not (tmp_path / "eval").exists()


def test_the_target_of_another_datalist(heart, tmp_path):
    """LGE is the default; the list has other names, and says which one is the target."""
    content = read(heart / "datalist.json")
    for item in content["training"] + content["test"]:
        item["modality"] = {"cine": "t2", "lge": "t1map"}[item["modality"]]
    content.update(modalities=["t2", "t1map"], target="t1map")
    workflow = DAFNET.train(tmp_path, write(tmp_path / "data", content, heart))
    assert workflow.parser.get_parsed_content("target") == "t1map"
    assert list(DAFNET.infer(tmp_path, tmp_path / "data")) == ["s05_lge_seg.nii.gz", "s06_lge_seg.nii.gz"]


def test_a_section_that_the_datalist_lacks_is_said(trained, data, tmp_path, capsys):
    out, _ = trained(CSA, data)
    content = read(data / "datalist.json")
    del content["test"]
    CSA.infer(tmp_path, write(tmp_path / "data", content, data), ckpt_dir=str(out / "models"))
    assert "has no section 'test': its training images are predicted." in capsys.readouterr().out


@contextlib.contextmanager
def running(words, out):
    """A training in another process, once it has saved what it can go on from; what it says is in ``out/log``."""
    own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    out.mkdir(exist_ok=True)
    (out / "log").unlink(missing_ok=True)
    process = start_module(words[1:], cwd=BUNDLES.parent, said=[out / "log"] * 2, env=own)
    try:
        until = time.monotonic() + 120
        while not (out / "models" / "resume.pt").exists() and time.monotonic() < until:
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
def test_of_two_trainings_at_once_the_second_is_refused(data, tmp_path):
    """One that was killed gives way to the next, which moves it; and SIGTERM, of which clusters die, is noted."""
    words = command(CSA, tmp_path, data, "train", "demo", max_epochs=500)
    with running(words, tmp_path) as first:
        code, text = typed(*command(CSA, tmp_path, data, "train", "demo", overwrite=True))
        assert code == 1
        assert f"is in use: process {first.pid} on" in text
        assert first.exitcode is None
    (tmp_path / "models" / "resume.pt").rename(tmp_path / "models" / "last.pt")  # so that the next one is waited for
    with running(words, tmp_path) as second:
        second.terminate()
        second.join(60)
        assert second.exitcode
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert f"left locked by process {first.pid}" in text
    assert "a run that did not end" in text
    assert text.rstrip().endswith("Interrupted.")
    (moved,) = (tmp_path / "models" / "previous").iterdir()
    assert (moved / "last.pt").is_file()
    assert json.loads((tmp_path / "eval" / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"
    assert not list(tmp_path.rglob(".lock*"))


def test_an_evaluation_on_other_classes_is_refused(trained, data, tmp_path):
    out, _ = trained(CSA, data)
    content = read(data / "datalist.json")
    others = {"0": "background", "1": "liver", "2": "spleen", "3": "stomach"}
    for labels, advice in ((others, "other weights are needed"), (ORDER, "map {1: 3, 3: 1} in the label files")):
        content["labels"] = labels
        with pytest.raises(RuntimeError) as error:
            CSA.evaluate(tmp_path, write(tmp_path / advice[:5], content, data), ckpt_dir=str(out / "models"))
        assert "labels of the weights are 1 LV, 2 myocardium, 3 RV" in causes(error.value)
        assert advice in causes(error.value)


def test_an_evaluation_keeps_the_modalities_of_the_weights(trained, data, tmp_path):
    """The datalist may have more."""
    out, _ = trained(CSA, data)
    content = read(data / "datalist.json")
    content["modalities"] = [*content["modalities"], "t2"]
    workflow = CSA.load(
        ("train", "evaluate"), tmp_path, write(tmp_path / "data", content, data), ckpt_dir=str(out / "models")
    )
    workflow.initialize()
    assert workflow.parser.get_parsed_content("modalities") == ["lge", "bssfp"]


def test_a_packed_network_of_one_modality_trains_on_that_one(trained, data, tmp_path):
    out, _ = trained(CSA, data)
    model = out / "models" / "model.pt"
    pack_bundle(CSA.root, tmp_path / "packed", overlays=["demo"], model=model, modality="bssfp")
    served = Bundle("packed", folder=tmp_path)
    workflow = served.load(("train",), tmp_path / "again", data)
    workflow.initialize()
    items = workflow.parser.get_parsed_content("train#dataset#data")
    assert {item["modality"] for item in items} == {"bssfp"}


def test_parts_of_the_network_do_not_change_at_inference(trained, data, tmp_path):
    """They were switched off, so that an override of them was read by nobody."""
    out, _ = trained(CSA, data)
    with pytest.raises(RuntimeError) as error:
        CSA.infer(tmp_path, data, ckpt_dir=str(out / "models"), **{"backbone#dropout": 0.7})
    assert "network_def#network is" in causes(error.value)
    assert "'dropout': 0.7" in causes(error.value)


def test_another_input_of_the_network_is_said(trained, data, tmp_path, capsys):
    out, _ = trained(CSA, data)
    CSA.infer(tmp_path, data, ckpt_dir=str(out / "models"), **{"volume_transforms#1#pixdim": [7.0, 7.0]})
    assert "volume_transforms is not that of the bundle" in capsys.readouterr().out


def test_a_modality_without_any_image_is_left_out(data, tmp_path, capsys):
    content = read(data / "datalist.json")
    content["modalities"] = [*content["modalities"], "t1"]
    workflow = CSA.train(tmp_path, write(tmp_path / "data", content, data))
    assert sorted(workflow.network_def.modalities) == ["bssfp", "lge"]
    assert "declares t1, of which it has no image: left out." in capsys.readouterr().out


def test_a_packed_bundle_keeps_its_modalities_and_classes(trained, data, tmp_path):
    out, _ = trained(CSA, data)
    pack_bundle(CSA.root, tmp_path / "packed", overlays=["demo"], model=out / "models" / "model.pt")
    served = Bundle("packed", folder=tmp_path)
    content = read(data / "datalist.json")
    content["labels"] = {"0": "background", "1": "liver", "2": "spleen", "3": "stomach"}
    with pytest.raises(RuntimeError) as error:
        served.load(("train",), tmp_path / "a", write(tmp_path / "labels", content, data)).initialize()
    assert "labels of the weights are 1 LV, 2 myocardium, 3 RV" in causes(error.value)
    content = read(data / "datalist.json")
    for item in content["training"] + content["test"]:
        item["modality"] = {"lge": "t2", "bssfp": "t1"}[item["modality"]]
    content["modalities"] = ["t1", "t2"]
    with pytest.raises(RuntimeError) as error:
        served.load(("train",), tmp_path / "b", write(tmp_path / "names", content, data)).initialize()
    assert "got ['lge', 'bssfp']" in causes(error.value)
