# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data export ...`` runs."""

from __future__ import annotations

from collections.abc import Sequence

from monai_mmseg.cli.console import print_table


def nnunet(
    datalist: str,
    *,
    out: str,
    number: int,
    form: str = "channels",
    name: str | None = None,
    modalities: Sequence[str] | None = None,
    skip_unfit: bool = False,
    link: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a datalist as raw data sets of nnU-Net.

    Args:
        datalist: JSON file.
        out: folder of nnU-Net's raw data sets (nnUNet_raw); Dataset<number>_<name> is made in it.
        number: of the data set; with --form each, of the first one.
        form: channels: registered modalities of a subject are channels of a case; mixed: each image is a case of one
            channel, of whatever modality; each: as mixed, one data set a modality.
        name: of the data set; default is that of the datalist.
        modalities: which, in the order of the channels; default is all.
        skip_unfit: leave out cases that nnU-Net cannot take, and list them.
        link: link NIfTI images to where they are, instead of copying them.
        overwrite: replace a data set of this number and name.
    """
    from monai_mmseg.preparation.export_nnunet import export_nnunet

    written = export_nnunet(
        *(datalist, out),
        number=number,
        form=form,
        name=name,
        modalities=modalities,
        skip_unfit=skip_unfit,
        link=link,
        overwrite=overwrite,
    )
    rows = [[one.folder.name, ", ".join(one.channels), one.training, one.test, one.folds or "-"] for one in written]
    print_table(f"{out}: for nnU-Net", ["data set", "channels", "for training", "for testing", "folds"], rows)
    if left := [sentence for one in written for sentence in one.left_out]:
        print("left out:", *(f"  - {sentence}" for sentence in left), sep="\n")
    numbers = " ".join(str(number + place) for place in range(len(written)))
    print("next:", f"  nnUNetv2_plan_and_preprocess -d {numbers} --verify_dataset_integrity", sep="\n")
