# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundle on real files, end to end through its configs: train two steps, evaluate, write label volumes."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

pytestmark = [
    pytest.mark.real_data,
    # monai reminds that configs received from a server are code
    pytest.mark.filterwarnings("ignore:.*(config|bundle).*:UserWarning"),
]

TINY = {
    "device": "cpu",
    "features": [4, 4, 4, 8, 8],
    "segmentor_features": 4,
    "discriminator_features": 4,
    "anatomy_channels": 4,
    "style_channels": 4,
    "spatial_size": [64, 64],
}
SHORT = {"max_epochs": 1, "epoch_length": 2, "val_interval": 1, "batch_size": 2}


def write_datalist(folder, items, labels, modalities, section):
    content = {"name": "real", "modalities": modalities, "labels": labels, section: items}
    (folder / "datalist.json").write_text(json.dumps(content))


def slabs(real_data, folder, images, label, ranges):
    """Items of axial slabs: the first modality labelled, the other not."""
    items = []
    for fold, (first, end) in enumerate(ranges):
        (folder / f"slab{fold}").mkdir()  # equal file names in folders of subjects
        for modality, file in images.items():
            item = {"modality": modality, "subject": f"slab{fold}", "fold": fold}
            for key, name in {"image": file, **({"label": label} if modality == next(iter(images)) else {})}.items():
                item[key] = str(folder / f"slab{fold}" / f"{modality}{'' if key == 'image' else '_label'}.nii.gz")
                nib.save(nib.load(real_data / name).slicer[:, :, first:end], item[key])
            items.append(item)
    return items


def workflow(repository, tmp_path, configs, kind, **overrides):
    files = [str(repository / "bundles" / "dafnet" / "configs" / f"{name}.json") for name in configs]
    places = {
        "bundle_root": str(repository / "bundles" / "dafnet"),
        "dataset_dir": str(tmp_path),
        "ckpt_dir": str(tmp_path / "models"),
        "output_dir": str(tmp_path / "out"),
    }
    made = ConfigWorkflow(files, workflow_type=kind, logging_file=False, **{**places, **TINY, **overrides})
    made.initialize()
    return made


def train(repository, tmp_path, modalities, target, labels, **overrides):
    """Two steps without a target label, and a validation on the source."""
    made = workflow(
        repository,
        tmp_path,
        ("train", "settings/target_0", "demo"),
        "train",
        modalities=modalities,
        target=target,
        labels=labels,
        **SHORT,
        **overrides,
    )
    made.run()
    made.finalize()
    trainer = made.parser.get_parsed_content("train#trainer")
    assert trainer.state.iteration == 2
    losses = {name: float(value) for name, value in trainer.state.output[0].items() if "/" in name}
    assert losses
    assert np.isfinite(list(losses.values())).all()
    assert (tmp_path / "models" / "model.pt").is_file()
    return losses


def infer(repository, tmp_path, modalities, target, labels, **overrides):
    """Label volumes that the bundle writes, by name of file."""
    configs = ("inference",)
    common = {"modalities": modalities, "target": target, "labels": labels, **overrides}
    made = workflow(repository, tmp_path, configs, "infer", **common)
    made.run()
    made.finalize()
    return {path.name: nib.load(path) for path in sorted((tmp_path / "out").rglob("*_seg.nii.gz"))}


def save_untrained(repository, tmp_path, **overrides):
    """Weights for what has no labels to train with."""
    made = workflow(repository, tmp_path, ("inference",), "infer", load_pretrain=False, **overrides)
    (tmp_path / "models").mkdir()
    torch.save(made.parser.get_parsed_content("network").state_dict(), tmp_path / "models" / "model.pt")


def check_grid(written, image, classes):
    assert written.shape == image.shape
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-3)
    values = np.asanyarray(written.dataobj)
    assert values.dtype == np.uint8
    assert values.max() < classes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "images", "label", "labels", "ranges", "pixdim"),
    [
        (
            "brain_template/avg152",
            {"t1": "t1", "t2": "t2"},
            "seg",
            {"0": "background", "1": "CSF", "2": "grey matter", "3": "white matter"},
            [(30, 34), (40, 44)],
            3.0,
        ),
        (
            "spinal_cord_mr/sub-unf01",
            {"t1": "t1", "t2star": "t2star"},
            "t1_seg",
            {"0": "background", "1": "spinal cord"},
            [(0, 3), (8, 12)],
            1.0,
        ),
    ],
    ids=["brain", "cord"],
)
def test_two_contrasts_from_training_to_label_volumes(
    real_data, repository, tmp_path, folder, images, label, labels, ranges, pixdim
):
    modalities = list(images)
    files = {name: f"{folder}/{stem}.nii.gz" for name, stem in images.items()}
    items = slabs(real_data, tmp_path, files, f"{folder}/{label}.nii.gz", ranges)
    write_datalist(tmp_path, items, labels, modalities, "training")
    lattice = {"slice_axis": "axial", "pixdim": [pixdim, pixdim]}
    losses = train(repository, tmp_path, modalities, modalities[1], labels, **lattice)
    assert losses["generator/supervised"] > 0
    written = infer(repository, tmp_path, modalities, modalities[1], labels, **lattice)
    assert len(written) == len(ranges)
    for fold in range(len(ranges)):
        image = nib.load(tmp_path / f"slab{fold}" / f"{modalities[1]}.nii.gz")
        check_grid(written[f"slab{fold}_{modalities[1]}_seg.nii.gz"], image, len(labels))


def test_a_single_oblique_image_is_segmented_on_its_own_grid(real_data, repository, tmp_path):
    """Its slice axis lies near 45 degrees to two of the patient's axes."""
    source = real_data / "cardiac_mr_cine" / "SC-N-2" / "ed.nii.gz"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ed.nii.gz").write_bytes(source.read_bytes())
    labels = {"0": "background", "1": "LV"}
    settings = {"modalities": ["lge", "cine"], "target": "cine", "labels": labels}
    save_untrained(repository, tmp_path, **settings)
    written = infer(repository, tmp_path, **settings, dataset_dir=str(tmp_path / "images"))
    check_grid(written["ed_seg.nii.gz"], nib.load(source), 2)


@pytest.mark.slow
def test_three_sequences_on_unregistered_grids(real_data, repository, tmp_path):
    folder = real_data / "brain_ms_raw" / "patient01"
    modalities = ["t1", "t2", "flair"]
    items = [{"image": str(folder / f"{m}.nii.gz"), "modality": m, "subject": "patient01"} for m in modalities]
    labels = {"0": "background", "1": "lesion"}
    write_datalist(tmp_path, items, labels, modalities, "test")
    settings = {"modalities": modalities, "target": "flair", "labels": labels, "pixdim": [3.5, 3.5]}
    save_untrained(repository, tmp_path, **settings)
    written = infer(repository, tmp_path, **settings)
    check_grid(written["patient01_flair_seg.nii.gz"], nib.load(folder / "flair.nii.gz"), 2)
