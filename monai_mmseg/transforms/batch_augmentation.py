# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Random transforms of slices that are drawn sample by sample, in the loader, and done for a batch, on its device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from monai.transforms import (
    Compose,
    RandFlipd,
    RandGaussianNoised,
    RandomizableTransform,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.utils import MAX_SEED, ensure_tuple
from torch import Tensor

from monai_mmseg.transforms.affine_slices import RandAffineSlicesd, affine_matrix
from monai_mmseg.transforms.convolution_intensity import RandConvolutionIntensityd, convolution_intensity
from monai_mmseg.transforms.drop_modality import RandDropModalityd
from monai_mmseg.transforms.random_appearance import RandAppearanced

DRAWS = "augmentation"
"""Entry of an item, and of a batch before :meth:`SliceAugmentation.apply`: what was drawn for each sample."""

_BY_LOADER = (RandDropModalityd, RandAppearanced)


@dataclass
class _Draws:
    """All transforms of one sample as one of each kind, in the order: place, network, intensity, noise."""

    affine: Tensor = field(default_factory=lambda: torch.eye(3, dtype=torch.float64))  # output to input
    gain: Tensor = field(default_factory=lambda: torch.ones(1))  # (C,), or one for all
    offset: Tensor = field(default_factory=lambda: torch.zeros(1))
    noise: Tensor = field(default_factory=lambda: torch.zeros(1))  # standard deviation
    seed: int = 0
    network: dict[str, Tensor] = field(default_factory=dict)


