# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Volumes turned so that their slices look as they do on a radiologist's screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_mmseg.transforms import OrientSlices, read_volume


class DisplayVolume(NamedTuple):
    """What :func:`read_for_display` returns."""

    values: NDArray[np.float32]  # (H, W, D)
    spacing: tuple[float, float]  # mm, rows and columns


def read_for_display(source: str | Path | MetaTensor) -> DisplayVolume:
    """Voxels and in-plane spacing of a volume, with its slices last and in the radiological view.

    Use it for image, label and prediction alike: files on one grid stay on one grid.

    Args:
        source: path, or a channel-first MetaTensor; of several channels the first is taken.

    Examples:
        >>> volume = MetaTensor(torch.zeros(1, 5, 64, 48), affine=torch.diag(torch.tensor([8.0, 1.5, 1.0, 1.0])))
        >>> read_for_display(volume).values.shape, read_for_display(volume).spacing
        ((48, 64, 5), (1.0, 1.5))
    """
    volume = source if isinstance(source, MetaTensor) else read_volume(source)
    turned: Any = OrientSlices()(volume)
    sizes = np.linalg.norm(np.asarray(turned.affine, dtype=np.float64)[:3, :3], axis=0)
    values: NDArray[np.float32] = torch.as_tensor(turned[0]).to(torch.float32).numpy()
    return DisplayVolume(np.asarray(values), (float(sizes[0]), float(sizes[1])))
