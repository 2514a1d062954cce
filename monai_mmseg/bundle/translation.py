# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A datalist whose images a translation network has redrawn: the first stage of what a U-Net is then trained on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from monai.transforms import InvertibleTransform
from torch import Tensor

from monai_mmseg.bundle.predictions import InvertPredictiond
from monai_mmseg.data.annotations import mask_labels, without_label
from monai_mmseg.data.datalist import Datalist, read_datalist, read_raw, stored_item
from monai_mmseg.data.visits import examination_name, person_of
from monai_mmseg.files import write_json, write_nifti
from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.networks.nets import MUNIT
from monai_mmseg.outputs import check_output_folder, new_files
from monai_mmseg.transforms.read_volume import read_one_volume

logger = logging.getLogger(__name__)

Representation = Literal["target", "content"]
Item = Mapping[str, Any]


class _Redrawn(NamedTuple):
    """An item of the new list whose image is to be made."""

    item: dict[str, Any]  # as it will stand there, its image that of the original
    file: str  # relative to the new folder
    style: str | None  # image whose style and range it takes; None: style zero and its own range


def write_translated(
    datalist: str | Path,
    out_dir: str | os.PathLike[str],
    network: MUNIT,
    preprocessing: InvertibleTransform,
    inferer: Callable[..., Any],
    *,
    representation: Representation = "target",
    copies: int = 1,
    fold: int | Sequence[int] | None = None,
    target_fraction: float = 1.0,
    percentiles: Sequence[float] = (0.5, 99.5),
    seed: int = 10,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
) -> Path:
    """Write images that the network has redrawn, and a datalist of them with the labels that there were.

    When to use: between the two stages of "translation" and of DADR; the second stage is any segmentation of
    slices of the new list. Redrawn images lie on their originals' grids, so labels are those of the original list: the
    same files.

    ``representation``:

    * ``"target"``: labelled source images, redrawn as the target in the style of one of its training images, as further
      visits of their subjects (``<source>_as_<target>``), and the target's own images as they are. The target's labels
      are those of `target_fraction` of its subjects, drawn as the second stage would, which is then to use all that it
      finds (``target_fraction`` 1). At 0 those of the validation fold are left out, too. Tested are the target's own.
    * ``"content"``: all images of both modalities, drawn from their content alone as the source would show it (style
      zero). Modalities, subjects and labels stay what they were.

    Args:
        datalist: the original one.
        out_dir: folder of the new one.
        network: trained.
        preprocessing: from an item to ``image`` ``(1, X, Y, Z)`` in [-1, 1], as in the training.
        inferer: runs the network on slices and hands on what it is given by name.
        representation: see above.
        copies: redrawn images of each source image, each in a style of its own.
        fold: that of the validation, whose images give no style.
        target_fraction: see above.
        percentiles: of an image, which -1 and 1 stand for.
        seed: of the choice of styles and of labels.
        device: where the network is.
        overwrite: whether files of an earlier call may be replaced.

    Returns:
        Path of the new ``datalist.json``.

    Raises:
        ValueError: if a setting cannot be meant, or there is no labelled source image or no image of the target.
        OSError: if the folder holds something already, or cannot be written.

    Examples:
        In a config::

            "written": "$monai_mmseg.bundle.write_translated(@datalist, @out, @network, @preprocessing, @inferer)"
    """
    if representation not in get_args(Representation):
        raise ValueError(f"representation must be one of {list(get_args(Representation))}, got {representation!r}.")
    if copies < 1:
        raise ValueError(f"copies must be a whole number of at least 1, got {copies}.")
    listed = read_datalist(datalist)
    draw = np.random.RandomState(seed)
    if representation == "content":
        sections, redrawn = _contents(listed, network)
    else:
        sections, redrawn = _as_target(listed, network, copies, fold, target_fraction, seed, draw)
    folder = check_output_folder(out_dir, overwrite=overwrite)
    drawn_as = network.target if representation == "target" else network.source
    painter = _Painter(network.eval(), preprocessing, inferer, drawn_as, percentiles, device)
    with new_files(folder, overwrite=overwrite) as stage:
        for number, one in enumerate(redrawn, 1):
            write_nifti(stage / one.file, *painter(one.item, one.style))
            logger.info("drawn %d of %d: %s", number, len(redrawn), one.file)
        place = Path(out_dir).resolve()
        for one in redrawn:
            one.item["image"] = str(place / one.file)
        stored = {name: [stored_item(item, place) for item in items] for name, items in sections.items()}
        write_json(stage / "datalist.json", {**read_raw(datalist)[0], **stored})
    return folder / "datalist.json"


