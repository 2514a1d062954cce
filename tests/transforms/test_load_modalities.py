# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged

from monai_mmseg.transforms import LoadImageModalitiesd
from tests.synthetic_volumes import body, centered_affine, write

SHAPE = (12, 10, 4)


@pytest.fixture
def files(tmp_path):
    affine = centered_affine(SHAPE, (6, 6, 12))
    image, label = body(SHAPE, affine)
    paths = {name: write(tmp_path / f"{name}.nii.gz", image + place, affine) for place, name in enumerate("abc")}
    paths["label"] = write(tmp_path / "label.nii.gz", label, affine)
    return paths


def loader(**kwargs):
    return LoadImageModalitiesd(**{"modalities": ["a", "b"], "target": "b", **kwargs})


def test_it_is_not_wrapped_by_monai_label():
    assert not issubclass(LoadImageModalitiesd, LoadImaged)


def test_a_grouped_subject(files):
    data = {"subject": "s1", "image": {"a": files["a"], "b": files["b"]}, "label": {"a": files["label"]}}
    out = loader()(data)
    assert out["frame"] == 1
    assert isinstance(out["image"], MetaTensor)
    assert out["image"].shape == (1, *SHAPE)
    assert out["present"].tolist() == [True, True]
    assert out["labelled"].tolist() == [True, False]
    assert "label" not in out  # the frame has none
    assert out["siblings"]["a"]["label"].shape == (1, *SHAPE)
    assert out["subject"] == "s1"
    assert "label" in data  # the caller's dictionary is left alone


def test_without_the_target_the_first_modality_is_the_frame(files):
    out = loader(modalities=["c", "a", "b"])(
        {"image": {"a": files["a"], "c": files["c"]}, "label": {"a": files["label"]}}
    )
    assert out["frame"] == 0
    assert list(out["siblings"]) == ["a"]
    assert out["present"].tolist() == [True, True, False]


def test_one_file_is_the_target_or_the_default_modality(files):
    out = loader()({"image": files["a"], "label": files["label"], "image_path": files["a"]})
    assert (out["frame"], out["siblings"], out["present"].tolist()) == (1, {}, [False, True])
    assert out["labelled"].tolist() == [False, True]
    assert loader(default_modality="a")({"image": files["a"]})["frame"] == 0


def test_modalities_in_sub_folders(files, tmp_path):
    affine = centered_affine(SHAPE, (6, 6, 12))
    write(tmp_path / "cine" / "b.nii.gz", body(SHAPE, affine)[0] + 50, affine)
    out = loader(siblings={"a": "cine"})({"image": files["b"]})
    assert out["present"].all()
    assert float(out["siblings"]["a"]["image"].mean() - out["image"].mean()) == pytest.approx(49, abs=0.1)
    with pytest.raises(
        FileNotFoundError, match=r"modality 'a' of .*c.nii.gz is missing: .*cine/c.nii.gz does not exist"
    ):
        loader(siblings={"a": "cine"})({"image": files["c"]})


def stack_file(tmp_path, holes=()):
    affine = centered_affine(SHAPE, (6, 6, 12))
    image = np.stack([body(SHAPE, affine)[0], body(SHAPE, affine)[0] + 9], -1)
    for hole in holes:
        image[hole] = np.nan
    return write(tmp_path / "stack.nii.gz", image, affine)


def test_a_stack_has_its_modalities_last_and_the_label_of_the_target(files, tmp_path):
    path = stack_file(tmp_path)
    out = loader()({"image": path, "label": files["label"]})
    assert out["present"].all()
    assert float((out["image"] - out["siblings"]["a"]["image"]).mean()) == pytest.approx(9, abs=1e-3)
    assert out["labelled"].tolist() == [False, True]
    assert loader(stack_label="all")({"image": path, "label": files["label"]})["labelled"].all()


