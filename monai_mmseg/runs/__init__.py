# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in its folder."""

from monai_mmseg.runs.knowledge import read_knowledge
from monai_mmseg.runs.model_settings import read_settings
from monai_mmseg.runs.owner import RunOwner, record_evaluation, spare_evaluated
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.runs.terms import read_terms

__all__ = [
    "RunOwner",
    "RunRecorder",
    "read_knowledge",
    "read_settings",
    "read_terms",
    "record_evaluation",
    "spare_evaluated",
]
