# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Dice of a validation by modality and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys
from torch import Tensor

from monai_mmseg.distributed import gather_mapping, rank

PREFIX = "dice/"


class ClassDiceHandler:
    """Means over a validation's volumes, as metrics ``dice/<modality>/<class>`` and ``dice/<modality>``.

    When to use: in ``validate#handlers``, before those that log metrics, beside the key metric ``DiceMetric`` with
    ``ignore_empty=False``, of which these are the parts: it reads the same one-hot tensors, counts a class that is in
    neither label nor prediction as 1, and one that is in the prediction only as 0; one that a label does not show
    (``unknown`` in the batch) counts nowhere. Classes that no label of a modality
    has are listed in ``state.dice_without_label`` of the evaluator, so that nobody reads their 1 as a success. Sums
    stay on the device until the end of the validation. In several processes it belongs to all of them.

    Args:
        labels: value to name of the classes, background included; text keys are fine.
        modality: name of all volumes; ``None`` reads it from the batch.
        modalities: names in the order of indices, for batches that give an index.
        modality_key: name or index of a volume's modality in the batch.

    Raises:
        ValueError: if the labels do not name the classes 0, 1, ...

    Examples:
        >>> one_hot = torch.tensor([[1, 0], [0, 1]])
        >>> def step(engine, batch):
        ...     engine.state.batch, engine.state.output = [{"modality": "lge"}], [{"pred": one_hot, "label": one_hot}]
        ...     return engine.state.output
        >>> engine = Engine(step)
        >>> ClassDiceHandler({0: "background", 1: "LV"}).attach(engine)
        >>> engine.run([0]).metrics
        {'dice/lge': 1.0, 'dice/lge/LV': 1.0}
    """

    def __init__(
        self,
        labels: Mapping[int, str] | Mapping[str, str],
        *,
        modality: str | None = None,
        modalities: Sequence[str] | None = None,
        modality_key: str = "modality",
    ) -> None:
        names = {int(value): str(name) for value, name in labels.items()}
        if sorted(names) != list(range(len(names))) or len(names) < 2:
            raise ValueError(f"labels must name the classes 0, 1, ..., got {dict(labels)}.")
        self.classes = tuple(names[value] for value in range(1, len(names)))
        self.modality, self.modalities, self.modality_key = modality, tuple(modalities or ()), modality_key
        self._found: list[Tensor] = []  # (2, classes): Dice, and whether the label has the class
        self._names: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator.

        Args:
            engine: evaluator with decollated output (the default of MONAI's).
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._found, self._names = [], []

    @torch.no_grad()
    def _add(self, engine: Engine) -> None:
        for given, made in zip(engine.state.batch, engine.state.output, strict=True):
            prediction, label = (torch.as_tensor(made[key])[1:] for key in (CommonKeys.PRED, CommonKeys.LABEL))
            if len(prediction) != len(self.classes) or prediction.shape != label.shape:
                raise ValueError(
                    f"ClassDiceHandler needs one-hot tensors of the background and {self.classes}, got shapes "
                    f"{tuple(made[CommonKeys.PRED].shape)} and {tuple(made[CommonKeys.LABEL].shape)}."
                )
            found = _dice(prediction, label)
            if "unknown" in given:  # what the label cannot show is no success
                found[0, torch.as_tensor(given["unknown"], device=found.device).flatten()[1:]] = torch.nan
            self._found.append(found)
            self._names.append(self._modality_of(given))

    def _modality_of(self, item: Mapping[str, Any]) -> str:
        if self.modality is not None:
            return self.modality
        if self.modality_key not in item:
            raise KeyError(f"ClassDiceHandler needs {self.modality_key!r} in the batch, there are {sorted(item)}.")
        given = item[self.modality_key]
        return given if isinstance(given, str) else self.modalities[int(given)]

    def _finish(self, engine: Engine) -> None:
        own = (
            torch.stack(self._found).cpu().double()
            if self._found
            else torch.zeros(0, 2, len(self.classes), dtype=torch.float64)
        )
        parts = gather_mapping({str(rank()): (own, self._names)})
        found = torch.cat([part for part, _ in parts.values()])
        names = [name for _, some in parts.values() for name in some]
        for key in [key for key in engine.state.metrics if key.startswith(PREFIX)]:
            del engine.state.metrics[key]
        absent = []
        order = [name for name in self.modalities if name in names] or sorted(set(names))
        for modality in order:
            dice, labelled = found[[name == modality for name in names]].unbind(1)
            place = f"{PREFIX}{modality}"
            engine.state.metrics[place] = float(dice.nanmean())
            for index, name in enumerate(self.classes):
                if dice[:, index].isnan().all():  # a class that no label shows has no value
                    continue
                engine.state.metrics[f"{place}/{name}"] = float(dice[:, index].nanmean())
                if not labelled[:, index].any():
                    absent.append(f"{place}/{name}")
        engine.state.dice_without_label = absent


def _dice(prediction: Tensor, label: Tensor) -> Tensor:
    """Dice of each class, 1 where it is in neither tensor; below it, whether it is in the label."""
    predicted, labelled = prediction.flatten(1) > 0.5, label.flatten(1) > 0.5
    both, sizes = (predicted & labelled).sum(1), predicted.sum(1) + labelled.sum(1)
    dice = torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0)
    return torch.stack([dice, labelled.any(1).to(dice)])
