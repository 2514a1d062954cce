# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Packages that only some settings of a bundle need."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from monai.utils import optional_import

from monai_mmseg.bundle.command_line import parse_run_command


def check_package(module: str, setting: str, needed: bool = True, argv: Sequence[str] | None = None) -> None:
    """Check that a package is installed which a setting of the bundle needs.

    When to use: in ``initialize``, for a component that is switched off by default: MONAI would notice only when the
    component is first called, after the first subject has been through the network.

    Args:
        module: what is imported.
        setting: id of the setting, for the message.
        needed: whether the setting is on; otherwise nothing is checked.
        argv: command line; ``sys.argv`` by default.

    Raises:
        SystemExit: with a message that says what to install or switch off, if the command line is a ``monai.bundle``
            run.
        ModuleNotFoundError: with the same message otherwise.

    Examples:
        >>> check_package("json", "largest_component")
        >>> check_package("no_such_module", "largest_component", needed=False)
        >>> check_package("no_such_module", "largest_component")
        Traceback (most recent call last):
        ModuleNotFoundError: largest_component needs the package no_such_module, which is not installed: ...
    """
    if not needed or optional_import(module)[1]:
        return
    name = {"skimage": "scikit-image"}.get(module, module)
    message = (
        f"{setting} needs the package {name}, which is not installed: pip install {name}, or leave {setting} at false."
    )
    if parse_run_command(sys.argv if argv is None else argv) is not None:
        raise SystemExit(f"Nothing was run. {message}")
    raise ModuleNotFoundError(message)