def test_a_channel_of_nan_is_absent_and_a_few_nan_are_an_error(tmp_path):
    out = loader()({"image": stack_file(tmp_path, [(..., 1)])})
    assert out["present"].tolist() == [True, False]
    assert out["frame"] == 0
    with pytest.raises(ValueError, match=r"\.nii\.gz: b \(volume 2 of 2; .*\): 1 of \d+ values are NaN"):
        loader()({"image": stack_file(tmp_path, [(3, 3, 2, 1)])})


def test_a_loaded_tensor_passes_through(files):
    image = torch.rand(2, 5, 5, 3)
    out = loader()({"image": image})
    torch.testing.assert_close(out["image"].as_tensor(), image[1:])
    torch.testing.assert_close(out["siblings"]["a"]["image"].as_tensor(), image[:1])
    single = loader()({"image": MetaTensor(image[:1])})
    assert single["present"].tolist() == [False, True]


def test_bad_files_are_named(files, tmp_path):
    affine = centered_affine(SHAPE, (6, 6, 12))
    image, label = body(SHAPE, affine)
    bad = image.copy()
    bad[0, 0, 0] = np.nan
    cases = [
        ({"image": str(tmp_path / "lost.nii.gz")}, FileNotFoundError, "lost.nii.gz: no such file"),
        ({"image": write(tmp_path / "nan.nii.gz", bad, affine)}, ValueError, r"nan.nii.gz: 1 of 480 values are NaN"),
        (
            {"image": files["b"], "label": write(tmp_path / "values.nii.gz", label * 3, affine)},
            ValueError,
            r"values.nii.gz: label values must be one of the declared \[0, 1, 2\], found \[3, 6\]",
        ),
        (
            {"image": files["b"], "label": write(tmp_path / "small.nii.gz", label[1:], affine)},
            ValueError,
            r"small.nii.gz: the label lies on another grid than its image .*b.nii.gz: shapes are",
        ),
        (
            {
                "image": files["b"],
                "label": write(tmp_path / "moved.nii.gz", label, affine + np.eye(4)[[3, 3, 3, 0]] * 0.5),
            },
            ValueError,
            r"moved.nii.gz: .*their corners lie .* mm apart",
        ),
        ({"image": {"a": files["a"], "x": files["b"]}}, ValueError, r"image names modalities \['x'\]"),
        ({"image": stack_file(tmp_path, [...])}, ValueError, r"none of the modalities \['a', 'b'\] is present"),
    ]
    (tmp_path / "text.nii.gz").write_text("this is no image")
    cases.append(({"image": str(tmp_path / "text.nii.gz")}, ValueError, "text.nii.gz: cannot be read as an image"))
    for data, kind, message in cases:
        with pytest.raises(kind, match=message):
            loader(labels={"0": "background", "1": "shell", "2": "core"})(data)


def test_a_flat_affine_is_refused(tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(np.ones((4, 4, 4), dtype=np.float32), None)
    image.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
    nib.save(image, tmp_path / "flat.nii.gz")
    with pytest.raises(ValueError, match=r"flat.nii.gz: the affine cannot be inverted"):
        loader()({"image": str(tmp_path / "flat.nii.gz")})


def test_a_stack_of_another_number_of_modalities_is_refused(tmp_path):
    affine = centered_affine(SHAPE, (6, 6, 12))
    path = write(tmp_path / "three.nii.gz", np.zeros((*SHAPE, 3), dtype=np.float32), affine)
    with pytest.raises(ValueError, match=r"three.nii.gz: a 4D image must hold the 2 modalities \['a', 'b'\].*got 3"):
        loader()({"image": path})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"keys": ["image", "label"]}, "keys must name one image"),
        ({"modalities": ["a", "a"]}, "modalities must be distinct"),
        ({"target": "x"}, r"target must name modalities of \['a', 'b'\], got \['x'\]"),
        ({"siblings": {"x": "x"}}, "siblings must name modalities"),
        ({"stack_label": "both"}, "got 'both'"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        loader(**kwargs)
