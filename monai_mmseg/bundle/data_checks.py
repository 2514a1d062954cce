# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a config says about the data, against what the datalist says, before anything is read."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.bundle.datalist import find_datalist
from monai_mmseg.bundle.naming import check_prediction_names
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.settings import config_content
from monai_mmseg.bundle.trained import TrainedSettings
from monai_mmseg.data.annotations import undrawn_classes
from monai_mmseg.data.borrowed import borrowed_text
from monai_mmseg.data.datalist import Datalist, label_problem, read_datalist
from monai_mmseg.data.label_sets import order_advice
from monai_mmseg.data.leaks import find_leaks
from monai_mmseg.runs.model_settings import read_settings

logger = logging.getLogger(__name__)


class DataConflict(ValueError):
    """A config and its datalist contradict each other, or the datalist is not fit for a training."""

    says_all = True


def check_data(
    data_id: str = "train#dataset#data",
    *,
    labelled: str | None = None,
    target: str | None = None,
    every: bool = True,
    fixed: bool = False,
    output: str | None = None,
) -> None:
    """Give a config the modalities and labels of its datalist, and refuse what contradicts them.

    When to use: in ``initialize`` of ``train.json`` and ``evaluate.json``, after the check of the config. Where another
    program brings its own list of items, nothing is checked.

    Modalities and labels that the config leaves at its defaults are those of the datalist. An overlay or override of
    them is an error if the datalist says something else. So are labels that are not 0 to n, the names of the default
    labels in another order (which names are meant?), a subject or file on both sides of a split, a modality that
    training needs labels of and has none, and predictions that would share a file.

    Args:
        data_id: id of the items in the config.
        labelled: which modalities need labels in the training: ``"each"``, ``"some"``, or ``None``: none does. Of an
            evaluation, ``"each"``: images are scored one by one, so a list may lack modalities that the weights know.
        target: id of a setting that names one modality; a default that the datalist does not have becomes the
            datalist's own ``target``, or its last modality.
        every: train on all modalities of the datalist; else on those of the config, if it has these.
        fixed: modalities and classes are those of the config, as in a packed bundle; other ones are an error.
        output: id of a setting that names a modality which is no input.

    Raises:
        DataConflict: with what both say and what to do.

    Examples:
        In ``initialize`` of ``train.json``::

            "$monai_mmseg.bundle.check_data(labelled='each')"
    """
    parser = resolving_parser()
    if parser is None or "dataset_dir" not in json.dumps(parser.get(data_id), default=str):
        return
    root = Path(str(parser.get_parsed_content("bundle_root")))
    folder, phantom_dir, phantom = (parser.get_parsed_content(one) for one in ("dataset_dir", "phantom_dir", "phantom"))
    if folder != phantom_dir and not Path(folder, "datalist.json").is_file() and parse_run_command(sys.argv) is None:
        return  # a server may bring its data later
    base = config_content(root / "configs" / "train.json")
    if folder == phantom_dir and not Path(folder, "datalist.json").is_file():
        _check_phantom(parser.get_parsed_content("modalities"), base, phantom)
    path = find_datalist(folder, phantom_dir, phantom)
    listed = read_datalist(path)
    defaults = {} if fixed else base
    inputs = [name for name in listed.modalities if output is None or name != parser.get_parsed_content(output)]
    training = data_id.startswith("train")  # else they are those of the weights
    if labelled == "each" and not training:
        _leave_out_modalities(parser, listed)
    _settle_modalities(parser, listed, inputs, defaults, every=every and training)
    if "labels" in base:
        known = fixed or (not training and bool(read_settings(str(parser.get_parsed_content("ckpt_dir")))))
        _settle_labels(parser, listed, [] if known else [base["labels"], *_overlay_values(root, "labels")])
    if target is not None:
        _settle_target(parser, listed, base, target)
    # a label file that two subjects share is for `mmseg data check`
    images = {
        section: [{key: value for key, value in item.items() if key != "label"} for item in items]
        for section, items in listed.sections.items()
    }
    if found := find_leaks(images):
        raise DataConflict(
            f"{path}: {'; '.join(found[:3])}{' ...' if len(found) > 3 else ''}. `mmseg data check` lists all."
        )
    modalities = parser.get_parsed_content("modalities")
    if labelled is not None and training:
        _check_labelled(listed, modalities, labelled, parser.get_parsed_content("fold"))
        _tell_borrowed(listed, modalities, parser.get_parsed_content("fold"))
    command = parse_run_command(sys.argv)
    told = "fold" in command.overrides if command is not None else False
    if told and not training and parser.get_parsed_content("section", default="") == "training":
        raise DataConflict(
            f"fold {parser['fold']!r} is not used: an evaluation scores all of the section. For one fold run "
            "`inference` with this section and fold, then `mmseg evaluate` with the same."
        )
    if "section" in parser and (section := parser.get_parsed_content("section")) in listed.sections:
        items = [item for item in listed.items(section) if item["modality"] in modalities]
        check_prediction_names(items)
        if borrowed := borrowed_text(items):
            raise DataConflict(
                f"{path}: labels of {section!r} are borrowed, {borrowed}: agreement with them is no score. Evaluate "
                "the test section, or the datalist that they were borrowed for."
            )


