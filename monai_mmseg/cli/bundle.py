# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Commands about bundles: what ``mmseg bundle ...`` calls."""

from __future__ import annotations

from collections.abc import Sequence

from monai_mmseg.cli.console import print_table


def copy(name: str, folder: str) -> None:
    """Write a bundle that comes with the library into a folder, to train and to change it there.

    Args:
        name: of the bundle; `mmseg bundle list` shows them.
        folder: where to; must not exist.
    """
    from monai_mmseg.bundle.collection import copy_bundle

    written = copy_bundle(name, folder)
    print(f"{name}: {written}; how to run it says {written / 'docs' / 'README.md'}")


def names() -> None:
    """List the bundles that come with the library: what each is for, and its modalities unless told otherwise."""
    from monai_mmseg.bundle.collection import list_bundles

    rows = [[card.name, card.task, ", ".join(card.modalities)] for card in list_bundles()]
    print_table("Bundles", ["name", "what it is for", "modalities"], rows)
    print("\n`mmseg bundle copy NAME FOLDER` writes one; other names of modalities and labels come with your data.")


def pack(
    bundle: str,
    *,
    out: str,
    overlays: Sequence[str] = (),
    model: str | None = None,
    no_model: bool = False,
    modality: str | None = None,
) -> None:
    """Merge overlays and weights into a bundle that MONAI Label and other tools can serve.

    Args:
        bundle: folder of the bundle.
        out: folder to write; must not exist.
        overlays: names below configs, in the order of the training, e.g. settings/target_0 demo; default is what
            settings.json beside the weights says.
        model: weights for models/model.pt; default is models/model.pt of the bundle.
        no_model: pack no weights.
        modality: of a network for unpaired modalities, pack the plain one of this modality with its weights.
    """
    from monai_mmseg.bundle.pack import pack_bundle

    written = pack_bundle(bundle, out, overlays=overlays or None, model=model, no_model=no_model, modality=modality)
    part = f"the network of {modality} of " if modality else ""
    print(f"{part}{bundle}{' without weights' if no_model else ''}: {written}")
