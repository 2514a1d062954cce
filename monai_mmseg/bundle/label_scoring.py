# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label scores its images by the Dice that is foretold for them, and offers the lowest first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from monai.utils import optional_import
from torch import Tensor

from monai_mmseg.bundle.gaps import missing_modalities
from monai_mmseg.bundle.uncertainty import sampled_qualities
from monai_mmseg.evaluation.quality import (
    CALIBRATION,
    FORETOLD,
    SIGNALS,
    Pair,
    Quality,
    StoredCalibration,
    read_calibration,
    shared_signals,
)
from monai_mmseg.names import first_names
from monai_mmseg.runs.identity import file_sha256

logger = logging.getLogger(__name__)
App = TypeVar("App", bound=type)


class QualityScoring:
    """Scoring method of MONAI Label: the Dice that is foretold for each image without a label.

    When to use: through :func:`with_quality`. An image is scored once for each state of the weights and of the
    ``quality.json`` beside them. Its information gets ``<name>`` (mean Dice, the signal that foretold it, Dice of each
    class) and ``<name>_risk``, 1 - Dice. Without a calibration of these very weights the signal is ``expected_dice``:
    too high, and good for the order alone. So is an image scored without a modality that all validation subjects had,
    or of a modality that none of these was of, which is logged.

    Args:
        name: of the method.
        infer: from an image file and a device (``None``: the server's) to what a
            :class:`~monai_mmseg.inferers.SampledInferer` gives, without the batch axis, and maybe ``present``.
        labels: value to name of the classes.
        weights: file of the network.
        samples: which ones, in one line.
        modalities: names in the order of ``present``, bool ``(M,)``.
        modality: of the images, where each is of one.

    Examples:
        >>> import torch
        >>> found = {"pred": torch.zeros(2, 4), "uncertainty": torch.zeros(1, 4)}
        >>> found |= {"expected_dice": torch.tensor([0.9, 0.8]), "pairwise_dice": torch.tensor([0.9, 0.9])}
        >>> scoring = QualityScoring("net_quality", lambda image, device: found, {1: "LV"}, "model.pt", "shift")
        >>> note = scoring.score("s1.nii.gz", None)
        >>> round(note["net_quality_risk"], 3), note["net_quality"]
        (0.2, {'dice': 0.8, 'by': 'expected_dice', 'classes': {'LV': 0.8}})
    """

    def __init__(
        self,
        name: str,
        infer: Callable[[str, str | None], Mapping[str, Tensor]],
        labels: Mapping[int, str],
        weights: str | Path,
        samples: str,
        modalities: Sequence[str] = (),
        modality: str = "",
    ) -> None:
        self.modalities, self.modality = list(modalities), modality
        self.name, self.infer, self.labels = name, infer, dict(labels)
        self.weights, self.samples = Path(weights), samples

    def info(self) -> dict[str, Any]:
        """What MONAI Label tells its clients."""
        return {"description": f"Dice foretold without the label, by {self.samples}"}

    def __call__(self, request: Mapping[str, Any], datastore: Any) -> dict[str, int]:
        """Score images that have no final label.

        Args:
            request: ``max_samples``: how many images at most, not counting those that cannot be read; ``device``.
            datastore: of MONAI Label.

        Returns:
            How many images there were, had their score already, got one, and could not be read or segmented.
        """
        files = [path for path in (self.weights, self.weights.parent / CALIBRATION) if path.is_file()]
        state = " ".join([*(file_sha256(path)[:16] for path in files), self.samples])
        images = list(datastore.get_unlabeled_images())
        new = [one for one in images if datastore.get_image_info(one).get(self.name, {}).get("of") != state]
        most, line, failed, executed = int(request.get("max_samples") or len(new)), self.calibration(), 0, 0
        unforetold = []
        for image in new:
            if executed == most:
                break
            try:
                note = self.score(datastore.get_image_uri(image), request.get("device"), line)
            except Exception:  # one image that cannot be read must not hide the scores of all others
                logger.exception("%s: %s is not scored.", self.name, image)
                failed += 1
                continue
            note[self.name]["of"] = state
            datastore.update_image_info(image, note)
            executed += 1
            logger.info("%s: %s %s", self.name, image, note[self.name])
            if line is not None and note[self.name]["by"] != FORETOLD[0]:
                unforetold.append(image)
        if unforetold:
            logger.warning(
                "%s: %s scored by %s, which is too high beside the others: all validation subjects of the fit had a "
                "modality that is missing, or none was of theirs.",
                self.name,
                first_names(unforetold, most=3),
                SIGNALS[0],
            )
        skipped = len(images) - len(new)
        return {"total": len(images), "skipped": skipped, "executed": executed, "failed": failed}

    def calibration(self) -> StoredCalibration | None:
        """What was fitted for these weights; ``None``, and a warning, where they have been trained on since."""
        try:
            return read_calibration(self.weights.parent, file_sha256(self.weights), self.samples)
        except ValueError as error:
            logger.warning("%s: scored by expected_dice. %s", self.name, error)
            return None

    def score(self, image: str, device: str | None, line: StoredCalibration | None = None) -> dict[str, Any]:
        """What is noted of an image.

        Args:
            image: its file.
            device: where to run; ``None``: where the server does.
            line: calibration.

        Returns:
            ``<name>`` and ``<name>_risk``.
        """
        found = self.infer(image, device)
        missing = missing_modalities(found["present"], self.modalities) if "present" in found else ()
        rows: list[Quality] = sampled_qualities(found, self.labels, (image, self.modality), self.samples, missing)
        if line is not None:
            rows = [line.foretell(row) for row in rows]
        signal = shared_signals(Pair(row, 0.0) for row in rows)[0]
        classes = {row.name: round(getattr(row, signal), 4) for row in rows}
        dice = round(float(np.mean(list(classes.values()))), 4)
        return {self.name: {"dice": dice, "by": signal, "classes": classes}, f"{self.name}_risk": 1 - dice}


