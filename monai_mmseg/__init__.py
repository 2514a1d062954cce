# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Multi-modal medical image segmentation with PyTorch and MONAI, in the shape of MONAI bundles.

Sub-packages are imported by name (``monai_mmseg.networks``, ``monai_mmseg.losses``, ...); this one stays light.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
