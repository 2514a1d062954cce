# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What is tracked of a training beside its losses and settings: learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine


def learning_rates(engine: Engine) -> dict[str, float]:
    """Learning rates of a trainer's optimisers.

    Args:
        engine: with ``optimizers`` by name, or one ``optimizer``.

    Returns:
        ``learning_rate/<name>`` to value; groups of one optimiser that differ have their number behind the name.

    Examples:
        >>> import torch
        >>> engine = Engine(lambda engine, batch: None)
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> engine.optimizers = {"fit": torch.optim.SGD([weight], lr=0.5)}
        >>> learning_rates(engine)
        {'learning_rate/fit': 0.5}
    """
    optimizers: Mapping[str, Any] = getattr(engine, "optimizers", None) or (
        {"optimizer": engine.optimizer} if hasattr(engine, "optimizer") else {}
    )
    found = {}
    for name, optimizer in optimizers.items():
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        if len(set(rates)) == 1:
            found[f"learning_rate/{name}"] = rates[0]
        else:
            found.update({f"learning_rate/{name}/{number}": rate for number, rate in enumerate(rates)})
    return found
