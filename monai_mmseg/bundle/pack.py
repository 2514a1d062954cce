# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle and its overlays as one bundle, for tools that read ``train.json`` and ``inference.json`` only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_mmseg.bundle.checks import check_overrides

__all__ = ["pack_bundle"]

_KEPT = ("LICENSE", "docs", "configs/logging.conf", "configs/multi_gpu_train.json", "configs/evaluate.json")
_ROOT = (
    "$next((d for d in ('.', 'bundles/{name}') if os.path.isfile(os.path.join(d, 'configs', 'metadata.json'))), '.')"
)


def pack_bundle(
    bundle: str | Path,
    out: str | Path,
    *,
    overlays: Sequence[str] = (),
    model: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Write a self-contained bundle: overlays merged into its configs, weights beside them.

    Use it to serve what was trained with overlays in MONAI Label, NVIDIA FLARE or MONAI Deploy, which read
    ``train.json`` and ``inference.json`` and nothing else. Settings that inference does not have stay out of it.

    Args:
        bundle: folder of the bundle.
        out: folder to write; must not exist.
        overlays: files below ``configs``, without ending, in the order of the training, e.g. ``["demo"]``.
        model: weights to put into ``models/model.pt``.
        overrides: further ids and values.

    Returns:
        ``out``.

    Raises:
        FileExistsError: if ``out`` exists.
        FileNotFoundError: if a config or the weights are missing.
        ConfigError: if an overlay or override names what the bundle does not have.

    Example:
        Weights of the demo, in a bundle that MONAI Label can serve (``mmseg bundle pack`` does the same)::

            pack_bundle("bundles/dafnet", "served/dafnet", overlays=["demo", "settings/target_0"],
                        model="bundles/dafnet/models/model.pt")
    """
    source, target = Path(bundle), Path(out)
    if target.exists():
        raise FileExistsError(f"out must not exist, but {target} is there.")
    files = [source / "configs" / f"{name}.json" for name in ("train", *overlays)]
    wanted = [*files, source / "configs" / "inference.json", source / "configs" / "metadata.json"]
    wanted += [] if model is None else [Path(model)]
    if missing := [str(path) for path in wanted if not path.is_file()]:
        raise FileNotFoundError(f"there is no {', '.join(missing)}.")
    check_overrides([str(path) for path in files], dict(overrides or {}))

    changes: dict[str, Any] = {}
    for path in files[1:]:
        changes.update(json.loads(path.read_text(encoding="utf-8")))
    changes.update(overrides or {})
    changes = {key.replace("::", "#"): value for key, value in changes.items() if not key.startswith("_")}
    train = _merged(files[0], changes)
    inference = _merged(wanted[len(files)], changes, known_only=True)
    metadata = json.loads((source / "configs" / "metadata.json").read_text(encoding="utf-8"))
    _describe(metadata, train)
    for config in (train, inference):
        config["bundle_root"] = _ROOT.format(name=target.name)
        config.pop("_meta_", None)

    (target / "configs").mkdir(parents=True)
    (target / "models").mkdir()
    for name in _KEPT:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    for name, content in (("train", train), ("inference", inference), ("metadata", metadata)):
        text = json.dumps(content, indent=2) + "\n"
        (target / "configs" / f"{name}.json").write_text(text, encoding="utf-8")
    if model is not None:
        shutil.copyfile(model, target / "models" / "model.pt")
    return target


def _merged(path: Path, changes: Mapping[str, Any], *, known_only: bool = False) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config(str(path))
    for key, value in changes.items():
        if known_only and key not in parser:
            continue
        parser[key] = value
    merged: dict[str, Any] = parser.get()
    return merged


def _describe(metadata: dict[str, Any], train: Mapping[str, Any]) -> None:
    """Make the metadata say what the merged configs say."""
    image = metadata["network_data_format"]["inputs"]["image"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    names = list(train["modalities"])
    candidates = int(train.get("num_candidates", 1))
    channels = [name if c == 0 else f"{name}, candidate {c}" for name in names for c in range(candidates)]
    image.update(num_channels=len(channels), spatial_shape=list(train["spatial_size"]))
    image["channel_def"] = {str(i): channel for i, channel in enumerate(channels)}
    pred.update(num_channels=len(train["labels"]), spatial_shape=list(train["spatial_size"]))
    pred["channel_def"] = dict(train["labels"])
