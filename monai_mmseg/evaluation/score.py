# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a table of scores is made of: measures, scores, and means over subjects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: Source of an image that is made of all modalities but itself, without its own code: what inference does.
OTHERS = "all others"

FLAGS = ("", "missed", "spurious", "empty")

#: Keys of cases that this project writes; a table may have others of its own.
CASE_KEYS = ("modality", "class", "subset", "source", "target")


class Measure(NamedTuple):
    """How a measure is printed, and which values it can have."""

    heading: str
    unit: str
    higher: bool  # whether a higher value is better
    digits: int
    most: float | None = None  # of values from 0 on; None: any number, infinite ones too
    printed: bool = True  # False: in files and charts, not in printed tables

    @property
    def title(self) -> str:
        """Heading and unit."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading


#: All measures of this project, in the order of columns.
MEASURES: dict[str, Measure] = {
    "dice": Measure("Dice", "", True, 3, 1.0),
    "paper_dice": Measure("Dice as in the paper", "", True, 3, 1.0),
    "hausdorff95": Measure("HD95", "mm", False, 1, math.inf),
    "hausdorff": Measure("HD", "mm", False, 1, math.inf),
    "surface_distance": Measure("ASSD", "mm", False, 2, math.inf),
    "psnr": Measure("PSNR", "dB", True, 2),
    "ssim": Measure("SSIM", "", True, 3),
    "original_psnr": Measure("PSNR, original code", "dB", True, 3),
    "original_ssim": Measure("SSIM, original code", "", True, 3),
    "slices": Measure("slices", "", True, 0, math.inf, printed=False),  # that were compared
    # of the organ in the prediction and in the label; neither is better for being larger
    "predicted_volume": Measure("predicted volume", "ml", True, 2, math.inf, printed=False),
    "true_volume": Measure("true volume", "ml", True, 2, math.inf, printed=False),
}


class MeanSd(NamedTuple):
    """Mean and sample standard deviation (n - 1) of the finite values; that of a single one is NaN."""

    mean: float
    sd: float
    infinite: int = 0  # values that are in neither

    def text(self, digits: int) -> str:
        """The value as shown in tables, ``mean ± sd``, or the mean alone for a single subject.

        Args:
            digits: decimals of both numbers.

        Returns:
            The text.

        Examples:
            >>> MeanSd(0.74, 0.041).text(2), MeanSd(0.74, float("nan")).text(2)
            ('0.74 ± 0.04', '0.74')
        """
        return f"{self.mean:.{digits}f}" if math.isnan(self.sd) else f"{self.mean:.{digits}f} ± {self.sd:.{digits}f}"


def mean_sd(values: Sequence[float]) -> MeanSd:
    """Mean and sample standard deviation of a few numbers; infinite ones are counted and left out.

    Args:
        values: at least one number.

    Returns:
        The mean (infinite where no value is finite) and the deviation with n - 1.

    Raises:
        ValueError: no value at all.

    Examples:
        >>> mean_sd([1.0, 3.0])
        MeanSd(mean=2.0, sd=1.4142135623730951, infinite=0)
    """
    if not values:
        raise ValueError("values must hold at least one number, got none.")
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return MeanSd(math.inf, math.nan, len(values))
    mean = math.fsum(finite) / len(finite)
    squares = math.fsum((value - mean) ** 2 for value in finite)
    sd = math.sqrt(squares / (len(finite) - 1)) if len(finite) > 1 else math.nan
    return MeanSd(mean, sd, len(values) - len(finite))


class MethodInfo(NamedTuple):
    """What a table says about a method besides its scores."""

    penalty: float | None = None  # distance in mm of a missed or spurious organ; None: the image's diagonal
    description: str = ""  # one line for the reader, for example which labels the method saw
    modalities: tuple[str, ...] = ()  # all that subsets are made of, in their order
    remarks: tuple[str, ...] = ()  # lines about what was scored, for example which segmentations are guesses

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> MethodInfo:
        """What :meth:`as_dict` gave."""
        return cls(**{**about, "modalities": tuple(about["modalities"]), "remarks": tuple(about.get("remarks", ()))})

    def as_dict(self) -> dict[str, Any]:
        """The fields for a file, without remarks where there are none.

        Examples:
            >>> MethodInfo(50.0).as_dict()
            {'penalty': 50.0, 'description': '', 'modalities': ()}
        """
        return {name: value for name, value in self._asdict().items() if value or name != "remarks"}

    def penalty_text(self) -> str:
        """The penalty in words.

        Examples:
            >>> MethodInfo().penalty_text(), MethodInfo(50.0).penalty_text()
            ("the image's diagonal", '50 mm')
        """
        return "the image's diagonal" if self.penalty is None else f"{self.penalty:g} mm"


class Score(NamedTuple):
    """Scores of one subject by one method in one case: the unit that every table is made of.

    Examples:
        >>> score = Score("copy", "s01", {"modality": "lge", "class": "LV"}, {"dice": 0.5}, flag="")
        >>> score.place
        "method 'copy', subject 's01', modality 'lge', class 'LV'"
    """

    method: str
    subject: str
    case: Mapping[str, str]  # what was scored: modality, class, subset, source, target, ...
    values: Mapping[str, float]  # of MEASURES
    flag: str = ""  # missed: in the label only; spurious: in the prediction only; empty: in neither
    person: str = ""  # whose visit the subject is; empty: the subject is a person

    @property
    def whose(self) -> str:
        """The person that counts in means and tests."""
        return self.person or self.subject

    @property
    def dice(self) -> float:
        """Dice; NaN where it was not measured."""
        return self.values.get("dice", float("nan"))

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What a table must hold only once."""
        return (self.method, self.subject, tuple(sorted(self.case.items())))

    @property
    def place(self) -> str:
        """Method, subject and case in words."""
        about = {"method": self.method, "subject": self.subject, **self.case}
        return ", ".join(f"{key} {value!r}" for key, value in about.items())

    def check(self) -> None:
        """Raise unless the score is possible.

        Raises:
            ValueError: an unknown measure or flag, no value, or one that is NaN or out of its range.
        """
        if not self.values:
            raise ValueError(f"values must hold at least one measure, got none ({self.place}).")
        if self.flag not in FLAGS:
            raise ValueError(f"flag must be at most one of {list(FLAGS[1:])}, got {self.flag!r} ({self.place}).")
        for name, value in self.values.items():
            if name not in MEASURES:
                raise ValueError(f"measure must be one of {list(MEASURES)}, got {name!r} ({self.place}).")
            if not isinstance(value, int | float):
                raise ValueError(f"{name} must be a number, got {value!r} ({self.place}).")
            most = MEASURES[name].most
            if most is None and math.isnan(value):
                raise ValueError(f"{name} must be a number, got NaN ({self.place}).")
            if most is not None and (not math.isfinite(value) or value < 0):
                raise ValueError(f"{name} must be finite and not negative, got {value} ({self.place}).")
            if most is not None and value > most + 1e-6:
                raise ValueError(f"{name} must be at most {most:g}, got {value} ({self.place}).")


