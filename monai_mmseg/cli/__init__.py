# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``mmseg`` or ``python -m monai_mmseg``."""
