# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""``python -m monai_mmseg``: the command line."""

import sys

from monai_mmseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
