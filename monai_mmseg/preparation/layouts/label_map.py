# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which values of label files are which class, as it is typed: ``"liver=1, spleen=5, spine=41-48"``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from monai_mmseg.unannotated import UNANNOTATED

MAX_VALUE = 65535
_EXAMPLE = '"liver=1, kidneys=2+3, spine=41-48, others=background"'


class LabelMap(NamedTuple):
    """Classes of a datalist, and where they come from."""

    labels: dict[int, str]  # class to name; 0 is the background
    values: dict[int, int]  # value in the files to class


def read_label_map(text: str, declared: Iterable[int] = range(256)) -> LabelMap:
    """Classes and table of values from one line of text.

    Classes are numbered from 1 in the order of their names. A value that is neither 0 nor named is an error where it
    occurs in a file, for a forgotten organ would be taught as background. What is background on purpose is said:
    ``background=9+12-20`` for some values, ``others=background`` for all that are not named. ``ignore=7`` is what
    nobody annotated: it becomes 255, and counts neither in training nor in scores. ``spleen=none`` is a class that
    nobody looked for in these images: it keeps its number, so that sets with other organs can be merged.

    Args:
        text: ``name=values`` separated by commas; values are one number, a range such as ``41-48``, or several of
            these joined by ``+``.
        declared: values that ``others=background`` stands for.

    Returns:
        Classes and values.

    Raises:
        ValueError: if the text is not of this form, a name or a value occurs twice, a range runs backwards, or 0, the
            background, is given to a class.

    Examples:
        >>> read_label_map("liver=1, kidneys=2+3, spine=41-43")
        LabelMap(labels={0: 'background', 1: 'liver', 2: 'kidneys', 3: 'spine'},
                 values={0: 0, 1: 1, 2: 2, 3: 2, 41: 3, 42: 3, 43: 3})
        >>> read_label_map("liver=6, others=background", declared=range(8)).values
        {0: 0, 6: 1, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 7: 0}
    """
    labels, values, owner = {0: "background"}, {0: 0}, {0: "background"}
    others, named = False, set[str]()
    for entry in text.split(","):
        name, equals, given = (part.strip() for part in entry.partition("="))
        if not equals or not name or not given:
            raise ValueError(f"labels must be like {_EXAMPLE}, got {entry.strip()!r} in {text!r}.")
        if name.casefold() in named:
            raise ValueError(f"labels name {name!r} twice in {text!r}; join its values by '+', as in {name}=2+3.")
        named.add(name.casefold())
        if name == "others" or given == "background" or get_close_matches(given, ["background"]):
            if (name, given) != ("others", "background"):
                raise ValueError(f"labels: {entry.strip()!r} in {text!r} is not known; 'others=background' is.")
            others = True
            continue
        number = {"background": 0, "ignore": UNANNOTATED}.get(name.casefold(), len(labels))
        if number != UNANNOTATED:
            labels[number] = labels.get(number, name)
        if given == "none" and number not in (0, UNANNOTATED):
            continue
        for value in _values(given, entry.strip(), text):
            if value in owner and not number == value == 0:
                what = "0 is the background" if value == 0 else f"{value} is {owner[value]!r} already"
                raise ValueError(f"labels: {entry.strip()!r} in {text!r} cannot be, since {what}.")
            values[value], owner[value] = number, labels.get(number, name)
    if not set(labels) & set(values.values()) - {0}:
        raise ValueError(f"labels must name a class, as in {_EXAMPLE}, got {text!r}.")
    return LabelMap(labels, {**values, **{value: 0 for value in declared if others and value not in values}})


def _values(given: str, entry: str, text: str) -> list[int]:
    values: list[int] = []
    for part in given.split("+"):
        match = re.fullmatch(r"\s*([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?\s*", part)
        if not match:
            raise ValueError(
                f"labels: {entry!r} in {text!r} must give numbers from 0 to {MAX_VALUE}, such as 3, 41-48 or 2+3; "
                f"got {part.strip()!r}."
            )
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high or high > MAX_VALUE:
            wanted = f"{high}-{low}" if low > high else f"at most {MAX_VALUE}"
            raise ValueError(f"labels: the range {part.strip()} of {entry!r} in {text!r} should be {wanted}.")
        values += range(low, high + 1)
    return values


def value_spans(values: Iterable[int]) -> str:
    """Label values in short.

    Args:
        values: whole numbers, in any order.

    Examples:
        >>> value_spans([7, 0, 1, 2, 3])
        '0-3, 7'
    """
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1 and spans[-1][0] >= 0:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)
