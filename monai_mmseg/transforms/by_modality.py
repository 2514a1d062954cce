# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One pipeline whose steps differ between modalities, for example a window for CT and percentiles for MR."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, InvertibleTransform, MapTransform, Randomizable, ScaleIntensityRanged
from monai.transforms.traits import RandomizableTrait
from monai.transforms.utils import allow_missing_keys_mode

logger = logging.getLogger(__name__)

MODALITY_META = "modality"
_FAT, _AIR = -50.0, -500.0  # HU: every image of a body has something below the first, fat being -100; of air alone


class ByModalityd(InvertibleTransform):
    """Apply the dictionary transform that belongs to the modality of the item.

    When to use: wherever a step of the preprocessing depends on the modality; for augmentation, which must not be
    cached, take :class:`RandByModalityd`. Volumes remember which transform they
    went through (in their metadata), so ``Invertd`` undoes the right one.

    A first step that is a window from below -50 (``ScaleIntensityRanged``) is one of Hounsfield units, as is that of
    `hounsfield`. An image that comes to it without a value below -50 is told once, since its numbers are of another
    kind; so is, beside such a modality, an image of another one that reaches below -500, as only air in CT does.

    Args:
        transforms: modality to dictionary transform; ``None`` leaves that modality as it is.
        modality_key: entry of the item that names its modality.
        default_modality: modality of items without that entry; ``None`` refuses them.
        hounsfield: modalities in Hounsfield units whose window does not show it.

    Raises:
        ValueError: if there are no transforms or some are random, `hounsfield` names another modality, or (in a call)
            the modality of an item has none.

    Examples:
        >>> from monai.transforms import ScaleIntensityRanged, ScaleIntensityd
        >>> import torch
        >>> window = ScaleIntensityRanged("image", a_min=-100, a_max=300, b_min=0, b_max=1, clip=True)
        >>> scale = ByModalityd({"ct": window, "mr": ScaleIntensityd("image")})
        >>> image = torch.tensor([[-1000.0, 100.0, 900.0]])
        >>> [round(v, 2) for m in ("ct", "mr") for v in scale({"image": image, "modality": m})["image"][0].tolist()]
        [0.0, 0.5, 1.0, 0.0, 0.58, 1.0]
    """

    def __init__(
        self,
        transforms: Mapping[str, Callable[[Any], Any] | None],
        *,
        modality_key: str = "modality",
        default_modality: str | None = None,
        hounsfield: Sequence[str] = (),
    ) -> None:
        # configs allow keys that start with an underscore as comments
        self.transforms = {str(name): one for name, one in transforms.items() if not str(name).startswith("_")}
        if not self.transforms:
            raise ValueError("transforms must name a transform for one modality at least, got none.")
        if default_modality is not None and default_modality not in self.transforms:
            raise ValueError(f"default_modality must be one of {list(self.transforms)}, got {default_modality!r}.")
        chance = [name for name, one in self.transforms.items() if any(map(_is_random, _steps(one)))]
        if chance and not isinstance(self, Randomizable):
            raise ValueError(f"transforms of {chance} draw at random; RandByModalityd is the class for those.")
        self.modality_key, self.default_modality = modality_key, default_modality
        if isinstance(hounsfield, str) or not set(hounsfield) <= self.transforms.keys():
            raise ValueError(f"hounsfield must list some of {list(self.transforms)}, got {hounsfield!r}.")
        first = {name: _steps(one)[0] for name, one in self.transforms.items() if _steps(one)}
        self._windows = {name: one for name, one in first.items() if name in hounsfield or _of_hounsfield(one)}
        self._told: set[str] = set()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return what the transform of the item's modality gives, a copy."""
        name = data.get(self.modality_key, self.default_modality)
        transform = self._of(name)
        self._check_units(name, data)
        result: dict[Hashable, Any] = dict(data if transform is None else transform(dict(data)))
        for key, value in result.items():
            if isinstance(value, MetaTensor) and value.meta.get(MODALITY_META) != name:
                result[key] = MetaTensor(value).copy_meta_from(value)
                result[key].meta[MODALITY_META] = name
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Undo the transform of the item's modality in a copy, where it can be undone.

        Args:
            data: the item, or only some of its volumes.
        """
        names = [value.meta.get(MODALITY_META) for value in data.values() if isinstance(value, MetaTensor)]
        name = next((one for one in names if one is not None), data.get(self.modality_key, self.default_modality))
        transform = self._of(name)
        if not isinstance(transform, InvertibleTransform) or not any(map(_inverts, _steps(transform))):
            return dict(data)
        # Invertd hands over one volume alone, and cannot see the transforms in here
        lenient = any(isinstance(step, MapTransform) for step in _steps(transform))
        with allow_missing_keys_mode(transform) if lenient else nullcontext():
            return dict(transform.inverse(dict(data)))

    def _check_units(self, name: Any, data: Mapping[Hashable, Any]) -> None:
        for key in {key for one in self._windows.values() for key in getattr(one, "keys", ())} & data.keys():
            least = float(data[key].min())
            place = str(getattr(data[key], "meta", {}).get("filename_or_obj", "an image"))
            if (least > _FAT if name in self._windows else least < _AIR) and place not in self._told:
                self._told.add(place)
                logger.warning(
                    "%s is taken as %s in Hounsfield units, which begin far below -50, but its least value is %.4g: "
                    "stored with 1000 or 1024 added, scaled, or another modality? What is predicted of it is wrong."
                    if name in self._windows
                    else "%s is taken as %s, but its least value is %.4g, as of air in CT: is it another modality?",
                    place,
                    name,
                    least,
                )

    def _of(self, name: Any) -> Callable[[Any], Any] | None:
        if name is None:
            raise ValueError(
                f"the item has no {self.modality_key!r} and there is no default_modality; modalities are "
                f"{list(self.transforms)}."
            )
        if name not in self.transforms:
            raise ValueError(f"the item's {self.modality_key} must be one of {list(self.transforms)}, got {name!r}.")
        return self.transforms[name]


class RandByModalityd(Randomizable, ByModalityd):
    """As :class:`ByModalityd`, for random transforms: data sets with a cache call it anew each time.

    Examples:
        >>> import torch
        >>> from monai.transforms import RandGaussianNoised
        >>> noise = RandByModalityd({"ct": None, "mr": RandGaussianNoised("image", prob=1.0)}).set_random_state(0)
        >>> [bool(noise({"image": torch.zeros(1, 4, 4), "modality": m})["image"].any()) for m in ("ct", "mr")]
        [False, True]
    """

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandByModalityd:
        """Seed all random transforms, as ``Randomizable.set_random_state`` does."""
        super().set_random_state(seed, state)
        for one in self.transforms.values():
            if isinstance(one, Randomizable):
                one.set_random_state(seed=int(self.R.randint(2**31)))
        return self

    def randomize(self, data: Any = None) -> None:
        """Do nothing: the transforms sample when they are called."""


def _steps(transform: Any) -> list[Any]:
    return list(transform.flatten().transforms) if isinstance(transform, Compose) else [transform]


def _of_hounsfield(step: Any) -> bool:
    return isinstance(step, ScaleIntensityRanged) and step.scaler.a_min < _FAT


def _is_random(step: Any) -> bool:
    return isinstance(step, RandomizableTrait) and not isinstance(step, Compose)


def _inverts(step: Any) -> bool:
    return isinstance(step, InvertibleTransform)