class SliceAugmentation(Compose):
    """Random transforms of slices, done one by one in the loader or batch by batch on the device.

    When to use: as ``slice_transform`` of a data set, and in :class:`~monai_mmseg.engines.PrepareAugmentedBatch`, where
    the loader is slower than the device. On the device, all rotations, scalings, shifts and flips of a batch are one
    resampling, and all changes of intensity one multiplication. Both places draw the same numbers from the same
    seeds (of the noise: the same distribution), so runs with any number of workers, interrupted or not, stay equal.
    Two resamplings after each other become one, so pixels near the border may differ between both places.

    Args:
        transforms: for the device, :class:`~monai_mmseg.transforms.RandAffineSlicesd`, MONAI's ``RandFlipd``,
            ``RandScaleIntensityd``, ``RandShiftIntensityd``, ``RandGaussianNoised``, the last after all of the first
            two; between the first two and the others one :class:`~monai_mmseg.transforms.RandConvolutionIntensityd`;
            and :class:`~monai_mmseg.transforms.RandDropModalityd` and :class:`~monai_mmseg.transforms.RandAppearanced`,
            which the loader does, before all others. For the loader any.
        on: ``"loader"`` or ``"device"``.

    Raises:
        ValueError: ``on`` is unknown, or the device cannot do a transform, its keys or this order.

    Examples:
        >>> flip = RandFlipd(["image", "label"], prob=1.0, spatial_axis=1)
        >>> augment = SliceAugmentation([flip], on="device").set_random_state(0)
        >>> item = augment({"image": torch.arange(4.0).reshape(1, 2, 2), "label": torch.eye(2).long()[None]})
        >>> batch = augment.apply(torch.utils.data.default_collate([item]))
        >>> batch["image"].flatten().tolist(), batch["label"].flatten().tolist()
        ([1.0, 0.0, 3.0, 2.0], [0, 1, 1, 0])
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]], on: Literal["loader", "device"] = "loader") -> None:
        super().__init__(transforms)
        if on not in ("loader", "device"):
            raise ValueError(f"on must be 'loader' or 'device', got {on!r}.")
        self.on, self._parts = on, _parts(self)  # Compose.flatten seeds anew
        self.modes: dict[Hashable, str | None] = {}
        self.intensity_keys: tuple[Hashable, ...] = ()
        if on == "device":
            self._check()

    def _check(self) -> None:
        places, values, noisy = [], [], ""  # noisy: what pixels cannot be moved behind
        for one in self._parts:
            if isinstance(one, RandAffineSlicesd | RandFlipd):
                if noisy:
                    raise ValueError(f"on='device' moves pixels first: {noisy} must follow rotations and flips.")
                places.append(set(one.keys))
                modes = one.mode if isinstance(one, RandAffineSlicesd) else [None] * len(one.keys)
                self.modes.update({key: mode or self.modes.get(key) for key, mode in zip(one.keys, modes, strict=True)})
            elif isinstance(one, RandScaleIntensityd | RandShiftIntensityd | RandGaussianNoised):
                noisy = noisy or type(one).__name__ * isinstance(one, RandGaussianNoised)
                if isinstance(one, RandShiftIntensityd) and any(one.factor_key):
                    raise ValueError("on='device' knows no factor_key of RandShiftIntensityd.")
                values.append(set(one.keys))
                self.intensity_keys = tuple(one.keys)
            elif isinstance(one, RandConvolutionIntensityd):
                if values:
                    raise ValueError(
                        "on='device' takes one RandConvolutionIntensityd, in front of all other changes of intensity."
                    )
                noisy = type(one).__name__
                values.append(set(one.keys))
                self.intensity_keys = tuple(one.keys)
            elif not isinstance(one, _BY_LOADER):
                raise ValueError(f"on='device' does not know {type(one).__name__}; on='loader' does any transform.")
        for keys in (places, values):
            if any(one != keys[0] for one in keys):
                raise ValueError(f"on='device' needs the same keys in all transforms of a kind, got {keys}.")

    def __call__(self, input_: Any, *args: Any, **kwargs: Any) -> Any:
        """Augment an item, or for the device note what was drawn for it."""
        if self.on == "loader":
            return super().__call__(input_, *args, **kwargs)
        item, draws = dict(input_), _Draws()
        for one in self._parts:
            if isinstance(one, _BY_LOADER):
                item = one(item)
            elif (keys := [key for key in one.keys if key in item]) or not one.allow_missing_keys:
                _draw(one, item[(keys or one.keys)[0]], draws)
        noted: dict[str, Any] = {}
        item[DRAWS] = noted
        if self.modes:
            noted["affine"] = draws.affine[:2].to(torch.float32)
        if key := next((key for key in self.intensity_keys if key in item), None):
            noted["seed"] = torch.tensor(draws.seed)
            for name in ("gain", "offset", "noise"):
                noted[name] = getattr(draws, name).expand(len(item[key])).clone()
            noted["network"] = draws.network
        return item

    def apply(self, batch: Mapping[Any, Any]) -> dict[Any, Any]:
        """Do what was drawn for the samples of a batch.

        Args:
            batch: images, labels and others ``(B, C, H, W)`` on one device, ``present (B, M)`` where modalities may be
                absent (their values stay as they are), and what was drawn; without it, the batch is returned as it is.

        Returns:
            The batch without what was drawn; new tensors in the place of changed ones.
        """
        result = dict(batch)
        draws = result.pop(DRAWS, None)
        if draws is None:
            return result
        for key, mode in self.modes.items():
            if key in result:
                nearest = not result[key].is_floating_point() if mode is None else mode == "nearest"
                result[key] = _resampled(result[key], draws["affine"], nearest)
        for key in self.intensity_keys:
            if key in result:
                result[key] = _recoloured(_mapped(result[key], draws["network"]), draws)
        present = batch.get("present")
        if present is not None and not present.all():
            for key in {*self.modes, *self.intensity_keys} & result.keys():
                if result[key].is_floating_point():
                    mask = present.to(result[key].device).repeat_interleave(result[key].shape[1] // present.shape[1], 1)
                    result[key] = torch.where(mask[:, :, None, None], result[key], batch[key])
        return result


def _parts(transform: Compose) -> list[Any]:
    """The transforms without those that only hold them."""
    return [part for one in transform.transforms for part in (_parts(one) if type(one) is Compose else [one])]


def _draw(transform: Any, array: Tensor, draws: _Draws) -> None:
    """Let a transform draw, and add its effect to that of those before it."""
    if isinstance(transform, RandConvolutionIntensityd):
        transform.randomize(array.ndim - 1)
        draws.network = transform.network.drawn
        return
    transform.randomize(None)
    if not transform._do_transform:
        return
    if isinstance(transform, RandAffineSlicesd):
        height, width = array.shape[-2:]
        rows = affine_matrix(transform.degrees, transform.factor, transform.shift, height / width)
        draws.affine = draws.affine @ torch.tensor([*rows, [0, 0, 1]], dtype=torch.float64)
    elif isinstance(transform, RandFlipd):
        axes = transform.flipper.spatial_axis
        flipped = {0, 1} if axes is None else {axis % 2 for axis in ensure_tuple(axes)}
        signs = [-1.0 if axis in flipped else 1.0 for axis in (1, 0)]  # x first
        draws.affine = draws.affine @ torch.diag(torch.tensor([*signs, 1.0], dtype=torch.float64))
    elif isinstance(transform, RandScaleIntensityd):
        transform.scaler.randomize(array)
        factor = 1 + torch.tensor(transform.scaler.factor, dtype=torch.float32).reshape(-1)
        draws.gain, draws.offset, draws.noise = draws.gain * factor, draws.offset * factor, draws.noise * factor.abs()
    elif isinstance(transform, RandShiftIntensityd):
        transform.shifter.randomize(array)
        draws.offset = draws.offset + torch.tensor(transform.shifter._offset, dtype=torch.float32).reshape(-1)
    else:
        noise = transform.rand_gaussian_noise
        RandomizableTransform.randomize(noise, None)  # its generator has the seed of the other: the same first number
        spread = float(noise.R.uniform(0, noise.std)) if noise.sample_std else float(noise.std)
        draws.noise = (draws.noise.square() + spread**2).sqrt()
        draws.offset = draws.offset + float(noise.mean)
        draws.seed = int(noise.R.randint(MAX_SEED, dtype="uint32"))


def _resampled(value: Tensor, affine: Tensor, nearest: bool) -> Tensor:
    """Batch whose samples went through their matrix; edge values outside, or 0 for the nearest value."""
    # which samples, is asked on the CPU, where the draws are
    plain = (affine.abs() == torch.eye(3)[:2]).flatten(1).all(1)
    for place, axis in ((0, -1), (1, -2)):  # flips alone need no resampling
        value = _changed(value, plain & (affine[:, place, place] < 0), partial(_flipped, axis))

    def resampled(part: Tensor, places: Tensor) -> Tensor:
        matrices = affine[places].to(part.device, non_blocking=True)
        grid = F.affine_grid(matrices, list(part.shape), align_corners=False)
        mode, padding = ("nearest", "zeros") if nearest else ("bilinear", "border")
        done = F.grid_sample(part.to(torch.float32), grid, mode=mode, padding_mode=padding, align_corners=False)
        return done.to(part.dtype)

    return _changed(value, ~plain, resampled)


def _flipped(axis: int, part: Tensor, _: Tensor) -> Tensor:
    return part.flip(axis)


def _changed(value: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Batch with the chosen samples changed; ``change`` gets them and their places, those on the CPU."""
    places = chosen.nonzero()[:, 0]
    if not len(places):
        return value
    if len(places) == len(value):
        return change(value, places)
    there = places.to(value.device, non_blocking=True)
    return value.index_copy(0, there, change(value[there], places))


def _mapped(value: Tensor, network: Mapping[str, Tensor]) -> Tensor:
    """Batch whose samples went through their network."""
    if not network:
        return value

    def mapped(part: Tensor, places: Tensor) -> Tensor:
        own = {name: one[places].to(part.device, non_blocking=True) for name, one in network.items()}
        return convolution_intensity(part, **own)

    return _changed(value, network["alpha"] > 0, mapped)


def _recoloured(value: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
    """Batch times gain, plus offset and noise."""
    gain, offset, spread = (
        draws[name].to(value.device, non_blocking=True)[:, :, None, None] for name in ("gain", "offset", "noise")
    )
    done = value * gain + offset
    if bool(draws["noise"].any()):
        noise = torch.empty_like(value)
        for row, seed in zip(noise, draws["seed"].tolist(), strict=True):
            row.normal_(generator=torch.Generator(value.device).manual_seed(seed))
        done = done + spread * noise
    return done
