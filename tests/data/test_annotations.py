# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from monai_mmseg.data.annotations import mask_labels, select_labelled_subjects, undrawn_classes

SPLITS = [  # training subjects of the original's CHAOS splits, from the fact sheet
    [5, 3, 1, 15, 19, 2, 20, 37, 32, 38, 8, 39, 21, 33],
    [33, 8, 38, 34, 36, 31, 32, 37, 22, 2, 1, 10, 19, 21],
]


@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize("fraction", [0.125, 0.25, 0.5])
def test_subjects_are_those_of_the_original(reference, split, fraction):
    expected = np.load(reference / "dafnet_misc.npz")[f"labelled_split{split}_{str(fraction).replace('.', 'p')}"]
    assert select_labelled_subjects(SPLITS[split], fraction) == expected.tolist()


def test_smaller_fractions_are_prefixes_and_ends_are_none_and_all():
    names = [f"s{n}" for n in range(13)]
    chosen = [select_labelled_subjects(names, fraction, seed=2) for fraction in (0, 0.125, 0.25, 0.5, 1)]
    for small, large in pairwise(chosen):
        assert large[: len(small)] == small
    assert chosen[0] == []
    assert sorted(chosen[-1]) == sorted(names)


def test_labels_of_one_modality_go_by_subject():
    items = [{"subject": f"s{n}", "modality": m, "image": "i", "label": "l"} for n in range(8) for m in ("cine", "lge")]
    masked = mask_labels(items, "lge", 0.25)
    assert all("label" in item for item in masked if item["modality"] == "cine")
    assert sum("label" in item for item in masked if item["modality"] == "lge") == 2
    assert all("label" in item for item in items)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select_labelled_subjects(["a"], 1.5), "between 0 and 1, got 1.5"),
        (lambda: select_labelled_subjects(["a", "a"], 0.5), "distinct"),
        (
            lambda: mask_labels([{"subject": "a", "modality": "t1"}], "t2", 0),
            r"no item has modality 't2', there are \['t1'\]",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_classes_that_no_label_shows():
    labels = {0: "background", 1: "liver", 2: "spleen"}
    first = {"modality": "ct", "label": "a", "unknown": [False, False, True]}
    other = {"modality": "ct", "label": "b", "unknown": [False, True, False]}
    bare = {"modality": "mr", "image": "c"}
    assert undrawn_classes([first, bare], labels) == {"ct": ["spleen"]}
    assert undrawn_classes([first, other], labels) == {}
    assert undrawn_classes([first, {"modality": "ct", "label": "d"}], labels) == {}
    assert undrawn_classes([{**first, "modality": "mr"}, other], labels) == {"mr": ["spleen"], "ct": ["liver"]}
