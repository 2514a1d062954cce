# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What becomes of predictions: back on the image's own grid, and into a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from math import prod
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.transforms import Invertd, InvertibleTransform, SaveImaged
from monai.utils import TraceKeys
from torch import Tensor

from monai_mmseg.bundle.ahead import PREPROCESSING
from monai_mmseg.bundle.naming import prediction_name
from monai_mmseg.bundle.volume_writer import VolumeWriter
from monai_mmseg.files import remove_leftovers
from monai_mmseg.meta_tensors import plain_tensor, with_metadata
from monai_mmseg.transforms.read_volume import path_of
from monai_mmseg.transforms.resample_blocks import most_likely, resample_in_blocks
from monai_mmseg.transforms.spacing import ONLY_CLASSES

logger = logging.getLogger(__name__)

_COPIES_VOXELS = {
    *("OrientSlices", "Orientation", "Flip", "Transpose"),
    *("Pad", "SpatialPad", "BorderPad", "Crop", "CenterSpatialCrop", "SpatialCrop", "ResizeWithPadOrCrop"),
}
"""Transforms whose inverse moves voxels and mixes none; what they cannot restore is background, as is 0 everywhere."""

_CROPS = ("ResizeWithPadOrCrop", "CenterSpatialCrop")
_CUT = 0.1
"""Share of a class's largest section at a cropped side, from which on it counts as cut rather than as a stray voxel."""
_SMALL = (1 / 16, 64)
"""Share of what the network sees at once, and pixels of a slice, below which an image has no room for an organ."""


class InvertPredictiond(Invertd):
    """MONAI's ``Invertd`` for probabilities or intensities: interpolated, by the transforms of the image.

    Args:
        keys: of the predictions.
        transform: the preprocessing to undo.
        orig_keys: whose transforms are undone.
        nearest_interp: take the nearest value, as for labels.
        **kwargs: for MONAI's transform.

    Examples:
        In ``postprocessing``::

            {"_target_": "monai_mmseg.bundle.InvertPredictiond", "keys": "pred", "transform": "@preprocessing"}
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        transform: InvertibleTransform,
        orig_keys: Hashable | Sequence[Hashable] = "image",
        nearest_interp: bool | Sequence[bool] = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(keys, transform, orig_keys, nearest_interp=nearest_interp, **kwargs)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the predictions of one item to its image's grid.

        Args:
            data: the item.

        Returns:
            A copy of it.
        """
        with PREPROCESSING:
            inverted: dict[Hashable, Any] = super().__call__(data)
        return inverted


class InvertClassesd(InvertPredictiond):
    """As :class:`InvertPredictiond`, and of each voxel the most likely class alone.

    When to use: for segmentations. Probabilities are interpolated block by block and never lie on the image's grid as a
    whole; where no transform interpolates, classes are found first. The result is that of inverting all probabilities
    and taking their ``argmax`` afterwards.

    Logs a warning where a class ends at a side at which the preprocessing has cropped the image: the rest of it was not
    seen and becomes background. And where the image is next to nothing on the network's grid.

    Args:
        keys: of class probabilities, ``(C, *spatial)``; they become ``(1, *spatial)``, uint8.
        transform: the preprocessing to undo.
        orig_keys: whose transforms are undone.
        **kwargs: for MONAI's transform.

    Examples:
        In ``postprocessing``::

            {"_target_": "monai_mmseg.bundle.InvertClassesd", "keys": "pred", "transform": "@preprocessing"}
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        transform: InvertibleTransform,
        orig_keys: Hashable | Sequence[Hashable] = "image",
        **kwargs: Any,
    ) -> None:
        super().__init__(keys, transform, orig_keys, **kwargs)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the classes of one item to its image's grid.

        Args:
            data: the item.

        Returns:
            A copy of it.
        """
        asked = dict(data)
        for key, image in zip(self.keys, self.orig_keys, strict=True):
            if not isinstance(asked.get(image), MetaTensor) or key not in asked:
                continue
            _tell_small(asked[key], asked[image])
            _tell_cut(asked[key], asked[image])
            marked = MetaTensor(asked[image].as_tensor()).copy_meta_from(asked[image])
            # what MONAI copies: to the prediction, for the transforms that are undone
            marked.meta = {**marked.meta, ONLY_CLASSES: True}
            asked[image] = marked
            if {operation.get(TraceKeys.CLASS_NAME) for operation in marked.applied_operations} <= _COPIES_VOXELS:
                asked[key] = _classes(asked[key])
                marked.meta.pop(ONLY_CLASSES)
        found: dict[Hashable, Any] = super().__call__(asked)
        for key, image in zip(self.keys, self.orig_keys, strict=True):
            if image in data:
                found[image] = data[image]
            if key in found and getattr(found[key], "meta", {}).pop(ONLY_CLASSES, False):
                found[key] = _classes(found[key])
        return found


def _tell_small(values: Tensor, image: MetaTensor) -> None:
    """Warn where probabilities ``(C, *spatial)`` are of an image that hardly covers a voxel or a slice of them."""
    window = [int(size) for size in values.shape[1:]]
    crops = _crops(image)
    sizes = [int(size) for size in crops[0][TraceKeys.ORIG_SIZE]] if len(crops) == 1 else window
    seen = [min(pair) for pair in zip(sizes, window, strict=False)]
    if len(seen) < len(window) or (prod(seen) >= _SMALL[0] * prod(window) and prod(seen[:2]) >= _SMALL[1]):
        return
    logger.warning(
        "%s: on the network's grid the image is %s voxels (rows, columns, slices)%s, too few to show anything: are its "
        "voxel sizes in mm, and its slices in the plane that the network was trained on?",
        path_of(image),
        " x ".join(map(str, seen)),
        "" if seen == window else f" of {' x '.join(map(str, window))}",
    )


