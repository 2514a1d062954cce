# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Inference and evaluation with the settings that the weights were trained with."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.definitions import build_definition
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.settings import (
    TRAINED,
    NotPlain,
    config_content,
    is_json,
    plain_definition,
    plain_settings,
    trained_components,
    trained_knobs,
)
from monai_mmseg.files import read_json
from monai_mmseg.runs.model_settings import SETTINGS, read_settings
from monai_mmseg.runs.owner import MODEL

logger = logging.getLogger(__name__)

PATHS = frozenset(
    {
        *("bundle_root", "ckpt_dir", "output_dir", "dataset_dir", "phantom_dir", "cache_dir"),
        *("stage_one_root", "stage_one", "stage_one_command", "localiser", "start"),
    }
)
"""Settings that say where something lies on the machine of the training."""
OF_THE_MACHINE = PATHS | {
    *("device", "amp", "num_workers", "cache", "channels_last", "section", "resume", "overwrite", "load_pretrain"),
    *("phantom", "paper_dice"),
}
"""Settings of a training that an evaluation does not take over."""
NOT_OF_INFERENCE = OF_THE_MACHINE | {"fold"}
"""What an inference does not take over: the fold that training leaves out is not what it segments."""


class SettingsConflict(ValueError):
    """A setting contradicts what the weights were trained with."""

    says_all = True


class TrainedSettings:
    """What ``settings.json`` says of the weights beside it; without the file every answer is the default.

    Args:
        ckpt_dir: folder of the weights.
        free: knobs and arguments of components that inference may choose anew.

    Examples:
        >>> trained = TrainedSettings("no/such/folder")
        >>> trained.get("pixdim", [1.0, 1.0])
        [1.0, 1.0]
    """

    def __init__(self, ckpt_dir: str | os.PathLike[str], free: Iterable[str] = ()) -> None:
        self.ckpt_dir, self.free = Path(ckpt_dir), frozenset(free)
        self.content = read_settings(ckpt_dir)
        self.knobs: dict[str, Any] = dict(self.content.get("knobs", {}))
        self.definitions: dict[str, Any] = dict(self.content.get("definitions", {}))

    def get(self, name: str, default: Any = None) -> Any:
        """Value of a knob in the training; the default if there was none, or no file."""
        return self.knobs.get(name, default)

    def data(self, default: str) -> str:
        """Folder of the datalist that it was trained on; the default for weights of a phantom that is gone."""
        path = (self.content.get("datalist") or {}).get("path")
        if path and (Path(path).is_file() or not self.content.get("phantom")):
            return str(Path(path).parent)
        return default


def trained_settings(ckpt_dir: str | os.PathLike[str], free: Iterable[str] = ()) -> TrainedSettings:
    """Settings of the weights of a folder, said once if there are weights without.

    When to use: as ``trained`` of ``inference.json`` and ``evaluate.json``, whose knobs read it.

    Args:
        ckpt_dir: folder of ``model.pt`` and ``settings.json``.
        free: knobs that may differ from the training.

    Returns:
        The settings.

    Raises:
        ValueError: ``settings.json`` is broken or holds an expression.
        SettingsConflict: in MONAI Label, if it would show other names of classes than those of the training.

    Examples:
        In ``inference.json``::

            "trained": "$monai_mmseg.bundle.trained_settings(@ckpt_dir)",
            "pixdim": "$@trained.get('pixdim', [1.5, 1.5, 8.0])"
    """
    found = TrainedSettings(ckpt_dir, free)
    if not found.content and (found.ckpt_dir / MODEL).is_file():
        logger.warning(
            "%s has no %s beside it, so the settings are those of the config: give what it was trained with.",
            found.ckpt_dir / MODEL,
            SETTINGS,
        )
    if "monailabel" in sys.modules:
        _check_shown_names(found)
    return found


def _check_shown_names(trained: TrainedSettings) -> None:
    """MONAI Label names classes after ``metadata.json``, which says the defaults of a bundle that is not packed."""
    root, labels = trained.ckpt_dir.parent, trained.get("labels")
    metadata = root / "configs" / "metadata.json"
    if not labels or not metadata.is_file():
        return
    pred = read_json(metadata)["network_data_format"]["outputs"]["pred"]
    shown = pred.get("channel_def") or {}
    if pred["format"] == "segmentation" and shown != labels:
        raise SettingsConflict(
            f"{metadata} names the classes {', '.join(shown.values())}, by which MONAI Label would show them; the "
            f"weights were trained for {', '.join(labels.values())}.\nServe it packed: mmseg bundle pack {root} "
            "--out NEW_FOLDER."
        )


