# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Components out of data: nothing else than networks, inferers and transforms is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai_mmseg.bundle.targets import find_target

BUILT = (
    *("monai.networks.", "monai.inferers.", "monai.transforms."),
    *("monai_mmseg.networks.", "monai_mmseg.inferers.", "monai_mmseg.transforms."),
)
"""Where the components lie that a definition may name: what came as data builds nothing else."""
_NOT_BUILT = ("monai.transforms.io", "monai.networks.utils", "monai.networks.trt")


def build_definition(definition: Mapping[str, Any], source: str = "definition") -> Any:
    """A component from plain data; only networks, inferers and transforms of MONAI and of this package are built.

    Args:
        definition: ``_target_`` and arguments, components among them.
        source: where it stands, for messages.

    Returns:
        The component.

    Raises:
        ValueError: another target.

    Examples:
        >>> build_definition({"_target_": "monai.networks.nets.Discriminator", "in_shape": [1, 8, 8],
        ...                   "channels": [2], "strides": [2]}).__class__.__name__
        'Discriminator'
        >>> build_definition({"_target_": "os.system", "command": "true"})
        Traceback (most recent call last):
        ValueError: definition: 'os.system' is not built from data: no network, inferer or transform of MONAI or ...
    """
    target = str(definition.get("_target_"))
    found = find_target(target) if "." not in target or target.startswith(BUILT) else None
    home = f"{getattr(found, '__module__', '')}."
    allowed = home.startswith(BUILT) and not home.startswith(_NOT_BUILT)
    if not callable(found) or not (allowed and (isinstance(found, type) or home.startswith("monai_mmseg."))):
        raise ValueError(
            f"{source}: {target!r} is not built from data: no network, inferer or transform of MONAI or monai_mmseg. "
            "Weights of another network: give the overlay with its definition that they were trained with."
        )
    if definition.get("_disabled_") is True:
        return None
    arguments = {key: _built(one, source) for key, one in definition.items() if not key.startswith("_")}
    return found(**arguments)


def _built(value: Any, source: str) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build_definition(value, source)
        return {key: _built(one, source) for key, one in value.items()}
    return [_built(one, source) for one in value] if isinstance(value, list) else value
