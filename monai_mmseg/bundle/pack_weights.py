# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which weights a bundle is packed with."""

from __future__ import annotations

from pathlib import Path


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
