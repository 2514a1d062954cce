# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Foretold Dice of predictions as a file, its comparison with the true one, and the line fitted to it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monai_mmseg.evaluation.layout import subset_names
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.files import write_json, write_text
from monai_mmseg.metrics.quality import (
    Calibration,
    RiskCoverage,
    fit_calibration,
    interval_radius,
    left_out_errors,
    risk_coverage,
)
from monai_mmseg.names import first_names

QUALITY, CALIBRATION = "quality.csv", "quality.json"
FORMAT = "monai_mmseg.quality/1"
SIGNALS = ("expected_dice", "pairwise_dice")
FORETOLD = ("predicted_dice", *SIGNALS)
NUMBERS = ("predicted_dice", *SIGNALS, "entropy")
ENDS = ("predicted_low", "predicted_high")
LABELS_OF_MEAN = "labels of mean"  # end of ``samples`` where the labels are not the network's own
COVERAGE = 0.8
"""Share of images and classes whose true Dice shall lie between ``predicted_low`` and ``predicted_high``."""


class Quality(NamedTuple):
    """What is foretold of a class of a prediction; NaN where there is nothing to say."""

    subject: str
    modality: str  # empty where the bundle segments one modality
    name: str  # of the class
    predicted_dice: float  # by the line fitted on validation subjects
    expected_dice: float  # of the segmentation under the mean probabilities
    pairwise_dice: float  # mean over pairs of samples
    entropy: float  # mean over the voxels of the class
    samples: str  # which ones
    predicted_low: float = math.nan  # between these the true Dice lies in COVERAGE of the cases
    predicted_high: float = math.nan
    weights: str = ""  # SHA-256 of the network's file; empty: not known
    missing: str = ""  # modalities that the subject lacks, joined as those of subsets

    @property
    def lacks(self) -> tuple[str, ...]:
        """Modalities that the subject lacks."""
        return subset_names(self.missing) if self.missing else ()


def write_quality(path: str | Path, rows: Iterable[Quality]) -> Path:
    """Write a file of foretold qualities, a line for each image and class.

    Args:
        path: the file, usually ``quality.csv`` beside the predictions.
        rows: the lines.

    Returns:
        The path.

    Examples:
        >>> import tempfile
        >>> row = Quality("s1", "", "LV", math.nan, 0.9, 0.95, 0.1, "shift")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_quality(write_quality(f"{folder}/quality.csv", [row]))[0].pairwise_dice
        0.95
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["class" if name == "name" else name for name in Quality._fields])
    for row in rows:
        writer.writerow([("" if math.isnan(v) else f"{v:.6g}") if isinstance(v, float) else v for v in row])
    return write_text(path, out.getvalue())


def read_quality(path: str | Path) -> list[Quality]:
    """Read what :func:`write_quality` wrote.

    Args:
        path: the file.

    Returns:
        Its lines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks a column, or holds what is no number or none that can be where one must be.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not there: predict with --uncertainty true.")
    with Path(path).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = []
    for line in lines:
        named = {"name" if key == "class" else key: value for key, value in line.items()}
        if lacking := sorted(set(Quality._fields) - set(Quality._field_defaults) - set(named)):
            raise ValueError(f"{path} must have the columns {lacking}: predict again with --uncertainty true.")
        try:
            numbers = [float(named.get(key) or "nan") for key in (*NUMBERS, *ENDS)]
        except ValueError as error:
            raise ValueError(f"{path} is broken at {line['subject']!r}: {error}.") from error
        most = [99 if key == "entropy" else 1 for key in (*NUMBERS, *ENDS)]  # nats: the log of a number of classes
        if any(value < 0 or value > limit for value, limit in zip(numbers, most, strict=True)):
            raise ValueError(f"{path} is broken at {line['subject']!r}: a Dice must be 0 to 1, an entropy 0 or more.")
        texts = [named.get(key) or "" for key in ("subject", "modality", "name", "samples", "weights", "missing")]
        rows.append(Quality._make([*texts[:3], *numbers[:4], texts[3], *numbers[4:], *texts[4:]]))
    return rows


