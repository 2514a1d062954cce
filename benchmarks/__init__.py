# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Speed and accuracy, measured; run from the repository root as ``python -m benchmarks.<name>``."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""

RESULTS = ROOT / "benchmarks" / "results"
"""What was measured."""
