# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``mmseg`` or ``python -m monai_mmseg``."""

from monai_mmseg.cli.console import print_scores, print_table, print_written

__all__ = ["print_scores", "print_table", "print_written"]