def _crops(image: MetaTensor) -> list[Any]:
    return [operation for operation in image.applied_operations if operation[TraceKeys.CLASS_NAME] in _CROPS]


def _tell_cut(values: Tensor, image: MetaTensor) -> None:
    """Warn where a class of probabilities ``(C, *spatial)`` ends at a side that the preprocessing cropped."""
    crops = _crops(image)
    if len(crops) != 1:
        return
    extra = crops[0][TraceKeys.EXTRA_INFO]
    cropped = torch.tensor(extra.get("crop_info", {TraceKeys.EXTRA_INFO: extra})[TraceKeys.EXTRA_INFO]["cropped"])
    sizes = [int(size) for size in crops[0][TraceKeys.ORIG_SIZE]]
    lost = cropped.view(-1, 2)[: len(sizes)]
    seen = [size - int(both) for size, both in zip(sizes, lost.sum(1), strict=False)]
    axes = [axis for axis, both in enumerate(lost.sum(1)) if both and values.shape[axis + 1] == seen[axis]]
    if not axes:
        return
    classes = plain_tensor(most_likely(plain_tensor(values)))[0].long()
    found: set[int] = set()
    for axis in axes:
        size = classes.shape[axis]
        position = torch.arange(size, device=classes.device).view([-1 if d == axis else 1 for d in range(classes.ndim)])
        areas = torch.bincount((classes * size + position).flatten(), minlength=len(values) * size).view(-1, size)
        for side, dropped in zip((0, -1), lost[axis], strict=True):
            if dropped:
                ends = areas[1:, side] > _CUT * areas[1:].amax(1)
                found |= {1 + int(label) for label in ends.nonzero()}
    if found:
        logger.warning(
            "%s: %s at the edge of the %s pixels that the network sees of %s, and what lies beyond is "
            "background; crop or pad the image to have the organ in its middle.",
            path_of(image),
            f"class {min(found)} ends" if len(found) == 1 else f"classes {', '.join(map(str, sorted(found)))} end",
            " x ".join(str(seen[axis]) for axis in axes),
            " x ".join(str(sizes[axis]) for axis in axes),
        )


def _classes(values: Tensor) -> Tensor:
    plain = plain_tensor(values)
    if plain.ndim != 4:
        return with_metadata(most_likely(plain), values)
    return with_metadata(resample_in_blocks(plain, torch.eye(4), plain.shape[1:], finish=most_likely), values)


class SaveImagePredictiond(SaveImaged):
    """MONAI's ``SaveImaged`` as all bundles use it: one folder, a name of its own for each subject, volumes kept.

    What a killed run left unfinished in the folder is removed when the first volume is saved.

    As a handler of an engine it writes in a thread, while the network works on the next volume: one volume at a time,
    in order; an error is raised with the next volume, or at the end. Without an engine it writes at once.

    Args:
        keys: of the predictions, on the image's grid.
        output_dir: folder of the files.
        output_postfix: end of the name.
        output_dtype: of the voxels.
        **kwargs: for MONAI's transform, in place of :func:`prediction_name`, :class:`VolumeWriter` and the rest.

    Examples:
        >>> import tempfile
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> pred = MetaTensor(torch.zeros(1, 4, 4, 1), meta={"filename_or_obj": "s01/lge.nii.gz", "subject": "s01"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = SaveImagePredictiond("pred", folder)({"pred": pred})
        ...     os.listdir(folder)
        ['s01_lge_seg.nii.gz']
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        output_dir: str | os.PathLike[str],
        output_postfix: str = "seg",
        output_dtype: str = "uint8",
        **kwargs: Any,
    ) -> None:
        usual = {"resample": False, "separate_folder": False, "print_log": False}
        own = {"output_name_formatter": prediction_name, "writer": VolumeWriter, **usual}
        super().__init__(
            keys, output_dir=output_dir, output_postfix=output_postfix, output_dtype=output_dtype, **{**own, **kwargs}
        )
        self._folder: str | os.PathLike[str] | None = output_dir
        self._writer: ThreadPoolExecutor | None = None
        self._waiting: Future[Any] | None = None

    def attach(self, engine: Engine) -> None:
        """Write in a thread from now on, and wait for the last volume when the engine is done.

        Args:
            engine: whose postprocessing this is a part of.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._finish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save the predictions of one item.

        Args:
            data: the item.

        Returns:
            The item.
        """
        if self._writer is None:
            return self._save(data)
        self._wait()
        self._waiting = self._writer.submit(self._save, {key: data[key] for key in self.key_iterator(data)})
        return dict(data)

    def _save(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        if self._folder is not None:
            remove_leftovers(self._folder)
            self._folder = None
        VolumeWriter.failure = None
        try:
            saved: dict[Hashable, Any] = super().__call__(data)
        except RuntimeError:
            if VolumeWriter.failure is not None:
                raise VolumeWriter.failure from None
            raise
        return saved

    def _wait(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.result()

    def _start(self, engine: Engine) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="mmseg_write")

    def _finish(self, engine: Engine) -> None:
        writer, self._writer = self._writer, None
        try:
            self._wait()
        finally:
            if writer is not None:
                writer.shutdown()

    def _stop(self, engine: Engine, error: BaseException) -> None:
        with suppress(Exception):  # the engine's own error is what is told
            self._finish(engine)
        raise error
