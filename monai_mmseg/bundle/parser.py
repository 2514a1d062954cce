# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The config that is being resolved; MONAI hands it to nobody."""

from __future__ import annotations

import inspect

from monai.bundle import ConfigParser


def resolving_parser() -> ConfigParser | None:
    """The parser that evaluates the expression in which the caller stands.

    Returns:
        The parser, or ``None`` outside of a config.

    Examples:
        >>> resolving_parser() is None
        True
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    return None
