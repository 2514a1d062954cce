# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg evaluate``, ``mmseg quality`` and ``mmseg report`` run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_mmseg.evaluation.quality import Quality


def evaluate(
    datalist: str,
    predictions: str,
    *,
    modality: str,
    out: str,
    section: str = "test",
    method: str = "prediction",
    subjects: Sequence[str] | None = None,
    fold: int | None = None,
    penalty: float | None = None,
    description: str = "",
) -> None:
    """Score predicted label volumes against the labels of a datalist.

    Args:
        datalist: JSON file.
        predictions: folder of label volumes named <image stem>_seg.nii.gz, maybe in folders named after subjects.
        modality: which images were segmented.
        out: folder for the table: <method>.json, .csv and .md. Take RUN_DIR/metrics for a report; the run's own table
            stays.
        section: training, validation or test.
        method: name of the method in the table.
        subjects: only these.
        fold: only the items of this fold.
        penalty: distance in mm for a missed or spurious organ; default is each image's diagonal.
        description: one line about the method.
    """
    from pathlib import Path

    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.data.originals import named_files, spare_listed
    from monai_mmseg.evaluation import evaluate_predictions
    from monai_mmseg.runs import spare_evaluated

    listed = read_datalist(datalist)
    stem = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in method)
    target = Path(out, f"{stem}.json")
    spare_evaluated(target)
    table = evaluate_predictions(
        listed.select(section, fold=fold),
        predictions,
        modality=modality,
        labels=listed.labels,
        method=method,
        subjects=subjects,
        penalty=penalty,
        description=description,
    )
    _tell_left_out(listed.select(section, fold=fold), predictions, modality)
    spare_listed([target], datalist)
    if named_files(target):
        raise FileExistsError(f"{target} is a datalist, which a table of scores would replace; name another --method.")
    paths = table.save(out, stem)
    print(table.to_markdown(), f"table: {paths['json']} (and .csv, .md)", sep="\n")


def report(run_dir: str, *, out: str | None = None) -> None:
    """Make one self-contained page of a run folder.

    Args:
        run_dir: folder of a run.
        out: the page; default is report.html in the folder.
    """
    from monai_mmseg.report.content import read_run
    from monai_mmseg.report.html import write_report

    print(f"report: {write_report(run_dir, out)}")
    for problem in read_run(run_dir).problems:
        print(f"mmseg report: {problem}", file=sys.stderr)


def quality(
    datalist: str,
    predictions: str,
    *,
    modality: str | None = None,
    section: str = "test",
    fold: int | None = None,
    fit: str | None = None,
) -> None:
    """Compare the quality that was foretold for predictions with the true one, and fit what foretells it.

    Args:
        datalist: JSON file.
        predictions: folder that inference wrote with uncertainty true; it holds quality.csv.
        modality: which images were segmented; default is what quality.csv says.
        section: training, validation or test.
        fold: only the items of this fold.
        fit: folder of the weights; a line from the best signal to Dice is fitted and stored there as quality.json.
    """
    from math import isnan
    from pathlib import Path

    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.evaluation import ScoreTable, evaluate_predictions
    from monai_mmseg.evaluation import quality as qualities
    from monai_mmseg.evaluation.files import prediction_files
    from monai_mmseg.report.quality import quality_rows
    from monai_mmseg.runs.identity import file_sha256

    if fit is not None and not Path(fit, "model.pt").is_file():
        raise FileNotFoundError(
            f"--fit must be the folder of the weights, with model.pt in it, such as models; got {fit}."
        )
    listed, rows = read_datalist(datalist), qualities.read_quality(Path(predictions) / qualities.QUALITY)
    names = [modality] if modality else sorted({row.modality for row in rows if row.modality})
    if not names:
        raise ValueError(
            f"{predictions}/{qualities.QUALITY} names no modality: give --modality, of {listed.modalities}."
        )
    rows = [row for row in rows if row.modality in ("", *names)]
    _check_order(rows, listed.labels, f"{predictions}/{qualities.QUALITY}", datalist)
    items, table = listed.select(section, fold=fold), ScoreTable()
    for name in names:
        # who lacks the modality was predicted on another of its images, and is scored there, as the evaluation does
        asked = {row.subject for row in rows if row.modality in ("", name)}
        here = [
            item
            for item in items
            if item["modality"] == name or (str(item["subject"]) in asked and prediction_files(predictions, item))
        ]
        if not here or name not in listed.modalities:
            there = ", ".join(dict.fromkeys(str(item["modality"]) for item in items))
            source = f"--modality {name}" if modality else f"{predictions}/{qualities.QUALITY} is of {name}"
            raise ValueError(
                f"{source}, and section {section!r} of {datalist} has images of {there}: give one of these, or the "
                "datalist that was predicted."
            )
        about: Mapping[str, Any] = {"modality": name, "labels": listed.labels, "stand_ins": listed.modalities}
        table = table.join(evaluate_predictions(here, predictions, **about))
    pairs = qualities.true_pairs(rows, table, "prediction")
    if len(pairs) < len(rows):
        lost = ", ".join(dict.fromkeys(row.subject for row in rows if row not in [pair.quality for pair in pairs]))
        print(
            f"mmseg quality: {len(rows) - len(pairs)} of {len(rows)} lines have no true label in {section}: {lost}",
            file=sys.stderr,
        )
    if silent := dict.fromkeys(one.subject for one in table if one.subject not in {row.subject for row in rows}):
        print(f"mmseg quality: {qualities.QUALITY} has no line of {', '.join(silent)}: left out", file=sys.stderr)
    foretold = qualities.with_foretold(pairs)
    if len(foretold) < len(pairs):
        print(f"mmseg quality: {qualities.unforetold_text(pair.quality for pair in pairs)}", file=sys.stderr)
    for signal in qualities.FORETOLD:
        used = foretold if signal == qualities.FORETOLD[0] else pairs
        if signal not in qualities.shared_signals(used):
            gaps = dict.fromkeys(one.quality.subject for one in used if isnan(getattr(one.quality, signal)))
            if len(gaps) < len({one.quality.subject for one in used}):
                print(f"mmseg quality: {signal} is left out: it is not there for {', '.join(gaps)}", file=sys.stderr)
            continue
        lines = quality_rows(qualities.compare_quality(used, signal))
        print(signal, *(f"  {name}: {value}" for name, value in lines), sep="\n")
    if fit is None and section == "training" and fold is None:
        print(
            "mmseg quality: weights that were trained on these subjects are sure of them, and right; give --fold with "
            "the one that they left out.",
            file=sys.stderr,
        )
    if fit is not None:
        known = _trained_on(items, datalist, fit, {pair.quality.subject for pair in pairs})
        if known:
            print(
                f"mmseg quality: {fit}/model.pt was trained on {len(known)} of these subjects (first: {known[0]}); of "
                "them it is sure, and right, so the line foretells too much. Give --fold with the one it left out.",
                file=sys.stderr,
            )
        line = qualities.calibrate(pairs, file_sha256(Path(fit) / "model.pt"))
        if not line.line.slope:
            print(
                f"mmseg quality: {line.signal} does not rise with Dice among these subjects, so all images and classes "
                f"are foretold their mean, {line.line.intercept:.3f}: it does not tell good ones from bad ones.",
                file=sys.stderr,
            )
        print(
            f"fitted on {line.subjects} subjects: Dice = {line.line.slope:.3f} x {line.signal} "
            f"{line.line.intercept:+.3f}, error {line.error:.3f} (each subject by the others)",
            f"interval of {qualities.COVERAGE:.0%}: +-{line.radius:.3f}"
            if line.radius < 1
            else f"no interval of {qualities.COVERAGE:.0%}: four subjects or more are needed",
            f"written: {qualities.write_calibration(fit, line)}",
            sep="\n",
        )


