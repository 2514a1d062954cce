# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A picture of what the network makes of a validation subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.utils import optional_import
from monai.utils.enums import CommonKeys

from monai_mmseg.visualize import Case, overlay_figure, read_for_display

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ValidationPicture:
    """The first volume of each modality of a validation: the slice with most of the label, with label and prediction.

    When to use: given to :class:`~monai_mmseg.handlers.TensorBoardRecord` and
    :class:`~monai_mmseg.handlers.MLflowRecord`, which attach it. As long as neither writes anything, nothing is copied.

    Args:
        labels: value to name of the classes, background included; text keys are fine.
        modality: name of all volumes; ``None`` reads it from the batch.
        modality_key: name of a volume's modality in the batch.
        channel: of the image to show; ``None`` takes the middle one, which is the slice itself among its neighbours.

    Examples:
        In a config::

            "picture": {"_target_": "monai_mmseg.handlers.ValidationPicture", "labels": "@labels", "modality": "lge"}
    """

    def __init__(
        self,
        labels: Mapping[int, str] | Mapping[str, str],
        *,
        modality: str | None = None,
        modality_key: str = "modality",
        channel: int | None = None,
    ) -> None:
        self.labels = {int(value): str(name) for value, name in labels.items()}
        self.modality, self.modality_key, self.channel = modality, modality_key, channel
        self._cases: dict[str, Case] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator; once, whoever asks.

        Args:
            engine: evaluator with decollated output of one-hot ``pred`` and ``label``.
        """
        if optional_import("matplotlib")[1] and not engine.has_event_handler(self._take, Events.ITERATION_COMPLETED):
            engine.add_event_handler(Events.EPOCH_STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._take)

    def _start(self, engine: Engine) -> None:
        self._cases = {}

    @torch.no_grad()
    def _take(self, engine: Engine) -> None:
        for given, made in zip(engine.state.batch, engine.state.output, strict=True):
            name = self.modality or str(given.get(self.modality_key, ""))
            if name not in self._cases:
                self._cases[name] = self._case(name, given, made)

    def _case(self, name: str, given: Mapping[str, Any], made: Mapping[str, Any]) -> Case:
        image = made[CommonKeys.IMAGE] if CommonKeys.IMAGE in made else given[CommonKeys.IMAGE]
        affine = image.affine if isinstance(image, MetaTensor) else None
        channel = len(image) // 2 if self.channel is None else self.channel
        classes = [made[key].argmax(0, keepdim=True) for key in (CommonKeys.LABEL, CommonKeys.PRED)]
        volumes = []
        for tensor in (image[channel : channel + 1], *classes):
            plain = (tensor.as_tensor() if isinstance(tensor, MetaTensor) else torch.as_tensor(tensor)).float().cpu()
            volumes.append(read_for_display(MetaTensor(plain, affine=None if affine is None else affine.cpu())))
        picture, label, prediction = (one.values for one in volumes)
        counts = (label > 0).sum((0, 1)) if label.any() else (prediction > 0).sum((0, 1))
        kept = np.arange(picture.shape[2]) == counts.argmax()  # the figure shows slices that have something on them
        title = " ".join(filter(None, (str(given.get("subject", "")), name)))
        label, prediction = ((one * kept).astype(np.int64) for one in (label, prediction))
        return Case(title, picture, label, prediction, volumes[0].spacing)

    def figure(self, title: str = "") -> Figure | None:
        """The picture of the last validation.

        Args:
            title: heading.

        Returns:
            The figure; ``None`` if no volume was seen.
        """
        return overlay_figure(list(self._cases.values()), self.labels, slices=1, title=title) if self._cases else None
