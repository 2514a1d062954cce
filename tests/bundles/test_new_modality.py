# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A trained network takes in one more modality: what it did before stays bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from monai_mmseg.bundle import pack_bundle
from monai_mmseg.runs.model_settings import write_settings
from tests.bundles.runs import HEART, causes, read, run, write


@pytest.fixture(scope="module")
def before(trained, unpaired):
    """A network of CT and MR: its folder."""
    return trained(HEART, unpaired(HEART), epoch_length=12)[0]


@pytest.fixture
def one_more(unpaired, tmp_path):
    """A datalist in which a further scanner has one labelled subject, in no fold, and one for testing."""

    def make(new="mr_b", **changes):
        content = read(unpaired(HEART) / "datalist.json")
        for section in ("training", "test"):
            item = next(dict(item) for item in content[section] if item["modality"] == "mr")
            item.pop("fold", None)
            content[section] = [{**item, "modality": new, "subject": f"b_{section}"}]
        return write(tmp_path / "data", {**content, "modalities": ["ct", "mr", new], **changes}, unpaired(HEART))

    return make


def take_in(before, data, out, **overrides):
    start = {"start": str(before / "models" / "model.pt"), "new_modality": "mr_b", "like": "mr", "fold": None}
    return run(HEART.load(("train", "demo", "new_modality"), out, data, **{**start, **overrides}))


def test_old_modalities_stay_bit_equal(before, one_more, unpaired, tmp_path):
    data = one_more()
    take_in(before, data, tmp_path)
    old, new = (torch.load(one / "models" / "model.pt", weights_only=True) for one in (before, tmp_path))
    assert {key.replace(".mr.", ".mr_b.") for key in old if ".mr." in key} == new.keys() - old.keys()
    assert all(torch.equal(value, new[key]) for key, value in old.items())
    learned = [key for key in old if ".mr." in key and not torch.equal(old[key], new[key.replace(".mr.", ".mr_b.")])]
    assert {key.rpartition(".")[2] for key in learned} >= {"weight", "bias", "running_mean", "running_var"}

    given = [
        HEART.infer(tmp_path / name, unpaired(HEART), ckpt_dir=str(folder / "models"), save_probabilities=True)
        for name, folder in (("before", before), ("after", tmp_path))
    ]
    assert len(given[0]) == 4
    for name, volume in given[0].items():
        np.testing.assert_array_equal(volume.get_fdata(), given[1][name].get_fdata())

    settings = read(tmp_path / "models" / "settings.json")
    earlier = read(before / "models" / "settings.json")["seen"]["trained"]
    assert earlier
    assert set(earlier) <= set(settings["seen"]["trained"])  # what the weights before have seen is no test of these
    assert (
        settings["knobs"]["modalities"] == settings["definitions"]["network_def"]["modalities"] == ["ct", "mr", "mr_b"]
    )
    rows = (HEART.evaluate(tmp_path, data) / "metrics" / "new_modality.csv").read_text(encoding="utf-8").splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"mr_b"}
    # the list of the first hospitals declares no mr_b
    values = []
    for one, name in ((before, "ummkd"), (tmp_path, "new_modality")):
        HEART.evaluate(one, unpaired(HEART), output_dir=str(tmp_path / name))
        table = read(tmp_path / name / "metrics" / f"{name}.json")
        values.append([score["values"] for score in table["scores"]])
    assert values[0] == values[1] != []
    assert list(HEART.infer(tmp_path / "new", data, ckpt_dir=str(tmp_path / "models"))) == ["b_test_mr03_seg.nii.gz"]


def test_what_knows_one_more_is_packed(unpaired, one_more, tmp_path):
    """With the network of the weights that it started from, which its own training says nothing of."""
    HEART.train(tmp_path / "before", unpaired(HEART), **{"backbone#features": [4] * 7 + [6]})
    take_in(tmp_path / "before", one_more(), tmp_path / "after")
    model = tmp_path / "after" / "models" / "model.pt"
    settings = read(model.parent / "settings.json")
    # as a run of MONAI's command line records it
    started = {"overlays": ["settings/new_modality"], "overrides": {"new_modality": "mr_b", "like": "mr"}}
    write_settings(model.parent, {**settings, **started})
    for name, known in ((None, ["ct", "mr", "mr_b"]), ("mr_b", ["mr_b"])):
        out = pack_bundle(HEART.root, tmp_path / f"packed_{name}", model=model, modality=name)
        train, inference = (read(out / "configs" / f"{one}.json") for one in ("train", "inference"))
        assert train["modalities"] == inference["modalities"] == known
        assert not {"start", "new_modality", "like", "freeze"} & train.keys()
        assert "use_start" not in str(train["initialize"])


