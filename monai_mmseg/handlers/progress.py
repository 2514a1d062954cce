# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a person sees while an engine runs: a line an epoch and, on a terminal, a bar."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from monai.engines import Evaluator
from monai.utils import optional_import

from monai_mmseg.handlers.class_dice import PREFIX
from monai_mmseg.handlers.clock import EpochClock, clock_time

logger = logging.getLogger(__name__)
console = logging.getLogger("monai_mmseg.console")
"""A bundle's ``logging.conf`` writes it without time and level."""

SHOWN_TERMS = 4


class Progress:
    """A line an epoch, with losses, speed, time left and the validation's Dice by modality and class.

    When to use: in ``train#handlers``, after the handler that validates; in the handlers of an evaluation or inference
    too. The lines go to the logger ``monai_mmseg.console``, so a log file has what a terminal shows; the bar over the
    iterations (with the package ``tqdm``) is for a terminal only. Only process 0 writes. It reads
    ``engine.state.metrics``, so it never waits for the GPU. Where an epoch or a validation is long, there is a line
    every so many seconds.

    Args:
        metrics: names in ``engine.state.metrics`` to show beside the bar, e.g. ``["generator/total"]``.
        enabled: whether there is a bar; ``None`` decides by the terminal.
        desc: word before the bar.
        validator: evaluator whose metrics are written after the epoch in which it ran.
        interval: epochs between two validations, for the time that is left.
        every: seconds between lines within an epoch.

    Examples:
        In ``train#handlers``::

            {"_target_": "monai_mmseg.handlers.Progress", "validator": "@validate#evaluator",
             "interval": "@val_interval"}
    """

    def __init__(
        self,
        metrics: list[str] | None = None,
        enabled: bool | None = None,
        desc: str | None = None,
        *,
        validator: Engine | None = None,
        interval: int | None = None,
        every: float = 30.0,
    ) -> None:
        self.metrics, self.enabled, self.desc = list(metrics or []), enabled, desc
        self.validator, self.every = validator, every
        self.clock = EpochClock(interval)
        self._validated = self._has_bar = False
        self._first, self._started, self._lined = 1, 0.0, 0.0

    def attach(self, engine: Engine) -> None:
        """Write while ``engine`` runs.

        Args:
            engine: a trainer or an evaluator.
        """
        if getattr(engine.state, "rank", 0) != 0:
            return
        self._attach_bar(engine)
        if isinstance(engine, Evaluator):
            self._attach_volumes(engine, "volume")
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write_epoch)
        engine.add_event_handler(Events.COMPLETED, self._end)
        if self.validator is not None:
            self._attach_volumes(self.validator, "validation: volume")
            self.validator.add_event_handler(Events.STARTED, lambda: self.clock.start_validation())
            self.validator.add_event_handler(Events.COMPLETED, self._note_validation)

    # -- bar --------------------------------------------------------------------------------------------------------

    def _attach_bar(self, engine: Engine) -> None:
        enabled = sys.stderr.isatty() if self.enabled is None else self.enabled
        if not enabled:
            return
        if not optional_import("tqdm")[1]:
            logger.debug("No progress bar: tqdm is not installed.")
            return
        self._has_bar = True
        desc = self.desc or ("volumes" if isinstance(engine, Evaluator) else "epoch")
        ProgressBar(desc=desc).attach(engine, output_transform=lambda _: self._shown(engine))

    def _shown(self, engine: Engine) -> dict[str, float]:
        return {name: engine.state.metrics[name] for name in self.metrics if name in engine.state.metrics}

    # -- lines within an epoch ----------------------------------------------------------------------------------------

    def _attach_volumes(self, engine: Engine, what: str) -> None:
        begun = [0.0]

        def start() -> None:
            begun[0] = self._lined = time.monotonic()

        def step() -> None:
            length, now = engine.state.epoch_length or 0, time.monotonic()
            done = (engine.state.iteration - 1) % length + 1 if length else engine.state.iteration
            if self._is_due(now) and done < length:
                left = (now - begun[0]) / done * (length - done)
                console.info("  %s %d/%d  %s left", what, done, length, clock_time(left))

        engine.add_event_handler(Events.EPOCH_STARTED, start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, step)

    def _is_due(self, now: float) -> bool:
        if self._has_bar or now - self._lined < self.every:
            return False
        self._lined = now
        return True

    def _step(self, engine: Engine) -> None:
        steps, length = self.clock.step(), engine.state.epoch_length or 0
        if self._is_due(time.monotonic()) and steps < length:
            place = f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
            console.info("%s  step %d/%d  %.3g steps/s", place, steps, length, self.clock.steps_per_second())

    # -- epochs -------------------------------------------------------------------------------------------------------

    def _start(self, engine: Engine) -> None:
        self._started, self._validated = time.monotonic(), False
        self._first = engine.state.epoch + 1
        self.clock.start()
        if engine.state.epoch < (engine.state.max_epochs or 0):
            since = f"epochs {self._first} to {engine.state.max_epochs}"
            console.info("training %s, %s steps each", since, engine.state.epoch_length)

    def _start_epoch(self, engine: Engine) -> None:
        self._lined = time.monotonic()
        self.clock.start_epoch()

    def _note_validation(self, validator: Engine) -> None:
        self._validated = True
        self.clock.end_validation()

    def _write_epoch(self, engine: Engine) -> None:
        epoch, last = engine.state.epoch, engine.state.max_epochs or engine.state.epoch
        speed = self.clock.steps_per_second()
        self.clock.end_epoch()
        parts = [f"epoch {epoch}/{last}", *_terms(engine), f"{speed:.3g} steps/s"]
        if epoch < last and not engine.should_terminate:
            parts.append(f"{self.clock.left(epoch, last)} left")
        console.info("  ".join(parts))
        if self._validated and self.validator is not None:
            self._validated = False
            for line in validation_lines(self.validator.state):
                console.info("  %s", line)

    def _end(self, engine: Engine) -> None:
        done, took = engine.state.epoch - self._first + 1, clock_time(time.monotonic() - self._started)
        if engine.should_terminate:
            console.info("stopped early after epoch %d of %s, in %s", engine.state.epoch, engine.state.max_epochs, took)
        elif done > 0:
            console.info("trained %d epoch%s in %s", done, "" if done == 1 else "s", took)
        else:
            console.info("all %s epochs were trained before: nothing to do", engine.state.max_epochs)


