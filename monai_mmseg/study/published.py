# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Numbers of the papers' tables, to stand beside a study's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, NamedTuple

ANY = "*"  # setting of a table that has only one


class Published(NamedTuple):
    """A table of a paper."""

    source: str  # paper, table and data set in words
    measure: str  # that comes closest to the paper's
    classes: Sequence[str]
    settings: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]]  # setting, part, method: numbers in per cent

    def of(self, setting: str, part: str, method: str) -> dict[str, str]:
        """Numbers of a method as texts, by class; ``""`` is the mean of the classes.

        Args:
            setting: of the study.
            part: modality.
            method: as studies call it.

        Returns:
            Empty where the paper has none.

        Examples:
            >>> read_published("dafnet_eri").of("target_0", "lge", "dafnet")
            {'': '0.74 ± 0.04'}
        """
        parts = self.settings.get(setting) or self.settings.get(ANY) or {}
        found = parts.get(part, {}).get(method)
        if found is None:
            return {}
        if not self.classes:  # mean and sd over subjects
            return {"": _text(found)}
        texts = {name: _text(number) for name, number in zip(self.classes, found, strict=True)}
        means = [number[0] if isinstance(number, list) else number for number in found]
        return {"": f"{sum(means) / len(means) / 100 + 1e-9:.3f}", **texts}


def _text(number: Any) -> str:
    """Per cent as share; with a deviation, both."""
    if isinstance(number, list):
        digits = 2 if all(isinstance(one, int) for one in number) else 3
        return " ± ".join(f"{one / 100:.{digits}f}" for one in number)
    return f"{number / 100:.4f}"


def read_published(name: str) -> Published:
    """One table of ``published.json``.

    Args:
        name: such as ``dafnet_eri``.

    Returns:
        The table.

    Raises:
        ValueError: there is no such table.
    """
    known = json.loads(files("monai_mmseg.study").joinpath("published.json").read_text(encoding="utf-8"))
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"published must be one of {sorted(known)}, got {name!r}.{hint}")
    return Published(**known[name])
