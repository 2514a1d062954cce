# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in its folder."""

from monai_mmseg.runs.knowledge import read_knowledge
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.runs.terms import read_terms

__all__ = ["RunRecorder", "read_knowledge", "read_terms"]
