# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Patterns of names that say who and what is in a file: ``"{modality}/{subject}.nii.gz"``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

FIELDS = ("subject", "modality", "visit")


def path_pattern(text: str, words: Mapping[str, Sequence[str]] | None = None) -> re.Pattern[str]:
    """Regular expression of a pattern, with a named group for each field.

    A field or ``*`` stands for a part of one name, ``**/`` for any folders in between; a field that occurs twice has
    the same text at both places. Where fields meet, the first takes as much as it can: of ``s_1_t1.nii.gz``,
    ``{subject}_{modality}.nii.gz`` makes ``s_1`` and ``t1``. Letter case does not count.

    Args:
        text: the pattern, with ``/`` between folders.
        words: all that a field can be, where that is known.

    Returns:
        To be matched with the whole of a name or a path.

    Raises:
        ValueError: if a field is not known or not closed, or there is no ``{subject}``.

    Examples:
        >>> path_pattern("{modality}/{subject}*.nii.gz").fullmatch("CT/p01_final.NII.GZ").groupdict()
        {'modality': 'CT', 'subject': 'p01_final'}
        >>> path_pattern("{subject}_{modality}", {"modality": ["t1", "t1_gd"]}).fullmatch("a_t1_gd")["modality"]
        't1_gd'
    """
    parts, seen = [], set[str]()
    for part in re.split(r"(\{[^{}]*\}|\*\*/|\*)", text.removeprefix("./")):
        if part == "**/":
            parts.append("(?:[^/]+/)*")
        elif part == "*":
            parts.append("[^/]*")
        elif part.startswith("{") and part.endswith("}"):
            name = part[1:-1]
            if name not in FIELDS:
                close = get_close_matches(name, FIELDS, 1)
                hint = f" Did you mean {{{close[0]}}}?" if close else ""
                raise ValueError(
                    f"the pattern {text!r} has the field {part}, known are {{{'}, {'.join(FIELDS)}}}.{hint}"
                )
            known = "|".join(re.escape(word) for word in (words or {}).get(name, ()))
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{known or '[^/]+'})")
            seen.add(name)
        elif "{" in part or "}" in part:
            raise ValueError(f"the pattern {text!r} has a brace without its partner; fields are written {{subject}}.")
        else:
            parts.append(re.escape(part))
    if "subject" not in seen:
        raise ValueError(f"the pattern {text!r} must have {{subject}}, which ties images of one person together.")
    return re.compile("".join(parts), re.IGNORECASE)
