# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of a run as texts, for pages and trackers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def setting_text(value: Any) -> str:
    """A value as it is given on a command line.

    Examples:
        >>> setting_text("lge"), setting_text([8, 16])
        ('lge', '[8, 16]')
    """
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def flat_settings(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Settings as texts under one name each, nested ones joined as a config's ids are.

    Args:
        settings: plain values.
        above: name in front.

    Returns:
        Name to text.

    Examples:
        >>> flat_settings({"sizes": [8, 16], "weights": {"kl": 0.1}, "resume": False})
        {'sizes': '[8, 16]', 'weights#kl': '0.1', 'resume': 'false'}
    """
    found: dict[str, str] = {}
    for name, value in settings.items():
        place = f"{above}#{name}" if above else str(name)
        found |= flat_settings(value, place) if isinstance(value, Mapping) and value else {place: setting_text(value)}
    return found