def _tell_left_out(items: Sequence[Mapping[str, Any]], predictions: str, modality: str) -> None:
    """Name subjects that were predicted on another of their images, for they lack the one that is scored."""
    from monai_mmseg.evaluation.files import prediction_files

    shown: dict[str, set[str]] = {}
    for item in items:
        shown.setdefault(str(item["subject"]), set()).add(str(item["modality"]))
    if all(len(one) < 2 for one in shown.values()):
        return  # patients of one modality each
    lost = [one for one in items if one.get("label") and modality not in shown[str(one["subject"])]]
    if named := dict.fromkeys(str(one["subject"]) for one in lost if prediction_files(predictions, one)):
        print(
            f"mmseg evaluate: left out, as they have no image of {modality}, though they were predicted on another: "
            f"{', '.join(named)}. `evaluating` of a bundle that segments a subject once scores them.",
            file=sys.stderr,
        )


def _check_order(rows: Sequence[Quality], labels: Mapping[int, str], path: str, datalist: str) -> None:
    """Lines of an image are in the order of the network's values; in another order the labels are of other classes."""
    known = [labels[value] for value in sorted(labels)]
    images: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        images.setdefault((row.subject, row.modality), []).append(row.name)
    for names in images.values():
        named = [name for name in names if name in known]
        if named != [name for name in known if name in named]:
            raise ValueError(
                f"{path} has the classes in the order {', '.join(names)}, {datalist} in the order {', '.join(known)}: "
                "one value means two classes. Give the datalist that the network knows, or predict again with this one."
            )


def _trained_on(items: Sequence[Mapping[str, Any]], datalist: str, weights: str, subjects: set[str]) -> list[str]:
    """Which subjects a training has learned from: by what the weights remember, or as its datalist has the folds."""
    from monai_mmseg.bundle.seen import SEEN, item_marks
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.runs.identity import datalist_identity
    from monai_mmseg.runs.model_settings import read_settings

    settings = read_settings(weights)
    if SEEN in settings:
        seen = set(settings[SEEN].get("trained", ()))
        return sorted({str(item["subject"]) for item in items if seen.intersection(item_marks(item))} & subjects)
    before, now = settings.get("datalist") or {}, datalist_identity(datalist)
    if before.get("fingerprint") != now["fingerprint"]:
        return []
    left_out = settings.get("knobs", {}).get("fold")
    items = read_datalist(datalist).select("training")
    return sorted(
        {str(item["subject"]) for item in items if left_out is None or item.get("fold") != left_out} & subjects
    )
