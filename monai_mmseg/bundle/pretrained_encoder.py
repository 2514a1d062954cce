# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights of a part that another run trains, found before anything else is done."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from torch import nn

from monai_mmseg.bundle.command_line import parse_run_command
from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.networks.nets.content_unet import ContentUNet
from monai_mmseg.networks.nets.disentangle.fused_anatomy_net import FusedAnatomyNet
from monai_mmseg.networks.nets.payer import LocalisedNet
from monai_mmseg.runs.model_settings import read_settings

logger = logging.getLogger(__name__)
_COMPARED = ("modalities", "pixdim", "slice_axis", "num_slices", "background")


def load_pretrained_encoder(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    own: str | os.PathLike[str] | None = None,
    command: str = "",
    argv: Sequence[str] | None = None,
) -> None:
    """Give a network for a further task the encoder that was trained without labels.

    When to use: in ``initialize`` of a bundle's ``train.json``. Networks that have no such encoder are left alone.
    Other programs (MONAI Label, a federated client, a script) may bring weights of their own after initialising: for
    them the message that there are none is a warning.

    Args:
        network: a :class:`~monai_mmseg.networks.nets.FusedAnatomyNet`, one that holds a
            :class:`~monai_mmseg.networks.nets.ContentUNet`, or another network.
        path: weights of the first stage.
        own: weights of the whole network, whose encoder serves where ``path`` is not there: a bundle that is packed
            with its weights is trained on without the other one.
        command: what makes the weights, for the message.
        argv: command line; ``sys.argv`` by default.

    Raises:
        SystemExit: with both paths and the command as message, if neither file is there and the command line is a
            ``monai.bundle`` run.
        ValueError: if the weights are those of another encoder, or of one with its modalities at other places.

    Examples:
        In ``initialize`` of ``train.json``::

            "$monai_mmseg.bundle.load_pretrained_encoder(@network, @stage_one, own=@ckpt_dir + '/model.pt')"
    """
    how = "Training without labels writes them; add the overlays and the dataset_dir that you want"
    how = f"{how}:\n  {command}\nWeights that lie elsewhere: --stage_one FILE."
    if isinstance(network, FusedAnatomyNet):
        _load_first("encoder", partial(_load_anatomies, network), path, own, how, argv)
    elif takes_encoder(network):
        load = partial(_load_contents, next(one for one in network.modules() if isinstance(one, ContentUNet)))
        _load_first("encoder", load, path, own, how, argv, compared=("pixdim", "slice_axis", "intensity_percentiles"))


def takes_encoder(network: nn.Module) -> bool:
    """Whether :func:`load_pretrained_encoder` gives a network an encoder, and does not leave it alone.

    Examples:
        >>> takes_encoder(nn.Identity())
        False
    """
    return isinstance(network, FusedAnatomyNet) or any(isinstance(one, ContentUNet) for one in network.modules())


def _load_anatomies(network: FusedAnatomyNet, path: Path) -> None:
    """Say which arguments of the encoder the weights do not show: with others, they load and give other anatomies."""
    network.load_encoder(path)
    parser = resolving_parser()
    was = read_settings(path.parent).get("definitions", {}).get("network_def", {})
    if parser is None or "encoder_def" not in parser or was.get("_target_") != parser["encoder_def"].get("_target_"):
        return
    given = {name: parser.get_parsed_content(f"encoder_def#{name}") for name in parser["encoder_def"]}
    usual = {name: one.default for name, one in signature(type(network.encoder)).parameters.items()}
    for name, default in usual.items():
        now, before = (_plain(one.get(name, default)) for one in (given, was))
        if now != before and name not in {*_COMPARED, "target", "init", "anatomy_gain"}:
            logger.warning("%s is %s in encoder_def, and %s was trained with %s.", name, now, path, before)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _load_contents(network: ContentUNet, path: Path) -> None:
    """Encoders by name: the other training may have had its modalities in another order."""
    network.load_encoder(path, content_settings(path)["modalities"])