def trained_target(trained: TrainedSettings, name: str, default: str) -> str | Callable[..., Any]:
    """Value of ``_target_`` for a component that is built as it was in the training.

    When to use: for ``network_def`` and the intensities of ``inference.json``. The arguments beside it serve weights
    without settings. With settings they are compared: a plain argument that differs is an error, unless it is free.

    Args:
        trained: settings of the weights.
        name: id of the component.
        default: the component's name, for weights without settings.

    Returns:
        The name, or what builds the component of the training.

    Raises:
        SettingsConflict: when it is built, with both values.

    Examples:
        In ``inference.json``::

            "network_def": {"_target_": "$monai_mmseg.bundle.trained_target(@trained, 'network_def', 'UNet')", ...}
    """
    definition = trained.definitions.get(name)
    if not isinstance(definition, Mapping):
        return default
    source = f"{trained.ckpt_dir / SETTINGS}, {name}"

    def build(**given: Any) -> Any:
        changed = {}
        for key, value in given.items():
            before = definition.get(key, value)
            # components have been built already, or are switched off: theirs are compared by what they are made of
            if value == before or not is_json(value) or (isinstance(before, Mapping) and "_target_" in before):
                continue
            if key not in trained.free and definition.get("_target_") == default:
                raise SettingsConflict(
                    f"{name}#{key} is {value!r}; the weights in {trained.ckpt_dir} were trained with "
                    f"{definition[key]!r}. Leave it out, or train with it."
                )
            if key in trained.free:
                changed[key] = value
        return build_definition({**definition, **changed}, source)

    return build


def check_trained(trained: TrainedSettings, bundle_root: str | os.PathLike[str]) -> None:
    """Check that no override or overlay contradicts what the weights were trained with.

    When to use: in ``initialize`` of ``inference.json``, before anything is read.

    Args:
        trained: settings of the weights.
        bundle_root: folder of the bundle.

    Raises:
        SettingsConflict: with all settings that differ and both values.

    Examples:
        In ``initialize`` of ``inference.json``::

            "$monai_mmseg.bundle.check_trained(@trained, @bundle_root)"
    """
    parser = resolving_parser()
    if parser is None or not trained.content:
        return
    root = Path(bundle_root)
    if parser.get("dataset_dir") == "@phantom_dir":
        _check_place(trained)
    base, names = _base(root, "inference.json"), set(trained_knobs(root))
    packed = trained.content.get("state") == "packed"
    if packed or not names:  # its config holds the values themselves
        names = base.keys() & trained.knobs.keys() - NOT_OF_INFERENCE
    wrong = _conflicts(parser, trained, names)
    if wrong and not packed and not trained_knobs(root):
        raise SettingsConflict(
            f"{root / 'configs' / 'inference.json'} says other settings than {trained.ckpt_dir / MODEL} was trained "
            f"with since it was packed: {_some(wrong)}.\nPack it again: mmseg bundle pack {root} --out NEW_FOLDER, or "
            "train where it came from."
        )
    for name in trained_components(root):
        now, before = parser.get(name), base.get(name)
        if name not in trained.definitions or not isinstance(before, Mapping):
            continue
        if now == before:  # nobody said anything: what the knobs would make of it plays no part
            wrong += _part_conflicts(parser, trained, base, name)
            parser[name] = {key: one for key, one in before.items() if key == "_target_" or key in trained.free}
        elif _reads_trained(now):
            added = [key for key in now if key not in before and key not in {*trained.definitions[name], *trained.free}]
            wrong += [f"{name}#{key} is {now[key]!r}, trained without" for key in added]
        elif found := _definition_conflict(parser, trained, name):
            wrong += found
        else:
            parser[name] = before  # an overlay of the training said it again
    _refuse(trained, wrong)
    for name in ("volume_transforms", "preprocessing", "channels"):
        if parser.get(name) != base.get(name):
            logger.warning("%s is not that of the bundle: images reach the network as they did not in training.", name)
    parser.parse(True)


def use_trained(trained: TrainedSettings, bundle_root: str | os.PathLike[str]) -> None:
    """Put the settings of the weights into the config of an evaluation; overlays of the training need not be repeated.

    When to use: in ``initialize`` of ``evaluate.json``, before anything is read. What the config, its overlays and
    overrides say themselves stays if it agrees, and is an error if it contradicts what belongs to the model.

    Args:
        trained: settings of the weights.
        bundle_root: folder of the bundle.

    Raises:
        SettingsConflict: with all settings that differ and both values; or if a packed bundle is told no data.

    Examples:
        In ``initialize`` of ``evaluate.json``::

            "$monai_mmseg.bundle.use_trained(@trained, @bundle_root)"
    """
    parser = resolving_parser()
    if parser is None or not trained.content:
        return
    _check_owner(Path(str(parser.get_parsed_content("output_dir"))), trained)
    root = Path(bundle_root)
    base, content = _base(root, "train.json"), parser.get()
    said = {name.partition("#")[0] for name in config_content(root / "configs" / "evaluate.json")}
    same = {name for name, one in content.items() if name in base and one == base[name] and name not in said}
    knobs = set(trained_knobs(root))
    wrong = _conflicts(parser, trained, knobs - same)
    components = [name for name in trained_components(root) if name in trained.definitions and name in content]
    changes: dict[str, Any] = {
        name: value for name, value in trained.knobs.items() if name in same and name not in OF_THE_MACHINE
    }
    if not wrong:
        for name in components:
            if {name, *_parts(base, name)} & set(content) <= same:
                target = str(base[name].get("_target_", ""))
                free = {key: f"@{key}" for key in trained.free & trained.definitions[name].keys() & content.keys()}
                changes[name] = {
                    "_target_": f"$monai_mmseg.bundle.trained_target(@trained, {name!r}, {target!r})",
                    **free,
                }
    for name, value in changes.items():
        parser[name] = value
    for name in components:
        if name not in changes and not wrong:
            wrong += _definition_conflict(parser, trained, name)
    _refuse(trained, wrong)
    if "dataset_dir" in same:
        _check_place(trained)
        parser["dataset_dir"] = trained.data(content["dataset_dir"])
    parser.parse(True)  # what was resolved before is not what was set


