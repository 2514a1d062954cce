# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from monai_mmseg.transforms import AdjacentSlicesd, LoadImageModalitiesd, ResampleModalitiesd
from tests.synthetic_volumes import CENTER, body, centered_affine, permuted, rotation, world_of, write

MODALITIES = ["t1", "t2", "flair"]
SLOPE = np.array([0.9, 0.5, 0.3])
GRIDS = {  # shape, spacing, how the scanner's axes lie, how the file stores them
    "t1": ((30, 34, 28), (2.0, 2.2, 2.4), rotation(3, -2, 4), ((2, 0, 1), (1,))),
    "t2": ((40, 36, 14), (1.7, 1.9, 4.5), rotation(-4, 2, 0), ((0, 1, 2), (0, 1))),
    "flair": ((16, 30, 36), (4.0, 2.1, 1.8), rotation(0, 0, 6), ((1, 2, 0), (2,))),
}


def plane(world):
    """Known anywhere, and exact under linear interpolation."""
    return 1000 + (world - CENTER) @ SLOPE


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Images of one plane and labels of one body, each on its grid; and the affines before they were stored."""
    folder = tmp_path_factory.mktemp("study")
    item = {"subject": "s1", "image": {}, "label": {}}
    grids = {}
    for name, (shape, spacing, axes, (order, flips)) in GRIDS.items():
        affine = centered_affine(shape, spacing, axes)
        image = plane(world_of(shape, affine)).astype(np.float32)
        grids[name] = shape, affine
        for key, array in (("image", image), ("label", body(shape, affine)[1])):
            stored, where = permuted(array, affine, order, flips)
            item[key][name] = write(folder / key / f"{name}.nii.gz", stored, where)
    return item, grids


def steps(target="t1", label_key="label", **more):
    more = {"pixdim": (2.5, 2.5, 3.0), "spatial_size": (32, 28, -1), **more}
    return Compose(
        [
            LoadImageModalitiesd(modalities=MODALITIES, target=target, label_key=label_key),
            ResampleModalitiesd(modalities=MODALITIES, label_key=label_key, **more),
        ]
    )


def only(item, *names):
    return {**item, **{key: {name: item[key][name] for name in names} for key in ("image", "label")}}


@pytest.mark.parametrize("target", MODALITIES)
def test_every_modality_lies_where_it_was(study, target):
    """And outside of its field of view it is background, not absent."""
    item, grids = study
    out = steps(target)(item)
    image, affine = out["image"], np.asarray(out["image"].affine)
    assert image.shape[:3] == (3, 32, 28)
    assert image.dtype == torch.float32
    assert out["present"].tolist() == [True] * 3
    world = world_of(image.shape[1:], affine)
    assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx([2.5, 2.5, 3.0], abs=1e-4)
    for channel, name in zip(image.as_tensor().numpy(), MODALITIES, strict=True):
        shape, own = grids[name]
        voxel = (world - own[:3, 3]) @ np.linalg.inv(own[:3, :3]).T
        inner = ((voxel >= 0) & (voxel <= np.array(shape) - 1)).all(-1)
        outer = ((voxel < -0.51) | (voxel > np.array(shape) - 0.49)).any(-1)
        assert inner.mean() > 0.2
        np.testing.assert_allclose(channel[inner], plane(world)[inner], atol=0.05)
        assert not channel[outer].any()


def test_the_slices_are_axial_and_follow_the_reference(study):
    item, grids = study
    for target in MODALITIES:
        directions = np.asarray(steps(target)(item)["image"].affine)[:3, :3] / [2.5, 2.5, 3.0]
        # rows to the back, columns to the patient's left, slices to the head (NIfTI: right, front, up are positive)
        np.testing.assert_allclose(directions, [[0, -1, 0], [-1, 0, 0], [0, 0, 1]], atol=0.15)
        own = grids[target][1][:3, :3] / GRIDS[target][1]
        # every axis is one of the scanner's for this modality
        assert np.allclose(np.abs(own.T @ directions).max(0), 1, atol=1e-4)


def test_what_is_absent_is_nan_and_the_first_that_is_there_stands_in(study):
    item, _ = study
    out = steps("t1")(only(item, "t2", "flair"))
    image = out["image"]
    assert out["present"].tolist() == [False, True, True]
    assert out["present"].dtype == torch.bool
    assert image[0].isnan().all()
    assert image[1:].isfinite().all()
    assert torch.equal(image[1:], steps("t2")(only(item, "t2", "flair"))["image"][1:])
    alone = steps("t1")(only(item, "flair"))
    assert alone["present"].tolist() == [False, False, True]
    assert "siblings" not in alone


@pytest.mark.parametrize("target", MODALITIES)
def test_a_prediction_returns_to_the_file_of_the_reference(study, target):
    import nibabel as nib

    item, _ = study
    pipeline = Compose([*steps(target, spatial_size=(36, 34, 26)).transforms, AdjacentSlicesd("image", 3)])
    data = pipeline(item)
    place = MODALITIES.index(target)
    pred = {**data, "pred": MetaTensor(data["image"].as_tensor()[3 * place + 1 : 3 * place + 2].clone())}
    back = Invertd("pred", pipeline, "image", nearest_interp=False)(pred)["pred"]
    file = nib.load(item["image"][target])
    assert back.shape == (1, *file.shape)
    np.testing.assert_allclose(np.asarray(back.affine), file.affine, atol=1e-3)
    values, expected = back[0].as_tensor().numpy(), file.get_fdata()
    inner = values != 0
    inner[[0, -1]] = inner[:, [0, -1]] = inner[..., [0, -1]] = False
    close = np.abs(values - expected) < 1
    assert inner.mean() > 0.4
    assert close[inner].mean() > 0.85  # what is not lies at the border of the network's grid
    assert len(data["image"].applied_operations) == 3  # nothing of it was consumed


def test_labels_are_the_references_or_the_first_there_is(study):
    item, _ = study
    out = steps("t1")(item)
    assert out["label"].shape == (1, *out["image"].shape[1:])
    assert out["label"].dtype == torch.uint8
    assert bool(out["labelled"])
    world = world_of(out["image"].shape[1:], np.asarray(out["image"].affine))
    depth = np.linalg.norm((world - CENTER) / [30.0, 22.0, 26.0], axis=-1)
    truth = (depth < 1).astype(int) + (depth < 0.5)
    for data in (out, steps("t1")({**item, "label": {"flair": item["label"]["flair"]}})):
        label = data["label"][0].as_tensor().numpy()
        assert set(np.unique(label)) == {0, 1, 2}
        dice = [2 * ((label == k) & (truth == k)).sum() / ((label == k).sum() + (truth == k).sum()) for k in (1, 2)]
        assert min(dice) > 0.9
    none = steps("t1")({**item, "label": {}})
    assert not bool(none["labelled"])
    assert not none["label"].any()
    assert "labelled" not in steps("t1", label_key=None)(item)


def ball(spacing, size, value=100.0):
    affine = torch.eye(4, dtype=torch.float64) * spacing
    affine[:3, 3] = -spacing * (size - 1) / 2
    affine[3, 3] = 1
    axis = (torch.arange(size) - (size - 1) / 2) * spacing
    inside = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < 20**2
    return MetaTensor((inside * value)[None].float(), affine=affine)


def test_background_is_not_mixed_into_the_body():
    data = {"image": ball(2.0, 30), "frame": 0, "siblings": {"t2": {"image": ball(3.1, 20, 50.0), "label": None}}}
    own = {"modalities": ["t1", "t2"], "pixdim": (2.3, 2.3, 2.3), "label_key": None}
    sharp = ResampleModalitiesd(**own)(data)["image"].as_tensor()
    natives = (data["image"], data["siblings"]["t2"]["image"])
    for channel, native, value, spacing in zip(sharp, natives, (100.0, 50.0), (2.0, 3.1), strict=True):
        assert ((channel - value).abs().lt(1e-3) | (channel == 0)).all()
        volume = int((native > 0).sum()) * spacing**3
        assert int((channel > 0).sum()) * 2.3**3 == pytest.approx(volume, rel=0.05)
    plain = ResampleModalitiesd(**own, background=None)(data)["image"].as_tensor()
    assert ((plain[0] > 1) & (plain[0] < 99)).any()
    torch.testing.assert_close(plain[0].sum(), sharp[0].sum(), rtol=0.03, atol=0)


def test_another_background():
    volume = ball(2.0, 30)
    volume[volume == 0] = -1000.0
    out = ResampleModalitiesd(modalities=["ct"], pixdim=(2.3,) * 3, label_key=None, background=-1000)(
        {"image": volume, "frame": 0, "siblings": {}}
    )["image"].as_tensor()
    assert set(out.unique().round().tolist()) == {-1000.0, 100.0}


def test_a_grid_that_fits_is_only_turned():
    volume = MetaTensor(torch.rand(1, 6, 7, 5) + 1, affine=torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])))
    resample = ResampleModalitiesd(modalities=["t1"], pixdim=(2, 2, 3), label_key=None)
    out = resample({"image": volume, "frame": 0, "siblings": {}})
    expected = volume[0].as_tensor().flip(0, 1).transpose(0, 1)  # stored right, front, up
    assert torch.equal(out["image"][0].as_tensor(), expected)
    assert torch.equal(resample.inverse(out)["image"].as_tensor(), volume.as_tensor())


def test_an_image_of_one_value_counts_as_absent(caplog):
    """Where it lies is not the question then."""
    flat = ball(2.0, 30)
    flat[:] = 0
    flat.meta["filename_or_obj"] = "flat.nii.gz"
    data = {"image": ball(2.0, 30), "frame": 0, "siblings": {"t2": {"image": flat, "label": None}}}
    out = ResampleModalitiesd(modalities=["t1", "t2"], pixdim=(2, 2, 2), label_key=None)(data)
    assert out["present"].tolist() == [True, False]
    assert caplog.messages == ["flat.nii.gz: t2: it has one value alone, so it counts as absent"]


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("background", [0.0, None])
def test_a_reference_of_one_value_gives_the_grid_alone(caplog, value, background):
    """Programs write zeros for a sequence that was not taken; its label and the prediction's grid are its own."""
    flat, other = torch.full_like(ball(2.0, 30), value), ball(3.1, 20, 50.0)
    flat.meta["filename_or_obj"] = "flat.nii.gz"
    label = ball(2.0, 30, 1.0)
    data = {"image": flat, "label": label, "frame": 0, "siblings": {"t2": {"image": other, "label": None}}}
    resample = ResampleModalitiesd(modalities=["t1", "t2"], pixdim=(2.3, 2.3, 2.3), background=background)
    out = resample(data)
    assert out["present"].tolist() == [False, True]
    assert out["image"][0].isnan().all()
    assert bool(out["labelled"])
    assert caplog.messages == ["flat.nii.gz: t1: it has one value alone, so it counts as absent"]
    whole = resample({**data, "image": label})
    assert torch.equal(out["image"][1].as_tensor(), whole["image"][1].as_tensor())
    back = resample.inverse(out)["image"]
    assert back.shape[1:] == flat.shape[1:]
    torch.testing.assert_close(back.affine, flat.affine)
    assert out["image"].meta["filename_or_obj"] == "flat.nii.gz"


