# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A trained network takes in one more modality, scanner or site."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import nn

from monai_mmseg.bundle.definitions import build_definition
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.bundle.references import config_references
from monai_mmseg.bundle.settings import (
    config_content,
    plain_definition,
    plain_settings,
    trained_components,
    trained_knobs,
)
from monai_mmseg.bundle.trained import SettingsConflict, TrainedSettings
from monai_mmseg.bundle.weights_fit import check_fit
from monai_mmseg.networks.layers.modality_conversion import add_modality
from monai_mmseg.networks.layers.modality_norm import ModalityNormNetwork
from monai_mmseg.networks.layers.modality_selection import modality_name
from monai_mmseg.runs.model_settings import SETTINGS

logger = logging.getLogger(__name__)

_GROWS = ("modalities", "default_modality")  # what a network with one modality more says otherwise
_BY_MODALITY = ("ByModalityd", "RandByModalityd")


def use_start(
    start: str | os.PathLike[str], new_modality: str, bundle_root: str | os.PathLike[str], like: str | None = None
) -> None:
    """Put the settings of trained weights, and one modality more, into the config of a training that starts from them.

    When to use: in ``initialize`` of ``settings/new_modality.json``, before anything is made. Network, intensities and
    grid are those of the weights, and the new modality is the last. What only a training has (steps, learning rate,
    augmentation) stays as the config says. Where a transform is said for each modality (``ByModalityd``,
    ``RandByModalityd``) and none for the new one, it has that of ``like``.

    Args:
        start: trained weights, ``settings.json`` beside them.
        new_modality: name of a modality that they do not know.
        bundle_root: folder of the bundle.
        like: modality whose transforms the new one has. ``None``: their default modality, which is said where others
            differ.

    Raises:
        SettingsConflict: there are no such weights, they know the modality, or the config says other settings or
            classes.
        ValueError: they do not know ``like``.

    Examples:
        In ``initialize`` of the overlay::

            "$monai_mmseg.bundle.use_start(@start, @new_modality, @bundle_root, @like)"
    """
    parser = resolving_parser()
    if parser is None:
        return
    trained, root = _settings_of(start), Path(bundle_root)
    known = list(trained.get("modalities", []))
    if new_modality.casefold() in {name.casefold() for name in known}:  # names of images go by either case
        raise SettingsConflict(
            f"new_modality {new_modality!r} is one that {start} knows already ({', '.join(known)}). Give the new one a "
            "name of its own, here and in the datalist."
        )
    # terms name layers of the network, also those of no weight
    names = [name for name in (*trained_knobs(root), "layer_pairs") if name in trained.knobs and name not in _GROWS]
    base, now = config_content(root / "configs" / "train.json"), plain_settings(parser)
    wrong = [
        f"{name} is {now[name]!r}, trained with {trained.knobs[name]!r}"
        for name in names
        if name in now and parser.get(name) != base.get(name) and now[name] != trained.knobs[name]
    ]
    for name in names:
        parser[name] = trained.knobs[name]
    components = [name for name in trained_components(root) if name in trained.definitions and name in parser]
    wrong += [f"{name} is another one" for name in components if not _agrees(parser, trained, base, name)]
    if wrong:
        raise SettingsConflict(
            f"The settings contradict what {start} was trained with: {'; '.join(wrong[:3])}.\n"
            "Leave them out: the weights bring their own, and a new modality has the same classes."
        )
    parser["modalities"] = [*known, new_modality]
    for name in components:
        definition = copy.deepcopy(trained.definitions[name])
        parser[name] = {**definition, **{key: f"@{key}" for key in _GROWS if key in definition}}
    _grow_transforms(parser, trained, new_modality, like)
    parser.parse(True)  # what was resolved before is not what was set


