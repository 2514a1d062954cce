# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Studies as single 4D files, as MONAI Label wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from monai_mmseg.data.borrowed import without_borrowed
from monai_mmseg.data.datalist import group_by_subject, read_datalist
from monai_mmseg.files import write_nifti
from monai_mmseg.names import safe_name
from monai_mmseg.outputs import check_output_folder, new_files, spare_originals
from monai_mmseg.preparation.check import broken_message, sound_form
from monai_mmseg.transforms.load_modalities import LoadImageModalitiesd
from monai_mmseg.transforms.orient_slices import OrientSlicesd
from monai_mmseg.transforms.stack_modalities import StackModalitiesd


def write_stacks(
    datalist: str | Path, *, target: str, out: str | Path, section: str = "training", overwrite: bool = False
) -> tuple[list[Path], list[str]]:
    """Write one 4D NIfTI file for each subject, modalities last on the target's grid, and the target's labels.

    Use it to open a study in MONAI Label, where one request names one file. Other modalities are sampled in-plane at
    their nearest slice, as in training; slices beyond their coverage repeat the nearest one, for NaN means that a
    modality is absent altogether. A borrowed label is no final one, and left out. What
    :func:`~monai_mmseg.preparation.check_datalist` calls broken stops it.

    Args:
        datalist: JSON file.
        target: modality whose grid and labels are taken; subjects without it are left out.
        out: folder for ``<subject>.nii.gz`` and ``labels/final/<subject>.nii.gz``; they appear together, when all are
            made.
        section: ``"training"``, ``"validation"`` or ``"test"``.
        overwrite: whether files that are there already may be replaced.

    Returns:
        Files written, and names of the subjects left out.

    Raises:
        ValueError: if the datalist has no modality `target`, something in it is broken (the message lists it), or an
            image or label of it would be replaced.
        OSError: if the folder holds something already, or cannot be written.
    """
    content = read_datalist(datalist)
    sound_form(datalist)
    if target not in content.modalities:
        raise ValueError(f"target must be one of {content.modalities}, got {target!r}.")
    orient = OrientSlicesd(["image", "label"], allow_missing_keys=True)
    load = LoadImageModalitiesd(modalities=content.modalities, target=target, labels=content.labels or None)
    stack = StackModalitiesd(modalities=content.modalities, target=target, max_distance_mm=np.inf)
    written, skipped, broken = [], [], []
    folder, place = check_output_folder(out, overwrite=overwrite), content.modalities.index(target)
    with new_files(folder, overwrite=overwrite) as stage:
        for group in group_by_subject(map(without_borrowed, content.items(section)), content.modalities):
            name = group["subject"]
            if target not in group["image"]:
                skipped.append(name)
                continue
            if any(group.get("unknown", {}).get(target, ())):
                raise ValueError(
                    f"{datalist}: the label of {name!r} shows some classes only, which a stack cannot say."
                )
            file = f"{safe_name(name, 'subject')}.nii.gz"
            if (stage / file).exists():  # where case does not count
                raise ValueError(f"{datalist}: {file} would be the file of two subjects, one of them {name!r}.")
            whole: Any = group
            try:  # one look at the voxels is enough: those of all subjects are read before it is over
                _write_stack(stack(orient(load(whole))), orient, place, stage, file)
            except (FileNotFoundError, ValueError) as error:
                broken.append(f"subject {name!r}: {error}")
            written.append(folder / file)
        made = [folder / path.relative_to(stage) for path in stage.rglob("*") if path.is_file()]
        items = content.items(section)
        spare_originals(made, [Path(item[key]) for item in items for key in ("image", "label") if key in item])
        if broken:
            raise ValueError(broken_message(datalist, broken))
    return written, skipped


def _write_stack(stacked: Any, orient: OrientSlicesd, place: int, folder: Path, file: str) -> None:
    label: MetaTensor = stacked["label"][place : place + 1]
    restored = orient.inverse({"image": stacked["image"], "label": label})
    affine = np.asarray(restored["image"].affine, dtype=np.float64)
    images = torch.as_tensor(_fill_slices(restored["image"])).permute(1, 2, 3, 0)
    write_nifti(folder / file, images.contiguous().numpy(), affine)
    if bool(stacked["labelled"][place]):
        final = torch.as_tensor(restored["label"])[0].to(torch.uint8).contiguous()
        write_nifti(folder / "labels" / "final" / file, final.numpy(), affine)


def _fill_slices(image: torch.Tensor) -> torch.Tensor:
    """A modality with some absent slices gets the nearest ones that it has; one that is absent stays NaN."""
    result = image.clone()
    for channel in result:
        for axis in range(3):
            others = [other for other in range(3) if other != axis]
            absent = torch.isnan(channel).all(dim=others[1]).all(dim=others[0])
            if absent.all() or not absent.any():
                continue
            have = (~absent).nonzero()[:, 0]
            for place in absent.nonzero()[:, 0].tolist():
                nearest = int(have[(have - place).abs().argmin()])
                channel.select(axis, place).copy_(channel.select(axis, nearest))
    return result
