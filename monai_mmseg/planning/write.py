# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle of one's own: the method's bundle with planned values in place of its defaults, no overlay needed."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.bundle.json_text import json_text
from monai_mmseg.bundle.pack_metadata import describe
from monai_mmseg.bundle.references import config_references
from monai_mmseg.files import read_json

_KEPT = ("LICENSE", "configs/logging.conf", "configs/multi_gpu_train.json", "configs/evaluate.json")
_FROM_TRAINING = re.compile(r"\$@trained\.get\('(\w+)', .*\)")
_BUILT_AS_TRAINED = re.compile(r"\$monai_mmseg\.bundle\.trained_target\(@trained, '(\w+)', '([\w.]+)'\)")


def write_bundle(
    base: str,
    folder: Path,
    values: Mapping[str, Any],
    *,
    name: str,
    dataset_dir: str,
    about: Mapping[str, Any] | None = None,
    readme: str = "",
) -> None:
    """Write a bundle with other values; the folder must exist.

    Args:
        base: name of a bundle that comes with the library.
        folder: where to.
        values: by id of ``train.json``; an id that ends a component's part replaces that part alone.
        name: of the new bundle.
        dataset_dir: folder of its datalist, or an expression for it.
        about: entries of ``metadata.json``.
        readme: text of ``docs/README.md``; the method's own page is kept beside, as ``docs/method.md``.
    """
    source = bundles_folder() / base
    for sub in ("configs", "docs", "models"):
        (folder / sub).mkdir(exist_ok=True)
    for file in _KEPT:
        shutil.copyfile(source / file, folder / file)
    old = read_json(source / "configs" / "train.json")
    train, inference = copy.deepcopy(old), read_json(source / "configs" / "inference.json")
    for key, value in values.items():
        _set(train, key, value)
    _plan_inference(inference, train, old, {key.partition("#")[0] for key in values})
    train["dataset_dir"] = dataset_dir
    place = dataset_dir[1:] if dataset_dir.startswith("$") else repr(dataset_dir)
    inference["dataset_dir"] = f"$@trained.data({place})"
    for config in (train, inference):
        config["bundle_root"] = f"$monai_mmseg.bundle.bundle_root({name!r})"
    _drop(train, inference, old)
    modalities = train["modalities"]
    if len(modalities) > 1 and (source / "configs" / "one_modality.json").is_file():
        shutil.copyfile(source / "configs" / "one_modality.json", folder / "configs" / "one_modality.json")
    metadata = read_json(source / "configs" / "metadata.json")
    describe(metadata, train, ConfigParser(dict(old)).get("modalities"), None)
    metadata.update(about or {})
    for file, content in (("train", train), ("inference", inference), ("metadata", metadata)):
        (folder / "configs" / f"{file}.json").write_text(json_text(content), encoding="utf-8")
    shutil.copyfile(source / "docs" / "README.md", folder / "docs" / "method.md")
    (folder / "docs" / "README.md").write_text(readme, encoding="utf-8")


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    """Put a value at an id, and make the way there."""
    *way, last = key.split("#")
    for step in way:
        config = config.setdefault(step, {})
    config[last] = copy.deepcopy(value)


def _plan_inference(
    inference: dict[str, Any], train: Mapping[str, Any], old: Mapping[str, Any], planned: set[str]
) -> None:
    """The same defaults in ``inference.json``, which asks the settings of the weights first."""
    for name, before in inference.items():
        if name not in planned or name not in train:
            continue
        after = copy.deepcopy(train[name])
        if isinstance(before, str) and (match := _FROM_TRAINING.fullmatch(before)):
            # references to other knobs are no plain default
            if not (isinstance(after, str) and after[:1] in "@$"):
                inference[name] = f"$@trained.get({match[1]!r}, {after!r})"
        elif isinstance(before, dict) and isinstance(after, dict):
            given = _BUILT_AS_TRAINED.fullmatch(str(before.get("_target_")))
            if given:
                target = after.pop("_target_")
                after = {
                    "_target_": f"$monai_mmseg.bundle.trained_target(@trained, {given[1]!r}, {target!r})",
                    **after,
                }
            if "_disabled_" in before:
                after = {"_target_": after.pop("_target_"), "_disabled_": before["_disabled_"], **after}
            inference[name] = after
        elif before == old.get(name):
            inference[name] = after


def _drop(train: dict[str, Any], inference: dict[str, Any], old: Mapping[str, Any]) -> None:
    """Leave out knobs that only a part read which is there no more."""
    used_before, used = config_references(dict(old)), config_references(train)
    roots_before, roots = ({one.partition("#")[0] for one in found} for found in (used_before, used))
    for name in [one for one in train if one in roots_before - roots]:
        del train[name]
        inference.pop(name, None)
