# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The project's table of scores, filled while an evaluator runs."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine, Events

from monai_mmseg.distributed import gather_mapping, rank
from monai_mmseg.evaluation.score import MethodInfo, Score
from monai_mmseg.evaluation.subsets import Scorer
from monai_mmseg.evaluation.table import ScoreTable


class ScoreTableHandler:
    """Scores every volume of an evaluator; writes JSON, CSV and Markdown when it is done.

    When to use: in ``validate#handlers`` of an ``evaluate.json`` whose predictions are compared as they are in memory,
    such as images. Means of the measures are put into the evaluator's metrics. In several processes the scores are
    gathered; subjects that a sampler repeats count once. A subject without a score is counted as left out.

    Args:
        output_dir: where the table goes.
        method: name in the table.
        score: prediction and sample to scores, such as :func:`~monai_mmseg.evaluation.image_scores` gives.
        pred_key: prediction in the evaluator's output or batch.
        subject_key: name of the subject there.
        info: about the method; ``None``: what ``score`` knows of it, its penalty.
        stem: name of the files without ending.

    Examples:
        In ``validate#handlers``::

            {"_target_": "monai_mmseg.handlers.ScoreTableHandler", "output_dir": "@output_dir", "method": "@method",
             "score": {"_target_": "monai_mmseg.evaluation.label_scores", "labels": "@labels", "modality": "lge"}}
    """

    def __init__(
        self,
        output_dir: str | Path,
        method: str,
        score: Scorer,
        *,
        pred_key: str = "pred",
        subject_key: str = "subject",
        info: MethodInfo | None = None,
        stem: str = "evaluation",
    ) -> None:
        self.output_dir, self.stem = Path(output_dir), stem
        self.method, self.score, self.info = method, score, info or MethodInfo(getattr(score, "penalty", None))
        self.pred_key, self.subject_key = pred_key, subject_key
        self.table = ScoreTable()
        self._scores: dict[str, list[Score]] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator.

        Args:
            engine: evaluator with decollated output (the default of MONAI's).
        """
        engine.add_event_handler(Events.STARTED, lambda: self._scores.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _score(self, engine: Engine) -> None:
        batch, output = engine.state.batch, engine.state.output
        if not isinstance(output, list) or not isinstance(batch, list):
            raise TypeError(f"ScoreTableHandler needs decollated batch and output, got {type(output).__name__}.")
        for given, made in zip(batch, output, strict=True):
            data = {**given, **made}
            if missing := [key for key in (self.pred_key, self.subject_key) if key not in data]:
                raise KeyError(f"ScoreTableHandler needs the keys {missing}, there are {sorted(map(str, data))}.")
            subject, prediction = str(data[self.subject_key]), torch.as_tensor(data[self.pred_key])
            found = self.score(prediction, data)
            person = str(data.get("person", ""))
            self._scores[subject] = [one._replace(method=self.method, subject=subject, person=person) for one in found]

    def _write(self, engine: Engine) -> None:
        scores = gather_mapping(self._scores)
        if not scores:
            raise ValueError("ScoreTableHandler saw no subject: the evaluator ran over no data.")
        each = [score for subject in sorted(scores) for score in scores[subject]]
        self.table = ScoreTable(each, {self.method: self.info}, {self.method: sorted(scores)})
        for line in self.table.means():
            engine.state.metrics.update({name: value.mean for name, value in line.measures.items()})
        if rank() == 0:
            self.table.save(self.output_dir, self.stem)
