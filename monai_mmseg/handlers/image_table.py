# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""PSNR and SSIM of every volume that an evaluator draws, as the project's table of redrawn images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor

from monai_mmseg.evaluation.reconstruction import ReconstructionRow, reconstruction_rows
from monai_mmseg.evaluation.reconstruction_table import ReconstructionTable

__all__ = ["ImageTableHandler"]


class ImageTableHandler:
    """Scores every volume of an evaluator that draws images; writes ``reconstruction.json``, CSV and Markdown.

    When to use: in ``validate#handlers`` of the ``evaluate.json`` of a network whose result is an image: a PET, or a
    redrawn sequence. Prediction and target must be on one grid. A subject whose target is absent is counted and has no
    row. The means of PSNR and SSIM are put into the evaluator's metrics. In several processes the rows are gathered.

    Args:
        output_dir: folder of the run; its report shows the table.
        method: name in the table.
        target: name of what is drawn.
        source: name of what it is drawn from.
        pred_key: image in the evaluator's output or batch, shape ``(1, H, W, D)`` or ``(1, H, W)``.
        target_key: true image there, same shape; NaN means absent.
        subject_key: name of the subject there.
        value_range: lowest and highest value; ``None``: those of each subject's target.
        background: value of the target where there is nothing; such pixels do not count. ``None``: all count.
        original: also measure as the released code of the disentanglement does.
        stem: name of the files without ending.

    Examples:
        In ``validate#handlers``::

            {"_target_": "monai_mmseg.handlers.ImageTableHandler", "output_dir": "@output_dir",
             "method": "@method", "target": "pet", "source": "mr", "target_key": "target", "background": 0.0}
    """

    def __init__(
        self,
        output_dir: str | Path,
        method: str,
        target: str,
        *,
        source: str = "all others",
        pred_key: str = "pred",
        target_key: str = "target",
        subject_key: str = "subject",
        value_range: tuple[float, float] | None = None,
        background: float | None = None,
        original: bool = True,
        stem: str = "reconstruction",
    ) -> None:
        if source == target:
            raise ValueError(f"source and target must have different names, got {target!r} for both.")
        self.output_dir, self.stem = Path(output_dir), stem
        self.method, self.target, self.source = method, target, source
        self.pred_key, self.target_key, self.subject_key = pred_key, target_key, subject_key
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        self.background, self.original = background, original
        self.table = ReconstructionTable()
        self._rows: dict[str, list[ReconstructionRow]] = {}

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
            raise TypeError(f"ImageTableHandler needs decollated batch and output, got {type(output).__name__}.")
        for given, made in zip(batch, output, strict=True):
            data = {**given, **made}
            if missing := [key for key in (self.pred_key, self.target_key, self.subject_key) if key not in data]:
                raise KeyError(f"ImageTableHandler needs the keys {missing}, there are {sorted(map(str, data))}.")
            subject = str(data[self.subject_key])
            drawn, truth = (self._slices(data[key], f"{key} of {subject}") for key in (self.pred_key, self.target_key))
            self._rows[subject] = reconstruction_rows(
                {self.target: truth, self.source: torch.zeros_like(truth)},
                {(self.source, self.target): drawn},
                subject=subject,
                method=self.method,
                ranges=None if self.value_range is None else {self.target: self.value_range},
                mask=None if self.background is None else truth != self.background,
                original=self.original,
            )

    def _slices(self, value: Any, name: str) -> Tensor:
        """Slices first: (D, H, W)."""
        image = torch.as_tensor(value).detach().cpu().float()
        if image.ndim not in (3, 4) or image.shape[0] != 1:
            raise ValueError(f"{name} must be one image (1, H, W[, D]), got {tuple(image.shape)}.")
        plain = image.as_subclass(Tensor)
        return plain if plain.ndim == 3 else plain[0].movedim(-1, 0)

    def _write(self, engine: Engine) -> None:
        rows = dict(self._rows)
        several = dist.is_available() and dist.is_initialized()
        if several:
            parts: list[dict[str, list[ReconstructionRow]] | None] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, rows)
            rows = {subject: found for part in parts for subject, found in (part or {}).items()}
        if not rows:
            raise ValueError("ImageTableHandler saw no subject: the evaluator ran over no data.")
        self.table = ReconstructionTable()
        for subject in sorted(rows):
            self.table.add_subject(self.method, subject, rows[subject])
        for line in self.table.by_target() or self.table.summary():
            for name in ("psnr", "ssim"):
                if (mean := line.measures[name]) is not None:
                    engine.state.metrics[name] = mean.mean
        if not several or dist.get_rank() == 0:
            self.table.save(self.output_dir, self.stem)
