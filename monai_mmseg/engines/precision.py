# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether mixed precision pays on a device."""

from __future__ import annotations

import torch


def mixed_precision_pays(device: str | torch.device) -> bool:
    """Whether automatic mixed precision makes a device faster.

    Use it as ``amp`` in a config that runs anywhere. A GPU has units for half precision; of CPUs, those with AMX tiles
    multiply matrices in bfloat16 (a small DAFNet trains 1.4 to 1.7 times as fast), while others only emulate it.

    Args:
        device: where the network runs.

    Returns:
        True or False; False if the CPU does not say.

    Examples:
        >>> mixed_precision_pays("cuda:0")
        True
    """
    if torch.device(device).type != "cpu":
        return True
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported is not None and supported())
