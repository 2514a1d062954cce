# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Whether mixed precision pays on a device."""

from __future__ import annotations

import torch


def mixed_precision_pays(device: str | torch.device) -> bool:
    """Whether automatic mixed precision makes a device faster.

    Use it as ``amp`` of a trainer here, in a config that runs anywhere; MONAI's evaluators know mixed precision on CUDA
    only. A GPU has units for half precision; of CPUs, those with AMX tiles or AVX-512 BF16 multiply in bfloat16 (a
    training step takes about six tenths of the time), while others only emulate it.

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
    return any(_cpu_has(unit) for unit in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))


def _cpu_has(unit: str) -> bool:
    supported = getattr(torch.cpu, unit, None)  # not in every release of torch
    return supported is not None and bool(supported())