def with_quality(app: App) -> App:
    """Give an app of MONAI Label a scoring method and a strategy ``<model>_quality`` for each bundle that can sample.

    When to use: at the end of the ``main.py`` of MONAI Label's ``monaibundle`` app, whose own methods stay. The server
    scores by itself when it starts, and after each training and request for the next image.

    Args:
        app: its class, which is changed.

    Returns:
        The same class.

    Raises:
        OptionalImportError: when the app starts without MONAI Label.

    Examples:
        In ``main.py``::

            from monai_mmseg.bundle.label_scoring import with_quality

            with_quality(MyApp)
    """
    strategies, methods = app.init_strategies, app.init_scoring_methods  # type: ignore[attr-defined]

    def init_strategies(self: Any) -> dict[str, Any]:
        by_score, _ = optional_import("monailabel.tasks.activelearning.epistemic", name="Epistemic")
        more = {
            f"{model}_quality": by_score(key=f"{model}_quality_risk", desc=f"Lowest Dice foretold for {model}")
            for model in _sampling(self)
        }
        return {**strategies(self), **more}

    def init_scoring_methods(self: Any) -> dict[str, Any]:
        more = {
            f"{model}_quality": _scoring(f"{model}_quality", path, self.conf) for model, path in _sampling(self).items()
        }
        return {**methods(self), **more}

    app.init_strategies, app.init_scoring_methods = init_strategies, init_scoring_methods  # type: ignore[attr-defined]
    return app


def _sampling(app: Any) -> dict[str, str]:
    """Models of an app whose bundle can sample, and their folders."""
    tasks = {name: task for name, task in app._infers.items() if task.is_valid() and hasattr(task, "bundle_config")}
    return {name: task.bundle_path for name, task in tasks.items() if "sampled" in task.bundle_config}


def _scoring(name: str, path: str, conf: Mapping[str, Any]) -> QualityScoring:
    """MONAI Label's own inference of a bundle, up to what its ``sampled`` inferer gives."""
    kind, _ = optional_import("monailabel.tasks.infer.bundle", name="BundleInferTask")
    keys = optional_import("monailabel.tasks.infer.bundle", name="BundleConstants")[0]()
    keys.key_inferer, keys.key_postprocessing = (lambda: ["sampled"]), (lambda: [])
    task = kind(path, conf, const=keys, add_post_restore=False, skip_writer=True)
    task.bundle_config["uncertainty"] = True

    def infer(image: str, device: str | None) -> Mapping[str, Tensor]:
        _, item = task({"image": image, "logging": "error", **({"device": device} if device else {})})
        return {**item[task.output_label_key], **({"present": item["present"]} if "present" in item else {})}

    labels = {value: label for label, value in task.labels.items()}
    ask = task.bundle_config.get_parsed_content
    about = ask("modalities", default=[]), ask("default_modality", default="")
    return QualityScoring(name, infer, labels, task.get_path(), task.inferer().description, *about)
