# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Put all modalities of a subject, each on a grid of its own, on one grid with the slices of one of them."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, ResizeWithPadOrCrop, Spacing, SpatialResample
from torch import Tensor

from monai_mmseg.meta_tensors import with_metadata
from monai_mmseg.transforms.geometry import SliceAxis
from monai_mmseg.transforms.map_transforms import OneImaged
from monai_mmseg.transforms.normalize_foreground import with_one_background
from monai_mmseg.transforms.orient_slices import OrientSlices
from monai_mmseg.transforms.read_volume import path_of
from monai_mmseg.transforms.spacing import inverse_in_blocks

logger = logging.getLogger(__name__)


class ResampleModalitiesd(OneImaged, InvertibleTransform):
    """One volume of all modalities on one grid, and a mask that says which are there.

    Use it after :class:`~monai_mmseg.transforms.LoadImageModalitiesd`, for modalities that show the same body at the
    same time (a study of one visit), whatever their orientation, spacing and matrix. The loader's ``target`` is the
    *reference*: the grid has its slices (or those of the first modality that is there, where the subject lacks it),
    turned to `slice_axis`, at `pixdim`, padded or cropped to `spatial_size`. All are interpolated in three dimensions.
    Where slices are thick or far apart, :class:`~monai_mmseg.transforms.StackModalitiesd` pairs them instead.

    ``Invertd`` brings a prediction back onto the grid of the reference's file.

    Args:
        keys: the key of the image; exactly one.
        modalities: names, in the order of the channels.
        pixdim: spacing in mm: rows, columns, slices.
        spatial_size: rows, columns, slices; -1 or ``None`` leaves an axis as it comes out.
        label_key: key of the label; ``None`` makes no label.
        slice_axis: see :class:`~monai_mmseg.transforms.OrientSlicesd`. Rows run from front to back and columns from one
            side to the other in axial slices.
        background: value in the files of voxels where nothing was measured or kept (0 in images without skull). They
            are not mixed into their neighbours, so that edges stay sharp, and what lies outside of a field of view gets
            this value too. An image whose background was erased to another value
            (:func:`~monai_mmseg.transforms.normalize_foreground.with_one_background`) is shifted to have this one.
            ``None``: plain interpolation, and the lowest value of each image outside.

    Returns:
        (of a call) the dictionary without ``siblings`` and with ``image``: MetaTensor float32 ``(M, X, Y, Z)``, NaN
        where absent and nowhere else, with affine and trace; ``present``: bool ``(M,)``; and ``label``: MetaTensor
        uint8 ``(1, X, Y, Z)``, nearest voxel, of the reference if it has one or else of the first modality that does,
        and ``labelled``: bool without axes. An image of one value alone counts as absent, and so does one that lies
        elsewhere; a reference of one value still says where the grid lies.

    Raises:
        ValueError: if an argument is not possible, or (in a call) the image is not what the loader makes, or nothing
            but background is on the grid.

    Examples:
        >>> t1 = MetaTensor(torch.rand(1, 8, 8, 8) + 1)
        >>> t2 = MetaTensor(torch.rand(1, 4, 4, 4) + 1, affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
        >>> resample = ResampleModalitiesd(modalities=["t1", "t2", "flair"], pixdim=[1, 1, 1], label_key=None)
        >>> out = resample({"image": t1, "frame": 0, "siblings": {"t2": {"image": t2, "label": None}}})
        >>> tuple(out["image"].shape), out["present"].tolist()
        ((3, 8, 8, 8), [True, True, False])
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "image",
        *,
        modalities: Sequence[str],
        pixdim: Sequence[float],
        spatial_size: Sequence[int] | None = None,
        label_key: str | None = "label",
        slice_axis: SliceAxis = "axial",
        background: float | None = 0.0,
    ) -> None:
        super().__init__(keys)
        self.modalities = [str(name) for name in modalities]
        if isinstance(modalities, str) or not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be distinct names, got {modalities!r}.")
        spacing = [float(size) for size in (pixdim if isinstance(pixdim, Sequence) else [])]
        if len(spacing) != 3 or min(spacing) <= 0:
            raise ValueError(f"pixdim must be three positive spacings in mm (rows, columns, slices), got {pixdim!r}.")
        size = [-1, -1, -1] if spatial_size is None else [-1 if s is None else int(s) for s in spatial_size]
        if len(size) != 3 or any(edge < 1 and edge != -1 for edge in size):
            raise ValueError(f"spatial_size must be three sizes, -1 where it does not matter, got {spatial_size!r}.")
        self.label_key, self.background = label_key, None if background is None else float(background)
        self.orient = OrientSlices(slice_axis)
        self.spacing = Spacing(spacing, mode="bilinear", padding_mode="zeros")
        self.pad_or_crop = ResizeWithPadOrCrop(size) if max(size) > 0 else None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Resample one subject, as ``LoadImageModalitiesd`` makes it."""
        result = dict(data)
        frame = result[self.key]
        if not isinstance(frame, MetaTensor) or frame.ndim != 4 or frame.shape[0] != 1:
            raise ValueError(
                f"image must be a MetaTensor (1, X, Y, Z) as LoadImageModalitiesd makes it, got {type(frame).__name__} "
                f"{tuple(getattr(frame, 'shape', ()))}."
            )
        siblings: Mapping[str, Mapping[str, MetaTensor | None]] = result.pop("siblings", {})
        reference = self.modalities[int(result.get("frame", 0))]
        if unknown := [name for name in siblings if name not in self.modalities or name == reference]:
            raise ValueError(f"siblings must be modalities of {self.modalities} besides {reference!r}, got {unknown}.")
        grid = self.spacing(self.orient(frame))
        grid = grid if self.pad_or_crop is None else self.pad_or_crop(grid)

        found: dict[str, Tensor] = {}
        for name, image in {reference: frame, **{name: one["image"] for name, one in siblings.items()}}.items():
            if image is None:
                raise ValueError(f"siblings must hold an image for each modality, got none for {name!r}.")
            found[name], outside = self._image(image, grid)
            constant = float(image.min()) == float(image.max())
            if constant or not (found[name] != outside).any():
                if name == reference and not (constant and siblings):
                    raise ValueError(f"{path_of(frame)}: the image holds nothing but background on the grid.")
                why = "it has one value alone" if constant else f"nothing of it lies where {path_of(frame)} is"
                hint = "" if constant else "; do the files share scanner coordinates?"
                logger.warning("%s: %s: %s, so it counts as absent%s", path_of(image), name, why, hint)
                del found[name]
        if not found:
            raise ValueError(f"{path_of(frame)}: no modality holds more than background on the grid.")
        absent = torch.full(tuple(grid.shape[1:]), torch.nan)
        result[self.key] = with_metadata(torch.stack([found.get(name, absent) for name in self.modalities]), grid)
        result["present"] = torch.tensor([name in found for name in self.modalities])
        result.pop("labelled", None)
        if self.label_key is not None:
            result[self.label_key], result["labelled"] = self._label(result.get(self.label_key), siblings, grid)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy with volumes ``(C, X, Y, Z)`` on the grid of the reference's file.

        Args:
            data: dictionary of volumes that carry the trace of this transform.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            volume = result[key]
            if self.pad_or_crop is not None:
                volume = self.pad_or_crop.inverse(volume)
            result[key] = self.orient.inverse(inverse_in_blocks(self.spacing, volume))
        return result

    def _image(self, volume: MetaTensor, grid: MetaTensor) -> tuple[Tensor, float]:
        """One modality on the grid, float32 ``(X, Y, Z)``, and its value where there is nothing."""
        values = volume.as_tensor().to(torch.float32)
        if self.background is None:
            lowest = float(values.min())  # 0 is water in CT, and the mean of z-scores
            return _sampled(values - lowest, volume, grid, "bilinear")[0] + lowest, lowest
        clean, own = with_one_background(values[0])
        values = clean[None]
        if own:  # 0 may be a value of the body then
            values = values - own + self.background
        kept = (values != self.background).to(torch.float32)
        total, weight = _sampled(torch.cat([values * kept, kept]), volume, grid, "bilinear")
        # a voxel belongs to the body where at least half of what it is mixed from does
        inside = weight >= 0.5
        return torch.where(inside, total / torch.where(inside, weight, 1.0), self.background), self.background

    def _label(
        self, label: Any, siblings: Mapping[str, Mapping[str, MetaTensor | None]], grid: MetaTensor
    ) -> tuple[MetaTensor, Tensor]:
        if label is None:
            label = next((one["label"] for one in siblings.values() if one.get("label") is not None), None)
        if label is None:
            return with_metadata(torch.zeros(tuple(grid.shape), dtype=torch.uint8), grid), torch.tensor(False)
        values = label.as_tensor().to(torch.float32)
        return with_metadata(_sampled(values, label, grid, "nearest").round().to(torch.uint8), grid), torch.tensor(True)


def _sampled(values: Tensor, volume: MetaTensor, grid: MetaTensor, mode: str) -> Tensor:
    """Channels ``(C, X, Y, Z)`` that lie where `volume` does, at the voxels of `grid`; 0 outside."""
    resample = SpatialResample(mode=mode, padding_mode="zeros", align_corners=False, dtype=torch.float64)
    placed = MetaTensor(values, affine=volume.affine)
    found = resample(placed, dst_affine=grid.affine, spatial_size=tuple(grid.shape[1:]))
    plain: Tensor = found.as_tensor().to(torch.float32)
    return plain