def load_start(
    network: nn.Module,
    start: str | os.PathLike[str],
    new_modality: str,
    like: str | None = None,
    *,
    freeze: bool = True,
) -> None:
    """Give a network the trained weights, and its new modality the normalisation of one that they know.

    When to use: last in ``initialize`` of ``settings/new_modality.json``.

    Args:
        network: as :func:`use_start` defines it.
        start: trained weights, ``settings.json`` beside them.
        new_modality: name of the modality that they do not know.
        like: modality whose normalisation the new one starts from. ``None``: their default modality.
        freeze: let only the new scales, shifts and statistics learn, so that no other modality changes.

    Raises:
        SettingsConflict: there are no such weights, or they have no normalisation for each modality.
        ValueError: they do not know ``like``.

    Examples:
        In ``initialize`` of the overlay::

            "$monai_mmseg.bundle.load_start(@network, @start, @new_modality, @like, freeze=@freeze)"
    """
    trained = _settings_of(start)
    before = build_definition(trained.definitions["network_def"], f"{trained.ckpt_dir / SETTINGS}, network_def")
    if not isinstance(before, ModalityNormNetwork) or not isinstance(network, ModalityNormNetwork):
        raise SettingsConflict(
            f"{start} must have a normalisation of its own for each modality, but was trained with separate="
            f"{trained.get('separate')!r}. Train it with separate='norm' (settings/chilopod.json, or the default)."
        )
    check_fit(start, before)
    network.load_state_dict(add_modality(before, new_modality, like).state_dict())
    if freeze:
        network.requires_grad_(False)
        for parameter in network.modality_parameters(new_modality):
            parameter.requires_grad_(True)


def _settings_of(start: str | os.PathLike[str]) -> TrainedSettings:
    path = Path(start)
    trained = TrainedSettings(path.parent)
    if not path.is_file() or "network_def" not in trained.definitions:
        lacks = f"no {SETTINGS} beside it that says what it is" if path.is_file() else "no such file"
        raise SettingsConflict(f"start must be the weights of a trained run (models/model.pt), got {path}: {lacks}.")
    return trained


def _agrees(parser: ConfigParser, trained: TrainedSettings, base: Mapping[str, Any], name: str) -> bool:
    """Whether a component is that of the training; one that nobody spoke of is."""
    parts = {name, *(part for part in config_references(base.get(name)) if isinstance(base.get(part), Mapping))}
    if all(parser.get(part) == base.get(part) for part in parts):
        return True
    now, before = plain_definition(parser, name), trained.definitions[name]
    return all(now.get(key) == before.get(key) for key in now.keys() | before.keys() if key not in _GROWS)


def _grow_transforms(parser: ConfigParser, trained: TrainedSettings, new_modality: str, like: str | None) -> None:
    """Give the new modality the transform of another wherever each modality has its own."""
    known = list(trained.get("modalities", []))
    if not known:
        return  # a plain network: load_start says so
    default = trained.definitions["network_def"].get("default_modality") or known[0]
    source, differ = modality_name(default if like is None else like, known), []
    for name, content in parser.get().items():
        for definition in _by_modality(content):
            transforms = definition.get("transforms")
            if isinstance(transforms, str) and transforms.startswith("@"):
                transforms = copy.deepcopy(parser.get(transforms[1:].replace("::", "#")))
            if not isinstance(transforms, dict) or source not in transforms or new_modality in transforms:
                continue
            differ += [name] if any(transforms.get(one) != transforms[source] for one in known) else []
            definition["transforms"] = {**transforms, new_modality: copy.deepcopy(transforms[source])}
            if source in definition.get("hounsfield", ()):
                definition["hounsfield"] = [*definition["hounsfield"], new_modality]
    if differ and like is None:
        logger.warning(
            "%s: %r has that of %r, the default modality; those of others differ. --like names another one.",
            ", ".join(dict.fromkeys(differ)),
            new_modality,
            source,
        )


def _by_modality(content: Any) -> Iterator[dict[str, Any]]:
    """Definitions of transforms that are said for each modality, wherever they are."""
    if isinstance(content, dict):
        if str(content.get("_target_", "")).rpartition(".")[2] in _BY_MODALITY:
            yield content
        content = list(content.values())
    for part in content if isinstance(content, list) else []:
        yield from _by_modality(part)
