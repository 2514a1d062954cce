# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What bundles need around MONAI's config workflow: their data and a check of what the user wrote."""

from monai_mmseg.bundle.checks import ConfigError, check_config, check_overrides
from monai_mmseg.bundle.datalist import find_datalist, inference_items, read_items, volume_items
from monai_mmseg.bundle.pack import pack_bundle
from monai_mmseg.bundle.packages import check_package
from monai_mmseg.bundle.predictions import InvertPredictiond, SaveImagePredictiond
from monai_mmseg.bundle.pretrained_encoder import load_pretrained_encoder
from monai_mmseg.bundle.root import bundle_root
from monai_mmseg.bundle.settings import run_settings
from monai_mmseg.bundle.weights import check_weights

__all__ = [
    "ConfigError",
    "InvertPredictiond",
    "SaveImagePredictiond",
    "bundle_root",
    "check_config",
    "check_overrides",
    "check_package",
    "check_weights",
    "find_datalist",
    "inference_items",
    "load_pretrained_encoder",
    "pack_bundle",
    "read_items",
    "run_settings",
    "volume_items",
]
