# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Where a bundle finds its data: the user's folder, or the phantom that stands in for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def find_datalist(dataset_dir: str | os.PathLike[str], phantom_dir: str | os.PathLike[str], **phantom: Any) -> str:
    """Path of ``datalist.json`` in ``dataset_dir``, after making the phantom if that is what the folder stands for.

    A bundle calls it where its data are first needed, never while a config is parsed, so opening a bundle writes nothing.

    Args:
        dataset_dir: folder with ``datalist.json``.
        phantom_dir: the bundle's default folder. Only if ``dataset_dir`` is this folder and it does not exist yet, the
            heart phantom is written there (atomically: several processes may call this at once).
        phantom: arguments of :func:`monai_mmseg.data.phantom.make_heart_phantom`.

    Returns:
        The path of the datalist.

    Raises:
        FileNotFoundError: if there is no datalist and the folder is not the default one.

    Example:
        >>> import tempfile
        >>> find_datalist(tempfile.gettempdir() + "/nowhere", "data/phantom")
        Traceback (most recent call last):
        FileNotFoundError: dataset_dir must hold datalist.json, but ...nowhere...
    """
    found = Path(dataset_dir) / "datalist.json"
    if found.is_file():
        return str(found)
    if Path(dataset_dir).absolute() != Path(phantom_dir).absolute():
        raise FileNotFoundError(
            f"dataset_dir must hold datalist.json, but {found} is not there; see the bundle's docs/README.md for its "
            f"format, or leave dataset_dir out to train on the phantom."
        )
    from monai_mmseg.data.phantom import make_heart_phantom

    return str(make_heart_phantom(dataset_dir, **_plain(phantom)))


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without the entries that MONAI's config allows as comments."""
    return {key: value for key, value in settings.items() if not key.startswith("_")}