def _contents(listed: Datalist, network: MUNIT) -> tuple[dict[str, list[dict[str, Any]]], list[_Redrawn]]:
    """All images of both modalities, where they were."""
    sections = {
        name: [dict(item) for item in items if item["modality"] in network.modalities]
        for name, items in listed.sections.items()
    }
    items = [item for section in sections.values() for item in section]
    return sections, [_Redrawn(item, f"images/{item['subject']}_{item['modality']}.nii.gz", None) for item in items]


def _as_target(
    listed: Datalist,
    network: MUNIT,
    copies: int,
    fold: int | Sequence[int] | None,
    fraction: float,
    seed: int,
    draw: np.random.RandomState,
) -> tuple[dict[str, list[dict[str, Any]]], list[_Redrawn]]:
    """Source images as further visits, in styles of the target's training images, and the target's own."""
    source, target = network.source, network.target
    out = [fold] if isinstance(fold, int) else list(fold or [])
    training = [item for item in listed.items("training") if item.get("fold") not in out]
    styles = [item["image"] for item in training if item["modality"] == target]
    if not styles:
        raise ValueError(f"{listed.path}: training must have an image of the target {target!r} outside of fold {fold}.")
    labels = {item["image"]: item.get("label") for item in mask_labels(training, target, fraction, seed)}
    sections: dict[str, list[dict[str, Any]]] = {}
    redrawn = []
    for name, items in listed.sections.items():
        spared = name == "test" or fraction > 0
        sections[name] = [_own(item, labels, spared=spared) for item in items if item["modality"] == target]
        for item in items if name != "test" else []:
            if item["modality"] != source or not item.get("label"):
                continue
            for copy in range(copies):
                new = _visit(item, target, f"{source}_as_{target}" + (f"_{copy + 1}" if copies > 1 else ""))
                redrawn.append(_Redrawn(new, f"images/{new['subject']}.nii.gz", styles[draw.randint(len(styles))]))
                sections[name].append(new)
    if not redrawn:
        raise ValueError(f"{listed.path}: no {source!r} image has a label, so that there is nothing to redraw.")
    return sections, redrawn


def _own(item: Item, labels: Mapping[str, str | None], *, spared: bool) -> dict[str, Any]:
    """An image of the target with the label that it may keep; its pairs are with images that are not there."""
    new = {key: value for key, value in item.items() if key != "pairs"}
    label = labels.get(item["image"], item.get("label") if spared else None)
    return {**new, "label": label} if label else without_label(new)


def _visit(item: Item, modality: str, visit: str) -> dict[str, Any]:
    visit = f"{item['visit']}_{visit}" if item.get("visit") else visit
    names = {"subject": examination_name(person_of(item), visit), "person": person_of(item), "visit": visit}
    return {**{key: value for key, value in item.items() if key != "pairs"}, **names, "modality": modality}


class _Painter:
    """Draws images on their own grids."""

    def __init__(
        self,
        network: MUNIT,
        preprocessing: InvertibleTransform,
        inferer: Callable[..., Any],
        drawn_as: str,
        percentiles: Sequence[float],
        device: str | torch.device,
    ) -> None:
        self.network, self.preprocessing, self.inferer = network, preprocessing, inferer
        self.drawn_as, self.percentiles, self.device = drawn_as, list(percentiles), device
        self._styles: dict[str, Tensor] = {}

    @torch.inference_mode()
    def __call__(self, item: Item, style: str | None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Voxels, float32 ``(X, Y, Z)``, and the affine."""
        made = self.preprocessing({key: item[key] for key in ("image", "subject")})
        image = made["image"]
        # what the item is to become is not what it is
        modality = self.network.source if style is not None else item["modality"]
        code = None if style is None else self._style_of(style)

        def draw(slices: Tensor) -> Tensor:
            return self.network.draw(slices, modality, self.drawn_as, code)

        pred = self.inferer(plain_tensor(image)[None].to(self.device), draw)[0].float().cpu()
        # what was cropped away comes back as zero, and is to be as dark as -1
        shifted = with_metadata(pred.clamp(-1, 1) + 1, image)
        back = InvertPredictiond("pred", self.preprocessing)({"image": image, "pred": shifted})
        original = read_one_volume(item["image"])
        reference = original if style is None else read_one_volume(style)
        low, high = np.percentile(plain_tensor(reference).numpy(), self.percentiles)
        share = plain_tensor(back["pred"])[0].numpy().clip(0, 2) / 2
        return (low + share * (high - low)).astype(np.float32), np.asarray(original.affine, dtype=np.float64)

    def _style_of(self, path: str) -> Tensor:
        """Mean style of the slices of a target image."""
        if path not in self._styles:
            slices = plain_tensor(self.preprocessing({"image": path})["image"]).movedim(-1, 0).to(self.device)
            self._styles[path] = self.network.style(slices, self.network.target).mean(0, keepdim=True)
        return self._styles[path]
