# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The chain from files to one tensor, and back."""

from __future__ import annotations

from itertools import permutations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, ResizeWithPadOrCropd

from monai_mmseg.transforms import (
    LoadImageModalitiesd,
    OrientSlicesd,
    SafeSpacingd,
    ScaleIntensitySlicesd,
    SpacingInPlaned,
    StackModalitiesd,
)
from tests.synthetic_volumes import body, centered_affine, permuted, rotation, write

OBLIQUE = rotation(48, 42, 37)
KEYS = ["image", "label"]


def chain(modalities=("cine", "lge"), target="lge", size=(40, 40), pixdim=(2.8, 2.8), **stack):
    return Compose(
        [
            LoadImageModalitiesd(modalities=modalities, target=target),
            OrientSlicesd(KEYS, allow_missing_keys=True),
            SpacingInPlaned(KEYS, pixdim, mode=["bilinear", "nearest"], allow_missing_keys=True),
            ResizeWithPadOrCropd(KEYS, (*size, -1), mode=["edge", "constant"], allow_missing_keys=True),
            StackModalitiesd(modalities=modalities, target=target, **stack),
            ScaleIntensitySlicesd("image"),
        ]
    )


GRIDS = {"cine": ((64, 60, 9), (1.5, 1.6, 9.0)), "lge": ((52, 58, 10), (1.8, 1.7, 8.0))}


def study(folder, grids=GRIDS, axes=OBLIQUE, store=None, shift=(0, 0, 0)):
    """A subject; `store` changes how files keep their axes."""
    item = {"subject": "s1", "image": {}, "label": {}}
    for name, (shape, spacing) in grids.items():
        affine = centered_affine(shape, spacing, axes, shift)
        for kind, array in zip(KEYS, body(shape, affine), strict=True):
            stored, matrix = (array, affine) if store is None else permuted(array, affine, *store)
            item[kind][name] = write(folder / f"{name}_{kind}.nii.gz", stored, matrix)
    return item


def dice(a, b, value):
    a, b = torch.as_tensor(a) == value, torch.as_tensor(b) == value
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_what_the_chain_gives(tmp_path):
    out = chain(num_candidates=3, candidates="nearest")(study(tmp_path))
    assert out["image"].shape == (6, 40, 40, 10)
    assert out["label"].shape == (2, 40, 40, 10)
    assert out["label"].dtype == torch.uint8
    assert out["present"].shape == (2, 10)
    assert out["labelled"].tolist() == [True, True]
    assert "siblings" not in out
    finite = out["present"].repeat_interleave(3, 0)[:, None, None].expand(out["image"].shape)
    assert torch.isfinite(out["image"][finite]).all()
    spacing = np.linalg.norm(np.asarray(out["image"].affine)[:3, :3], axis=0)
    np.testing.assert_allclose(spacing, [2.8, 2.8, 8.0], atol=1e-5)


def test_both_modalities_show_the_body_in_the_same_place(tmp_path):
    """The lattice's own truth comes from the formula of the body, not from resampling."""
    out = chain()(study(tmp_path))
    truth = body((40, 40, 10), np.asarray(out["image"].affine))[1]
    inner = out["present"].all(0)
    assert dice(out["label"][1], truth, 1) > 0.95
    # cine slices are 9 mm apart: up to 4.5 mm from the slice they stand for
    assert dice(out["label"][0][..., inner], truth[..., inner], 1) > 0.85
    assert dice(out["label"][0][..., inner], truth[..., inner], 2) > 0.85


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", [(), (2,), (0, 1, 2)])
def test_storage_does_not_matter(tmp_path, order, flips):
    plain = chain(num_candidates=3, candidates="random")(study(tmp_path / "a"))
    other = chain(num_candidates=3, candidates="random")(study(tmp_path / "b", store=(order, flips)))
    np.testing.assert_allclose(plain["image"].affine, other["image"].affine, atol=1e-4)
    torch.testing.assert_close(plain["present"], other["present"])
    torch.testing.assert_close(
        plain["image"].as_tensor(), other["image"].as_tensor(), atol=2e-3, rtol=0, equal_nan=True
    )
    assert (plain["label"] != other["label"]).float().mean() < 1e-3


