# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.names import names_of_one_file, safe_name


@pytest.mark.parametrize(
    "name", ["s01", "1.2.840.113", "s01.a", "Müller", "被験者1", "P 1", ".hidden", "x" * 128, "a..b", "-x"]
)
def test_names_that_stay(name):
    assert safe_name(name, "subject") == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        (" s1", "it begins or ends with a space"),
        ("s1\n", "it begins or ends with a space"),
        (".", "it is a place, not a name"),
        ("..", "it is a place, not a name"),
        ("../x", "it holds a slash; call it 'x'"),
        ("../../etc/x", "it holds a slash; call it 'etc_x'"),
        ("/abs/x", "it holds a slash; call it 'abs_x'"),
        ("siteA/p1", "it holds a slash; call it 'siteA_p1'"),
        ("a\\b", "it holds a slash; call it 'a_b'"),
        ("C:x", "it holds a drive; call it 'C_x'"),
        ("/", "it holds a slash."),
        ("a\0b", "it holds a control character"),
        ("a\nb", "it holds a control character"),
        ("a\x1b[31m", "it holds a control character"),
        ("a\u2028b", "it holds a control character"),
        ("a\ud800", "it holds a control character"),
        ("x" * 129, "it is 129 bytes long, the most is 128"),
        ("ü" * 65, "it is 130 bytes long"),
    ],
)
def test_names_that_do_not(name, message):
    with pytest.raises(ValueError, match="^subject '") as caught:
        safe_name(name, "subject")
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    text.encode()


def test_letter_case_and_composed_letters():
    assert names_of_one_file(["P1", "s2", "p1", "P1"]) == [("P1", "p1")]
    assert names_of_one_file(["u\u0308", "\u00fc"]) == [("u\u0308", "\u00fc")]
    assert names_of_one_file(["a", "b"]) == []
