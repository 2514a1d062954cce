# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.preparation.layouts.path_pattern import path_pattern

CASES = [  # pattern, path, fields or None; each worked out by hand
    ("{modality}/{subject}.nii.gz", "ct/p1.nii.gz", {"modality": "ct", "subject": "p1"}),
    ("{modality}/{subject}.nii.gz", "CT/p1.NII.GZ", {"modality": "CT", "subject": "p1"}),
    ("{modality}/{subject}.nii.gz", "a/ct/p1.nii.gz", None),
    ("{modality}/{subject}.nii.gz", "ct/p1.nii", None),
    ("./{subject}.nii", "p.1.nii", {"subject": "p.1"}),
    ("{subject}_{modality}.nii", "a_1_t2.nii", {"subject": "a_1", "modality": "t2"}),
    ("{subject}/{subject}_t1.nii", "a/a_t1.nii", {"subject": "a"}),
    ("{subject}/{subject}_t1.nii", "a/b_t1.nii", None),
    ("{subject}/*/{visit}_*.nii", "a/x/v1_t2.nii", {"subject": "a", "visit": "v1"}),
    ("**/{subject}.nii", "p1.nii", {"subject": "p1"}),
    ("**/{subject}.nii", "x/y/p1.nii", {"subject": "p1"}),
    ("{subject}+(1).nii", "a+(1).nii", {"subject": "a"}),
]


@pytest.mark.parametrize(("pattern", "path", "fields"), CASES)
def test_known_value(pattern, path, fields):
    match = path_pattern(pattern).fullmatch(path)
    assert (match and match.groupdict()) == fields


def test_words_that_are_known():
    pattern = path_pattern("{subject}_{modality}.nii", {"modality": ["t1", "t1_gd"]})
    assert pattern.fullmatch("a_1_t1.nii").groupdict() == {"subject": "a_1", "modality": "t1"}
    assert pattern.fullmatch("a_t2.nii") is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{subjct}.nii", r"has the field \{subjct\}, known are .* Did you mean \{subject\}\?"),
        ("{subject}_{}.nii", r"has the field \{\}"),
        ("{subject.nii", "has a brace without its partner"),
        ("{modality}.nii", r"must have \{subject\}"),
    ],
)
def test_patterns_that_are_wrong(pattern, message):
    with pytest.raises(ValueError, match=message):
        path_pattern(pattern)