def content_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``settings.json`` beside the weights of a :class:`~monai_mmseg.networks.nets.MUNIT` says of its contents.

    When to use: for a network that takes its encoders over, in an overlay.

    Args:
        path: weights.

    Returns:
        ``features``, ``num_downsamples``, ``num_blocks``, ``intensity_percentiles`` and ``modalities``; without the
        file those of the bundle.

    Examples:
        >>> found = content_settings("no/such/model.pt")
        >>> found["features"], found["num_downsamples"], found["modalities"]
        (64, 2, None)
    """
    settings = read_settings(Path(path).parent)
    found = {**settings.get("knobs", {}), **settings.get("definitions", {}).get("network_def", {})}
    usual = {"features": 64, "num_downsamples": 2, "num_blocks": 4, "intensity_percentiles": [0.5, 99.5]}
    return {name: found.get(name, value) for name, value in {**usual, "modalities": None}.items()}


def load_pretrained_localiser(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    own: str | os.PathLike[str] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Give a network of two steps the first one, which was trained by itself.

    When to use: in ``initialize`` of an overlay; see :func:`load_pretrained_encoder`, whose arguments these are.

    Args:
        network: a :class:`~monai_mmseg.networks.nets.LocalisedNet`, or a network that holds one.
        path: weights of the first step's training.
        own: weights of the whole network, whose localiser serves where ``path`` is not there.
        argv: command line; ``sys.argv`` by default.

    Raises:
        SystemExit: if neither file is there and the command line is a ``monai.bundle`` run.
        ValueError: if the network holds no localiser, or the weights are those of another one.

    Examples:
        In an overlay of ``train.json``::

            "+initialize": ["$monai_mmseg.bundle.load_pretrained_localiser(@network, @localiser)"]
    """
    found = [one for one in network.modules() if isinstance(one, LocalisedNet)]
    if not found:
        raise ValueError(f"network must hold a LocalisedNet, got {type(network).__name__}.")
    how = "Train the first step before: the same command with the overlay settings/payer_localise.json in the place of "
    how += "settings/payer.json.\nWeights that lie elsewhere: --localiser FILE."
    _load_first("localiser", found[0].load_localiser, path, own, how, argv)


def _load_first(
    part: str,
    load: Callable[[Path], None],
    path: str | os.PathLike[str],
    own: str | os.PathLike[str] | None,
    how: str,
    argv: Sequence[str] | None,
    compared: Sequence[str] = _COMPARED,
) -> None:
    """Load a part of a network from the first file that is there; without any, say how to make it."""
    places = [Path(place) for place in (path, own) if place is not None]
    for place in places:
        if place.is_file():
            _compare_settings(place, part, compared)
            load(place)
            logger.info("%s of %s", part, place.as_posix())
            return
    message = f"The {part}'s weights {places[0].as_posix()} are missing. {how}"
    if parse_run_command(sys.argv if argv is None else argv) is not None:
        # the message alone: a traceback through MONAI's parser would bury it
        raise SystemExit(f"Nothing was run. {message}")
    logger.warning(message)


def _compare_settings(path: Path, part: str, names: Sequence[str]) -> None:
    """Say what a part was trained with and is not what it gets now; modalities in another order are refused."""
    parser, settings = resolving_parser(), read_settings(path.parent)
    if parser is None:
        return
    if not settings:
        logger.warning("no settings.json beside %s says what it was trained with: not compared.", path)
    knobs = settings.get("knobs", {})
    for name in names:
        if name in knobs and name in parser and (now := parser.get_parsed_content(name)) != (was := knobs[name]):
            # a name that is new may be another word for the same
            moved = [
                one for one, other in zip(was, now, strict=False) if one != other and {one, other} & {*was} & {*now}
            ]
            if name == "modalities" and part == "encoder" and (moved or len(now) != len(was)):
                raise ValueError(
                    f"modalities is {now} here, and the encoder {path.as_posix()} was trained with {was}, each with "
                    "kernels by its place. Give this training the same in this order; subjects may lack some."
                )
            logger.warning("%s is %s here, and the %s %s was trained with %s.", name, now, part, path, was)
