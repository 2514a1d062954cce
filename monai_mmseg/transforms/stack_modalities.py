# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Put all modalities of a subject on the lattice of one of them, slice by slice, as the network's channels."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.geometry import slice_normal, slice_pitch, tilt_between
from monai_mmseg.transforms.map_transforms import OneImaged
from monai_mmseg.transforms.pair_slices import candidate_slices, pair_slices, pairs_from_table, random_pairing
from monai_mmseg.transforms.sample_slices import (
    SliceStack,
    as_slice_stack,
    sample_slices,
    sample_volume,
    voxel_coordinates,
)

logger = logging.getLogger(__name__)

_MAX_TILT = 15.0  # degrees; beyond it a slice of one stack crosses many slices of the other
_MIN_OVERLAP = 0.1  # share of a lattice slice that must lie in the field of view of a modality to count as present


class _Placed(NamedTuple):
    """One modality on the lattice."""

    image: Tensor  # (k, H, W, D), float32
    label: Tensor | None  # (H, W, D), uint8
    present: Tensor  # (D,), bool


class StackModalitiesd(OneImaged):
    """One tensor of all modalities on the lattice of the frame, with masks that say what is there.

    Use it after :class:`~monai_mmseg.transforms.LoadImageModalitiesd` and the spatial transforms, which act on the
    frame only. Each slice of the frame is paired with the slice of every other modality that is nearest in the scanner
    (or with the one a table names), and that slice is sampled in-plane, linear for images and nearest for labels:
    nothing is interpolated across slices, which differ in thickness and distance. Where two stacks are tilted by more
    than 15 degrees the other volume is resampled in 3D instead.

    With ``num_candidates=k`` each modality brings k slices (automated pairing of the paper): the paired one first,
    then neighbours of it in its own volume.

    Reference: Chartsias et al., IEEE TMI 2020, doi:10.1109/TMI.2020.3036584, sec. III-F.
    Differs from the paper: pairs are found by position instead of by hand, unless a table is given.

    Args:
        keys: the key of the image; exactly one.
        label_key: key of the label; ``None`` makes no label.
        modalities: names, in the order of the channels.
        target: modality to be segmented; only checked to be one of `modalities`.
        num_candidates: k.
        window: neighbours on each side from which candidates come.
        candidates: ``"expert"`` is the paired slice only (k = 1), ``"nearest"`` takes the closest neighbours,
            ``"random"`` samples them, once for each subject.
        max_distance_mm: farther slices are no partners; default is 0.55 of the larger slice pitch.
        random_shift: robustness test; shifts partners by an integer of {-n, ..., n - 1} slices, 0 switches it off.
        seed: of the samples, together with the subject's name.
        pairs_key: key of optional tables ``{modality: {frame slice: slice}}``, numbers as in the files; or, as
            :func:`~monai_mmseg.data.group_by_subject` makes them, such tables by the modality that they start from.

    Returns:
        (of a call) the dictionary without ``siblings`` and with ``image``: MetaTensor float32 ``(M * k, H, W, D)``,
        modality-major, NaN where absent, with affine and trace of the frame; ``label``: uint8 ``(M, H, W, D)``, 0 where
        not labelled; ``present``: bool ``(M, D)``; ``labelled``: bool ``(M,)``.

    Raises:
        ValueError: if arguments contradict each other.

    Examples:
        >>> frame = MetaTensor(torch.rand(1, 8, 8, 3))
        >>> cine = MetaTensor(torch.rand(1, 8, 8, 2))
        >>> stack = StackModalitiesd("image", label_key=None, modalities=["cine", "lge"], target="lge")
        >>> out = stack({"image": frame, "frame": 1, "siblings": {"cine": {"image": cine, "label": None}}})
        >>> tuple(out["image"].shape), out["present"].tolist()
        ((2, 8, 8, 3), [[True, True, False], [True, True, True]])
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "image",
        label_key: str | None = "label",
        *,
        modalities: Sequence[str],
        target: str,
        num_candidates: int = 1,
        window: int = 2,
        candidates: Literal["expert", "nearest", "random"] = "expert",
        max_distance_mm: float | None = None,
        random_shift: int = 0,
        seed: int = 0,
        pairs_key: str = "pairs",
    ) -> None:
        super().__init__(keys)
        self.modalities = [str(name) for name in modalities]
        if target not in self.modalities:
            raise ValueError(f"target must be one of {self.modalities}, got {target!r}.")
        if candidates not in ("expert", "nearest", "random"):
            raise ValueError(f"candidates must be 'expert', 'nearest' or 'random', got {candidates!r}.")
        if (candidates == "expert") != (num_candidates == 1):
            raise ValueError(
                "candidates='expert' is one slice per modality and the others need several, "
                f"got candidates={candidates!r} with num_candidates={num_candidates}."
            )
        if not 1 <= num_candidates <= 2 * window + 1:
            raise ValueError(f"num_candidates must lie in 1..{2 * window + 1} (window {window}), got {num_candidates}.")
        if random_shift < 0:
            raise ValueError(f"random_shift must not be negative, got {random_shift}.")
        if max_distance_mm is not None and max_distance_mm <= 0:
            raise ValueError(f"max_distance_mm must be positive, got {max_distance_mm}.")
        self.label_key, self.target, self.pairs_key = label_key, target, pairs_key
        self.num_candidates, self.window, self.candidates = num_candidates, window, candidates
        self.max_distance_mm, self.random_shift, self.seed = max_distance_mm, random_shift, seed

    @property
    def uses_subject(self) -> bool:
        """Whether the result depends on the subject's name, from which samples are drawn."""
        return self.candidates == "random" or self.random_shift > 0

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Stack one subject, as ``LoadImageModalitiesd`` and spatial transforms of the frame made it."""
        result = dict(data)
        frame = result[self.key]
        if not isinstance(frame, MetaTensor) or frame.ndim != 4 or frame.shape[0] != 1:
            raise ValueError(
                f"image must be a MetaTensor (1, H, W, D), got {type(frame).__name__} {tuple(frame.shape)}."
            )
        siblings: Mapping[str, Mapping[str, MetaTensor | None]] = result.pop("siblings", {})
        frame_name = self.modalities[int(result.get("frame", self.modalities.index(self.target)))]
        subject = str(result.get("subject", ""))
        size = (int(frame.shape[1]), int(frame.shape[2]), int(frame.shape[3]))
        tables = result.pop(self.pairs_key, None) or {}

        frame_label = result.get(self.label_key) if self.label_key is not None else None
        placed = {frame_name: self._place_frame(frame, frame_label, self._random_state(subject, frame_name))}
        for name, volumes in siblings.items():
            state = self._random_state(subject, name)
            placed[name] = self._place(frame, volumes, state, _table(tables, frame_name, name))
            if not placed[name].present.any():
                logger.warning(
                    "%s: no slice of %s lies near a slice of %s; do the files share scanner coordinates?",
                    subject, name, frame_name,
                )  # fmt: skip

        absent = torch.full((self.num_candidates, *size), torch.nan)
        images = [placed[name].image if name in placed else absent for name in self.modalities]
        result[self.key] = with_metadata(torch.cat(images), frame)
        none = torch.zeros(size[2], dtype=torch.bool)
        result["present"] = torch.stack([placed[n].present if n in placed else none for n in self.modalities])
        labels = [placed[name].label if name in placed else None for name in self.modalities]
        result["labelled"] = torch.tensor([label is not None for label in labels])
        if self.label_key is not None:
            blank = torch.zeros(size, dtype=torch.uint8)
            result[self.label_key] = with_metadata(torch.stack([blank if x is None else x for x in labels]), frame)
        return result

    def _random_state(self, subject: str, modality: str) -> np.random.RandomState:
        # crc32, not hash(): the same in every process and on every machine
        return np.random.RandomState(zlib.crc32(f"{self.seed}/{subject}/{modality}".encode()))

    def _candidates(self, index: NDArray[np.int64], slices: int, state: np.random.RandomState) -> NDArray[np.int64]:
        choice: Literal["nearest", "random"] = "random" if self.candidates == "random" else "nearest"
        return candidate_slices(
            index, slices, self.num_candidates, window=self.window, choice=choice, random_state=state
        )

    def _place_frame(self, frame: MetaTensor, label: Any, state: np.random.RandomState) -> _Placed:
        array = frame.as_tensor()[0].to(torch.float32)
        depth = array.shape[-1]
        index = torch.as_tensor(self._candidates(np.arange(depth), depth, state))
        image = array[:, :, index].permute(3, 0, 1, 2)
        mask = None if label is None else plain_tensor(torch.as_tensor(label)[0].round().to(torch.uint8))
        return _Placed(image, mask, torch.ones(depth, dtype=torch.bool))

    def _place(
        self,
        frame: MetaTensor,
        volumes: Mapping[str, MetaTensor | None],
        state: np.random.RandomState,
        table: Mapping[int | str, int] | None,
    ) -> _Placed:
        lattice = np.asarray(frame.affine, dtype=np.float64)
        size = (int(frame.shape[1]), int(frame.shape[2]), int(frame.shape[3]))
        normal = slice_normal(lattice)
        image = volumes["image"]
        if image is None:
            raise ValueError("siblings must hold an image for each modality.")
        stack = as_slice_stack(image, normal)
        label = volumes.get("label")
        masks = None if label is None else as_slice_stack(label, normal).array
        coordinates = voxel_coordinates(lattice, size, stack.affine)
        if tilt_between(lattice, stack.affine) > _MAX_TILT:
            return self._resample(stack.array, masks, coordinates, state)

        slices = stack.array.shape[2]
        index = self._partners(frame, lattice, stack, size, table)
        if self.random_shift:
            index = random_pairing(index, slices, self.random_shift, state)
        inside = _inside(coordinates[..., :2], tuple(stack.array.shape[:2]))
        index = np.where(inside.mean((0, 1)).numpy() >= _MIN_OVERLAP, index, -1)
        rows = self._candidates(index, slices, state)
        present = torch.as_tensor(index >= 0)
        sampled = sample_slices(stack.array.to(torch.float32), coordinates, rows)
        sampled = torch.where(present, sampled, torch.nan)
        if masks is None:
            return _Placed(sampled, None, present)
        mask = sample_slices(masks, coordinates, rows[:, :1], nearest=True)[0]
        return _Placed(sampled, mask.round().to(torch.uint8), present)

    def _partners(
        self,
        frame: MetaTensor,
        lattice: NDArray[np.float64],
        stack: SliceStack,
        size: tuple[int, int, int],
        table: Mapping[int | str, int] | None,
    ) -> NDArray[np.int64]:
        slices = stack.array.shape[2]
        if table is None:
            limit = self.max_distance_mm
            if limit is None:
                limit = 0.55 * max(slice_pitch(stack.affine), slice_pitch(lattice))
            center = ((size[0] - 1) / 2, (size[1] - 1) / 2)
            return pair_slices(lattice, size[2], stack.affine, slices, limit, center).partner
        # the table counts slices as the files do
        index = pairs_from_table(table, size[2], slices)
        if stack.reversed:
            index = np.where(index < 0, -1, slices - 1 - index)
        return index[::-1].copy() if _reversed_frame(frame, lattice) else index

    def _resample(
        self, array: Tensor, masks: Tensor | None, coordinates: Tensor, state: np.random.RandomState
    ) -> _Placed:
        inside = _inside(coordinates, tuple(array.shape)).mean((0, 1))
        present = inside >= _MIN_OVERLAP
        volume = sample_volume(array.to(torch.float32), coordinates)
        depth = volume.shape[-1]
        rows = torch.as_tensor(self._candidates(np.arange(depth), depth, state))
        # a neighbour outside the volume is no candidate: the slice itself stands in for it
        rows = torch.where(present[rows], rows, rows[:, :1])
        image = torch.where(present, volume[:, :, rows].permute(3, 0, 1, 2), torch.nan)
        if masks is None:
            return _Placed(image, None, present)
        return _Placed(image, sample_volume(masks, coordinates, nearest=True).round().to(torch.uint8), present)


def _table(tables: Mapping[str, Any], frame: str, name: str) -> Any:
    """Pairs of the frame's slices with those of another modality, by whichever of the two they are listed."""
    if not any(
        isinstance(one, Mapping) and any(isinstance(x, Mapping) for x in one.values()) for one in tables.values()
    ):
        return tables.get(name)
    if (table := tables.get(frame, {}).get(name)) is not None:
        return table
    table = tables.get(name, {}).get(frame)
    return None if table is None else {int(to): int(start) for start, to in table.items()}


def _inside(coordinates: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """1 where a point lies within the outer borders of the voxels of a volume, else 0; float64 ``(H, W, D)``."""
    limit = torch.tensor(sizes, dtype=coordinates.dtype)
    return ((coordinates >= -0.5) & (coordinates <= limit - 0.5)).all(-1).to(torch.float64)


def _reversed_frame(frame: MetaTensor, lattice: NDArray[np.float64]) -> bool:
    """Whether slice 0 of the lattice is the last one of the frame's file."""
    original = frame.meta.get("original_affine")
    if original is None:
        return False
    step = np.linalg.inv(np.asarray(original, dtype=np.float64)[:3, :3]) @ lattice[:3, 2]
    return bool(step[int(np.argmax(np.abs(step)))] < 0)
