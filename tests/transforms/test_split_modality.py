# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flipd

from monai_mmseg.transforms import SplitModalityd

NAMES = ["t1", "pet", "flair"]


@pytest.mark.parametrize("there", [True, False])
def test_split(there):
    image = MetaTensor(torch.rand(3, 4, 5, 6), affine=torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])))
    if not there:
        image[1] = torch.nan
    present = torch.tensor([True, there, False])
    given = {"image": image, "present": present}
    out = SplitModalityd(modalities=NAMES, target="pet")(given)
    torch.testing.assert_close(out["image"].as_tensor(), image.as_tensor()[[0, 2]])
    assert out["target"].shape == (1, 4, 5, 6)
    torch.testing.assert_close(out["target"][0].as_tensor(), image.as_tensor()[1] if there else torch.zeros(4, 5, 6))
    torch.testing.assert_close(out["target"].affine, image.affine)
    assert out["present"].tolist() == [True, False]
    assert out["labelled"].item() is there
    assert set(given) == {"image", "present"}


def test_predictions_go_back():
    image = torch.rand(3, 4, 5, 6)
    pipeline = Compose([Flipd("image", 0), SplitModalityd(modalities=NAMES, target="pet")])
    out = pipeline({"image": MetaTensor(image), "present": torch.ones(3) > 0})
    back = pipeline.inverse({"image": out["image"]})["image"]
    torch.testing.assert_close(torch.as_tensor(back.as_tensor()), image[[0, 2]])


def test_messages():
    with pytest.raises(ValueError, match=r"target must be one of at least two modalities .* got 'ct'"):
        SplitModalityd(modalities=NAMES, target="ct")
    with pytest.raises(ValueError, match="keys must name one image"):
        SplitModalityd(["image", "other"], modalities=NAMES, target="pet")
    with pytest.raises(ValueError, match="image and present must have an entry for each modality"):
        SplitModalityd(modalities=NAMES, target="pet")({"image": torch.zeros(2, 3), "present": torch.ones(3)})
