# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Inference of the DAFNet bundle on data as they come."""

from __future__ import annotations

import csv
import shutil
import sys
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.bundles.runs import DAFNET, causes, read, same_place, turned, write
from tests.synthetic_volumes import rotation


@pytest.fixture(scope="module")
def flat(trained, heart, tmp_path_factory):
    """Predictions for the images as the phantom lays them out."""
    out, _ = trained(DAFNET, heart)
    return DAFNET.infer(tmp_path_factory.mktemp("flat"), heart, ckpt_dir=str(out / "models"))


def test_files_of_one_name_are_kept_apart(trained, flat, heart, tmp_path):
    """Every subject has its own folder with ``lge.nii.gz``, as the bundle's docs show it."""
    renamed = ("1.2.840.113", "1.2.840.114")  # which do not end at a dot
    new = dict(zip(("s05", "s06"), renamed, strict=True))
    content = read(heart / "datalist.json")
    data = tmp_path / "data"
    for items in (content["training"], content["test"]):
        for item in items:
            item["subject"] = new.get(item["subject"], item["subject"])
            for key, name in (("image", item["modality"]), ("label", f"{item['modality']}_label")):
                path = Path(item["subject"]) / f"{name}.nii.gz"
                (data / path).parent.mkdir(parents=True, exist_ok=True)
                (data / path).symlink_to(heart / item[key])
                item[key] = path.as_posix()
    write(data, content)
    out, _ = trained(DAFNET, heart)
    volumes = DAFNET.infer(tmp_path / "inference", data, ckpt_dir=str(out / "models"))
    assert list(volumes) == [f"{subject}_lge_seg.nii.gz" for subject in renamed]
    for volume, expected in zip(volumes.values(), flat.values(), strict=True):
        np.testing.assert_array_equal(volume.get_fdata(), expected.get_fdata())
    DAFNET.evaluate(tmp_path, data, ckpt_dir=str(out / "models"))
    lines = csv.DictReader((tmp_path / "eval" / "metrics" / "dafnet.csv").read_text(encoding="utf-8").splitlines())
    assert Counter(line["subject"] for line in lines) == dict.fromkeys(renamed, 3)
    predictions = sorted(path.name for path in (tmp_path / "eval" / "predictions").iterdir())
    assert predictions == [f"{subject}_lge_seg.nii.gz" for subject in renamed]
    assert all(subject in (tmp_path / "eval" / "report.html").read_text(encoding="utf-8") for subject in renamed)


@pytest.fixture(scope="module")
def checkpoint(trained, heart):
    """A network of two steps, which may give any class, even one everywhere."""
    return str(trained(DAFNET, heart)[0] / "models")


@pytest.fixture(scope="module")
def segmenting(checkpoint, heart, tmp_path_factory):
    """One that gives the first test subject more than one class, and a turned image the turned classes.

    Kernels are averaged over turns and mirrors, nothing is deformed, and the last layer is drawn until it serves.
    """
    folder = tmp_path_factory.mktemp("segmenting") / "models"
    shutil.copytree(checkpoint, folder)
    state = torch.load(folder / "model.pt", weights_only=True)
    for value in state.values():
        if value.ndim == 4:
            turned_kernels = [value.rot90(k, (2, 3)) for k in range(4)]
            value.copy_(torch.stack([*turned_kernels, *(one.mT for one in turned_kernels)]).mean(0))
    for name in ("transformer.out.weight", "transformer.out.bias"):
        state[name].zero_()
    weight = state["segmentor.out.conv.weight"]
    for seed in range(20):
        drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        weight.copy_(drawn - drawn.mean(1, keepdim=True))  # what all features share cancels
        torch.save(state, folder / "model.pt")
        volumes = DAFNET.infer(folder.parent / str(seed), heart, ckpt_dir=str(folder))
        values = volumes["s05_lge_seg.nii.gz"].get_fdata()
        if np.unique(values, return_counts=True)[1].max() < 0.95 * values.size:
            return str(folder)
    raise AssertionError("no last layer gives two classes: the features say nothing about the image")