@pytest.mark.parametrize("angles", [(0, 0, 0), (45, 0, 0), (0, 45, 0), (48, 42, 37), (30, -70, 15)])
@pytest.mark.parametrize("size", [(40, 40), (24, 32), (96, 64)], ids=["near", "smaller", "larger"])
def test_inversion_puts_a_prediction_back_on_the_file_grid(tmp_path, angles, size):
    item = study(tmp_path, axes=rotation(*angles), store=((2, 0, 1), (0, 2)))
    volumes = chain(size=size)
    out = volumes(item)
    invert = Invertd("pred", volumes, orig_keys="image", nearest_interp=True)
    result = invert({**out, "pred": MetaTensor(out["label"][1:2].as_tensor().clone())})["pred"]
    file = nib.load(item["label"]["lge"])
    truth = np.asarray(file.dataobj)
    assert result.shape[1:] == file.shape
    np.testing.assert_allclose(result.affine, file.affine, atol=1e-4)
    if size == (24, 32):  # 67 mm of a body 60 mm long: only the core fits into the crop at every angle
        assert dice(result[0], truth, 2) > 0.85
    else:
        assert dice(result[0], truth, 1) > 0.9
        assert dice(result[0], truth, 2) > 0.9


def test_a_prediction_of_several_channels_is_inverted_too(tmp_path):
    item = study(tmp_path)
    volumes = chain()
    out = volumes(item)
    pred = MetaTensor(torch.rand(3, *out["image"].shape[1:]))
    result = Invertd("pred", volumes, orig_keys="image")({**out, "pred": pred})["pred"]
    assert result.shape == (3, *nib.load(item["image"]["lge"]).shape)


def test_slices_are_not_mixed(tmp_path):
    """A stack whose slices hold their own number: every sampled value is a whole number."""
    for name, (shape, spacing) in {"cine": ((20, 20, 6), (2, 2, 7.0)), "lge": ((20, 20, 5), (2, 2, 9.0))}.items():
        array = np.broadcast_to(np.arange(1, shape[2] + 1, dtype=np.float32), shape).copy()
        array[0, 0] += 0.25  # constant images are no images
        write(tmp_path / f"{name}.nii.gz", array, centered_affine(shape, spacing, OBLIQUE))
    item = {"image": {name: str(tmp_path / f"{name}.nii.gz") for name in ("cine", "lge")}}
    out = Compose(chain(size=(12, 12), pixdim=(2.0, 2.0)).transforms[:-1])(item)
    values = out["image"][:, 3:9, 3:9].as_tensor()
    assert values[1, 0, 0].tolist() in ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    torch.testing.assert_close(values, values.round(), atol=1e-4, rtol=0)
    # centres coincide: lge slices at -18, -9, 0, 9, 18 mm; cine at -17.5, -10.5, -3.5, 3.5, 10.5, 17.5
    assert sorted(values[0, 0, 0].round().int().tolist()) in ([1, 2, 3, 5, 6], [1, 2, 4, 5, 6])


def test_absent_slices_modalities_and_labels(tmp_path):
    item = study(tmp_path, {**GRIDS, "cine": ((64, 60, 4), (1.5, 1.6, 9.0))})
    item["label"].pop("cine")
    out = chain(("cine", "lge", "t2"))(item)
    present = out["present"]
    assert present[1].all()
    assert not present[2].any()
    assert 4 <= int(present[0].sum()) < 10
    assert torch.isnan(out["image"][0][..., ~present[0]]).all()
    assert torch.isnan(out["image"][2]).all()
    assert out["labelled"].tolist() == [False, True, False]
    assert not out["label"][[0, 2]].any()


def test_a_subject_without_the_target_lies_on_the_first_grid(tmp_path):
    item = study(tmp_path)
    for kind in KEYS:
        item[kind].pop("lge")
    out = chain()(item)
    assert out["image"].shape[-1] == 9
    assert out["present"].all(1).tolist() == [True, False]