@pytest.mark.parametrize(
    ("overrides", "listed", "message"),
    [
        ({"start": "none/model.pt"}, {}, "none/model.pt: no such file"),
        ({"features": [8] * 8}, {}, "features is [8, 8, 8, 8, 8, 8, 8, 8], trained with [4, 4,"),
        ({"backbone#dilation": 2}, {}, "network_def is another one"),
        (
            {},
            {"labels": {"0": "background", "1": "liver"}},
            "labels is {'0': 'background', '1': 'liver'}, trained with",
        ),
        ({"like": "us"}, {}, "unknown modality 'us'"),
    ],
)
def test_what_cannot_be_meant(before, one_more, tmp_path, overrides, listed, message):
    with pytest.raises(RuntimeError) as error:
        take_in(before, one_more(**listed), tmp_path, **overrides)
    assert message in causes(error.value)


def _said_for(modalities, steps):
    return {
        "_target_": "monai_mmseg.transforms.ByModalityd",
        "default_modality": "@default_modality",
        "transforms": dict(zip(modalities, steps, strict=True)),
    }


CT_STEP = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -160, "a_max": 240, "b_min": 0, "b_max": 1}
MR_STEP = {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}


@pytest.mark.parametrize("like", ["mr", None])
def test_a_transform_for_each_modality(unpaired, one_more, tmp_path, capsys, like):
    before, after = tmp_path / "before", tmp_path / "after"
    said = {**_said_for(["ct", "mr"], [CT_STEP, MR_STEP]), "hounsfield": ["ct"]}
    HEART.train(before, unpaired(HEART), intensity=said)
    path = before / "models" / "settings.json"
    path.write_text(json.dumps({**read(path), "class_volumes": {"1": {"labels": 5, "ml": [0.001, 0.002]}}}))
    noise = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0}
    drawn = {**_said_for(["ct", "mr"], [None, noise]), "_target_": "monai_mmseg.transforms.RandByModalityd"}
    data = one_more()
    workflow = take_in(before, data, after, like=like, appearance=[drawn])

    found = read(after / "models" / "settings.json")["definitions"]["intensity"]
    assert found == {
        **_said_for(["ct", "mr", "mr_b"], [CT_STEP, MR_STEP, MR_STEP if like else CT_STEP]),
        "default_modality": "ct",
        "hounsfield": ["ct"] if like else ["ct", "mr_b"],
    }
    volumes = read(after / "models" / "settings.json")["class_volumes"]["1"]  # one label more than before
    assert (volumes["labels"], volumes["ml"][0]) == (6, 0.001)
    assert workflow.parser["appearance"][0]["transforms"] == {"ct": None, "mr": noise, "mr_b": noise if like else None}
    told = "appearance, intensity: 'mr_b' has that of 'ct', the default modality; those of others differ. --like names"
    assert (told in "".join(capsys.readouterr())) == (like is None)

    own = {"save_probabilities": True}
    old, new = (HEART.infer(one, unpaired(HEART), ckpt_dir=str(one / "models"), **own) for one in (before, after))
    assert len(old) == 4
    for name, volume in old.items():
        np.testing.assert_array_equal(volume.get_fdata(), new[name].get_fdata())
    assert list(HEART.infer(tmp_path / "new", data, ckpt_dir=str(after / "models"))) == ["b_test_mr03_seg.nii.gz"]


@pytest.mark.parametrize("name", ["mr", "MR"])  # `p1_MR.nii.gz` means `mr`
def test_a_modality_that_is_there_already(before, unpaired, one_more, tmp_path, name):
    data = unpaired(HEART) if name == "mr" else one_more(name)
    with pytest.raises(RuntimeError) as error:
        take_in(before, data, tmp_path, new_modality=name)
    assert f"new_modality {name!r} is one that" in causes(error.value)