class Pair(NamedTuple):
    """A foretold quality and the Dice that came of it."""

    quality: Quality
    dice: float
    person: str = ""  # whose visit the subject is; empty: the subject is a person

    @property
    def whose(self) -> str:
        """The person, whose visits are never parted."""
        return self.person or self.quality.subject


def true_pairs(rows: Iterable[Quality], table: ScoreTable, method: str) -> list[Pair]:
    """Foretold qualities with the true Dice beside them.

    Args:
        rows: of ``quality.csv``.
        table: scores of the same predictions.
        method: whose scores.

    Returns:
        Pairs in the order of the rows; those that the table does not score are left out.

    Raises:
        ValueError: the table scores several modalities and the rows name none.
    """
    found = table.select(lambda score: "dice" in score.values and "class" in score.case, method=method)
    modalities = found.cases("modality") if len(found) else []
    truth = {(s.subject, s.case.get("modality", ""), s.case["class"]): (s.values["dice"], s.person) for s in found}
    rows = list(rows)
    if len(modalities) > 1 and any(not row.modality for row in rows):
        raise ValueError(f"rows must name their modality where the table scores several, got none beside {modalities}.")
    only = modalities[0] if modalities else ""
    keys = [(row, (row.subject, row.modality or only, row.name)) for row in rows]
    return [Pair(row, *truth[key]) for row, key in keys if key in truth]


def shared_signals(pairs: Iterable[Pair]) -> list[str]:
    """Signals that all pairs have.

    Args:
        pairs: of :func:`true_pairs`.

    Returns:
        Of :data:`FORETOLD`, in its order.
    """
    pairs = list(pairs)
    return [name for name in FORETOLD if all(math.isfinite(getattr(pair.quality, name)) for pair in pairs)]


def with_foretold(pairs: Iterable[Pair]) -> list[Pair]:
    """Pairs without those that have no foretold Dice for what they lack or are of, where the others have it.

    Args:
        pairs: of :func:`true_pairs`.

    Returns:
        Those to compare ``predicted_dice`` of; :func:`unforetold_text` names the others.
    """
    pairs = list(pairs)
    told = [pair for pair in pairs if math.isfinite(pair.quality.predicted_dice)]
    kinds = {pair.quality.modality for pair in told}
    rest = [pair.quality for pair in pairs if math.isnan(pair.quality.predicted_dice)]
    return told if told and all(row.missing or row.modality not in kinds for row in rest) else pairs


def unforetold_text(rows: Iterable[Quality]) -> str:
    """Which subjects have no foretold Dice for what they lack or are of, and why; empty where there is none.

    Args:
        rows: of predictions beside whose weights a calibration lies.

    Returns:
        A sentence or two.

    Examples:
        >>> row = Quality("s1", "", "LV", math.nan, 0.9, 0.9, 0.1, "shift", missing="t1")
        >>> unforetold_text([row])
        'No Dice is foretold for s1 (t1 missing): all validation subjects of the fit had a modality that is missing.'
    """
    rows = list(rows)
    lacking = [f"{row.subject} ({row.missing} missing)" for row in rows if row.lacks and math.isnan(row.predicted_dice)]
    why = "all validation subjects of the fit had a modality that is missing"
    found = {row.modality for row in rows if math.isfinite(row.predicted_dice)}
    other = sorted({row.modality for row in rows if not row.lacks} - found) if found else []
    told = [f"No Dice is foretold for {first_names(lacking, most=3)}: {why}."] if lacking else []
    if other:
        told += [f"No Dice is foretold for images of {', '.join(other)}: the line was fitted on others, or later."]
    return " ".join(told)


