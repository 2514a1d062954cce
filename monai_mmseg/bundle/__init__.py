# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What bundles need around MONAI's config workflow: their data and a check of what the user wrote."""

from monai_mmseg.bundle.checks import ConfigError, check_config, check_overrides
from monai_mmseg.bundle.datalist import find_datalist, inference_items, read_items

__all__ = ["ConfigError", "check_config", "check_overrides", "find_datalist", "inference_items", "read_items"]
