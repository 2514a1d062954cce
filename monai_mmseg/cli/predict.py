# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg predict`` runs."""

from __future__ import annotations


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
        section: of a datalist; default is test.
        overwrite: write into a folder that is not empty; predictions of the same names are replaced, others stay.
        uncertainty: also write maps of uncertainty, and quality.csv with foretold Dice; takes several times as long.
    """
    from monai_mmseg.bundle.predict import predict as run

    choice = {"modality": modality, "pattern": pattern, "section": section}
    done = run(bundle, images, out, **choice, overwrite=overwrite, uncertainty=uncertainty)
    print(*done.files, sep="\n")
    classes = ", ".join(f"{value} {name}" for value, name in done.labels.items())
    numbers = f"{_count(done.images, 'image')}, {_count(len(done.files), 'file')}"
    print(f"\n{numbers} in {out}" + (f"; classes: {classes}" if classes else ""))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
