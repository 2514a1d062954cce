# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From the data loader to an evaluator, with the modality of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.engines import PrepareBatch, default_prepare_batch
from torch import Tensor


class PrepareModalityBatch(PrepareBatch):
    """Image, label and ``modality=`` for networks that serve several modalities.

    When to use: as ``prepare_batch`` of MONAI's ``SupervisedEvaluator``. The name goes through the inferer to the
    network: use ``SimpleInferer``, ``SlidingWindowInferer`` or
    :class:`~monai_mmseg.inferers.ModalitySliceInferer` (MONAI's ``SliceInferer`` drops it). Items without a modality
    run without the argument, so the network takes its default.

    Args:
        modalities: names that the network knows, in its order; needed where batches hold indices.
        modality_key: entry of the batch.

    Raises:
        ValueError: (in a call) if a batch holds several modalities or one that is not known. Inferers cut a batch into
            windows of their own order, so images and modalities would come apart.

    Examples:
        >>> import torch
        >>> prepare = PrepareModalityBatch(["ct", "mr"])
        >>> prepare({"image": torch.zeros(1, 1, 2, 2, 2), "modality": ["mr"]})[3]
        {'modality': 'mr'}
    """

    def __init__(self, modalities: Sequence[str] = (), modality_key: str = "modality") -> None:
        self.modalities, self.modality_key = [str(name) for name in modalities], modality_key

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: Any = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, tuple[()], dict[str, str]]:
        """Image, label (``None`` if there is none) and arguments for the network, as MONAI's evaluators take them."""
        image, label = default_prepare_batch(dict(batchdata), device, non_blocking, **kwargs)
        given = batchdata.get(self.modality_key)
        if given is None:
            return image, label, (), {}
        values = given.reshape(-1).tolist() if isinstance(given, Tensor) else given
        names = {self._name(value) for value in ([values] if isinstance(values, str | int) else values)}
        if len(names) != 1:
            raise ValueError(
                f"a batch for evaluation must hold one modality, got {sorted(names)}; a batch_size of 1 gives that."
            )
        return image, label, (), {"modality": names.pop()}

    def _name(self, value: str | int) -> str:
        if isinstance(value, str):
            if self.modalities and value not in self.modalities:
                raise ValueError(f"modality must be one of {self.modalities}, got {value!r}.")
            return value
        if not 0 <= value < len(self.modalities):
            raise ValueError(f"modality must be an index into modalities {self.modalities}, got {value}.")
        return self.modalities[value]