def one_subject(heart, subject="s05"):
    return [item for item in read(heart / "datalist.json")["test"] if item["subject"] == subject]


def listed(items):
    return {"name": "x", "modalities": ["cine", "lge"], "labels": {"0": "background", "1": "LV"}, "test": items}


@pytest.mark.parametrize(
    ("order", "flips", "angles"),
    [
        ((0, 1, 2), (), (20, -35, 50)),
        ((0, 1, 2), (0, 2), None),
        ((2, 0, 1), (1,), (5, 10, -8)),
        ((1, 2, 0), (0, 1, 2), None),
    ],
)
def test_the_mask_lies_where_the_image_lies(order, flips, angles, heart, segmenting, tmp_path):
    """A subject stored with other axes, and lying elsewhere in the scanner, gets the same mask in space."""
    rigid = None if angles is None else rotation(*angles)
    items = one_subject(heart)
    (tmp_path / "data").mkdir()
    for item in items:
        path = tmp_path / "data" / f"{item['modality']}.nii.gz"
        nib.save(turned(nib.load(heart / item["image"]), order, flips, rigid), path)
        item.update(image=path.name)
        item.pop("label")
    plain = DAFNET.infer(tmp_path / "plain", heart, ckpt_dir=segmenting)["s05_lge_seg.nii.gz"]
    found = DAFNET.infer(tmp_path / "turned", write(tmp_path / "data", listed(items)), ckpt_dir=segmenting)
    volume = found["s05_lge_seg.nii.gz"]
    same_place(volume, nib.load(tmp_path / "data" / "lge.nii.gz"))
    expected = turned(plain, order, flips, rigid)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-3)
    assert len(np.unique(plain.get_fdata())) > 1
    # flips change which way ties and half pixels are rounded: all but a few voxels agree
    assert (volume.get_fdata() == np.asarray(expected.dataobj)).mean() > 0.97


@pytest.mark.parametrize("missing", ["cine", "lge"])
def test_one_modality_alone(missing, heart, checkpoint, tmp_path):
    items = [item for item in one_subject(heart) if item["modality"] != missing]
    (there,) = items
    volumes = DAFNET.infer(tmp_path, write(tmp_path / "data", listed(items), heart), ckpt_dir=checkpoint)
    (name,) = volumes
    assert name == f"s05_{there['modality']}_seg.nii.gz"
    same_place(volumes[name], nib.load(there["image"]))


def test_a_single_slice(heart, checkpoint, tmp_path):
    items = one_subject(heart)
    (tmp_path / "data").mkdir()
    for item in items:
        nib.save(nib.load(heart / item["image"]).slicer[:, :, 2:3], tmp_path / "data" / f"{item['modality']}.nii.gz")
        item.update(image=f"{item['modality']}.nii.gz")
        item.pop("label")
    (volume,) = DAFNET.infer(tmp_path, write(tmp_path / "data", listed(items)), ckpt_dir=checkpoint).values()
    same_place(volume, nib.load(tmp_path / "data" / "lge.nii.gz"))


def test_a_folder_of_files(heart, checkpoint, tmp_path):
    """No datalist: one image of the target, and a stack whose source is absent, which must give the same."""
    image = nib.load(heart / "images" / "s05_lge.nii.gz")
    array = image.get_fdata().astype(np.float32)
    data = tmp_path / "data"
    data.mkdir()
    nib.save(nib.Nifti1Image(array, image.affine), data / "alone.nii.gz")
    absent = np.full_like(array, np.nan)
    nib.save(nib.Nifti1Image(np.stack([absent, array], -1), image.affine), data / "absent.nii.gz")
    nib.save(nib.Nifti1Image(np.stack([array, array], -1), image.affine), data / "both.nii.gz")
    volumes = DAFNET.infer(tmp_path, data, ckpt_dir=checkpoint)
    assert list(volumes) == ["absent_seg.nii.gz", "alone_seg.nii.gz", "both_seg.nii.gz"]
    for volume in volumes.values():
        same_place(volume, image)
    np.testing.assert_array_equal(volumes["absent_seg.nii.gz"].dataobj, volumes["alone_seg.nii.gz"].dataobj)


