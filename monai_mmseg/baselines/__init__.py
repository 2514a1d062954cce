# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Methods that are not networks: same datalist in, same prediction files out."""

from monai_mmseg.baselines.copy import copy_baseline, copy_label

__all__ = ["copy_baseline", "copy_label"]