def test_a_subject_without_any_content_is_refused():
    flat = torch.zeros_like(ball(2.0, 30))
    data = {"image": flat, "frame": 0, "siblings": {"t2": {"image": flat.clone(), "label": None}}}
    with pytest.raises(ValueError, match="no modality holds more than background on the grid"):
        ResampleModalitiesd(modalities=["t1", "t2"], pixdim=(2, 2, 2), label_key=None)(data)


def test_what_lies_elsewhere_counts_as_absent(caplog):
    away = ball(2.0, 30)
    away.affine[:3, 3] += 500
    away.meta["filename_or_obj"] = "away.nii.gz"
    data = {"image": ball(2.0, 30), "frame": 0, "siblings": {"t2": {"image": away, "label": None}}}
    with caplog.at_level(logging.WARNING):
        out = ResampleModalitiesd(modalities=["t1", "t2"], pixdim=(2, 2, 2), label_key=None)(data)
    assert out["present"].tolist() == [True, False]
    assert out["image"][1].isnan().all()
    assert "away.nii.gz: t2: nothing of it lies where" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixdim": (1, 1)}, r"pixdim must be three positive spacings .* got \(1, 1\)"),
        ({"pixdim": (1, 1, 0)}, "pixdim must be three positive"),
        ({"pixdim": 1.0}, "pixdim must be three positive .* got 1.0"),
        ({"spatial_size": (4, 4)}, r"spatial_size must be three sizes.* got \(4, 4\)"),
        ({"spatial_size": (4, 0, 4)}, "spatial_size must be three sizes"),
        ({"modalities": ["a", "a"]}, "modalities must be distinct"),
        ({"modalities": "t1"}, "modalities must be distinct names, got 't1'"),
        ({"keys": ["image", "label"]}, "keys must name one image"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResampleModalitiesd(**{"modalities": ["t1"], "pixdim": (1, 1, 1), **arguments})


def test_refuses_data(study, tmp_path):
    item, _ = study

    def run(data):
        for step in steps().transforms:  # Compose would wrap the errors
            data = step(data)

    resample = ResampleModalitiesd(modalities=["t1", "t2"], pixdim=(1, 1, 1), label_key=None)
    with pytest.raises(ValueError, match=r"as LoadImageModalitiesd makes it, got Tensor \(1, 2, 2, 2\)"):
        resample({"image": torch.zeros(1, 2, 2, 2)})
    with pytest.raises(ValueError, match=r"siblings must be modalities of .* got \['pet'\]"):
        resample({"image": ball(2.0, 30), "frame": 0, "siblings": {"pet": {}}})
    empty = write(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4), np.float32), np.eye(4))
    with pytest.raises(ValueError, match=r"empty.nii.gz: the image holds nothing but background"):
        run({"subject": "x", "image": {"t1": empty}})
    holes = write(tmp_path / "holes.nii.gz", np.full((4, 4, 4), np.nan, np.float32), np.eye(4))
    with pytest.raises(ValueError, match=r"holes.nii.gz: 64 of 64 values are NaN"):
        run({"subject": "x", "image": {**item["image"], "flair": holes}})
    with pytest.raises(ValueError, match=r"none of the modalities .* is present"):
        run({"subject": "x", "image": {}})


def test_the_background_of_an_image_may_have_any_value():
    body = torch.zeros(1, 10, 10, 6)
    body[:, 3:7, 3:7, 1:5] = torch.rand(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)) + 2
    affine = torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0]))
    moved = affine.clone()
    moved[0, 3] = 4

    def run(image, **how):
        sibling = {"image": MetaTensor(image, affine=moved), "label": None}
        resample = ResampleModalitiesd(modalities=["a", "b"], pixdim=[1, 1, 2], label_key=None, **how)
        return resample({"image": MetaTensor(image, affine=affine), "frame": 0, "siblings": {"b": sibling}})["image"]

    expected = torch.where(run(body) != 0, run(body) + 1000, 0.0)
    found = run(torch.where(body != 0, body, -1000.0))
    torch.testing.assert_close(found.as_tensor(), expected.as_tensor(), rtol=1e-5, atol=1e-3)
    plain = run(torch.where(body != 0, body - 5, -5.0), background=None)
    assert (plain[1] == -5).any()  # outside of the field of view
    assert not (plain[1] == 0).any()