def _check_place(trained: TrainedSettings) -> None:
    """A packed bundle does not say where the data of its training lie: nothing else is scored in their place."""
    datalist = trained.content.get("datalist") or {}
    if datalist and not datalist.get("path") and not trained.content.get("phantom"):
        raise SettingsConflict(
            f"dataset_dir must be given: the weights in {trained.ckpt_dir} were trained on {datalist.get('name')!r}, "
            "and a packed bundle does not say where that lies. Add --dataset_dir with the folder of a datalist.json."
        )


def _check_owner(output_dir: Path, trained: TrainedSettings) -> None:
    """A folder holds one run: scores of one must not stand in the report of another."""
    path = output_dir / "run.json"
    if not path.is_file():
        return
    owner, run = read_json(path).get("id"), trained.content.get("run")
    if owner and run and owner != run:
        raise SettingsConflict(
            f"output_dir {output_dir} belongs to run {owner[:8]}, the weights in {trained.ckpt_dir} to run {run[:8]}. "
            "Name another --output_dir, or the --ckpt_dir of that run."
        )


def _conflicts(parser: ConfigParser, trained: TrainedSettings, names: Iterable[str]) -> list[str]:
    now = plain_settings(parser)
    return [
        f"{name} is {now[name]!r}, trained with {trained.knobs[name]!r}"
        for name in sorted(names)
        if name not in trained.free and name in now and name in trained.knobs and now[name] != trained.knobs[name]
    ]


def _definition_conflict(parser: ConfigParser, trained: TrainedSettings, name: str) -> list[str]:
    before = trained.definitions[name]
    try:
        now = plain_definition(_with_values(parser), name)
    except NotPlain as error:
        return [f"{name} cannot be compared with that of the training: {error}"]
    if not isinstance(now, dict) or not isinstance(before, dict):
        return [] if now == before else [f"{name} is {now!r}, trained with {before!r}"]
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key) and key not in trained.free]
    return [f"{name}#{key} is {now.get(key)!r}, trained with {before.get(key)!r}" for key in keys][:3]


def _part_conflicts(parser: ConfigParser, trained: TrainedSettings, base: Mapping[str, Any], name: str) -> list[str]:
    """What was said of the components that a component takes, such as the backbone of a network."""
    before, found = trained.definitions[name], []
    for key, value in base[name].items():
        part = value.removeprefix("@") if isinstance(value, str) else ""
        if key in before and isinstance(base.get(part), Mapping) and parser.get(part) != base[part]:
            now = plain_definition(_with_values(parser), part)
            if now != before[key]:
                found.append(f"{name}#{key} is {now!r}, trained with {before[key]!r}")
    return found


def _with_values(parser: ConfigParser) -> ConfigParser:
    """The config with values where its knobs ask the settings of the weights."""
    content = parser.get()
    asking = [name for name, one in content.items() if isinstance(one, str) and f"{TRAINED}.get(" in one]
    return ConfigParser({**content, **{name: parser.get_parsed_content(name) for name in asking}})


def _refuse(trained: TrainedSettings, wrong: list[str]) -> None:
    if wrong:
        raise SettingsConflict(
            f"The settings contradict what {trained.ckpt_dir / MODEL} was trained with: {_some(wrong)}.\n"
            "Leave them out: the weights bring their own. With other settings, train anew in another ckpt_dir."
        )


def _some(wrong: list[str]) -> str:
    return "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")


def _reads_trained(value: Any) -> bool:
    return isinstance(value, Mapping) and "trained_target" in str(value.get("_target_", ""))


def _base(root: Path, name: str) -> dict[str, Any]:
    """Content of a config file as the parser would hold it."""
    path = root / "configs" / name
    if not path.is_file():
        return {}
    parser = ConfigParser()
    parser.read_config(str(path))
    parser.resolve_macro_and_relative_ids()
    content: dict[str, Any] = parser.get()
    return content


def _parts(config: Mapping[str, Any], name: str) -> set[str]:
    """Components of the config that a component takes as arguments."""
    found: set[str] = set()
    waiting = [config.get(name)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and value.startswith("@"):
            other = value[1:].replace("::", "#").partition("#")[0]
            if other not in found and isinstance(config.get(other), Mapping) and "_target_" in config[other]:
                found.add(other)
                waiting.append(config[other])
    return found