def _terms(engine: Engine) -> Iterator[str]:
    """Totals of the phases; in brackets behind the first one its first terms that are not zero."""
    phases: dict[str, dict[str, float]] = {phase.name: {} for phase in getattr(engine, "phases", ())}
    for name, value in engine.state.metrics.items():
        phase, slash, term = name.rpartition("/")
        if slash and isinstance(value, int | float):
            phases.setdefault(phase, {})[term] = value
    several = sum(map(bool, phases.values())) > 1
    for number, (phase, terms) in enumerate(phases.items()):
        total = terms.pop("total", None)
        text = "" if total is None else f"{phase if several else 'total'} {short(total)}"
        if number == 0 or total is None:
            used = [name for name, value in terms.items() if value != 0]
            shown = [f"{name} {short(terms[name])}" for name in used[:SHOWN_TERMS]]
            brackets = f"({', '.join([*shown, *(['…'] if len(used) > SHOWN_TERMS else [])])})" if shown else ""
            text = " ".join(filter(None, (text or (phase if several else ""), brackets)))
        if text:
            yield text


def validation_lines(state: Any) -> list[str]:
    """Lines about the metrics of a validation: one a modality, then what is not about one.

    Args:
        state: of the evaluator, with what :class:`~monai_mmseg.handlers.ClassDiceHandler` writes, if it does.

    Returns:
        The lines.

    Examples:
        >>> from types import SimpleNamespace
        >>> metrics = {"val_psnr": 21.5}
        >>> validation_lines(SimpleNamespace(
        ...     metrics=metrics, epoch=3, key_metric_name="val_psnr", best_metric=22.25, best_metric_epoch=2))
        ['validation: psnr 21.50 (best 22.25 at epoch 2)']
    """
    metrics: Mapping[str, Any] = {k: v for k, v in state.metrics.items() if isinstance(v, int | float)}
    absent = getattr(state, "dice_without_label", ())
    lines = []
    modalities = [key for key in metrics if key.startswith(PREFIX) and key.count("/") == 1]
    for place in modalities:
        parts = []
        for key in (key for key in metrics if key.startswith(f"{place}/")):
            note = " (in no label)" if key in absent else ""
            parts.append(f"{key.removeprefix(f'{place}/')} {metrics[key]:.2f}{note}")
        lines.append(f"{place.removeprefix(PREFIX)} {metrics[place]:.2f}: {', '.join(parts)}")
    key_name = str(getattr(state, "key_metric_name", ""))
    rest = {key: value for key, value in metrics.items() if not key.startswith(PREFIX)}
    if len(modalities) == 1:  # its mean is the key metric
        rest.pop(key_name, None)
        lines[0] += _best(state)
    if rest:
        texts = [f"{_metric_name(k)} {v:.2f}{_best(state) if k == key_name else ''}" for k, v in rest.items()]
        lines.append(f"validation: {', '.join(sorted(texts, key=lambda text: '(best' not in text))}")
    return lines


def _best(state: Any) -> str:
    epoch = getattr(state, "best_metric_epoch", -1)
    if not isinstance(epoch, int) or epoch < 1:
        return ""
    return " (best so far)" if epoch == state.epoch else f" (best {state.best_metric:.2f} at epoch {epoch})"


def _metric_name(name: str) -> str:
    return name.removeprefix("val_").replace("_", " ").replace("dice", "Dice")


def short(value: float) -> str:
    """A number in three digits.

    Examples:
        >>> [short(value) for value in (0.12345, 85.43, 2681.6)]
        ['0.123', '85.4', '2682']
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
