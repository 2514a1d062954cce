# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What stands behind a ``_target_`` of a config, and which arguments it takes."""

from __future__ import annotations

import pydoc
import typing
from collections.abc import Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any

from monai.bundle import ComponentLocator
from torch.utils.data import DataLoader


@cache
def accepted_arguments(target: str) -> tuple[str, ...] | None:
    """Keyword arguments of a target; ``None`` if it takes any, or cannot tell.

    Args:
        target: value of ``_target_``: a name of MONAI's, or a dotted path.

    Returns:
        Names in the order of the signature.

    Examples:
        >>> accepted_arguments("EnsureChannelFirst")
        ('strict_check', 'channel_dim')
        >>> accepted_arguments("no.such.thing") is None
        True
    """
    found = find_target(target)
    if found is None:
        return None
    classes = [found]
    if isinstance(found, type) and issubclass(found, DataLoader):
        classes.append(DataLoader)  # MONAI's loaders hand their further keywords on to it
    names: list[str] = []
    for item in classes:
        try:
            parameters = list(signature(item).parameters.values())
        except (TypeError, ValueError):
            return None
        names += [p.name for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
        open_ended = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    return None if open_ended else tuple(dict.fromkeys(names))


@cache
def argument_types(target: str) -> Mapping[str, Any]:
    """What the arguments of a target are annotated with.

    Args:
        target: value of ``_target_``: a name of MONAI's, or a dotted path.

    Returns:
        Annotations by name; empty where they cannot be told.

    Examples:
        >>> argument_types("monai_mmseg.transforms.LoadImageModalitiesd")["stack_label"]
        typing.Literal['target', 'all']
    """
    found = find_target(target)
    is_class = isinstance(found, type)
    try:
        return typing.get_type_hints(found.__init__ if is_class else found)
    except Exception:  # names that exist for type checkers only, built-in callables
        return {}


@cache
def find_target(target: str) -> Any:
    """The class or function that MONAI would call for a target; ``None`` if there is none.

    Args:
        target: value of ``_target_``: a name of MONAI's, or a dotted path.

    Returns:
        The object.

    Examples:
        >>> find_target("torch.nn.Linear").__name__
        'Linear'
    """
    # MONAI's table of names takes a fifth of a second to make, and holds none with a dot
    module = None if "." in target else _locator().get_component_module_name(target)
    path = target if module is None else f"{module[0] if isinstance(module, list) else module}.{target}"
    try:
        return pydoc.locate(path)
    except pydoc.ErrorDuringImport:
        return None


@cache
def _locator() -> ComponentLocator:
    return ComponentLocator()
