# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights of a bundle that is packed: they fit its network, and are numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def find_weights(bundle: str | Path, model: str | Path | None, no_model: bool) -> Path | None:
    """The weights to pack.

    Args:
        bundle: its folder.
        model: a file that was named.
        no_model: there are to be none.

    Returns:
        The file; ``None`` if there are to be none.

    Raises:
        FileNotFoundError: the file that was named is not there, or none was named and the bundle has none.
        ValueError: a file was named although there are to be none.

    Examples:
        >>> find_weights("bundle", None, no_model=True) is None
        True
        >>> find_weights("bundle", None, no_model=False)
        Traceback (most recent call last):
        FileNotFoundError: there is no bundle/models/model.pt: train first, name the weights with --model FILE, or ...
    """
    if no_model:
        if model is not None:
            raise ValueError(f"--no-model packs no weights, but --model is {model}; give one of them.")
        return None
    path = Path(bundle) / "models" / "model.pt" if model is None else Path(model)
    if not path.is_file():
        others = "" if model is not None else ": train first, name the weights with --model FILE, or pack --no-model"
        raise FileNotFoundError(f"there is no {path.as_posix()}{others}.")
    return path


def load_weights(
    network: nn.Module, path: str | Path, trained: Mapping[str, Any], advice: str = "give the overlays of the training"
) -> None:
    """Load weights into the network that they belong to.

    Args:
        network: the network, which is changed.
        path: file of the weights: names to tensors, or that under the key ``model``.
        trained: settings of the training, for the message; may be empty.
        advice: what to do about weights of another network, if there are no settings.

    Raises:
        ValueError: the file cannot be read, its weights are those of another network, or some are no numbers.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"weight": torch.full((1, 1), torch.nan), "bias": torch.zeros(1)}, f"{folder}/m.pt")
        ...     load_weights(nn.Linear(1, 1), f"{folder}/m.pt", {})
        Traceback (most recent call last):
        ValueError: ...m.pt holds values that are NaN or infinite, in weight: the training failed; take other weights.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file raises what the archive's reader or the unpickler does
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} cannot be read as weights ({reason[:200]}).") from error
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} must hold weights by name, as training writes models/model.pt, got something else.")
    bad = [name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        shown = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise ValueError(
            f"{path} holds values that are NaN or infinite, in {shown}: the training failed; take other weights."
        )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        known = f"they were trained with {_named(trained)}" if trained else advice
        raise ValueError(
            f"model must hold weights of the network of the configs, which those of {path} are not; {known}.\n"
            + "\n".join(line if len(line) < 200 else f"{line[:200]} ..." for line in lines)
        ) from error


def _named(trained: Mapping[str, Any]) -> str:
    overlays = " ".join(trained.get("overlays", ())) or "no overlay"
    return f"bundle {trained.get('bundle', 'unknown')}, {overlays}, {trained.get('overrides') or 'no override'}"
