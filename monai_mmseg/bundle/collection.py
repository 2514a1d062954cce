# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The bundles that come with the library: in its repository, and in an installed package."""

from __future__ import annotations

import os
import shutil
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser

import monai_mmseg
from monai_mmseg.files import atomic_folder, read_json

TRAVELLING = ("LICENSE", "large_files.yml", "configs", "docs", "models/README.md")
"""What of a bundle's folder is given to others: no weights, data or results."""


class BundleCard(NamedTuple):
    """What a bundle is for."""

    name: str  # of its folder
    task: str
    modalities: list[str]  # as the config has them; a user's own may take their place


def bundles_folder() -> Path:
    """Folder of the bundles: inside the installed package, or that of the repository which the package lies in.

    Raises:
        FileNotFoundError: there is neither.

    Examples:
        >>> (bundles_folder() / "dafnet" / "configs" / "train.json").is_file()
        True
    """
    package = Path(monai_mmseg.__file__).resolve().parent
    for folder in (package / "_bundles", package.parent / "bundles"):
        if any(folder.glob("*/configs/metadata.json")):
            return folder
    raise FileNotFoundError(
        f"the bundles are neither in {package / '_bundles'} nor in {package.parent / 'bundles'}; install monai_mmseg "
        "from its wheel, or work in a clone of its repository."
    )


def bundle_names() -> list[str]:
    """Names of the bundles that come with the library.

    Examples:
        >>> "dafnet" in bundle_names()
        True
    """
    return sorted(path.parents[1].name for path in bundles_folder().glob("*/configs/metadata.json"))


def list_bundles() -> list[BundleCard]:
    """What each bundle is for, by name.

    Examples:
        >>> {card.name: card.modalities for card in list_bundles()}["ummkd"]
        ['ct', 'mr']
    """
    cards = []
    for name in bundle_names():
        folder = bundles_folder() / name
        metadata: dict[str, Any] = read_json(folder / "configs" / "metadata.json")
        parser = ConfigParser()
        parser.read_config(str(folder / "configs" / "inference.json"))
        parser["bundle_root"] = str(folder)
        parser["ckpt_dir"] = str(folder / "none")  # weights that lie here may have been trained on other names
        modalities = [str(one) for one in parser.get_parsed_content("modalities")]
        cards.append(BundleCard(name, str(metadata.get("task", "")), modalities))
    return cards


def travelling_files(bundle: str | os.PathLike[str]) -> list[str]:
    """Files of a bundle that are given to others, below its folder.

    Args:
        bundle: its folder.

    Returns:
        Paths with slashes, sorted.

    Examples:
        >>> [name for name in travelling_files(bundles_folder() / "dafnet") if "/" not in name]
        ['LICENSE', 'large_files.yml']
    """
    root = Path(bundle)
    found: list[Path] = []
    for name in TRAVELLING:
        place = root / name
        found += [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]
    names = (path.relative_to(root) for path in found if path.is_file())
    return sorted(name.as_posix() for name in names if not any(part.startswith((".", "__")) for part in name.parts))


def copy_bundle(name: str, out: str | os.PathLike[str]) -> Path:
    """Write one of the bundles into a folder of one's own.

    When to use: after a plain ``pip install``, or to change a bundle. The copy works wherever it lies: its configs find
    their folder by themselves.

    Args:
        name: one of :func:`bundle_names`.
        out: folder to write; must not exist. It appears when it is whole.

    Returns:
        ``out``.

    Raises:
        ValueError: there is no such bundle.
        FileExistsError: ``out`` exists.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(path.name for path in copy_bundle("dafnet", f"{folder}/hearts").iterdir())
        ['LICENSE', 'configs', 'docs', 'large_files.yml', 'models']
    """
    names = bundle_names()
    if name not in names:
        close = get_close_matches(name, names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"name must be one of {', '.join(names)}, got {name!r}.{hint}")
    source = bundles_folder() / name
    with atomic_folder(out) as part:
        for file in travelling_files(source):
            (part / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, part / file)
        (part / "models").mkdir(exist_ok=True)
    return Path(out)
