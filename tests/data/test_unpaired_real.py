# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""CT and MR of two people, through everything between the files and the network."""

from __future__ import annotations

import pytest
import torch
from monai.data import DataLoader
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    Invertd,
    MapLabelValued,
    NormalizeIntensityd,
    ResizeWithPadOrCropd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    SpatialPadd,
)

from monai_mmseg.data import BalancedModalityBatchSampler, UnpairedSliceDataset, UnpairedVolumeDataset
from monai_mmseg.engines import PrepareModalityBatch, seed_data
from monai_mmseg.engines.batch import prepare_training_batch
from monai_mmseg.inferers import ModalitySliceInferer
from monai_mmseg.transforms import (
    AdjacentSlicesd,
    ByModalityd,
    LoadImageItemd,
    OrientSlicesd,
    RandSliceWindowd,
    SafeSpacingd,
    read_volume,
)

KEYS = ["image", "label"]
MODALITIES = ["ct", "mr"]
SETS = {
    "abdomen_ct_mr": ({"ct": "ct/ct", "mr": "mr/mr"}, {"ct": "ct/seg", "mr": "mr/seg"}, None),
    # arcus, corpus border and corpus; everything else is background
    "spine_ct_mr": ({"ct": "ct/ct", "mr": "mri/t2"}, {"ct": "ct/subreg", "mr": "mri/subreg"}, {41: 1, 49: 2, 50: 2}),
}


@pytest.fixture(params=list(SETS))
def case(request, real_data):
    images, labels, classes = SETS[request.param]
    folder = real_data / request.param
    if not folder.is_dir():
        pytest.skip(f"{request.param} is not among the real images")
    items = [
        {
            "image": str(folder / f"{images[name]}.nii.gz"),
            "label": str(folder / f"{labels[name]}.nii.gz"),
            "modality": name,
            "subject": f"{request.param}_{name}",
        }
        for name in MODALITIES
    ]
    values = [*range(41, 51), 60, 61, 62, 100] if classes else []
    mapping = MapLabelValued("label", [0, *values], [0, *((classes or {}).get(value, 0) for value in values)])
    return items, Compose([mapping] if classes else [])


def volumes(mapping, plane, pixdim, *steps):
    window = ScaleIntensityRanged("image", a_min=-160, a_max=240, b_min=0, b_max=1, clip=True)
    percentiles = ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0, 1, clip=True)
    normalize = NormalizeIntensityd("image")
    return Compose(
        [
            LoadImageItemd(),
            mapping,
            OrientSlicesd(KEYS, plane, allow_missing_keys=True),
            SafeSpacingd(KEYS, pixdim, mode=["bilinear", "nearest"], allow_missing_keys=True),
            ByModalityd({"ct": Compose([window, normalize]), "mr": Compose([percentiles, normalize])}),
            *steps,
        ]
    )


def test_slices_in_a_named_plane(case):
    items, mapping = case
    crop = ResizeWithPadOrCropd(KEYS, (64, 64, -1))
    data = UnpairedSliceDataset(items, volumes(mapping, "coronal", (3, 3, 3), crop), modalities=MODALITIES)
    loader = DataLoader(data, batch_sampler=BalancedModalityBatchSampler(data, 4, epoch_length=2))
    seed_data(loader, 0, 0)
    for batch in map(prepare_training_batch, loader):
        assert batch["image"].shape == (8, 3, 64, 64)
        assert torch.isfinite(batch["image"]).all()
        assert batch["modality"].tolist() == [0] * 4 + [1] * 4
        assert batch["labelled"].all()
    # slices of the coronal plane: as many as the volume is deep from front to back, at 3 mm
    for place, item in enumerate(items):
        volume = read_volume(item["image"])
        axis = int(volume.affine[1, :3].abs().argmax())
        expected = volume.shape[axis + 1] * float(volume.affine[:3, axis].norm()) / 3
        assert data.modality_indices.count(place) == pytest.approx(expected, abs=1)


def test_windows_of_thick_slices(case):
    items, mapping = case
    steps = (SpatialPadd(KEYS, (-1, -1, 8)), ResizeWithPadOrCropd(KEYS, (48, 48, -1)))
    cut = RandSliceWindowd(KEYS, 8)
    transform = volumes(mapping, "axial", (6, 6, 8), *steps)
    data = UnpairedVolumeDataset(items, transform, modalities=MODALITIES, patch_transform=cut)
    batch = next(iter(DataLoader(data, batch_sampler=BalancedModalityBatchSampler(data, 2))))
    assert batch["image"].shape == (4, 1, 48, 48, 8)
    assert batch["label"].amax((1, 2, 3, 4)).gt(0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_predictions_lie_on_the_grid_of_the_file(case, dims):
    """A network that copies its input, told which modality it sees, gives the file back, blurred by resampling."""
    items, mapping = case
    seen = []

    def network(image, modality=None):
        seen.append(modality)
        return image[:, image.shape[1] // 2][:, None]

    steps = [AdjacentSlicesd("image", 3)] if dims == 2 else []
    transform = volumes(mapping, "axial", (1.5, 1.5, 1.5), *steps)
    infer = (
        ModalitySliceInferer(roi_size=(48, 48), sw_batch_size=8, spatial_dim=2, overlap=0.25)
        if dims == 2
        else SlidingWindowInferer((48, 48, 16), sw_batch_size=4, overlap=0.25)
    )
    prepare = PrepareModalityBatch(MODALITIES)
    for item in items:
        data = transform(dict(item))
        batch = {key: data[key][None] for key in KEYS} | {"modality": [data["modality"]]}
        image, _, args, kwargs = prepare(batch)
        data["pred"] = infer(image, network, *args, **kwargs)[0]
        restored = Invertd("pred", transform, "image", nearest_interp=False)(data)["pred"]
        original = read_volume(item["image"])
        assert restored.shape == original.shape
        torch.testing.assert_close(restored.affine, original.affine, atol=1e-4, rtol=0)
        shares = torch.quantile(original.as_tensor(), torch.tensor([0.005, 0.995])).tolist()
        bottom, top = (-160.0, 240.0) if item["modality"] == "ct" else shares
        pair = torch.stack([restored.as_tensor().flatten(), original.as_tensor().clamp(bottom, top).flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.95
        assert set(seen) == {item["modality"]}
        seen.clear()
