# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What an iteration leaves behind."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class IterationOutput(list[dict[str, Any]]):
    """List of samples, as MONAI's handlers expect it, that also answers to the keys of the batch.

    When to use: read it as ``engine.state.output``. Unlike MONAI's ``decollate`` it leaves scalars as tensors, in each
    sample, so it never waits for the device.

    Args:
        batch: tensors by name; those with a batch axis are cut into samples (views), all else is repeated.

    Examples:
        >>> import torch
        >>> output = IterationOutput({"image": torch.zeros(2, 1, 4, 4), "loss": torch.tensor(0.5)})
        >>> len(output), output[0]["image"].shape, output[1]["loss"]
        (2, torch.Size([1, 4, 4]), tensor(0.5000))
        >>> output["image"].shape, output.scalars()
        (torch.Size([2, 1, 4, 4]), {'loss': tensor(0.5000)})
    """

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch
        size = next((len(v) for v in batch.values() if isinstance(v, Tensor) and v.ndim), 1)
        cut = {k: v.unbind() for k, v in batch.items() if isinstance(v, Tensor) and v.ndim and len(v) == size}
        super().__init__({k: cut[k][i] if k in cut else v for k, v in batch.items()} for i in range(size))

    def __getitem__(self, key: Any) -> Any:
        return self.batch[key] if isinstance(key, str) else super().__getitem__(key)

    def scalars(self) -> dict[str, Tensor]:
        """The loss and every term, for handlers that log them in each iteration."""
        return {k: v for k, v in self.batch.items() if isinstance(v, Tensor) and not v.ndim}
