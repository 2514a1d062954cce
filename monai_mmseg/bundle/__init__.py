# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What bundles need around MONAI's config workflow: their data and a check of what the user wrote."""

from typing import TYPE_CHECKING

from monai_mmseg.bundle.ahead import AheadLoader
from monai_mmseg.bundle.checks import ConfigError, check_config, check_overrides
from monai_mmseg.bundle.class_volumes import TellVolumesd
from monai_mmseg.bundle.data_checks import DataConflict, check_data, check_labels
from monai_mmseg.bundle.datalist import find_datalist, inference_items, read_items, training_subjects, volume_items
from monai_mmseg.bundle.gaps import TellGaps
from monai_mmseg.bundle.new_modality import load_start, use_start
from monai_mmseg.bundle.own_run import check_folders, own_run
from monai_mmseg.bundle.pack import pack_bundle
from monai_mmseg.bundle.packages import check_package
from monai_mmseg.bundle.predictions import InvertClassesd, InvertPredictiond, SaveImagePredictiond
from monai_mmseg.bundle.pretrained_encoder import content_settings, load_pretrained_encoder, load_pretrained_localiser
from monai_mmseg.bundle.root import bundle_root
from monai_mmseg.bundle.seen import tell_seen
from monai_mmseg.bundle.settings import model_settings, run_settings
from monai_mmseg.bundle.trained import (
    SettingsConflict,
    TrainedSettings,
    check_trained,
    trained_settings,
    trained_target,
    use_trained,
)
from monai_mmseg.bundle.translation import write_translated
from monai_mmseg.bundle.uncertainty import SaveUncertaintyd, check_uncertainty, tell_unforetold
from monai_mmseg.bundle.weights import check_weights
from monai_mmseg.bundle.weights_fit import WeightsError, check_fit, make_resumed
from monai_mmseg.lazy import lazy_names

__all__ = [
    "AheadLoader",
    "ConfigError",
    "DataConflict",
    "InvertClassesd",
    "InvertPredictiond",
    "SaveImagePredictiond",
    "SaveUncertaintyd",
    "SettingsConflict",
    "TellGaps",
    "TellVolumesd",
    "TrainedSettings",
    "WeightsError",
    "bundle_root",
    "check_config",
    "check_data",
    "check_fit",
    "check_folders",
    "check_labels",
    "check_overrides",
    "check_package",
    "check_trained",
    "check_uncertainty",
    "check_weights",
    "content_settings",
    "find_datalist",
    "inference_items",
    "load_pretrained_encoder",
    "load_pretrained_localiser",
    "load_start",
    "make_resumed",
    "model_settings",
    "own_run",
    "pack_bundle",
    "read_items",
    "run_settings",
    "tell_seen",
    "tell_unforetold",
    "trained_settings",
    "trained_target",
    "training_subjects",
    "use_start",
    "use_trained",
    "volume_items",
    "write_translated",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__)