@pytest.mark.parametrize("modalities", [("cine",), ("cine", "lge", "t1"), ("t1", "cine", "t2", "lge")])
def test_one_to_four_modalities(tmp_path, modalities):
    grids = {**GRIDS, "t1": ((40, 40, 7), (2.0, 2.0, 10.0)), "t2": ((70, 30, 12), (1.2, 2.5, 6.0))}
    item = study(tmp_path, {name: grids[name] for name in modalities})
    out = chain(modalities, modalities[-1], num_candidates=2, candidates="nearest")(item)
    assert out["image"].shape[0] == 2 * len(modalities)
    assert out["present"].float().mean() > 0.8


def test_a_single_slice(tmp_path):
    grids = {"cine": ((64, 60, 9), (1.5, 1.6, 9.0)), "lge": ((52, 58, 1), (1.8, 1.7, 2.0))}
    out = chain(num_candidates=3, candidates="random")(study(tmp_path, grids))
    assert out["image"].shape == (6, 40, 40, 1)
    assert out["present"].all()
    np.testing.assert_array_equal(out["image"][3].as_tensor(), out["image"][5].as_tensor())


def test_candidates_are_neighbours_in_their_own_volume(tmp_path):
    out = Compose(chain(num_candidates=3, candidates="nearest").transforms[:-1])(study(tmp_path))
    lge = out["image"][3:].as_tensor()
    torch.testing.assert_close(lge[1, ..., 5], lge[0, ..., 4])
    torch.testing.assert_close(lge[2, ..., 5], lge[0, ..., 6])
    drawn = [chain(num_candidates=3, candidates="random", seed=seed)(study(tmp_path))["image"] for seed in (0, 0, 1)]
    assert drawn[0].equal(drawn[1]) or torch.equal(torch.nan_to_num(drawn[0]), torch.nan_to_num(drawn[1]))
    assert not torch.equal(torch.nan_to_num(drawn[0]), torch.nan_to_num(drawn[2]))


@pytest.mark.parametrize("flips", [(), (2,)])
def test_a_table_counts_slices_as_the_files_do(tmp_path, flips):
    """Slice 3 of the target with slice 7 of cine, whichever way the files run."""
    item = study(tmp_path, store=((0, 1, 2), flips))
    out = Compose(chain().transforms[:-1])({**item, "pairs": {"cine": {"3": 7}}})
    place = int(out["present"][0].nonzero()[0, 0])
    assert int(out["present"][0].sum()) == 1
    center = np.asarray(out["image"].affine) @ [19.5, 19.5, place, 1]
    file = np.linalg.inv(nib.load(item["image"]["lge"]).affine) @ center
    assert round(file[2]) == 3
    cine = np.asarray(nib.load(item["image"]["cine"]).dataobj)[..., 7]
    assert cine.min() - 1e-3 <= float(out["image"][0, :, :, place].min())
    assert float(out["image"][0, :, :, place].max()) == pytest.approx(float(cine.max()), rel=0.02)


def test_shifted_pairs_differ_from_true_ones_by_whole_slices(tmp_path):
    item = study(tmp_path)
    plain, moved = (Compose(chain(random_shift=n).transforms[:-1])(item)["image"][0].as_tensor() for n in (0, 2))
    assert not torch.equal(torch.nan_to_num(plain), torch.nan_to_num(moved))


def test_planes_that_cross_are_resampled_in_3d(tmp_path):
    short, long = GRIDS["lge"], ((60, 60, 12), (1.5, 1.5, 5.0))
    item = study(tmp_path / "a", {"lge": short})
    other = study(tmp_path / "b", {"cine": long}, axes=OBLIQUE @ rotation(60, 0, 0))
    for kind in KEYS:
        item[kind].update(other[kind])
    out = chain(num_candidates=3, candidates="nearest")(item)
    truth = body((40, 40, 10), np.asarray(out["image"].affine))[1]
    inner = out["present"].all(0)
    assert inner.sum() >= 8
    assert dice(out["label"][0][..., inner], truth[..., inner], 1) > 0.85
    assert torch.isfinite(out["image"][:3][..., inner]).all()


def test_files_that_do_not_meet_are_reported_and_absent(tmp_path, caplog):
    item = study(tmp_path / "a", {"lge": GRIDS["lge"]})
    far = study(tmp_path / "b", {"cine": GRIDS["cine"]}, shift=(900, 0, 0))
    item["image"].update(far["image"])
    out = chain()(item)
    assert not out["present"][0].any()
    assert "s1: no slice of cine lies near a slice of lge" in caplog.text