class Agreement(NamedTuple):
    """How a foretold Dice compares with the true one."""

    signal: str  # of FORETOLD
    pairs: int
    error: float  # mean absolute
    bias: float  # mean of foretold minus true
    correlation: float  # Pearson's; NaN where one of them is constant
    curve: RiskCoverage
    within: float  # share of true Dice between predicted_low and predicted_high; NaN where a pair has none


def compare_quality(pairs: Iterable[Pair], signal: str | None = None) -> Agreement:
    """Error, correlation and risk-coverage curve of foretold against true Dice.

    Args:
        pairs: of :func:`true_pairs`.
        signal: column; ``None``: the first of :data:`FORETOLD` that every pair has.

    Returns:
        The comparison.

    Raises:
        ValueError: no pair, or one without the signal.

    Examples:
        >>> rows = [Quality(s, "", "LV", math.nan, 0.5 + d / 2, d, 0, "shift") for s, d in (("s1", 0.6), ("s2", 0.8))]
        >>> found = compare_quality([Pair(row, row.pairwise_dice) for row in rows], "expected_dice")
        >>> round(found.error, 3), round(found.correlation, 3), round(found.curve.area, 3)
        (0.15, 1.0, 0.25)
    """
    pairs = list(pairs)
    if not pairs:
        raise ValueError("pairs must hold at least one, got none: quality.csv and the scores share no subject.")
    shared = shared_signals(pairs)
    used = signal or next(iter(shared), "")
    if used not in shared:
        raise ValueError(f"signal must be one that all rows have, of {shared}, got {used!r}.")
    foretold = np.array([getattr(pair.quality, used) for pair in pairs])
    dice = np.array([pair.dice for pair in pairs])
    ends = [(pair.quality.predicted_low, pair.quality.predicted_high) for pair in pairs]
    told = used == "predicted_dice" and np.isfinite(ends).all()
    flat = len(pairs) < 2 or np.ptp(foretold) == 0 or np.ptp(dice) == 0
    return Agreement(
        used,
        len(pairs),
        float(np.abs(foretold - dice).mean()),
        float((foretold - dice).mean()),
        math.nan if flat else float(np.corrcoef(foretold, dice)[0, 1]),
        risk_coverage(foretold, dice),
        float(np.mean([low <= d <= high for (low, high), d in zip(ends, dice, strict=True)])) if told else math.nan,
    )


class StoredCalibration(NamedTuple):
    """A line beside the weights that it was fitted for."""

    signal: str
    line: Calibration
    error: float  # mean absolute, each person by the line of the others
    subjects: int  # persons: visits of one count once
    pairs: int
    samples: str
    weights: str  # SHA-256 of the file
    radius: float = 1.0  # half the width of the interval with COVERAGE; 1 says nothing: fewer than four subjects
    lacked: tuple[str, ...] = ()  # modalities that one of the subjects lacked at least
    modalities: tuple[str, ...] = ()  # of their images, where each image is of one; none: others, or not known

    def is_of(self, modality: str) -> bool:
        """Whether images of a modality were among those of the fit; true where there is nothing to tell by."""
        return not modality or not self.modalities or modality in self.modalities

    def foretell(self, row: Quality) -> Quality:
        """A row with the Dice that its signal foretells, and the interval around it.

        Without a modality that all subjects of the fit had, and for images of a modality that none of them was of, the
        line does not hold: the row stays as it is.

        Examples:
            >>> found = StoredCalibration("expected_dice", Calibration(2, -1), 0.02, 8, 8, "shift", "abc", 0.125)
            >>> row = found.foretell(Quality("s1", "", "LV", math.nan, 0.96875, 0.9, 0.1, "shift"))
            >>> row.predicted_dice, row.predicted_low, row.predicted_high
            (0.9375, 0.8125, 1.0)
        """
        if not (self.is_of(row.modality) and set(row.lacks) <= set(self.lacked)):
            return row
        dice = float(self.line(getattr(row, self.signal)))
        low, high = np.clip([dice - self.radius, dice + self.radius], 0, 1).tolist()
        return row._replace(predicted_dice=dice, predicted_low=low, predicted_high=high)