def subject_means(scores: Iterable[Score], measure: str) -> dict[str, float]:
    """Mean over the scores of each subject that has the measure."""
    found: dict[str, list[float]] = {}
    for score in scores:
        if measure in score.values:
            found.setdefault(score.subject, []).append(score.values[measure])
    return {subject: math.fsum(values) / len(values) for subject, values in found.items()}


def person_means(scores: Iterable[Score], measure: str) -> dict[str, float]:
    """Mean over the visits of each person of the means of :func:`subject_means`."""
    listed = list(scores)
    whose = {score.subject: score.whose for score in listed}
    found: dict[str, list[float]] = {}
    for subject, mean in subject_means(listed, measure).items():
        found.setdefault(whose[subject], []).append(mean)
    return {person: math.fsum(values) / len(values) for person, values in found.items()}


class Line(NamedTuple):
    """Means over the subjects of one method in one case."""

    method: str
    case: dict[str, str]
    subjects: int  # behind the means
    left_out: int  # subjects of the method that have no score of it
    measures: dict[str, MeanSd]
    present: int  # classes of subjects that are in the label: the denominator of the miss rate
    missed: int  # of those
    spurious: int
    empty: int

    @property
    def miss_rate(self) -> float:
        """Share of the organs that are there and were missed; 0 where no organ is there."""
        return self.missed / self.present if self.present else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping for JSON."""
        measures = {name: value._asdict() for name, value in self.measures.items()}
        return {**self._asdict(), "measures": measures, "miss_rate": self.miss_rate}

    def text(self, measure: str) -> str:
        """Mean ± sd of a measure as it is printed; a dash where there is none."""
        found = self.measures.get(measure)
        return "–" if found is None else found.text(MEASURES[measure].digits)


class Comparison(NamedTuple):
    """A paired test of a method or case against its baseline, on the subjects that have both."""

    method: str
    value: str  # the case, or the method again
    subjects: int
    difference: float  # minus the baseline
    p: float
    p_holm: float  # corrected for all comparisons of the method, or of all methods
