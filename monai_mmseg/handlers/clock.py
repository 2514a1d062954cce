# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How fast a training is, and how long it will take."""

from __future__ import annotations

import time


class EpochClock:
    """Measures epochs and validations, and estimates the time left from their means.

    Args:
        interval: epochs between two validations; the last epoch is always validated. ``None``: as often as so far.

    Examples:
        >>> clock = EpochClock(interval=2)
        >>> clock.epochs, clock.validations = [10.0, 12.0], [5.0]
        >>> clock.left(2, 5)  # three epochs of 11 s, validated after epochs 4 and 5
        '0:43'
    """

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self.start()

    def start(self) -> None:
        """Forget what was measured."""
        self.epochs: list[float] = []  # seconds of training and all else but the validation
        self.validations: list[float] = []
        self._mark: float | None = None
        self._validating = self._validated = 0.0
        self._stepping = self._stepped = 0.0
        self._steps = 0

    def start_epoch(self) -> None:
        """An epoch begins."""
        now = time.monotonic()
        self._mark = now if self._mark is None else self._mark
        self._stepping = self._stepped = now
        self._steps, self._validated = 0, 0.0

    def step(self) -> int:
        """An iteration is done.

        Returns:
            How many of the epoch are.
        """
        self._steps += 1
        self._stepped = time.monotonic()
        return self._steps

    def start_validation(self) -> None:
        """A validation begins."""
        self._validating = time.monotonic()

    def end_validation(self) -> None:
        """It is done."""
        took = time.monotonic() - self._validating
        self.validations.append(took)
        self._validated += took

    def end_epoch(self) -> None:
        """An epoch is done, and its validation if there was one."""
        now = time.monotonic()
        self.epochs.append(now - (now if self._mark is None else self._mark) - self._validated)
        self._mark = now  # what comes until the next epoch begins counts for that one

    def steps_per_second(self) -> float:
        """Iterations a second of the epoch so far, without the validation."""
        return self._steps / max(self._stepped - self._stepping, 1e-9)

    def left(self, epoch: int, last: int) -> str:
        """Time until the last epoch is done, as text.

        Args:
            epoch: the one that is done.
            last: number of the last one.

        Returns:
            Such as ``4:10``; ``over 4:10`` if validations are to come and none was measured.
        """
        epochs = last - epoch
        seconds = epochs * sum(self.epochs) / max(len(self.epochs), 1)
        if self.interval is None:
            seconds += epochs * sum(self.validations) / max(len(self.epochs), 1)
            return clock_time(seconds)
        to_come = sum(number % self.interval == 0 or number == last for number in range(epoch + 1, last + 1))
        if to_come and not self.validations:
            return f"over {clock_time(seconds)}"
        return clock_time(seconds + to_come * sum(self.validations) / max(len(self.validations), 1))


def clock_time(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some.

    Examples:
        >>> clock_time(250.4), clock_time(3723)
        ('4:10', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
