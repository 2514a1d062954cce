# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""MUNIT: images of one modality redrawn as another, without pairs."""
