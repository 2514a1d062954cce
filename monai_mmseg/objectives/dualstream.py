# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What DualStream minimises: segmentation of one modality a step, in the stream of that modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.networks.nets.select_modality import SelectStream
from monai_mmseg.objectives.segmentation import SegmentationObjective


class DualStreamObjective(SegmentationObjective):
    """:class:`SegmentationObjective` that takes one source a step, in turn, through the stream of its modality.

    Use it to train a :class:`~monai_mmseg.networks.nets.SelectStream`. Pairs play no part: a step sees the images of
    one modality. A source without a labelled image in the batch loses its turn, so that without target labels every
    step trains the source's stream.

    Args:
        network: with the streams.
        num_classes: K, background included.
        settings: of :class:`SegmentationObjective`: ``sources``, ``candidates``, ``terms``, ``weights``.

    Raises:
        TypeError: if the network has no streams.
        ValueError: as there.

    Reference:
        V. Valindria et al., WACV 2018, https://doi.org/10.1109/WACV.2018.00066. Differs from the paper: the loss is
        that of the networks beside it, (1 - Dice) + 0.01 * weighted cross-entropy, in place of a Dice with background.

    Examples:
        >>> from monai_mmseg.networks.nets import DualStreamUNet
        >>> network = SelectStream(DualStreamUNet(out_channels=3, features=(2, 4)), modality=1, num_modalities=2)
        >>> objective = DualStreamObjective(network, 3, sources=[(0, 0), (1, 1)])
        >>> batch = {"image": torch.rand(2, 2, 8, 8), "label": torch.zeros(2, 2, 8, 8, dtype=torch.long),
        ...          "present": torch.ones(2, 2, dtype=torch.bool), "labelled": torch.ones(2, 2, dtype=torch.bool)}
        >>> [objective(batch, "segmentation").outputs["logits"].shape[0] for _ in range(2)], objective.turn
        ([2, 2], 1)
    """

    network: SelectStream
    # what the masks say decides which stream runs
    outside_graphs: ClassVar[tuple[str, ...]] = ("usable",)

    def __init__(self, network: nn.Module, num_classes: int, **settings: Any) -> None:
        if not isinstance(network, SelectStream):
            raise TypeError(f"network must be a SelectStream, got {type(network).__name__}.")
        super().__init__(network, num_classes, **settings)
        self.iteration = 0
        self.turn = 0  # the source of this step

    def get_extra_state(self) -> dict[str, int]:
        """The step counter, so that a resumed run goes on with the other modality."""
        return {"iteration": self.iteration}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take the step counter back."""
        self.iteration = int(state["iteration"])

    def usable(self, batch: Mapping[str, Any]) -> Tensor:
        """As in the base class, of the source whose turn it is alone."""
        usable = super().usable(batch)
        able = [source for source, some in enumerate(usable.any(1).tolist()) if some] or [0]
        self.turn = able[self.iteration % len(able)]
        self.iteration += int(self.training)
        only = torch.zeros_like(usable)
        only[self.turn] = usable[self.turn]
        return only

    def logits(self, image: Tensor) -> Tensor:
        """Logits of rows of the source whose turn it is."""
        logits: Tensor = self.network.network(image, self.network.stream_of[self.image_modality[self.turn]])
        return logits
