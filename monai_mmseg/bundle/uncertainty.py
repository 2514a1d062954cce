# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a bundle writes beside its label volumes when it is asked how sure it is."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import InvertibleTransform, Transform
from torch import Tensor

from monai_mmseg.bundle.checks import ConfigError
from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.bundle.gaps import missing_modalities
from monai_mmseg.bundle.members import check_members
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.predictions import InvertPredictiond, SaveImagePredictiond
from monai_mmseg.evaluation.layout import PLUS
from monai_mmseg.evaluation.quality import (
    CALIBRATION,
    LABELS_OF_MEAN,
    QUALITY,
    Quality,
    StoredCalibration,
    read_calibration,
    read_quality,
    unforetold_text,
    write_quality,
)
from monai_mmseg.inferers.sampled_inferer import SampledInferer
from monai_mmseg.names import first_names
from monai_mmseg.runs.identity import file_sha256

logger = logging.getLogger(__name__)


def check_uncertainty(
    uncertainty: bool,
    argv: Sequence[str] | None = None,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> None:
    """Refuse settings of samples that nothing would read, and labels that an older ``quality.csv`` would be taken for.

    When to use: in ``initialize`` of an inference that can sample, and of an evaluation, which cannot but writes into
    a folder where one may have been. Logs a warning where a ``quality.csv`` of these
    weights has subjects that are predicted anew without samples.

    Args:
        uncertainty: whether it does.
        argv: command line; ``sys.argv`` by default.
        output_dir: folder of the predictions.
        weights: file of the network.

    Raises:
        ConfigError: the command sets ``samples`` or ``sampled#...`` without ``uncertainty``; or the folder has a
            ``quality.csv`` of other weights, or of the mean of samples, which this run would not write anew; or
            ``sampled#checkpoints`` were trained for other classes or images.

    Examples:
        >>> command = ["x/monai/bundle/__main__.py", "run", "--config_file", "inference.json", "--sampled#draws", "9"]
        >>> check_uncertainty(False, command)
        Traceback (most recent call last):
        monai_mmseg.bundle.checks.ConfigError: sampled#draws is set, but nothing is sampled: give --uncertainty true ...
    """
    command = parse_run_command(sys.argv if argv is None else argv)
    given = [name for name in (command.overrides if command else {}) if name.split("#")[0] in ("samples", "sampled")]
    if given and not uncertainty:
        verb = "is" if len(given) == 1 else "are"
        raise ConfigError(f"{', '.join(given)} {verb} set, but nothing is sampled: give --uncertainty true as well.")
    if not uncertainty and output_dir is not None and weights is not None and Path(weights).is_file():
        _check_older(Path(output_dir) / QUALITY, Path(weights))
    parser = resolving_parser() if uncertainty and weights is not None else None
    others = parser.get_parsed_content("sampled#checkpoints", default=()) if parser is not None else ()
    if others and parser is not None and weights is not None:
        check_members(others, weights, parser.get_parsed_content("dataset#data"))


def _check_older(path: Path, weights: Path) -> None:
    try:
        rows = read_quality(path)
    except (OSError, ValueError):  # none, or one that cannot be read
        return
    wrong = "labels of the mean of samples" if any(row.samples.endswith(LABELS_OF_MEAN) for row in rows) else ""
    if {row.weights for row in rows} - {"", file_sha256(weights)}:
        wrong = "other weights' predictions"
    if wrong:
        raise ConfigError(
            f"{path} foretells the Dice of {wrong}: this run would replace them and leave it.\n"
            "Remove it, or name another --output_dir; inference with --uncertainty true writes it anew."
        )
    parser = resolving_parser()
    items = parser.get_parsed_content("dataset#data", default=()) if parser is not None else ()
    if again := sorted({row.subject for row in rows} & {str(item.get("subject")) for item in items}):
        logger.warning(
            "%s and its maps of uncertainty stay as an earlier run left them: if the image of %s is another one now, "
            "they are not of its prediction. Ask for uncertainty again, or give another folder.",
            path,
            first_names(again, 3),
        )


class SaveUncertaintyd(Transform):
    """Takes what a :class:`~monai_mmseg.inferers.SampledInferer` gives apart, and saves all but the prediction.

    When to use: as the first transform of ``postprocessing``; what follows sees the prediction alone, as without
    samples. Writes ``<name>_uncertainty.nii.gz`` on the image's grid, and into ``quality.csv`` a line for each class:
    foretold Dice, its signals, and the mean entropy of its voxels. Lines of other images that are there already stay.

    Args:
        key: of what the inferer gave.
        transform: the preprocessing to undo.
        inferer: the ``SampledInferer``.
        labels: value to name; 0 is left out.
        output_dir: folder of the files.
        weights: file of the network; a ``quality.json`` beside it foretells Dice, else that column stays empty.
        modalities: names in the order of ``present`` in the items, where they have it: Dice is not foretold without a
            modality that all validation subjects had, nor for images of one that none of these was of, which is said.
        seen: those of them that the network looks at; ``None``: all.

    Raises:
        ValueError: that file is broken, or of other weights or samples.

    Examples:
        In ``postprocessing``::

            {"_target_": "monai_mmseg.bundle.SaveUncertaintyd", "key": "pred", "transform": "@preprocessing",
             "inferer": "@sampled", "labels": "@labels", "output_dir": "@output_dir",
             "weights": "@checkpointloader#load_path", "modalities": "@modalities"}
    """

    def __init__(
        self,
        key: str,
        transform: InvertibleTransform,
        inferer: SampledInferer,
        labels: Mapping[str, str],
        output_dir: str | os.PathLike[str],
        weights: str | os.PathLike[str],
        modalities: Sequence[str] = (),
        seen: Sequence[str] | None = None,
    ) -> None:
        self.modalities = list(modalities)
        self.seen = self.modalities if seen is None else list(seen)
        self.key, self.output_dir, self.weights = key, Path(output_dir), Path(weights)
        self.labels = {int(value): str(labels[value]) for value in sorted(labels, key=int) if int(value) != 0}
        self.samples = inferer.description
        self.invert = InvertPredictiond("uncertainty", transform)
        self.save = SaveImagePredictiond(
            "uncertainty", output_dir, output_postfix="uncertainty", output_dtype="float32"
        )
        self.digest = file_sha256(self.weights) if self.weights.is_file() else ""
        self.rows: list[Quality] = []
        self._unfitted: set[str] = set()
        self._line = self._calibration()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Save the uncertainty of one item.

        Args:
            data: the item.

        Returns:
            A copy of it with the logits alone.
        """
        item = dict(data)
        found = item[self.key]
        if not isinstance(found, Mapping):  # a tool that runs the inferer without samples, such as MONAI Label
            return item
        item[self.key] = found["pred"]
        self.rows += self._foretold(item, found)
        self.save(self.invert({**item, "uncertainty": found["uncertainty"]}))
        write_quality(self.output_dir / QUALITY, [*self._others(), *self.rows])
        return item

    def _others(self) -> list[Quality]:
        """Rows of predictions that lie in the folder from earlier runs and stay there."""
        try:
            before = read_quality(self.output_dir / QUALITY)
        except (OSError, ValueError):  # none, or one that cannot be read
            return []
        now = {(row.subject, row.modality) for row in self.rows}
        return [row for row in before if (row.subject, row.modality) not in now]

    def _calibration(self) -> StoredCalibration | None:
        line = None
        if self.weights.is_file():
            line = read_calibration(self.weights.parent, self.digest, self.samples)
        if line is None:
            logger.warning(
                "no quality.json beside %s: predicted_dice stays empty. `mmseg quality --fit` makes it of validation "
                "subjects.",
                self.weights,
            )
        return line

    def _foretold(self, item: Mapping[Hashable, Any], found: Mapping[str, Tensor]) -> list[Quality]:
        subject = getattr(item["image"], "meta", {}).get("subject", item.get("subject", ""))
        about = (str(subject), str(item.get("modality", "")))
        missing = missing_modalities(item["present"], self.modalities) if "present" in item else ()
        missing = tuple(name for name in missing if name in self.seen)
        told = sampled_qualities(found, self.labels, about, self.samples, missing)
        rows = [row._replace(weights=self.digest) for row in told]
        if self._line is None:
            return rows
        if not self._line.is_of(about[1]) and about[1] not in self._unfitted:
            self._unfitted.add(about[1])
            logger.warning(
                "%s was fitted on images of %s: for those of %s predicted_dice stays empty. Fit on both: `mmseg "
                "quality --fit` without --modality.",
                self.weights.parent / CALIBRATION,
                ", ".join(self._line.modalities),
                about[1],
            )
        return [self._line.foretell(row) for row in rows]


def sampled_qualities(
    found: Mapping[str, Tensor],
    labels: Mapping[int, str],
    about: tuple[str, str],
    samples: str,
    missing: Sequence[str] = (),
) -> list[Quality]:
    """What samples of one volume say of each class.

    Args:
        found: what a :class:`~monai_mmseg.inferers.SampledInferer` gives, without the batch axis.
        labels: value to name of the classes.
        about: subject and modality.
        samples: which ones.
        missing: modalities that the subject lacks.

    Returns:
        A row for each class, without a foretold Dice.

    Examples:
        >>> from monai.inferers import SimpleInferer
        >>> batch = SampledInferer(SimpleInferer(), ["mirror"])(torch.rand(1, 2, 8, 8, 3), torch.nn.Identity())
        >>> found = {name: value[0] for name, value in batch.items()}
        >>> [(row.name, row.pairwise_dice) for row in sampled_qualities(found, {1: "LV"}, ("s1", "mr"), "mirror")]
        [('LV', 1.0)]
    """
    classes = found["pred"].argmax(0).flatten()
    count = torch.bincount(classes, minlength=len(found["pred"])).double()
    unsure = torch.bincount(classes, found["uncertainty"].flatten().double(), minlength=len(count))
    entropy = torch.where(count > 0, unsure / count.clamp_min(1), torch.nan).tolist()
    expected, pairwise = found["expected_dice"].tolist(), found["pairwise_dice"].tolist()
    lost = PLUS.join(missing)
    return [
        Quality(*about, name, math.nan, expected[value], pairwise[value], entropy[value], samples, missing=lost)
        for value, name in labels.items()
    ]


def tell_unforetold(output_dir: str | os.PathLike[str], weights: str | os.PathLike[str]) -> None:
    """Warn of subjects without a foretold Dice, for they lack a modality that all validation subjects of the fit had.

    When to use: at the end of an inference that samples, of a network that takes several modalities at a time.

    Args:
        output_dir: folder with ``quality.csv``.
        weights: file of the network; without a ``quality.json`` beside it nothing is foretold, which was said before.

    Examples:
        In ``run``::

            "$monai_mmseg.bundle.tell_unforetold(@output_dir, @checkpointloader#load_path) if @uncertainty else None"
    """
    path = Path(output_dir) / QUALITY
    if path.is_file() and (Path(weights).parent / CALIBRATION).is_file():
        digest = file_sha256(Path(weights))
        if text := unforetold_text(row for row in read_quality(path) if row.weights == digest):
            logger.warning("%s", text)
