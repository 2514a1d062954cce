# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Commands about bundles: what ``mmseg bundle ...`` calls."""

from __future__ import annotations

from collections.abc import Sequence


def pack(
    bundle: str, *, out: str, overlays: Sequence[str] = (), model: str | None = None, modality: str | None = None
) -> None:
    """Merge overlays and weights into a bundle that MONAI Label and other tools can serve.

    Args:
        bundle: folder of the bundle.
        out: folder to write; must not exist.
        overlays: names below configs, in the order of the training, e.g. settings/target_0 demo.
        model: weights for models/model.pt.
        modality: of a network for unpaired modalities, pack the plain one of this modality with its weights.
    """
    from monai_mmseg.bundle.pack import pack_bundle

    written = pack_bundle(bundle, out, overlays=overlays, model=model, modality=modality)
    part = f"the network of {modality} of " if modality else ""
    print(f"{part}{bundle} with {', '.join(overlays) or 'no overlay'}: {written}")