def _check_phantom(modalities: Any, base: Mapping[str, Any], phantom: Mapping[str, Any] | None) -> None:
    """Before minutes are spent on a phantom: whether it will have what is asked for."""
    phantom = phantom or {}
    subjects = phantom.get("subjects")
    made = phantom.get("modalities", list(subjects) if isinstance(subjects, Mapping) else None)
    if not isinstance(made, list) or not isinstance(modalities, list) or modalities == base.get("modalities"):
        return
    if lacking := [name for name in modalities if name not in made]:
        raise DataConflict(
            f"modalities are {modalities}, but without a dataset_dir the data are the phantom, which has {made}: give "
            f"--dataset_dir, the folder of a datalist.json with {', '.join(map(str, lacking))}."
        )


def _settle_modalities(
    parser: ConfigParser, listed: Datalist, inputs: list[str], base: Mapping[str, Any], *, every: bool
) -> None:
    given = parser["modalities"]
    if not isinstance(given, list) or sorted(given) == sorted(inputs):
        return  # the order of the config stays: names go with the images everywhere
    unknown = [name for name in given if name not in listed.modalities]
    if given == base.get("modalities") and (every or unknown):
        there = {item["modality"] for items in listed.sections.values() for item in items}
        if empty := [name for name in inputs if name not in there]:
            logger.warning("%s declares %s, of which it has no image: left out.", listed.path, ", ".join(empty))
            inputs = [name for name in inputs if name in there]
        logger.info("modalities of %s: %s", listed.path, ", ".join(inputs))
        parser["modalities"] = inputs
    elif unknown:
        raise DataConflict(
            f"modalities must be among those that {listed.path} declares, {listed.modalities}; got {unknown}. Leave "
            "modalities out to take those of the datalist."
        )
    else:
        unused = [name for name in inputs if name not in given]
        logger.info("not used of %s: %s", listed.path, ", ".join(unused))


def _leave_out_modalities(parser: ConfigParser, listed: Datalist) -> None:
    """Modalities of the weights that a list of one hospital does not have are not evaluated."""
    given = parser["modalities"]
    kept = [name for name in given if name in listed.modalities] if isinstance(given, list) else []
    if kept and kept != given:
        lacking = [name for name in given if name not in kept]
        logger.warning("%s declares no %s: not evaluated.", listed.path, ", ".join(map(str, lacking)))
        parser["modalities"] = kept


def _settle_labels(parser: ConfigParser, listed: Datalist, defaults: list[Any]) -> None:
    """Labels of the datalist in the place of the bundle's own defaults."""
    if not listed.labels:
        return
    if problem := label_problem(listed.labels):
        raise DataConflict(f"{listed.path}: {problem}")
    ours = {str(value): name for value, name in sorted(listed.labels.items())}
    given = {str(value): str(name) for value, name in dict(parser["labels"]).items()}
    if given == ours:
        parser["labels"] = ours
        return
    permuted = sorted(given.values()) == sorted(ours.values())
    if parser["labels"] in defaults and not permuted:
        logger.info("labels of %s: %s", listed.path, _shown(ours))
        parser["labels"] = ours
        return
    what = "the same classes in another order; which value is which?" if permuted else "other classes."
    quoted = shlex.quote(json.dumps(ours, ensure_ascii=False))
    whose, advice = "the config", f"give --labels {quoted}; else mend the datalist."
    if not defaults:
        whose, advice = "the weights", "other weights are needed for them; else mend the datalist."
        if permuted:
            advice = f"{order_advice(listed.labels, given)}, or take other weights; else mend the datalist."
    raise DataConflict(
        f"labels of {whose} are {_shown(given)}; {listed.path} has {_shown(ours)}: {what}\n"
        f"If the label files are as the datalist says, {advice}"
    )


