# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the data sets that keep transformed volumes in memory have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def item_seed(*numbers: int) -> int:
    """Seed of the augmentation of one item, the same on every machine.

    Args:
        numbers: seed, epoch, item.

    Returns:
        Number below 2**32.

    Examples:
        >>> item_seed(0, 1, 2) == item_seed(0, 1, 2), item_seed(0, 1, 2) == item_seed(0, 2, 1)
        (True, False)
    """
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def progress_bar(numbers: Iterable[int], show: bool) -> Iterable[int]:
    """Count while volumes are read.

    Args:
        numbers: what to go through.
        show: off, nothing is shown.

    Returns:
        The numbers.
    """
    if not show:
        return numbers
    from tqdm.auto import tqdm

    return tqdm(numbers, desc="reading volumes", leave=False)
