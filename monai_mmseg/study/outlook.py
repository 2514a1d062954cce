# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the data of a study refuse, before anything is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monai_mmseg.study.data import fold_sections, kept_label, source_data, target_of
from monai_mmseg.study.definition import Study
from monai_mmseg.study.facts import find_facts, refusal, taken_away


def refused_cells(study: Study) -> dict[tuple[str, str], str]:
    """Why the data refuse a method in a setting, by the names of both; of the first fold.

    Args:
        study: of a datalist.

    Raises:
        StudyError: the data cannot be used at all, or a setting names what they do not have.
    """
    found, target = {}, target_of(study)
    for setting in study.settings:
        listed = source_data(study, setting, Path())
        whole = find_facts(listed, target, study.source)
        seen = replace(listed, sections=fold_sections(listed, setting, 0))
        facts = find_facts(seen, whole.target, whole.source or None)
        kept = kept_label(listed, setting)
        for method in study.methods:
            reason = refusal(method, facts) or (kept if method.stacks else "")
            if reason := reason or taken_away(study.aims_at(method, facts.target), method, whole, facts):
                found[method.name, setting.name] = reason
    return found