def _settle_target(parser: ConfigParser, listed: Datalist, base: Mapping[str, Any], target: str) -> None:
    modalities = parser["modalities"]
    given = parser[target]
    if given in modalities or not isinstance(given, str) or given.startswith(("@", "$")):
        return
    if given != base.get(target):
        raise DataConflict(f"{target} must be one of {modalities}, got {given!r}.")
    raw = config_content(listed.path).get("target")
    parser[target] = raw if raw in modalities else modalities[-1]
    logger.warning("%s is %r: %s has no %r. Another one: --%s NAME", target, parser[target], listed.path, given, target)


def _check_labelled(listed: Datalist, modalities: list[str], labelled: str, fold: Any) -> None:
    items = listed.select(exclude_fold=fold, modalities=modalities)
    with_label = {item["modality"] for item in items if item.get("label")}
    lacking = sorted({item["modality"] for item in items} - with_label)  # a site may have no image of a modality at all
    if lacking and (labelled == "each" or not with_label):
        which = "every modality" if labelled == "each" else "one modality at least"
        raise DataConflict(
            f"{listed.path}: no training image of {' or '.join(lacking)} has a label, and this method learns each "
            f"class from labels of {which}. Add 'label' to the items, or train without that modality."
        )
    if lacking:
        logger.info("no training image of %s has a label of its own", ", ".join(lacking))
    undrawn = undrawn_classes(items, listed.labels)
    for name in listed.labels.values():
        where = [modality for modality, names in undrawn.items() if name in names]
        if where and set(where) == with_label:
            raise DataConflict(
                f"{listed.path}: no label that is trained on shows {name} ('annotated'; fold {fold} is held out): "
                "nothing would say where it is, nor where not. Choose folds that have it, or leave it out of 'labels'."
            )
        if where and labelled == "each":
            logger.warning("no training label of %s shows %s: it will hardly be learned there.", ", ".join(where), name)


def _tell_borrowed(listed: Datalist, modalities: list[str], fold: Any) -> None:
    """Say where a training watches agreement with what made the labels: it chooses weights, but is no score."""
    try:
        watched = listed.select(fold=fold, modalities=modalities)
    except ValueError:  # no such fold: nothing is held out
        return
    if borrowed := borrowed_text(watched):
        logger.warning(
            "labels of fold %s, which is held out, are borrowed, %s: Dice of the validation is agreement with them.",
            fold,
            borrowed,
        )


def _overlay_values(root: Path, name: str) -> list[Any]:
    """What the bundle's own overlays say for a setting: defaults of their phantoms."""
    files = [*(root / "configs").glob("*.json"), *(root / "configs").glob("settings/*.json")]
    return [content[name] for file in files if name in (content := config_content(file))]


def _shown(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{value} {name}" for value, name in labels.items() if value != "0")


def check_labels(trained: TrainedSettings, dataset_dir: str | os.PathLike[str]) -> None:
    """Check that a datalist that inference reads calls the classes what the weights do.

    When to use: in ``initialize`` of ``inference.json``. A folder without a datalist, or one without labels, is fine.

    Args:
        trained: settings of the weights.
        dataset_dir: folder that may hold ``datalist.json``.

    Raises:
        DataConflict: the datalist calls a value of the model otherwise.

    Examples:
        In ``initialize`` of ``inference.json``::

            "$monai_mmseg.bundle.check_labels(@trained, @dataset_dir)"
    """
    path, labels = Path(dataset_dir) / "datalist.json", trained.get("labels")
    if path.is_file() and labels:
        check_class_names(path, read_datalist(path).labels, labels)


def check_class_names(path: Path, labels: Mapping[Any, str], known: Mapping[Any, str]) -> None:
    """Refuse a datalist that calls a value of a model otherwise.

    Args:
        path: the datalist, for the message.
        labels: its classes, value to name.
        known: those of the model.

    Raises:
        DataConflict: with both.

    Examples:
        >>> check_class_names(Path("a.json"), {1: "LV"}, {"1": "LV", "2": "RV"})
        >>> check_class_names(Path("a.json"), {1: "liver"}, {"1": "LV"})
        Traceback (most recent call last):
        monai_mmseg.bundle.data_checks.DataConflict: a.json declares 1 liver; the model was trained for 1 LV. ...
    """
    listed = {str(value): name for value, name in labels.items()}
    ours = {str(value): str(name) for value, name in known.items()}
    if any(listed[value] != name for value, name in ours.items() if value in listed and value != "0"):
        raise DataConflict(
            f"{path} declares {_shown(listed)}; the model was trained for {_shown(ours)}. Its output has the model's "
            "values: make the list say so, or leave 'labels' out of it."
        )
