# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""DAFNet and its parts; import them from :mod:`monai_mmseg.networks.nets`."""
