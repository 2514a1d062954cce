# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in its folder."""

from monai_mmseg.runs.knowledge import KnowledgeHistory, add_knowledge, read_knowledge
from monai_mmseg.runs.run_folder import RunRecorder, git_commit, read_terms, software_versions

__all__ = [
    "KnowledgeHistory",
    "RunRecorder",
    "add_knowledge",
    "git_commit",
    "read_knowledge",
    "read_terms",
    "software_versions",
]
