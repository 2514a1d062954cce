# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Normalisation layers with one scale and one shift a channel, whatever they average over."""

from __future__ import annotations

import math
from typing import Any

from monai.networks.layers.utils import get_norm_layer
from torch import nn

LayerSetting = tuple[str, dict[str, Any]] | str
"""A layer by MONAI's name for it, or a pair of name and keyword arguments."""

MAX_GROUPS = 16


def channel_norm(spatial_dims: int, channels: int, norm: LayerSetting | None = "batch") -> nn.Module:
    """Normalisation layer by name, so that a network has the same number of weights with every one of them.

    Use it in a network whose kind of normalisation is a setting. All four kinds have a scale and a shift for each
    channel; MONAI's own defaults leave them out of instance normalisation, and its ``"layer"`` wants the image size.

    ============  =======================  ==============================================
    ``norm``      mean and variance over   defaults
    ============  =======================  ==============================================
    ``batch``     batch, space             ``eps`` 1e-3, ``momentum`` 0.1
    ``instance``  space                    ``eps`` 1e-6, ``affine``
    ``layer``     channels, space          ``eps`` 1e-6 (group normalisation, one group)
    ``group``     a group's channels,      ``eps`` 1e-6, 16 groups; fewer channels than that or no multiple of it:
                  space                    the largest number of groups that divides both
    ============  =======================  ==============================================

    Args:
        spatial_dims: 1, 2 or 3.
        channels: channels of the image.
        norm: a name of the table, or any other that :func:`monai.networks.layers.get_norm_layer` knows; a pair of name
            and keyword arguments overrides the defaults. ``None`` or ``""`` means no normalisation.

    Reference:
        Dou et al., "Unpaired multi-modal segmentation via knowledge distillation", IEEE TMI 2020 (arXiv:2001.03111),
        section IV-D. Differs from the original code: 1e-6 instead of 1e-12 in layer normalisation, which half
        precision cannot tell from zero.

    Examples:
        >>> layer, group = channel_norm(2, 32, "layer"), channel_norm(2, 24, ("group", {"eps": 1e-5}))
        >>> layer.num_groups, layer.eps, group.num_groups, group.eps
        (1, 1e-06, 8, 1e-05)
    """
    if not norm:
        return nn.Identity()
    name, settings = (norm, {}) if isinstance(norm, str) else (norm[0], dict(norm[1]))
    kind = name.lower()
    if kind in ("batch", "syncbatch"):
        settings = {"eps": 1e-3, "momentum": 0.1, **settings}
    elif kind == "instance":
        settings = {"eps": 1e-6, "affine": True, **settings}
    elif kind == "layer":
        kind, settings = "group", {"eps": 1e-6, "num_groups": 1, **settings}
    elif kind == "group":
        settings = {"eps": 1e-6, "num_groups": math.gcd(MAX_GROUPS, channels), **settings}
    layer: nn.Module = get_norm_layer((kind, settings), spatial_dims, channels)
    return layer
