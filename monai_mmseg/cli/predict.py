# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg predict`` runs."""

from __future__ import annotations

import logging
from pathlib import Path

from monai_mmseg.names import counted, first_names

logger = logging.getLogger(__name__)


def predict(
    bundle: str,
    images: str,
    *,
    out: str,
    modality: str | None = None,
    pattern: str | None = None,
    section: str | None = None,
    overwrite: bool = False,
    uncertainty: bool = False,
) -> None:
    """Segment images with a trained bundle, by its own inference config.

    Args:
        bundle: folder of the bundle.
        images: an image file, a folder of NIfTI files, a folder with one DICOM series, a datalist, or its folder.
        out: folder of the predictions; must be empty.
        modality: which one the images are of, where the bundle knows several and nothing else says it; of a datalist,
            the only one to take.
        pattern: how the files of several modalities are named; default is {subject}_{modality}.
        section: of a datalist; default is test, or the only one there is.
        overwrite: write into a folder that is not empty; predictions of the same names are replaced, others stay.
        uncertainty: also write maps of uncertainty, and quality.csv with foretold Dice; takes several times as long.
    """
    from monai_mmseg.bundle.predict import predict as run

    if overwrite or not (Path(out).is_dir() and any(Path(out).iterdir())):  # else it is refused
        _tell_masks(bundle, Path(images))
    choice = {"modality": modality, "pattern": pattern, "section": section}
    done = run(bundle, images, out, **choice, overwrite=overwrite, uncertainty=uncertainty)
    print(*done.files, sep="\n")
    classes = ", ".join(f"{value} {name}" for value, name in done.labels.items())
    numbers = f"{counted(done.images, 'image')}, {counted(len(done.files), 'file')}"
    print(f"\n{numbers} in {out}" + (f"; classes: {classes}" if classes else ""))
    if done.channels:  # phases of a cine, as many as the modalities, would pass for them
        print(f"the fourth axis of each image was taken as {', '.join(done.channels)}, in this order")


def _tell_masks(bundle: str, place: Path) -> None:
    """Warn of files that are segmented as images of patients and look like labels."""
    from monai_mmseg.bundle.predict import find_model
    from monai_mmseg.preparation.mask_files import find_masks
    from monai_mmseg.transforms.image_files import VOLUME_ENDINGS, image_ending

    if (place / "datalist.json").is_file():
        return
    there = sorted(place.iterdir()) if place.is_dir() else [place]
    files = [path for path in there if image_ending(path) in VOLUME_ENDINGS and path.is_file() and path.name[0] != "."]
    if files and (masks := find_masks(files, [int(value) for value in find_model(bundle).labels])):
        logger.warning(
            "%d of %s to segment %s: %s. Keep labels in another folder, or give a datalist.",
            len(masks),
            counted(len(files), "file"),
            "looks like a label" if len(masks) == 1 else "look like labels",
            first_names(path.name for path in masks),
        )
