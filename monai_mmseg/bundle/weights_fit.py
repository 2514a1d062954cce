# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights that are whole, finite and those of the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_mmseg.bundle.parser import resolving_parser
from monai_mmseg.networks.initialisation import NotDrawn
from monai_mmseg.runs.model_settings import read_settings


class WeightsError(ValueError):
    """Weights that a network must not be used with."""

    says_all = True


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors of a file of weights, all of them finite; nothing but tensors is read.

    Args:
        path: a plain ``state_dict``, or one under ``"model"``.

    Returns:
        Tensors on the CPU by name.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file holds something else, is cut off, or a tensor is not finite.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"weight": torch.tensor([float("nan")])}, f"{folder}/model.pt")
        ...     read_weights(f"{folder}/model.pt")
        Traceback (most recent call last):
        monai_mmseg.bundle.weights_fit.WeightsError: ...model.pt: 'weight' holds NaN or infinite numbers (1 of 1 ...
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of weights.")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are cut off or hold other things
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise WeightsError(f"{path} cannot be read as weights ({type(error).__name__}: {reason[:120]}).") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(one, Tensor) for one in content.values()):
        raise WeightsError(f"{path} must hold tensors by name (a state_dict), got {type(content).__name__}.")
    bad = [name for name, one in content.items() if one.is_floating_point() and not bool(torch.isfinite(one).all())]
    if bad:
        raise WeightsError(
            f"{path}: {bad[0]!r} holds NaN or infinite numbers ({len(bad)} of {len(content)} tensors): the training "
            "diverged. Train again, with a lower learning rate or without mixed precision."
        )
    return dict(content)


def check_fit(path: str | os.PathLike[str], network: nn.Module | str) -> None:
    """Load a file of weights into a network that it fits.

    When to use: in ``initialize``, before images are read, and before weights are packed.

    Args:
        path: file of weights; its folder may hold ``settings.json``, which the message quotes. A file that is not
            there is left to :func:`~monai_mmseg.bundle.check_weights`.
        network: takes them; or its id in the config, which is then made here, without drawing weights that the file
            replaces.

    Raises:
        WeightsError: with the path and what differs.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(nn.Linear(2, 1).state_dict(), f"{folder}/model.pt")
        ...     check_fit(f"{folder}/model.pt", nn.Linear(2, 1))
        ...     check_fit(f"{folder}/model.pt", nn.Linear(3, 1))
        Traceback (most recent call last):
        monai_mmseg.bundle.weights_fit.WeightsError: ...model.pt does not fit the network: weight is 1 x 2 in the ...
    """
    if not Path(path).is_file():
        return
    state = read_weights(path)
    made = _made(network) if isinstance(network, str) else network
    try:
        made.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(_misfit(path, state, made.state_dict())) from error


def make_resumed(ckpt_dir: str | os.PathLike[str], resume: bool, objective: str = "objective_def") -> None:
    """Make what a training resumes, without drawing weights that the checkpoint replaces.

    When to use: in ``initialize`` of ``train.json``, before anything refers to a network. A training that starts anew
    draws its weights later, as ever.

    Args:
        ckpt_dir: folder of :class:`~monai_mmseg.handlers.ResumeCheckpoint`.
        resume: whether a checkpoint is to be taken up.
        objective: id in the config of the objective, whose whole state the checkpoint holds.

    Examples:
        In ``initialize`` of ``train.json``::

            "$monai_mmseg.bundle.make_resumed(@ckpt_dir, @resume)"
    """
    if resume and Path(ckpt_dir, "resume.pt").is_file():
        _made(objective)


def _made(network_id: str) -> nn.Module:
    parser = resolving_parser()
    if parser is None:
        raise ValueError(f"network must be a module outside of a config, got the id {network_id!r}.")
    with NotDrawn():
        made: nn.Module = parser.get_parsed_content(network_id)
    return made


def _misfit(path: str | os.PathLike[str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    odd = [
        f"{name} is {_shape(state[name])} in the file and {_shape(own[name])} in the network"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    odd += [f"the file lacks {name}" for name in own if name not in state]
    odd += [f"the network lacks {name}" for name in state if name not in own]
    more = f" ({len(odd) - 1} more)" if len(odd) > 1 else ""
    return f"{path} does not fit the network: {odd[0] if odd else 'it refuses them'}{more}.\n{_trained_with(path)}"


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _trained_with(path: str | os.PathLike[str]) -> str:
    settings = read_settings(Path(path).parent)
    if not settings:
        return "There is no settings.json beside it: give the overlays and overrides that it was trained with."
    made = [f"{settings.get('method', '?')} of the bundle {settings.get('bundle', '?')}"]
    made += [f"with {', '.join(settings['overlays'])}"] if settings.get("overlays") else []
    knobs = settings.get("knobs", {})
    sizes = [f"{name} {knobs[name]}" for name in ("modalities", "features", "spatial_size") if name in knobs]
    return f"settings.json beside it says: {' '.join(made)}{'; ' if sizes else ''}{', '.join(sizes)}."
