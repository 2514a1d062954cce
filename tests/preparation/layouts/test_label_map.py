# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_mmseg.preparation.layouts.label_map import read_label_map

CASES = [  # text, names from 1 on, value to class; each worked out by hand
    ("liver=1, spleen=5", ["liver", "spleen"], {0: 0, 1: 1, 5: 2}),
    ("spleen=5,liver=1", ["spleen", "liver"], {0: 0, 5: 1, 1: 2}),
    ("  left kidney = 3 , spine=41 - 43", ["left kidney", "spine"], {0: 0, 3: 1, 41: 2, 42: 2, 43: 2}),
    ("kidneys=2+3+7-8", ["kidneys"], {0: 0, 2: 1, 3: 1, 7: 1, 8: 1}),
    ("LV=500, background=550+600, aorta=820", ["LV", "aorta"], {0: 0, 500: 1, 550: 0, 600: 0, 820: 2}),
    ("background=0, liver=1", ["liver"], {0: 0, 1: 1}),
    ("others=background, liver=2", ["liver"], {0: 0, 2: 1, 1: 0, 3: 0}),
]


@pytest.mark.parametrize(("text", "names", "values"), CASES)
def test_known_value(text, names, values):
    found = read_label_map(text, declared=range(4))
    assert found.labels == dict(enumerate(["background", *names]))
    assert found.values == values


def test_others_are_values_of_a_byte():
    assert read_label_map("liver=300, others=background").values == {0: 0, 300: 1, **dict.fromkeys(range(1, 256), 0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels must be like .*, got ''"),
        ("liver", "labels must be like .*, got 'liver'"),
        ("liver=1,", "labels must be like .*, got ''"),
        ("liver:1, spleen=2", "got 'liver:1' in"),
        ("liver=", "got 'liver=' in"),
        ("liver=1, Liver=2", r"name 'Liver' twice .*join its values by '\+'"),
        ("liver=1, spleen=1", "'spleen=1' in .* cannot be, since 1 is 'liver' already"),
        ("spine=1-9, rib=9-12", "since 9 is 'spine' already"),
        ("spine=1+1-2", "since 1 is 'spine' already"),
        ("liver=0", "since 0 is the background"),
        ("liver=0-3", "since 0 is the background"),
        ("liver=1, background=1", "since 1 is 'liver' already"),
        ("spine=48-41", "the range 48-41 of 'spine=48-41' .* should be 41-48"),
        ("liver=1-99999", "should be at most 65535"),
        ("liver=-1", "got '-1'"),
        ("liver=1.5", "got '1.5'"),
        ("liver=one", "got 'one'"),
        ("liver=1, others=back-ground", "'others=back-ground' in .* is not known; 'others=background' is"),
        ("liver=1, other=background", "'other=background' in .* is not known"),
        ("liver=1, others=2", "is not known"),
        ("others=background", "must name a class"),
        ("background=0-3", "must name a class"),
    ],
)
def test_what_cannot_be_meant(text, message):
    with pytest.raises(ValueError, match=message):
        read_label_map(text)


def test_what_nobody_annotated():
    found = read_label_map("liver=1, ignore=7+9, spleen=2")
    assert found.labels == {0: "background", 1: "liver", 2: "spleen"}
    assert (found.values[7], found.values[9], found.values[2]) == (255, 255, 2)


def test_a_class_that_nobody_looked_for():
    found = read_label_map("liver=6, spleen=none, kidneys=2")
    assert found == ({0: "background", 1: "liver", 2: "spleen", 3: "kidneys"}, {0: 0, 6: 1, 2: 3})
    with pytest.raises(ValueError, match="must name a class"):
        read_label_map("liver=none, spleen=none")
