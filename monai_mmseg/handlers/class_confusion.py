# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Records what the network takes each class for in every modality, on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import Tensor

from monai_mmseg.distributed import is_distributed, rank
from monai_mmseg.losses.class_logits import ClassLogits, class_logit_sums, knowledge_matrices, pool_class_logits
from monai_mmseg.losses.knowledge_distillation import AbsentClass, KnowledgeDistillationLoss
from monai_mmseg.runs.knowledge import add_knowledge


class ClassConfusionHandler:
    """Knowledge matrices and distillation loss of a validation, into ``knowledge.npz`` and the evaluator's metrics.

    When to use: in ``validate#handlers``, before those that log metrics, with or without distillation in the training:
    the curve of a training without it is the one to compare with. The class means are those of all validation volumes
    of a modality together, so the value does not depend on batches. It reads the network's logits before any
    post-processing. The metric ``knowledge_distillation`` (of two modalities or more) is logged and plotted as the
    others are.

    Args:
        run_dir: folder of the run.
        modalities: names in the order of indices; a batch may name its modality or give the index.
        labels: value to name of the classes, background included; text keys are fine.
        temperature: as in training.
        absent: as in training.
        modality_key: name or index of each row's modality in the batch.
        labelled_key: optional mask of the rows that carry a label in the batch.
        filename: name of the file.

    Raises:
        ValueError: when a setting cannot be used.

    Examples:
        In ``validate#handlers``::

            {"_target_": "monai_mmseg.handlers.ClassConfusionHandler", "run_dir": "@output_dir",
             "modalities": "@modalities", "labels": "@labels", "temperature": "@temperature"}
    """

    def __init__(
        self,
        run_dir: str | Path,
        modalities: Sequence[str],
        labels: Mapping[int, str] | Mapping[str, str],
        *,
        temperature: float = 2.0,
        absent: AbsentClass = "uniform",
        modality_key: str = "modality",
        labelled_key: str = "labelled",
        filename: str = "knowledge.npz",
    ) -> None:
        names = {int(value): str(name) for value, name in labels.items()}
        if sorted(names) != list(range(len(names))) or len(names) < 2:
            raise ValueError(f"labels must name the classes 0, 1, ..., got {dict(labels)}.")
        if isinstance(modalities, str) or not modalities:
            raise ValueError(f"modalities must list names, got {modalities!r}.")
        self.path = Path(run_dir) / filename
        self.modalities = tuple(modalities)
        self.classes = tuple(names[value] for value in range(len(names)))
        self.settings = KnowledgeDistillationLoss(temperature=temperature, absent=absent)
        self.modality_key, self.labelled_key = modality_key, labelled_key
        self._sums: list[Tensor] = []
        self._modality: list[Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator.

        Args:
            engine: one of MONAI's evaluators, with validation data of all modalities.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._sums, self._modality = [], []

    @torch.no_grad()
    def _add(self, engine: Engine) -> None:
        logits, labels = engine.state.output[CommonKeys.PRED], engine.state.output.get(CommonKeys.LABEL)
        if labels is None:
            return
        if logits.shape[1] != len(self.classes):
            raise ValueError(
                f"ClassConfusionHandler needs logits of the classes {self.classes}, got {tuple(logits.shape)}."
            )
        sums = class_logit_sums(logits, labels).double().cpu()
        modality = self._modality_of(engine.state.batch, len(sums))
        labelled = engine.state.batch.get(self.labelled_key)
        if labelled is not None:
            kept = torch.as_tensor(labelled).cpu().bool().reshape(-1)
            sums, modality = sums[kept], modality[kept]
        self._sums.append(sums)
        self._modality.append(modality)

    def _modality_of(self, batch: Mapping[str, Any], rows: int) -> Tensor:
        if self.modality_key not in batch:
            raise KeyError(
                f"ClassConfusionHandler needs {self.modality_key!r} in the batch, there are {sorted(batch)}."
            )
        given = batch[self.modality_key]
        values = given.reshape(-1).tolist() if isinstance(given, Tensor) else given
        values = [values] if isinstance(values, str | int) else list(values)
        if unknown := [v for v in values if v not in self.modalities and v not in range(len(self.modalities))]:
            raise ValueError(f"{self.modality_key!r} must name or index {self.modalities}, got {unknown[:5]}.")
        index = [self.modalities.index(value) if isinstance(value, str) else int(value) for value in values]
        if len(index) != rows:
            raise ValueError(f"{self.modality_key!r} must have one entry for each of {rows} rows, got {len(index)}.")
        return torch.tensor(index)

    def _finish(self, engine: Engine) -> None:
        count = len(self.classes)
        sums = torch.cat([torch.zeros(0, count, count + 1, dtype=torch.float64), *self._sums])
        modality = torch.cat([torch.zeros(0, dtype=torch.long), *self._modality])
        if is_distributed() and dist.get_backend() == "nccl":
            sums, modality = sums.to(engine.state.device), modality.to(engine.state.device)
        classes = pool_class_logits(sums, modality, len(self.modalities), differentiable=False)
        classes = ClassLogits(*(values.cpu() for values in classes))
        given, present = self.settings, classes.pixels > 0
        matrices = knowledge_matrices(classes, given.temperature).masked_fill(~present[..., None], float("nan"))
        loss = float("nan")
        engine.state.metrics.pop("knowledge_distillation", None)
        if int((classes.rows > 0).sum()) > 1:
            loss = float(given.compare(classes))
            engine.state.metrics["knowledge_distillation"] = loss
        if rank() == 0:
            add_knowledge(
                self.path, engine.state.epoch, matrices, loss, modalities=self.modalities, classes=self.classes
            )
