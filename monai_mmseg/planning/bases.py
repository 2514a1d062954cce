# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a plan changes in a bundle whatever the data are: settings of small networks, and the plain network's parts."""

from __future__ import annotations

from typing import Any

from monai_mmseg.planning.context import Context
from monai_mmseg.planning.situation import RANDOMISED

NO_PHANTOM: dict[str, Any] = {"phantom_dir": None, "phantom": {}}  # overlays may speak of theirs

_DAFNET = {  # of a small network, as in the bundle's demonstration
    "modality_norm": True,
    "anatomy_gain": 10.0,
    "max_offset": 0.2,
    "transformer_lr_factor": 0.1,
    "discriminator_learning_rate": 0.0002,
    "mask_discriminator_updates": 1,
    "align_start": 50,
    "loss_weights#generator#reconstruction": 10.0,
    "loss_weights#generator#adversarial_image": 0.1,
    "loss_weights#generator#offset": 1000.0,
    "averaging": None,
    "lr_hold": 0.5,
    "lr_final": 0.02,
    "final_model": "model.pt",
}
_TASK_LOSS = {"segmentation": {"dice": 1.0, "cross_entropy": 1.0, "reconstruction": 0.0, "kl": 0.0}}
_STAGE_ONE = {
    "network_def#anatomy_gain": 10.0,
    "batch_size": 2,
    "learning_rate": 0.003,
    "lr_hold": 0.6,
    "lr_final": 0.02,
    "amsgrad": False,
    "loss_weights#generator#subject_margin": 0.3,
    "loss_weights#generator#modality_margin": 0.1,
}
_NARROW = [8, 16, 32, 32, 32]


def fixed_settings(context: Context) -> dict[str, Any]:
    """Values by id that follow from the method alone.

    Args:
        context: what is known.

    Returns:
        Ids of ``train.json``.

    Examples:
        >>> from monai_mmseg.planning.situation import Situation
        >>> one = Situation("one modality", ["ct"], {"ct": 3}, {"ct": 3}, [], [], "ct", {})
        >>> fixed_settings(Context({}, one))["final_model"]
        'model.pt'
    """
    common: dict[str, Any] = {**NO_PHANTOM, "method": context.method}
    if context.base == "dafnet":
        wide = context.knobs["features"][0]
        bare = not context.situation.labelled[context.situation.target]
        own = {"segmentor_features": 2 * wide, "discriminator_features": 2 * wide}
        return {**common, **_DAFNET, **own, **({"target_fraction": 0.0} if bare else {})}
    if context.base == "disentangle_tumour":
        task = {"loss_weights": _TASK_LOSS, "final_model": "model.pt"}
        root = "$@bundle_root + '/stage_one'"
        return {**common, **task, **_narrow(context, "encoder_def"), "stage_one_root": root}
    if context.base == "unet":
        return {**common, "final_model": "model.pt"}
    one = {"separate": [], "kd_weight": 0.0} if context.method == RANDOMISED else {}
    return {**common, **one, **({"dropout": 0.0} if context.dims == 2 else {})}


def _narrow(context: Context, name: str) -> dict[str, Any]:
    """Widths of the encoders on a CPU; elsewhere the paper's."""
    if context.device != "cpu":
        return {}
    decoder = _NARROW[::-1]
    return {
        f"{name}#anatomy_features": _NARROW,
        f"{name}#appearance_features": _NARROW,
        f"{name}#decoder_features": [32, *decoder[:1], *decoder[2:4], 16],
    }


def stage_one_settings(context: Context, epochs: int, length: int) -> dict[str, Any]:
    """Values by id for the first stage of disentangling.

    Args:
        context: with the knobs of the second stage.
        epochs: of the first stage.
        length: steps an epoch.

    Returns:
        Ids of its ``train.json``.
    """
    taken = ("modalities", "reference", "slice_axis", "pixdim", "background")
    knobs = {name: context.knobs[name] for name in taken if name in context.knobs}
    target = [one for one in context.situation.modalities if one != knobs["reference"]]
    return {
        **NO_PHANTOM,
        **knobs,
        "target": (context.situation.may_lack or context.situation.missing or target)[0],
        "spatial_size": context.knobs["spatial_size"][:2],
        **_STAGE_ONE,
        **_narrow(context, "network_def"),
        "max_epochs": epochs,
        "epoch_length": length,
        "val_interval": max(1, epochs // 2),
        "final_model": "model.pt",
    }