def test_spacing_keeps_slices_and_bystanders(tmp_path):
    affine = centered_affine((30, 40, 5), (1.1, 0.9, 8.0), OBLIQUE)
    image = MetaTensor(torch.rand(1, 30, 40, 5), affine=torch.as_tensor(affine), meta={"filename_or_obj": "x.nii.gz"})
    out = SpacingInPlaned("image", (2.2, 1.8))({"image": image, "image_path": "x.nii.gz", "image_meta_dict": {}})
    assert out["image"].shape[-1] == 5
    assert list(out) == ["image", "image_path", "image_meta_dict"]
    mine = centered_affine((30, 40, 5), (1.1, 0.9, 8.0), OBLIQUE)[:3, 2]
    np.testing.assert_allclose(np.asarray(out["image"].affine)[:3, 2], mine, atol=1e-8)
    constant = MetaTensor(torch.arange(5.0).expand(1, 30, 40, 5).clone(), affine=torch.as_tensor(affine))
    through = SpacingInPlaned("image", (2.2, 1.8))({"image": constant})["image"]
    torch.testing.assert_close(through[0, 4, 4].as_tensor(), torch.arange(5.0), atol=1e-4, rtol=0)
    assert SafeSpacingd("image", 2.0)({"image": image, "image_path": "a"})["image_path"] == "a"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target": "x"}, r"target must be one of \['a', 'b'\], got 'x'"),
        ({"candidates": "all"}, "got 'all'"),
        ({"num_candidates": 3}, "candidates='expert' with num_candidates=3"),
        ({"num_candidates": 6, "candidates": "random"}, "num_candidates must lie in 1..5"),
        ({"random_shift": -1}, "random_shift must not be negative, got -1"),
        ({"max_distance_mm": 0}, "max_distance_mm must be positive, got 0"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        StackModalitiesd(**{"modalities": ["a", "b"], "target": "b", **kwargs})
    with pytest.raises(ValueError, match="pixdim must be two positive spacings"):
        SpacingInPlaned("image", (2.0,))


def test_a_volume_that_is_no_frame_is_refused():
    stack = StackModalitiesd(modalities=["a", "b"], target="b")
    with pytest.raises(ValueError, match=r"image must be a MetaTensor \(1, H, W, D\), got Tensor \(2, 4, 4, 2\)"):
        stack({"image": torch.zeros(2, 4, 4, 2)})


def test_inversion_after_a_loader_and_decollating(tmp_path):
    """As an evaluator does it: batched, predicted, taken apart, inverted."""
    from monai.data import DataLoader, Dataset, decollate_batch

    item = study(tmp_path, store=((1, 2, 0), (1,)))
    volumes = chain(num_candidates=3, candidates="nearest")
    batch = next(iter(DataLoader(Dataset([item], volumes), batch_size=1, num_workers=1)))
    assert batch["present"].shape == (1, 2, 10)
    batch["pred"] = batch["label"][:, 1:2].clone()
    one = decollate_batch(batch)[0]
    result = Invertd("pred", volumes, orig_keys="image", nearest_interp=True)(one)["pred"]
    file = nib.load(item["label"]["lge"])
    assert result.shape[1:] == file.shape
    assert dice(result[0], np.asarray(file.dataobj), 1) > 0.9
    np.testing.assert_allclose(result.affine, file.affine, atol=1e-4)


def test_tables_of_a_datalist_start_from_their_own_modality(tmp_path):
    item = study(tmp_path)
    run = Compose(chain().transforms[:-1])
    direct, backward, foreign = (
        run({**item, "pairs": pairs})
        for pairs in (
            {"lge": {"cine": {"3": 7}}, "cine": {"lge": {"0": 0}}},
            {"cine": {"lge": {"7": 3}}},
            {"cine": {"t2": {"0": 0}}},
        )
    )
    expected = run({**item, "pairs": {"cine": {"3": 7}}})
    for found in (direct, backward):
        assert torch.equal(found["present"], expected["present"])
        assert torch.equal(found["image"].nan_to_num(), expected["image"].nan_to_num())
    assert torch.equal(foreign["present"], run(item)["present"])  # by position