def calibrate(pairs: Iterable[Pair], weights: str) -> StoredCalibration:
    """The signal and line that foretell Dice best, each person by the line of all others.

    Args:
        pairs: of validation subjects.
        weights: SHA-256 of the network's file.

    Returns:
        What :func:`write_calibration` stores.

    Raises:
        ValueError: fewer than three persons, or pairs without one of them; different samples, or other weights.
    """
    pairs = list(pairs)
    if other := sorted({pair.quality.weights for pair in pairs} - {"", weights}):
        raise ValueError(
            f"pairs must be predictions of the weights that the line is for, got some of others ({other[0][:12]}; the "
            f"line is for {weights[:12]}): predict again with --uncertainty true, or give the folder of those weights."
        )
    people = [pair.whose for pair in pairs]
    if len(set(people)) < 3:
        raise ValueError(f"pairs must be of three persons or more with labels, got {len(set(people))}.")
    if (left := len(pairs) - max(map(people.count, people))) < 3:
        raise ValueError(f"pairs must be three or more without any one person, got {left}: of one class, label four.")
    if len(kinds := sorted({pair.quality.samples for pair in pairs})) > 1:
        raise ValueError(f"pairs must be of one kind of samples, got {kinds}.")
    dice = [pair.dice for pair in pairs]
    found = {name: [getattr(pair.quality, name) for pair in pairs] for name in shared_signals(pairs) if name in SIGNALS}
    errors = {name: left_out_errors(values, dice, people) for name, values in found.items()}
    if not errors:
        raise ValueError(f"pairs must all have one of {list(SIGNALS)}, got gaps in each.")
    best = min(errors, key=lambda name: float(errors[name].mean()))
    return StoredCalibration(
        best,
        fit_calibration(found[best], dice),
        float(errors[best].mean()),
        len(set(people)),
        len(pairs),
        kinds[0],
        weights,
        min(1.0, interval_radius(errors[best], people, COVERAGE)),
        tuple(sorted({name for pair in pairs for name in pair.quality.lacks})),
        tuple(sorted({pair.quality.modality for pair in pairs} - {""})),
    )


def write_calibration(folder: str | Path, found: StoredCalibration) -> Path:
    """Store a calibration beside the weights.

    Args:
        folder: of the weights.
        found: of :func:`calibrate`.

    Returns:
        The file, ``quality.json``.
    """
    content: dict[str, Any] = {**found._asdict(), "line": found.line._asdict()}
    return write_json(Path(folder) / CALIBRATION, {"format": FORMAT, **content})


def read_calibration(folder: str | Path, weights: str, samples: str) -> StoredCalibration | None:
    """The calibration beside the weights.

    Args:
        folder: of the weights.
        weights: SHA-256 of their file.
        samples: those that are taken now.

    Returns:
        The calibration; ``None`` where none was fitted.

    Raises:
        ValueError: it is broken, or of other weights or samples.
    """
    path = Path(folder) / CALIBRATION
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        names = {key: tuple(content.get(key, ())) for key in ("lacked", "modalities")}
        found = StoredCalibration(**{**content, **names, "line": Calibration(**content["line"])})
        if found.signal not in SIGNALS:
            raise ValueError(f"unknown signal {found.signal!r}")
        if not all(isinstance(one, int | float) and math.isfinite(one) for one in (*found.line, found.radius)):
            raise ValueError("slope, intercept and radius must be numbers")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is broken: {error}. Remove it, or fit again with `mmseg quality --fit`.") from error
    for what, then, now in (("weights", found.weights, weights), ("samples", found.samples, samples)):
        if then != now:
            raise ValueError(
                f"{path} was fitted for other {what} ({then[:40]}; now {now[:40]}): fit again with `mmseg quality "
                "--fit`, or remove it."
            )
    return found