def test_sizes_that_are_not_the_networks(heart, checkpoint, tmp_path):
    """Large pixels make the image smaller than the network's, small ones larger; both are brought back."""
    shutil.copy(Path(checkpoint) / "model.pt", tmp_path / "model.pt")  # without its settings, which say otherwise
    checkpoint = str(tmp_path)
    for pixdim in ([3.0, 3.0], [11.0, 11.0]):
        volumes = DAFNET.infer(tmp_path / str(pixdim[0]), heart, "demo", ckpt_dir=checkpoint, pixdim=pixdim)
        for subject in ("s05", "s06"):
            same_place(volumes[f"{subject}_lge_seg.nii.gz"], nib.load(heart / "images" / f"{subject}_lge.nii.gz"))


@pytest.fixture
def speckled(checkpoint, tmp_path):
    """Weights with noise, whose masks are in many parts."""
    state = torch.load(Path(checkpoint) / "model.pt", weights_only=True)
    torch.manual_seed(0)
    for value in state.values():
        if value.ndim > 1:
            value += value.std() * torch.randn_like(value)
    shutil.copytree(checkpoint, tmp_path / "speckled")
    torch.save(state, tmp_path / "speckled" / "model.pt")
    return str(tmp_path / "speckled")


def test_largest_components(heart, speckled, tmp_path):
    """SciPy's labelling says what remains of each class; without the switch nothing is taken away."""
    pytest.importorskip("skimage")
    ndimage = pytest.importorskip("scipy.ndimage")
    checkpoint = speckled
    plain = DAFNET.infer(tmp_path / "plain", heart, ckpt_dir=checkpoint)
    kept = DAFNET.infer(tmp_path / "kept", heart, ckpt_dir=checkpoint, largest_component=True)
    lost = 0
    for name, volume in plain.items():
        values, found = (np.asarray(one.dataobj) for one in (volume, kept[name]))
        np.testing.assert_array_equal(kept[name].affine, volume.affine)
        assert found.dtype == values.dtype
        for label in (1, 2, 3):
            parts, number = ndimage.label(values == label, structure=np.ones((3, 3, 3)))
            sizes = np.bincount(parts.ravel())[1:]
            remaining = found == label
            assert (values[remaining] == label).all()
            assert remaining.sum() == (sizes.max() if number else 0)
            assert ndimage.label(remaining, structure=np.ones((3, 3, 3)))[1] == min(number, 1)
            lost += number > 1
    assert lost  # otherwise nothing was tested


def test_the_switch_alone_asks_for_scikit_image(heart, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)  # as if it were not installed
    settings = {"ckpt_dir": checkpoint}
    DAFNET.load(("inference",), tmp_path, heart, **settings).initialize()
    workflow = DAFNET.load(("inference",), tmp_path, heart, **settings, largest_component=True)
    with pytest.raises(RuntimeError) as error:
        workflow.initialize()
    assert "largest_component needs the package scikit-image" in causes(error.value)


def test_three_modalities(heart_of_three, tmp_path):
    three = {"modalities": ["cine", "lge", "t2"]}
    workflow = DAFNET.train(tmp_path, heart_of_three, **three)
    assert workflow.network_def.num_modalities == 3
    assert workflow.parser.get_parsed_content("train#dataset")[0]["image"].shape == (3, 48, 48)
    (volume,) = DAFNET.infer(tmp_path, heart_of_three, **three).values()
    same_place(volume, nib.load(heart_of_three / "images" / "s03_lge.nii.gz"))
    items = [item for item in read(heart_of_three / "datalist.json")["test"] if item["modality"] != "lge"]
    data = write(tmp_path / "data", {**listed(items), **three}, heart_of_three)
    (volume,) = DAFNET.infer(tmp_path / "rest", data, ckpt_dir=str(tmp_path / "models"), **three).values()
    same_place(volume, nib.load(heart_of_three / "images" / "s03_cine.nii.gz"))  # the first that is there
