# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The project's table of scores, filled while an evaluator runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from numpy.typing import NDArray

from monai_mmseg.evaluation.evaluate import score_rows
from monai_mmseg.evaluation.files import LabelVolume, check_same_grid, read_label_volume
from monai_mmseg.evaluation.rows import ScoreRow
from monai_mmseg.evaluation.table import EvaluationTable, MethodInfo

__all__ = ["SubjectTableHandler"]


class SubjectTableHandler:
    """Scores every volume of an evaluator and writes JSON, CSV and Markdown when it is done.

    When to use: in ``validate#handlers`` of ``evaluate.json``. Prediction and label must be integer class maps on the
    label file's own grid: put ``Invertd`` and ``AsDiscreted(argmax=True)`` before. The numbers are those of
    :func:`~monai_mmseg.evaluation.evaluate_predictions` on the files. In several processes the rows are gathered, and
    subjects that a sampler repeats count once.

    Args:
        output_dir: where the table goes.
        labels: value to name; text keys are fine.
        method: name in the table.
        modality: name in the table; where a key holds a mapping from modality to volume or path, this one is taken.
        pred_key: prediction in the evaluator's output or batch, shape ``(1, X, Y, Z)``.
        label_key: label there: a class map of the same shape, or the path of its file.
        subject_key: name of the subject there.
        penalty: distance in mm for a missed or spurious organ; ``None`` means each image's diagonal.
        description: one line for the table's notes.
        stem: name of the files without ending.

    Examples:
        In ``validate#handlers``::

            {"_target_": "monai_mmseg.handlers.SubjectTableHandler", "output_dir": "@output_dir",
             "labels": "@labels", "method": "dafnet", "modality": "@target", "pred_key": "native",
             "label_key": "label_file"}
    """

    def __init__(
        self,
        output_dir: str | Path,
        labels: Mapping[int, str] | Mapping[str, str],
        method: str,
        modality: str,
        *,
        pred_key: str = "pred",
        label_key: str = "label",
        subject_key: str = "subject",
        penalty: float | None = None,
        description: str = "",
        stem: str = "evaluation",
    ) -> None:
        self.output_dir, self.stem = Path(output_dir), stem
        self.labels = {int(value): str(name) for value, name in labels.items()}
        self.method, self.modality, self.penalty, self.description = method, modality, penalty, description
        self.pred_key, self.label_key, self.subject_key = pred_key, label_key, subject_key
        self.table = EvaluationTable()
        self._rows: dict[str, list[ScoreRow]] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator.

        Args:
            engine: evaluator with decollated output (the default of MONAI's).
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._rows = {}

    def _score(self, engine: Engine) -> None:
        batch, output = engine.state.batch, engine.state.output
        if not isinstance(output, list) or not isinstance(batch, list):
            raise TypeError(f"SubjectTableHandler needs decollated batch and output, got {type(output).__name__}.")
        for given, made in zip(batch, output, strict=True):
            data = {**given, **made}
            if missing := [key for key in (self.pred_key, self.label_key, self.subject_key) if key not in data]:
                raise KeyError(f"SubjectTableHandler needs the keys {missing}, there are {sorted(map(str, data))}.")
            subject = str(data[self.subject_key])
            pred = self._volume(data[self.pred_key], f"{self.pred_key} of {subject}")
            label = self._volume(data[self.label_key], f"{self.label_key} of {subject}")
            check_same_grid(pred, label)
            self._rows[subject] = score_rows(
                pred.values,
                label.values,
                labels=self.labels,
                spacing=label.spacing,
                method=self.method,
                modality=self.modality,
                subject=subject,
                penalty=self.penalty,
            )

    def _volume(self, value: Any, name: str) -> LabelVolume:
        if isinstance(value, Mapping):
            value = value[self.modality]
        if isinstance(value, str | Path):
            return read_label_volume(value, self.labels)
        if not isinstance(value, MetaTensor):
            raise TypeError(f"{name} must be a MetaTensor or a path, for its spacing, got {type(value).__name__}.")
        if value.ndim != 4 or value.shape[0] != 1:
            raise ValueError(f"{name} must be one class map (1, X, Y, Z), got {tuple(value.shape)}; AsDiscrete first.")
        array: NDArray[Any] = value.detach().cpu().as_tensor()[0].numpy()
        known = {0, *self.labels}
        if odd := [found for found in np.unique(array).tolist() if found not in known][:5]:
            raise ValueError(f"{name} must hold whole, declared classes {sorted(known)}, got {odd}.")
        affine = torch.as_tensor(value.affine).cpu().double().numpy()
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        return LabelVolume(array.astype(np.int64), affine, (float(sizes[0]), float(sizes[1]), float(sizes[2])), name)

    def _write(self, engine: Engine) -> None:
        rows = dict(self._rows)
        if dist.is_available() and dist.is_initialized():
            parts: list[dict[str, list[ScoreRow]] | None] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, rows)
            rows = {subject: found for part in parts for subject, found in (part or {}).items()}
        everything = [row for subject in sorted(rows) for row in rows[subject]]
        if not everything:
            raise ValueError("SubjectTableHandler saw no subject: the evaluator ran over no data.")
        self.table = EvaluationTable(everything, {self.method: MethodInfo(self.penalty, self.description)})
        if not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0:
            self.table.save(self.output_dir, self.stem)
